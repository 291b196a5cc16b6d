"""Judging how services end: as the file announced it, or as a failure of the scenario or test that uses them.

A container that only waits for commands runs no service: how it ends shows in its steps.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Literal

from pytest_clnrm.errors import ClnrmError, ServiceEndedError
from pytest_clnrm.model.result import Failure
from pytest_clnrm.runner.services import given_to_entry_point

if TYPE_CHECKING:
    from pytest_clnrm.engine.api import ContainerState, Engine
    from pytest_clnrm.model.service import Service
    from pytest_clnrm.pool.running import RunningContainer
    from pytest_clnrm.runtime.runtime import Runtime
    from pytest_clnrm.util.redaction import Redactor

LOG_TAIL_BYTES = 64 * 1024
CHECK_INTERVAL_S = 0.5

_SAY_SO = "if it may, say so: may_end = 0, or ready = { exit = 0 } to wait for that"
_KNOWN_S = 10.0
_POLL_S = 0.02


def judge_end(service: Service, exit_code: int | None) -> Literal["meant", "unsaid", "wrong"]:
    """Tell whether a service's end was announced, a success that nobody announced ("unsaid"), or a failure.

    :param exit_code: None if it was never started.
    """
    if exit_code is not None and exit_code in service.may_end:
        return "meant"
    return "unsaid" if exit_code == 0 else "wrong"


def describe_end(container: RunningContainer, state: ContainerState, when: str) -> str:
    """Return ``ended with exit code 137 (killed by SIGKILL), out of memory: its limit is 32 MB, ...``.

    :param when: when it ended, in words; "" if that is not known.
    """
    how = state.describe_end()
    if state.exit_code is not None:
        how = f"ended with {how}"
    if state.oom_killed:
        how += f": its limit is {container.memory_limit_mb} MB"
    return f"{how}, {when}" if when else how


def last_logs(engine: Engine, container: str) -> str:
    """Return the end of a container's output, "" if it cannot be had: that must not hide what it explains."""
    with contextlib.suppress(ClnrmError):
        return engine.logs(container, tail_bytes=LOG_TAIL_BYTES)
    return ""


def state_once_ended(
    engine: Engine, container: str, *, deadline_s: float | None = None, poll_s: float = _POLL_S
) -> ContainerState:
    """Return the state of a container once it has ended, or when the time is over.

    :param deadline_s: ``time.monotonic()`` at which it is. None for a container that is known to have ended:
        the engine closes its streams some time before it notes its exit code.
    :param poll_s: seconds between two questions.
    :raises EngineError: if the container is gone, or the engine does not answer.
    """
    if deadline_s is None:
        deadline_s = time.monotonic() + _KNOWN_S
    while (state := engine.state(container)).running and time.monotonic() < deadline_s:
        time.sleep(poll_s)
    return state


class ServiceEnds:
    """Judges how the services of one scenario, or the containers of one test, have ended.

    :param when: returns in words when a service ended that lived so many seconds, "" if that is not known.
    :param noun: what they are called in messages.
    :ivar notes: ends that nobody announced, but that are no failure.
    """

    def __init__(
        self,
        runtime: Runtime,
        redactor: Redactor,
        when: Callable[[Service, float | None], str],
        noun: str = "service",
    ) -> None:
        self._runtime = runtime
        self._redactor = redactor
        self._when = when
        self._noun = noun
        self._checked_s = 0.0
        self.notes: list[str] = []

    def check(self, containers: Iterable[RunningContainer]) -> None:
        """Look at the services that are up while others are waited for, twice a second at most.

        :raises ServiceEndedError: if one has ended that should not have.
        """
        now_s = time.monotonic()
        if now_s >= self._checked_s + CHECK_INTERVAL_S:
            self._checked_s = now_s
            self.check_now(containers)

    def check_now(self, containers: Iterable[RunningContainer]) -> None:
        """Look at services.

        :raises ServiceEndedError: if one has ended that should not have.
        """
        for container in containers:
            if container.keeps_alive:
                continue
            state = self._runtime.engine().state(container.id)
            if not state.running and judge_end(container.service, state.exit_code) == "wrong":
                logs = last_logs(self._runtime.engine(), container.id)
                raise ServiceEndedError(self._told(container, state), container.service.name, logs)

    def judge(
        self, container: RunningContainer, state: ContainerState, failures: Sequence[Failure]
    ) -> Iterator[Failure]:
        """Yield a failure if a service has ended as it may not; note a success that nobody announced.

        :param failures: those of the scenario so far. If there are any, such a success is a failure too: it
            is often their cause.
        """
        service = container.service
        text = self._told(container, state)
        verdict = judge_end(service, state.exit_code)
        told = any(each.message.startswith(f"{self._noun} {service.name!r}") for each in failures)
        if verdict == "meant" or told:
            return
        if verdict == "unsaid" and not failures:
            self.notes.append(f"{text}; {_SAY_SO}")
            return
        logs = last_logs(self._runtime.engine(), container.id)
        yield Failure(kind="error", message=text, details=self._redactor.end_of_text(logs))

    def unknown(self, container: RunningContainer, error: ClnrmError) -> Failure:
        """Return the failure that a service's state cannot be told: it must not pass as running."""
        subject = f"{self._noun} {container.service.name!r}"
        return Failure(
            kind="error",
            message=f"{subject}: whether it still runs cannot be told: {error}",
            is_infrastructure=error.is_infrastructure,
        )

    def _told(self, container: RunningContainer, state: ContainerState) -> str:
        when = self._when(container.service, state.lived_s)
        ended = f"{self._noun} {container.service.name!r} {describe_end(container, state, when)}"
        return f"{ended}{given_to_entry_point(container)}"
