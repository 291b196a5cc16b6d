"""``--clnrm-shard K/N``: which items this machine runs, and what is told of that."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Generator, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from pytest_clnrm.scheduling.shards import divide, parts_of
from pytest_clnrm.session.summary import Note, tell_at_end

_OUTPUT = "clnrm_shard"
_GIT_S = 30.0

_RIVALS = (
    ("splits", None, "--splits of pytest-split"),
    ("num_shards", 1, "--num-shards of pytest-shard"),
)
"""Options of plugins that divide a collection too, and with which value they do not."""


def commit_of(rootdir: Path, environ: Mapping[str, str] = os.environ) -> str:
    """Return the commit that is tested, as the CI system or git tells it, "" if neither does."""
    from pytest_clnrm.telemetry.record.resource import resource_attributes

    told = resource_attributes("", environ).get("vcs.ref.head.revision")
    if told:
        return str(told)
    command = ["git", "-C", str(rootdir), "rev-parse", "--verify", "--quiet", "HEAD"]
    with suppress(OSError, subprocess.SubprocessError):
        done = subprocess.run(command, capture_output=True, text=True, timeout=_GIT_S, check=True)
        return done.stdout.strip()
    return ""


class ShardSelection:
    """Leaves this machine's items in the collection of each process, and tells of it in the controller.

    It comes after all that select by what the command line says, as ``-k`` and ``-m``, and before ``--lf``,
    which selects by what this machine remembers.

    :param shard: which of how many.
    :param origin: what has set it.
    :param durations_s: node id -> how long it is expected to take, alike on all machines.
    :raises pytest.UsageError: beside options that divide too, or that select by what this machine remembers.
    """

    def __init__(
        self,
        config: pytest.Config,
        shard: tuple[int, int],
        *,
        origin: str,
        durations_s: Mapping[str, float],
    ) -> None:
        for name, unused, called in _RIVALS:
            if getattr(config.option, name, unused) != unused:
                raise pytest.UsageError(f"{origin}: not with {called}: each of them divides the tests")
        if getattr(config.option, "stepwise", False):
            raise pytest.UsageError(
                f"{origin}: not with --stepwise: it leaves out tests by what this machine remembers, and all "
                "machines have to divide the same tests"
            )
        # It would leave out whole files, by what this machine remembers, before anything is divided.
        wrapper = config.pluginmanager.getplugin("lfplugin-collwrapper")
        if wrapper is not None:
            config.pluginmanager.unregister(wrapper)
        self._config = config
        self._number, self._of = shard
        self._durations_s = durations_s
        self._is_worker = hasattr(config, "workerinput")
        self._facts: dict[str, Any] = {}
        tell_at_end(config, self._notes)

    @pytest.hookimpl(wrapper=True)
    def pytest_collection_modifyitems(
        self, config: pytest.Config, items: list[pytest.Item]
    ) -> Generator[None, None, None]:
        """Leave the items of this shard, in their order."""
        yield
        parts = parts_of((item.nodeid, item.nodeid.split("::", 1)[0], _is_alone(item)) for item in items)
        division = divide(parts, self._durations_s, self._of)
        mine = [item for item, number in zip(items, division.shards, strict=True) if number == self._number]
        others = [item for item, number in zip(items, division.shards, strict=True) if number != self._number]
        self._facts = {
            "tests": len(mine),
            "all_tests": len(items),
            "parts": division.parts,
            "known": division.known,
            "expected_s": division.expected_s[self._number - 1] if division.expected_s else None,
            "collection": division.collection,
            "division": division.division,
        }
        if others:
            config.hook.pytest_deselected(items=others)
            items[:] = mine

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Tell the controller what a worker has found; a shard that is empty has passed."""
        if self._is_worker:
            self._config.workeroutput[_OUTPUT] = self._facts  # type: ignore[attr-defined]
        elif session.exitstatus == pytest.ExitCode.NO_TESTS_COLLECTED and self._is_empty:
            session.exitstatus = pytest.ExitCode.OK

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """Take what a worker has found: all find the same."""
        self._facts = getattr(node, "workeroutput", {}).get(_OUTPUT) or self._facts

    @property
    def _is_empty(self) -> bool:
        return bool(self._facts) and self._facts["tests"] == 0 < self._facts["all_tests"]

    def to_data(self) -> dict[str, Any]:
        """Return what the report tells of this shard."""
        return {
            "number": self._number,
            "of": self._of,
            "machine": platform.node(),
            "commit": commit_of(self._config.rootpath),
            **self._facts,
        }

    def _notes(self) -> Iterator[Note]:
        """Yield how much of the whole this was."""
        if self._facts:
            yield Note(self._told())

    def _told(self) -> str:
        facts = self._facts
        told = f"shard {self._number}/{self._of}: {facts['tests']} of {facts['all_tests']} tests"
        if self._is_empty:
            parts = facts["parts"]
            noun = "part" if parts == 1 else "parts"
            return f"{told}, as they can be divided into no more than {parts} {noun}"
        if facts["expected_s"] is not None:
            told += f", {facts['expected_s']:.1f} s by the history of {facts['known']}"
        return told


def _is_alone(item: pytest.Item) -> bool:
    """Tell whether an item may run on another machine than others of its file."""
    return getattr(item, "clnrm_scenario", False) and not item.outline.shares_in_file  # type: ignore[attr-defined]


def shard_data(config: pytest.Config) -> dict[str, Any]:
    """Return what the report tells of the shard that this run is."""
    plugin: ShardSelection = config.pluginmanager.getplugin("clnrm-shard")
    return plugin.to_data()
