"""Shared services that stay for the next run."""

from __future__ import annotations

from clnrm_testing.defences import Defence

DEFENCES = (
    Defence(
        name="a service with a secret does not outlive its run",
        target="pytest_clnrm.runner.made_of:_Making.check_secrets",
        without=lambda _: lambda *_: None,
        attack="test_warm.py::test_no_secret_outlives_its_run",
        shows="still there after the run: s3cr3t-value",
    ),
)
