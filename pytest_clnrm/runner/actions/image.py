"""A container of an image that runs once: its entry point with the step's arguments, to its end."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from pytest_clnrm.errors import ContainerError, ImageError
from pytest_clnrm.model.scenario import service_of
from pytest_clnrm.runner.actions.attempt import STREAMS, Attempt, Stream
from pytest_clnrm.runner.actions.command import judge_output, learn_secrets
from pytest_clnrm.runner.host import check_host
from pytest_clnrm.runner.launch import planned
from pytest_clnrm.runner.service_ends import state_once_ended
from pytest_clnrm.util.patterns import within

if TYPE_CHECKING:
    from pytest_clnrm.engine.api import ContainerSpec, ImageFacts
    from pytest_clnrm.model.key_path import KeyPath
    from pytest_clnrm.model.step import ImageRun, Step
    from pytest_clnrm.runner.actions.attempt import Setting

_READ_S = 10.0


def run_image(action: ImageRun, setting: Setting) -> Attempt:
    """Run the image to its end, and judge its exit code and output.

    :raises ClnrmError: if the engine does not do what it is asked for.
    """
    around, step = setting.around, setting.step
    engine = around.runtime.engine()
    of_stderr = _of_stderr(step)
    if of_stderr is not None and engine.facts.merges_streams:
        message = (
            f"stderr of step {step.name!r} cannot be told: this engine keeps stdout and stderr of a "
            "container as one text; look at stdout, which has both"
        )
        return Attempt(failures=(setting.failure(message, "error", at=of_stderr),), is_last=True)
    spec = _spec(action, _image(action, setting), setting)
    with _created(spec, setting) as container:
        try:
            engine.start(container, deadline_s=setting.deadline_s)
        except ContainerError as error:
            message = f"step {step.name!r} could not be started: {error}"
            return Attempt(failures=(setting.failure(message, "error"),))
        had = dict.fromkeys(STREAMS, 0)
        ended = _follow(container, setting, had)
        state = state_once_ended(engine, container) if ended else None
        lacks = _complete(container, setting, had)
        with within(setting.deadline_s):
            learn_secrets(setting)
        if state is None:
            return Attempt(failures=(setting.cut_off(),), timed_out=True)
    setting.span.set("process.exit.code", state.exit_code)
    if state.oom_killed:
        failure = setting.out_of_memory("its container", spec.memory_bytes >> 20)
        return Attempt(failures=(failure,), exit_code=state.exit_code)
    with within(setting.deadline_s):
        captured, failures = judge_output(setting, state.exit_code, lacks)
    return Attempt(failures=failures, captured=captured, exit_code=state.exit_code)


def _of_stderr(step: Step) -> KeyPath | None:
    """Return the key by which a step's stderr is looked at, None if it is not."""
    if step.expect.stderr is not None:
        return step.expect.stderr.at
    return next((each.at for each in step.captures if each.stream == "stderr"), None)


def _image(action: ImageRun, setting: Setting) -> ImageFacts:
    """Return the image, which was got before the scenario's time began."""
    found = setting.around.images[action.image]
    if isinstance(found, ImageError):
        raise found
    return found


def _spec(action: ImageRun, image: ImageFacts, setting: Setting) -> ContainerSpec:
    """Return how the container is made, with the variables that make it export as this step."""
    around, service = setting.around, service_of(action)
    spec, _ = planned(
        around.runtime,
        service,
        image,
        name=f"{around.runtime.next_name()}-{service.name}",
        labels=around.labels,
        network=around.network,
        trace=around.trace,
    )
    check_host(action, service, spec.extra_hosts, around.runtime.engine().facts.url)
    env = around.trace.enter_step(
        setting.step.name, setting.span.traceparent, given=spec.env, made_with={}, own=action.env
    )
    # Nobody reaches it by a name: that may be one of a service's.
    return replace(spec, env=env, aliases=())


@contextmanager
def _created(spec: ContainerSpec, setting: Setting) -> Iterator[str]:
    """Create a container, and remove it whatever becomes of it."""
    around = setting.around
    runtime = around.runtime
    container = runtime.engine().create_container(spec)
    runtime.board.count(1, spec.memory_bytes)
    try:
        if around.network is not None and spec.networks:
            runtime.networks().joined(around.network, container, "")
        around.run_once[setting.step.name] = container
        yield container
    finally:
        around.run_once.pop(setting.step.name, None)
        runtime.board.count(-1, -spec.memory_bytes)
        runtime.remove_all([container])


def _follow(container: str, setting: Setting, had: dict[Stream, int]) -> bool:
    """Take the output as it comes, and tell whether the container has ended in time.

    :param had: how many bytes of each stream were taken; counted on.
    """
    with closing(setting.around.runtime.engine().follow_log(container)) as log:
        while time.monotonic() < setting.deadline_s:
            pieces = log.receive(setting.deadline_s)
            if pieces is None:
                return False
            if not pieces:
                return True
            for stream, data in pieces:
                had[stream] += len(data)
                setting.feed(stream, data)
    return False


def _complete(container: str, setting: Setting, had: dict[Stream, int]) -> str:
    """Take what was printed last: an engine that follows an output may end with the container, before it.

    Return why something may be missing before that, "" if nothing is.

    :param had: how many bytes of each stream there are already.
    """
    skip = dict(had)
    with closing(setting.around.runtime.engine().follow_log(container, until_now=True)) as log:
        while pieces := log.receive(time.monotonic() + _READ_S):
            for stream, data in pieces:
                rest = data[skip[stream] :]
                skip[stream] = max(0, skip[stream] - len(data))
                if rest:
                    setting.feed(stream, rest)
        if pieces is None:
            raise ContainerError(f"its output was not read to its end: nothing came for {_READ_S:g} s")
        return log.may_lack()
