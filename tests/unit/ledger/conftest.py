"""A clock that is set by hand, and ledgers of several owners in one process."""

from __future__ import annotations

import select
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pytest_clnrm.ledger.budget import Budget
from pytest_clnrm.ledger.folder import Folder, open_folder
from pytest_clnrm.ledger.ledger import Ledger
from pytest_clnrm.ledger.wakeups import ring


class FakeClock:
    """Time that passes only in waits; what happens meanwhile is scripted.

    :param events: called one after the other, one at each wait that has no wake-up yet.
    """

    def __init__(self) -> None:
        self.now_s = 1000.0
        self.waits: list[float] = []
        self.events: list[Callable[[], object]] = []

    def monotonic(self) -> float:
        """Return the time as it was set."""
        return self.now_s

    def wait(self, fd: int | None, timeout_s: float) -> bool:
        """Let the next event happen; time passes if it wakes nobody up."""
        assert len(self.waits) < 1000, "waited for ever"
        self.waits.append(timeout_s)
        if self.events and not self._readable(fd):
            self.events.pop(0)()
        if self._readable(fd):
            return True
        self.now_s += timeout_s
        return False

    @staticmethod
    def _readable(fd: int | None) -> bool:
        return fd is not None and bool(select.select([fd], [], [], 0)[0])


@pytest.fixture
def clock() -> FakeClock:
    """Return a clock that is set by hand."""
    return FakeClock()


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    """Return an empty runtime directory."""
    return open_folder(tmp_path / "ledger", {})


@pytest.fixture
def reports() -> list[str]:
    """Return what the ledgers of ``ledger`` have reported."""
    return []


@pytest.fixture
def ledger(folder: Folder, clock: FakeClock, reports: list[str]) -> Iterator[Callable[..., Ledger]]:
    """Return a function that opens a run (``run="a"``) of ``containers`` in a ledger of its own."""
    opened: list[Ledger] = []

    def open_ledger(run: str = "a", containers: int = 2, memory_bytes: int = 1000, **options: Any) -> Ledger:
        options.setdefault("boot", "boot-1")
        started_s = options.pop("started_s", None)
        budget = Budget(containers=containers, memory_bytes=memory_bytes, **options.pop("budget", {}))
        made = Ledger(folder, "engine-1", budget, clock=clock, report=reports.append, **options)
        opened.append(made)
        made.open_run(run, started_s=started_s)
        return made

    yield open_ledger
    for each in opened:
        each._me._let_go()


@pytest.fixture
def kill() -> Callable[[Ledger], None]:
    """Return what ends a ledger's owner as kill -9 would: its lock is free, all its files stay."""

    def die(victim: Ledger) -> None:
        assert victim._me._owner is not None
        victim._me._owner.close()
        wakeup = victim._me._wakeup
        assert wakeup is not None
        assert ring(wakeup._path)
        wakeup._pid = -1
        victim._me._let_go()

    return die
