"""What becomes of a reset whose steps fail."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from pytest_clnrm.errors import ScenarioTimeoutError, ServiceError
from pytest_clnrm.model.result import Failure, StepResult
from pytest_clnrm.model.scenario import Scenario
from pytest_clnrm.model.service import Service
from pytest_clnrm.model.step import Nothing, Step
from pytest_clnrm.runner import steps
from pytest_clnrm.runner.actions.attempt import Surroundings
from pytest_clnrm.runner.sharing.reset import reset

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_clnrm.errors import ClnrmError


@dataclass
class Runner:
    """Runs steps: those fail whose names begin with "bad", and time is over in "late"."""

    around: Surroundings
    began_s: float

    def run(self, step: Step) -> tuple[StepResult, ClnrmError | None]:
        failures = (Failure(message=f"{step.name} it is", details=f"of {step.name}"),)
        error = ScenarioTimeoutError("over") if step.name == "late" else None
        bad = step.name.startswith("bad")
        result = StepResult(name=step.name, service="db", outcome="passed", failures=failures if bad else ())
        return result, error


def reset_by(monkeypatch: pytest.MonkeyPatch, *names: str) -> tuple[list[str], Exception | None]:
    """Return what is told of a reset by steps with these names, and how it ends.

    :param names: with "!" those that let later ones run when they fail.
    """

    @contextmanager
    def span(*_: Any) -> Iterator[Any]:
        yield SimpleNamespace(fail=lambda _: None)

    monkeypatch.setattr(steps, "StepRunner", Runner)
    made = tuple(
        Step(
            name=each.strip("!"), service="db", action=Nothing(), continue_on_failure="!" in each, at=(each,)
        )
        for each in names
    )
    running: Any = SimpleNamespace(service=Service(name="db", reset=made), attributes={})
    trace: Any = SimpleNamespace(span=span)
    trace.of_upkeep = lambda: trace
    nothing: Any = None
    around = Surroundings(
        runtime=nothing, scenario=Scenario(name="s", file="f"), containers={}, network=None,
        deadline_s=0.0, where=str, trace=trace, redactor=nothing,
    )  # fmt: skip
    told: list[str] = []
    try:
        told.extend(without_time(each) for each in reset(running, around))
    except (ServiceError, ScenarioTimeoutError) as error:
        return told, error
    return told, None


def without_time(text: str) -> str:
    """Return a text without the time that something took."""
    return text.rpartition(" in ")[0]


def test_all_that_failed_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that go on after a failure have run by then; the first failure gives message and place."""
    told, error = reset_by(monkeypatch, "bad one!", "good", "bad two", "never")
    assert isinstance(error, ServiceError)
    assert str(error) == "reset 'bad one' of the shared service 'db': bad one it is"
    assert error.logs == "of bad one\nreset 'bad two' of the shared service 'db': bad two it is\nof bad two"
    assert error.at == ("bad one!",)
    assert told == ["reset 'good'"]


def test_a_reset_by_a_command_has_no_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is told as a whole."""
    assert reset_by(monkeypatch, "") == (["reset"], None)
    assert reset_by(monkeypatch, "a", "b") == (["reset 'a'", "reset 'b'"], None)


def test_the_end_of_the_time_is_no_failure_of_the_service(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is the scenario's, and says what was being done."""
    told, error = reset_by(monkeypatch, "a", "late")
    assert isinstance(error, ScenarioTimeoutError)
    assert (told, str(error)) == (["reset 'a'"], "reset 'late' of the shared service 'db' was running")
