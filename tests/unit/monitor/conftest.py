"""A run to be shown, at second 100."""

from __future__ import annotations

import pytest

from pytest_clnrm.monitor.view import BudgetView, HostView, RunView, WaiterView
from pytest_clnrm.status.status_file import QueueStatus, WorkerStatus

MB = 1 << 20


@pytest.fixture
def host() -> HostView:
    """Return a host with one run of four workers, and its ledger."""
    workers = (
        WorkerStatus(
            worker="gw0",
            pid=1,
            item="tests/shop/checkout.clnrm.toml::pays",
            item_since_s=88.0,
            phase="step",
            detail="load",
            since_s=92.0,
            containers=2,
            memory_bytes=1024 * MB,
        ),
        WorkerStatus(
            worker="gw1",
            pid=2,
            item="tests/b.clnrm.toml::x",
            item_since_s=97.0,
            phase="image",
            detail="pulling postgres:16: 3 of 8 layers, 40 of 120 MB",
            since_s=97.0,
        ),
        WorkerStatus(
            worker="gw2",
            pid=3,
            item="tests/c.clnrm.toml::日本語",
            item_since_s=30.0,
            phase="service",
            detail="db, cache",
            since_s=98.0,
            containers=1,
            memory_bytes=512 * MB,
        ),
        WorkerStatus(worker="gw3", pid=4, since_s=99.0),
    )
    queue = QueueStatus(
        pid=9, waiting={"high": 4, "normal": 12, "low": 0}, head="z.clnrm.toml::z", head_since_s=80.0
    )
    waiter = WaiterView(
        run="1a2b3c4d", priority="high", demand="2 containers", since_s=80.0, label="z.clnrm.toml::z"
    )
    return HostView(
        taken_s=100.0,
        runs=(RunView(session="1a2b3c4d", pid=9, engine="unix:///d.sock", workers=workers, queue=queue),),
        budgets=(
            BudgetView(
                engine="unix:///d.sock",
                containers=3,
                max_containers=10,
                memory_bytes=1536 * MB,
                memory_budget_bytes=12000 * MB,
                waiters=(waiter,),
            ),
        ),
    )
