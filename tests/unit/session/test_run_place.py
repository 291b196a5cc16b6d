"""Which run a process belongs to, and the run's own folder."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from pytest_clnrm.cleanup import run_folder
from pytest_clnrm.session.run_place import RunPlace
from pytest_clnrm.telemetry.traceparent import parse_traceparent


def test_workers_share_the_controllers_run() -> None:
    """What is handed down makes the same run of a worker; only the controller removes its folder."""
    controller = RunPlace({})
    worker = RunPlace(controller.to_hand_down())
    assert (controller.is_worker, worker.is_worker) == (False, True)
    assert worker.to_hand_down() == controller.to_hand_down()
    assert worker.traceparent == controller.traceparent
    folder = controller.folder()
    worker.remove_folder()
    assert folder.is_dir()
    controller.remove_folder()
    assert not folder.exists()


def test_a_full_disk_under_the_runs_folder_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """The folder for temporary files is named, with the reason and what to do."""

    def full(_: str) -> Path:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(run_folder, "make", full)
    with pytest.raises(pytest.UsageError, match=r"made in /.*: No space left on device; .* set TMPDIR"):
        RunPlace({}).folder()


@pytest.mark.parametrize("parent", [None, f"00-{'1' * 32}-{'2' * 16}-01"])
def test_the_runs_span_follows_from_the_environment_of_the_controller(
    parent: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is a child of what TRACEPARENT names there, whatever a worker's environment says."""
    monkeypatch.delenv("TRACEPARENT", raising=False)
    if parent:
        monkeypatch.setenv("TRACEPARENT", parent)
    controller = RunPlace({})
    handed_down = controller.to_hand_down()
    controller.remove_folder()
    monkeypatch.setenv("TRACEPARENT", f"00-{'3' * 32}-{'4' * 16}-01")
    worker = RunPlace(handed_down)
    assert worker.traceparent == controller.traceparent
    found = parse_traceparent(worker.traceparent)
    assert found is not None
    assert (found.trace_id == "1" * 32) is bool(parent)
    assert found.trace_id != "3" * 32
