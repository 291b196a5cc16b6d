"""Reads run records, status files and ledgers, and returns what they tell as one view."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path

from pytest_clnrm.cleanup import run_records
from pytest_clnrm.ledger.folder import Folder
from pytest_clnrm.ledger.policy import item_label
from pytest_clnrm.ledger.snapshots import Snapshot, snapshots
from pytest_clnrm.ledger.state import Waiter
from pytest_clnrm.model.priority import Priority
from pytest_clnrm.monitor.view import BudgetView, HostView, KeptView, RunView, WaiterView
from pytest_clnrm.status.status_file import QueueStatus, WorkerStatus, read_statuses
from pytest_clnrm.util.processes import is_running


def host_view(folder: Folder) -> HostView:
    """Return all runs that share *folder*.

    :raises LedgerError: if a ledger cannot be read.
    """
    records = list(run_records.records(folder.runs))
    urls = {record.identity: record.url for record in records}
    views = tuple(
        run_view(
            record.session,
            record.controller.pid,
            Path(record.folder),
            alive=not record.is_dead,
            engine=record.url,
        )
        for record in records
    )
    heads = {view.session: view.queue.head for view in views if view.queue is not None}
    return HostView(
        taken_s=time.monotonic(), runs=views, budgets=budget_views(folder, urls=urls, heads=heads)
    )


def run_view(session: str, pid: int, folder: Path, *, alive: bool = True, engine: str = "") -> RunView:
    """Return one run.

    :param pid: of its controller.
    :param folder: its own.
    """
    queues = read_statuses(folder, QueueStatus)
    return RunView(
        session=session,
        pid=pid,
        alive=alive,
        engine=engine,
        workers=tuple(each for each in read_statuses(folder, WorkerStatus) if is_running(each.pid)),
        queue=queues[0] if queues else None,
    )


def budget_views(
    folder: Folder, *, urls: Mapping[str, str], heads: Mapping[str, str], run: str | None = None
) -> tuple[BudgetView, ...]:
    """Return the ledgers in *folder*.

    :param urls: identity of an engine -> how users call it.
    :param heads: run -> node id of the item that waits at its head.
    :param run: only those that this run uses.

    :raises LedgerError: if one cannot be read.
    """
    return tuple(
        _budget_view(taken, urls, heads)
        for taken in snapshots(folder)
        # Only runs update what foreign containers hold: without a run that is old.
        if (taken.runs or taken.leases) and (run is None or any(each.run == run for each in taken.runs))
    )


def _budget_view(taken: Snapshot, urls: Mapping[str, str], heads: Mapping[str, str]) -> BudgetView:
    return BudgetView(
        engine=urls.get(taken.engine, taken.engine),
        containers=taken.used.containers,
        max_containers=taken.budget.containers if taken.budget else 0,
        foreign_containers=taken.foreign.containers,
        memory_bytes=taken.used.memory_bytes,
        memory_budget_bytes=taken.budget.memory_bytes if taken.budget else 0,
        waiters=tuple(
            WaiterView(
                run=each.run,
                priority=Priority(each.priority).label,
                demand=each.demand.describe(),
                since_s=each.since_s,
                label=_label(each, heads),
            )
            for each in taken.waiters
        ),
        kept=tuple(
            KeptView(
                label=lease.label,
                project=run.project,
                left_seconds=max(0.0, (lease.idle_since_s or taken.taken_s) + run.keeps_s - taken.taken_s),
            )
            for run in taken.runs
            if run.keeper
            for lease in taken.leases
            if lease.key and lease.run == run.run
        ),
    )


def _label(waiter: Waiter, heads: Mapping[str, str]) -> str:
    # A controller's ticket knows its item's index alone; it has no more than the one of its head.
    return heads.get(waiter.run, "") if waiter.label == item_label(waiter.index) else waiter.label
