"""What a report tells beside results: lines of the project, commands, what earlier runs have shown."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable, Mapping
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from pytest_clnrm.session.outcomes import FAILED
from pytest_clnrm.settings.options import options_to_repeat

if TYPE_CHECKING:
    import pytest

    from pytest_clnrm.util.source_lines import Sources


def add_sources(rows: Iterable[dict[str, Any]], sources: Sources) -> None:
    """Give rows of Python tests without containers the lines at the places of their failures.

    Those of scenarios and of tests with containers come from the process that ran them, which knows their
    secrets: what a scenario file says may be one.
    """
    for row in rows:
        if row["outcome"] in {*FAILED, "xfailed"} and row["file"].endswith(".py"):
            known = sources.at(each["where"] for each in row["failures"])
            row["sources"] = {where: lines for where, lines in known.items() if _is_python(where)}


def _is_python(where: str) -> bool:
    return where.rpartition(":")[0].endswith(".py")


def add_commands(rows: Iterable[dict[str, Any]], config: pytest.Config) -> None:
    """Give each row that failed under ``reproduce`` the command that runs it alone, for a shell."""
    words = ["pytest", *options_to_repeat(config)]
    root = os.path.relpath(config.rootpath, config.invocation_params.dir)
    for row in rows:
        if row["outcome"] in FAILED or row.get("is_flaky"):
            file, mark, rest = row["nodeid"].partition("::")
            row["reproduce"] = shlex.join([*words, f"{PurePath(root, file)}{mark}{rest}"])


def add_history(rows: Iterable[dict[str, Any]], shown: Mapping[str, tuple[str, list[float | None]]]) -> None:
    """Give each row under ``history`` what earlier runs have shown of it, the oldest first.

    :param shown: node id -> a letter of each outcome ("p" passed, "f" failed, "s" skipped), and seconds.
    """
    for row in rows:
        if row["nodeid"] in shown:
            outcomes, durations_s = shown[row["nodeid"]]
            row["history"] = {"outcomes": outcomes, "durations_s": durations_s}
