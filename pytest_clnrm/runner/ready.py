"""Waiting until a service is ready. It fails at once if the container ends first, or can never be ready.

Conditions are tried soon, and then ever more rarely: a wait is to last hardly longer than the service takes,
and what tries is not to take the processor from what starts. What the engine tells is not asked for.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING

from pytest_clnrm.errors import ClnrmError, ContainerError, ScenarioTimeoutError
from pytest_clnrm.runner.ready_conditions import (
    Condition,
    NoSpans,
    SpanNames,
    Wait,
    condition_of,
    how_it_ended,
    limit_s,
)

if TYPE_CHECKING:
    from pytest_clnrm.engine.api import ContainerState, Engine
    from pytest_clnrm.engine.change_stream import ChangeStream
    from pytest_clnrm.model.service import Ready, Service
    from pytest_clnrm.runtime.network import Network

FIRST_PAUSE_S = 0.005
OF_THE_WAIT = 0.1
"""A pause is at most this share of what has been waited, so that this is hardly longer than it has to be."""
OF_THE_TRY = 3.0
"""A pause is at least so many times what the try took: tries take a quarter of a processor at most."""
ASKED_AGAIN_S = 0.2
"""When the state is asked for though nothing was told of it; each time twice as long, but at most:"""
ASKED_AT_LEAST_S = 1.0
NOT_RECEIVED = NoSpans("they are not received here")


def wait_ready(
    engine: Engine,
    container: str,
    service: Service,
    *,
    network: Network | None = None,
    env: Mapping[str, str] = MappingProxyType({}),
    deadline_s: float,
    cancelled: Callable[[], bool] = lambda: False,
    healthcheck_s: float = 0.0,
    spans: SpanNames | NoSpans = NOT_RECEIVED,
) -> None:
    """Return when all conditions of *service* hold at the same time.

    :param network: over which it is asked, None if it is on none.
    :param env: variables of the commands that are run to find out; a request carries its TRACEPARENT.
    :param deadline_s: ``time.monotonic()`` at which the scenario's time is over.
    :param cancelled: tells that another service has failed, so that waiting makes no sense; may raise why.
    :param healthcheck_s: how long the image's own health check may take.
    :param spans: tells whether a span of a name has arrived, and the names of all that have.
    :raises NotReadyError: if the container ends, is unhealthy, can never be ready, or its time is over.
    :raises ScenarioTimeoutError: if the scenario's time is over first.
    """
    wait = Wait(
        engine=engine,
        container=container,
        service=service,
        network=network,
        env=env,
        began_s=time.monotonic(),
        deadline_s=deadline_s,
        healthcheck_s=healthcheck_s,
        spans=spans,
    )
    with contextlib.ExitStack() as followed:
        conditions = [(ready, condition_of(wait, ready, followed)) for ready in service.ready]
        state = _State(wait)
        followed.callback(state.close)
        last, since_s = None, wait.began_s
        while True:
            tried_s = time.monotonic()
            late = _first_that_does_not_hold(wait, conditions, state.known())
            if late is None:
                return
            ready, condition = late
            if condition is not last:
                last, since_s = condition, tried_s
            if cancelled():
                raise wait.fails(f"was given up, as another service failed ({condition.what})")
            limit = limit_s(wait, ready)
            now_s, ends_s = time.monotonic(), wait.began_s + limit
            if now_s >= min(ends_s, deadline_s):
                if deadline_s <= ends_s:
                    raise ScenarioTimeoutError(
                        f"waiting for service {service.name!r} ({condition.what}): {condition.seen}"
                    )
                raise wait.fails(f"was not ready after {limit:g} s ({condition.what}): {condition.seen}")
            if not condition.has_waited:
                pause = pause_s(now_s - since_s, now_s - tried_s, condition.interval_s)
                state.wait(min(now_s + pause, ends_s, deadline_s))


def pause_s(waited_s: float, took_s: float, interval_s: float) -> float:
    """Return how long to wait until the next try.

    :param waited_s: since the first try.
    :param took_s: how long the last one took.
    :param interval_s: the most.
    """
    return min(interval_s, max(FIRST_PAUSE_S, OF_THE_WAIT * waited_s, OF_THE_TRY * took_s))


def _first_that_does_not_hold(
    wait: Wait, conditions: Sequence[tuple[Ready, Condition]], state: ContainerState
) -> tuple[Ready, Condition] | None:
    for ready, condition in conditions:
        ends_s = min(wait.began_s + limit_s(wait, ready), wait.deadline_s)
        if condition.holds(state, ends_s):
            continue
        if not state.running:
            seen = f"; {condition.seen}" if condition.seen else ""
            raise wait.fails(f"ended before it was ready ({condition.what}): {how_it_ended(state)}{seen}")
        return ready, condition
    return None


class _State:
    """The state of the container that is waited for, asked for anew when the engine tells of a change.

    Where it does not tell, it is asked for each time. It is asked for now and then even so, as nothing says
    that the engine loses none.
    """

    def __init__(self, wait: Wait) -> None:
        self._wait = wait
        self._state: ContainerState | None = None
        self._changes: ChangeStream | None = None
        self._may_follow = True
        self._again_s = ASKED_AGAIN_S
        self._asked_s = 0.0

    def known(self) -> ContainerState:
        """Return the state.

        :raises NotReadyError: if the container is gone.
        """
        if self._state is None or self._changes is None or time.monotonic() >= self._asked_s + self._again_s:
            try:
                self._state = self._wait.engine.state(self._wait.container)
            except ContainerError as error:
                raise self._wait.fails(f"is not to be waited for any more: {error}") from error
            if self._asked_s:
                self._again_s = min(2 * self._again_s, ASKED_AT_LEAST_S)
            self._asked_s = time.monotonic()
        return self._state

    def wait(self, until_s: float) -> None:
        """Return at a ``time.monotonic()`` moment, or before it once the container has changed."""
        if self._may_follow:
            self._may_follow = False
            with contextlib.suppress(ClnrmError):
                self._changes = self._wait.engine.follow_changes(self._wait.container)
            # What has changed before is not told.
            self._state = None
        if self._changes is not None:
            told = self._changes.wait(min(until_s, self._asked_s + self._again_s))
            if told:
                # An engine tells of an end some time before its answers show it.
                self._state, self._again_s = None, FIRST_PAUSE_S
            if told is not None:
                return
            self.close()
        time.sleep(max(0.0, until_s - time.monotonic()))

    def close(self) -> None:
        """Hear of changes no longer."""
        changes, self._changes = self._changes, None
        if changes is not None:
            changes.close()
