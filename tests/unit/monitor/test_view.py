"""Words for what can be seen, and the same as plain data."""

from __future__ import annotations

import pytest

from pytest_clnrm.monitor.view import HostView, activity, clock_text, to_data
from pytest_clnrm.status.status_file import Phase, WorkerStatus


@pytest.mark.parametrize(
    ("seconds", "text"), [(-1, "0s"), (0.9, "0s"), (59.9, "59s"), (65, "1m05s"), (7500, "2h05m")]
)
def test_times(seconds: float, text: str) -> None:
    """Whole units, two at most."""
    assert clock_text(seconds) == text


@pytest.mark.parametrize(
    ("phase", "detail", "text"),
    [
        ("idle", "", "idle"),
        ("slot", "", "waits for its slot"),
        ("slot", "1 container", "waits for 1 container"),
        ("image", "", "gets its images"),
        ("image", "pulling a", "pulling a"),
        ("service", "db", "waits for db to be ready"),
        ("step", "it's", 'step "it\'s"'),
        ("spans", "", "waits for spans"),
        ("test", "", "runs"),
        ("cleanup", "", "removes its containers"),
    ],
)
def test_activities(phase: Phase, detail: str, text: str) -> None:
    """Each phase has its words."""
    assert activity(WorkerStatus(worker="gw0", pid=1, phase=phase, detail=detail)) == text


def test_plain_data(host: HostView) -> None:
    """Moments become seconds since then; everything else is there by its name."""
    data = to_data(host)
    assert list(data) == ["format", "runs", "budgets", "prepared"]
    (run,) = data["runs"]
    assert run["workers"][0] == {
        "worker": "gw0",
        "pid": 1,
        "item": "tests/shop/checkout.clnrm.toml::pays",
        "item_seconds": 12.0,
        "phase": "step",
        "detail": "load",
        "seconds": 8.0,
        "containers": 2,
        "memory_bytes": 1 << 30,
        "ended": 0,
    }
    assert run["workers"][3]["item_seconds"] == 0.0
    assert run["queue"]["head_seconds"] == 20.0
    assert data["budgets"][0]["waiters"][0]["seconds"] == 20.0
