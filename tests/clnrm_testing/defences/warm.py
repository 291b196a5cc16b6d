"""Shared services and idle containers that stay for the next run."""

from __future__ import annotations

from pathlib import Path

from clnrm_testing.defences import Defence

DEFENCES = (
    Defence(
        name="a service with a secret does not outlive its run",
        target="pytest_clnrm.runner.made_of:_Making.check_secrets",
        without=lambda _: lambda *_: None,
        attack="test_warm.py::test_no_secret_outlives_its_run",
        shows="still there after the run: s3cr3t-value",
    ),
    Defence(
        name="an idle container of an earlier run is proven anew",
        target="pytest_clnrm.runner.idle_warm:why_changed",
        without=lambda _: lambda *_: "",
        attack="test_warm.py::test_what_was_planted_between_two_runs_is_not_seen",
        shows="SEEN",
    ),
    Defence(
        name="a record that others may write is not believed",
        target="pytest_clnrm.pool.idle_record:read_own",
        without=lambda _: Path.read_bytes,
        attack="test_warm.py::test_a_forged_record_is_not_believed",
        shows="SEEN",
    ),
)
