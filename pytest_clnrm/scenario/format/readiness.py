"""What a Python test waits for, in the words of scenario files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from pytest_clnrm.model.key_path import KeyPath
from pytest_clnrm.model.service import Ready
from pytest_clnrm.scenario.format.ready_document import ReadyDoc, built_ready
from pytest_clnrm.scenario.format.service_rules import check_ready
from pytest_clnrm.toml.checking import convert


class _ReadyArgument(msgspec.Struct, frozen=True, kw_only=True):
    """The keyword ``ready`` of Python tests."""

    ready: ReadyDoc | list[ReadyDoc]


def parse_ready(ready: Mapping[str, object] | Sequence[Mapping[str, object]]) -> tuple[Ready, ...]:
    """Return the conditions that a Python test gives, in the words of scenario files.

    :raises ValueError: with all that is wrong.
    """
    given = _plain(ready)
    doc, findings = convert({"ready": given}, _ReadyArgument)
    problems = [_told(each.path, each.message, each.hint) for each in findings]
    if doc is not None and not problems:
        problems = [_told(*each) for each in check_ready(doc.ready, ("ready",))]
    if doc is None or problems:
        raise ValueError(f"ready={given!r}: {'; '.join(problems)}")
    return built_ready(doc.ready, lambda *keys: keys)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(each) for key, each in value.items()}
    return [_plain(each) for each in value] if isinstance(value, (list, tuple)) else value


def _told(path: KeyPath, message: str, hint: str) -> str:
    place = ".".join(map(str, path[1:]))
    text = f"{place}: {message}" if place else message
    return f"{text} ({hint})" if hint else text
