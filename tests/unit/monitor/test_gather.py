"""Runs as they are seen from outside: records, status files and ledgers as one view."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import pytest
from clnrm_testing.queueing import enqueue

from pytest_clnrm.cleanup import run_records
from pytest_clnrm.errors import LedgerError
from pytest_clnrm.ledger.budget import Budget
from pytest_clnrm.ledger.folder import Folder, open_folder
from pytest_clnrm.ledger.ledger import Ledger
from pytest_clnrm.model.demand import Demand
from pytest_clnrm.monitor.gather import budget_views, host_view
from pytest_clnrm.status.status_file import QueueStatus, StatusFile, WorkerStatus
from pytest_clnrm.util.processes import Process, this_process

NOBODY = 1 << 30


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    """Return the folder of a ledger."""
    return open_folder(tmp_path / "ledger", {})


@pytest.fixture
def ledger(folder: Folder) -> Iterator[Ledger]:
    """Return the ledger of the engine "e", with the run "s"."""
    with Ledger(folder, "e", Budget(containers=2, memory_bytes=100)) as ledger:
        ledger.open_run("s")
        yield ledger


def add_run(folder: Folder, own: Path, controller: Process) -> Path:
    """Write a run "s" down, and return its own folder."""
    own.mkdir()
    record = run_records.RunRecord(
        session="s", controller=controller, folder=str(own), choice="auto", identity="e", url="unix:///d"
    )
    run_records.write(folder.runs, record)
    return own


def test_a_run_with_its_workers_and_its_ledger(folder: Folder, ledger: Ledger, tmp_path: Path) -> None:
    """Living workers, queue, what is used, and who waits; a controller's ticket is its head's."""
    own = add_run(folder, tmp_path / "own", this_process(Path("unused")))
    worker = WorkerStatus(worker="gw0", pid=os.getpid(), item="a::b")
    for status in (worker, WorkerStatus(worker="gw1", pid=NOBODY)):
        StatusFile(own, status.worker).write(asdict(status))
    queue = QueueStatus(pid=os.getpid(), waiting={"high": 1}, head="c::d", head_since_s=1.0)
    StatusFile(own, "queue").write(asdict(queue))
    ledger.try_reserve(Demand(containers=2, memory_bytes=10), priority=1, index=0)
    enqueue(ledger, Demand(containers=1), priority=0, index=7, label="item 7")
    enqueue(ledger, Demand(containers=1), priority=2, index=8, label="clnrm_factory")

    view = host_view(folder)

    (run,) = view.runs
    assert (run.session, run.alive, run.engine) == ("s", True, "unix:///d")
    assert run.workers == (worker,)
    assert run.queue == queue
    (budget,) = view.budgets
    assert (budget.engine, budget.containers, budget.max_containers) == ("unix:///d", 2, 2)
    assert (budget.memory_bytes, budget.memory_budget_bytes) == (10, 100)
    assert [(each.priority, each.demand, each.label) for each in budget.waiters] == [
        ("low", "1 container", "clnrm_factory"),
        ("high", "1 container", "c::d"),
    ]


def test_a_dead_run(folder: Folder, tmp_path: Path) -> None:
    """A run whose controller has ended is told as that."""
    add_run(folder, tmp_path / "own", Process(NOBODY, "1"))
    (run,) = host_view(folder).runs
    assert not run.alive
    assert run.queue is None


def test_only_the_ledgers_of_a_run(folder: Folder, ledger: Ledger) -> None:
    """One run sees the ledger that it uses, and no other; a ledger that nobody uses is left out."""
    with Ledger(folder, "unused", Budget(containers=1, memory_bytes=1)) as unused:
        unused.open_run("gone")
    assert [each.engine for each in budget_views(folder, urls={}, heads={})] == ["e"]
    assert [each.engine for each in budget_views(folder, urls={}, heads={}, run="s")] == ["e"]
    assert budget_views(folder, urls={}, heads={}, run="t") == ()


def test_a_ledger_that_cannot_be_read(folder: Folder) -> None:
    """It is said, by its file."""
    (folder.path / "x.json").write_text("{}", encoding="utf-8")
    with pytest.raises(LedgerError, match=r"x\.json is not a ledger"):
        host_view(folder)
