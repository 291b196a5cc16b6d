"""Which exceptions say that a test has failed for no fault of its own."""

from __future__ import annotations

import pytest

from pytest_clnrm.errors import ClnrmError, EngineUnavailableError, NotReadyError
from pytest_clnrm.items.failures import ScenarioFailedError, is_infrastructure
from pytest_clnrm.model.result import Failure, Result
from pytest_clnrm.scheduling.tickets import failed_plainly


def _from(cause: BaseException) -> BaseException:
    error = RuntimeError("no database")
    error.__cause__ = cause
    return error


def _of_scenario(*, blameless: bool) -> ScenarioFailedError:
    error = ScenarioFailedError("it failed")
    why = Failure(message="gone", is_infrastructure=blameless)
    error.result = Result(nodeid="a", name="a", file="a", line=1, failures=(why,))
    return error


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (EngineUnavailableError("gone"), True),
        (_from(_from(EngineUnavailableError("gone"))), True),
        (_of_scenario(blameless=True), True),
        (failed_plainly("too late", is_infrastructure=True), True),
        (failed_plainly("too much", is_infrastructure=False), False),
        (_of_scenario(blameless=False), False),
        (ScenarioFailedError("of an item"), False),
        (NotReadyError("not ready", "db"), False),
        (ClnrmError("wrong"), False),
        (AssertionError(), False),
        (None, False),
    ],
)
def test_what_says_so(error: BaseException | None, *, expected: bool) -> None:
    """Errors of ours that say so, what is raised from them, and scenarios that a test has run."""
    assert is_infrastructure(error) is expected
