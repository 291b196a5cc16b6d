"""What is done to a shared service between two users, who take turns: ``reset``."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from pytest_clnrm.errors import ScenarioTimeoutError, ServiceError
from pytest_clnrm.runner.actions.attempt import Faults
from pytest_clnrm.runner.cookies import service_cookies

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_clnrm.model.result import Failure
    from pytest_clnrm.model.step import Step
    from pytest_clnrm.pool.running import RunningContainer
    from pytest_clnrm.runner.actions.attempt import Surroundings


def reset(running: RunningContainer, around: Surroundings) -> Iterator[str]:
    """Reset a shared service by its steps, and yield in words what was done.

    :param around: what the steps of its next user have.
    :raises ServiceError: if a step fails, once those that go on after it have run.
    :raises ClnrmError: if none can be run any more.
    """
    # What tests without scenarios need only here.
    from pytest_clnrm.runner.steps import StepRunner

    service = running.service
    around = replace(
        around,
        scenario=replace(around.scenario, services=(service,), steps=service.reset, stdout_spans=False),
        containers={service.name: running},
        trace=around.trace.of_upkeep(),
        # Nothing of it is left to the steps of the user.
        began_s={},
        faults=Faults(),
        cookies=service_cookies(),
    )
    runner = StepRunner(around=around, began_s=time.monotonic())
    failures: list[tuple[Step, Failure]] = []
    with around.trace.span("clnrm.container.reset", running.attributes) as span:
        for step in service.reset:
            label = f"reset {step.name!r}" if step.name else "reset"
            result, error = runner.run(step)
            if isinstance(error, ScenarioTimeoutError):
                raise ScenarioTimeoutError(f"{label} of the shared service {service.name!r} was running")
            if error is not None:
                raise error
            failures += ((step, each) for each in result.failures)
            if not result.failures:
                yield f"{label} in {result.duration_s:.2f} s"
            elif not step.continue_on_failure:
                break
        if failures:
            span.fail(failures[0][1].message)
            raise _failed(running, failures)


def _failed(running: RunningContainer, failures: Sequence[tuple[Step, Failure]]) -> ServiceError:
    """Return what is wrong with a reset, with all that its steps have to say of it."""
    name = running.service.name
    told = [
        f"{f'reset {step.name!r}' if step.name else 'reset'} of the shared service {name!r}: {each.message}"
        for step, each in failures
    ]
    details = [each.details for _, each in failures]
    more = [text for pair in zip(("", *told[1:]), details, strict=True) for text in pair if text]
    return ServiceError(told[0], name, "\n".join(more), at=failures[0][0].at)
