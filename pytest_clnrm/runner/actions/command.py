"""A command in the container of a service."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from pytest_clnrm.engine.api import ExecOutcome, ExecSpec
from pytest_clnrm.errors import ClnrmError, LostContainerError
from pytest_clnrm.expect.steps import capture, judge_step, say_so
from pytest_clnrm.runner.actions.attempt import Attempt
from pytest_clnrm.runner.host import check_host
from pytest_clnrm.runner.service_ends import judge_end, state_once_ended
from pytest_clnrm.util.patterns import within

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_clnrm.engine.api import ContainerState, Engine
    from pytest_clnrm.model.result import Failure
    from pytest_clnrm.model.step import Command
    from pytest_clnrm.runner.actions.attempt import Setting


def run_command(command: Command, setting: Setting) -> Attempt:
    """Run *command* to its end, and judge what it did.

    :raises ClnrmError: if the engine does not do what it is asked for.
    """
    engine = setting.around.runtime.engine()
    ends_service = setting.step.expect.service_ends
    if ends_service and (early := _ended_before(engine, setting)):
        return Attempt(failures=(early,), is_last=True)
    outcome = _exec(engine, command, setting)
    with within(setting.deadline_s):
        learn_secrets(setting)
    setting.span.set("process.exit.code", outcome.exit_code)
    attempt = Attempt(
        exit_code=outcome.exit_code,
        timed_out=outcome.timed_out,
        is_last=outcome.container_lost or outcome.still_running,
    )
    broken = _broken(engine, outcome, setting)
    if broken is not None:
        return replace(attempt, failures=(broken,))
    with within(setting.deadline_s):
        captured, failures = judge_output(setting, outcome.exit_code)
        if not outcome.started and (failures or isinstance(command.run, str)):
            failures = (_not_started(command, setting, outcome.exit_code),)
    attempt = replace(attempt, failures=failures, captured=captured)
    if ends_service and not outcome.container_lost and not failures:
        return _until_service_ends(engine, attempt, setting)
    return attempt


def judge_output(
    setting: Setting, exit_code: int | None, lacks: str = ""
) -> tuple[Mapping[str, str], tuple[Failure, ...]]:
    """Return what is captured of a program that has ended, and why what it did is not what is expected.

    :param lacks: why the beginning of its output may be missing, in words; "" if it is there.
    """
    stdout, stderr = setting.outputs["stdout"], setting.outputs["stderr"]
    failures = judge_step(
        setting.step,
        exit_code=exit_code,
        stdout=stdout.text(),
        stderr=stderr.text(),
        where=setting.around.where,
        stdout_omitted_bytes=stdout.omitted_bytes,
        stderr_omitted_bytes=stderr.omitted_bytes,
        lacks=lacks,
    )
    if setting.around.scenario.stdout_spans:
        problems = setting.around.trace.add_printed(stdout.text(), stdout.omitted_bytes, lacks)
        failures += tuple(setting.failure(problem) for problem in problems)
    if failures or not setting.step.captures:
        return {}, failures
    return capture(
        setting.step,
        stdout.text(),
        stderr.text(),
        where=setting.around.where,
        stdout_omitted_bytes=stdout.omitted_bytes,
        stderr_omitted_bytes=stderr.omitted_bytes,
        lacks=lacks,
    )


def _exec(engine: Engine, command: Command, setting: Setting) -> ExecOutcome:
    container = setting.container
    check_host(command, container.service, container.spec.extra_hosts, engine.facts.url)
    env = setting.around.trace.enter_step(
        setting.step.name,
        setting.span.traceparent,
        given=container.env,
        made_with=container.spec.env,
        own=command.env,
    )
    outcome = engine.exec(
        container.id,
        ExecSpec(
            argv=("sh", "-c", command.run) if isinstance(command.run, str) else command.run,
            env=env,
            workdir=command.workdir,
            user=command.user,
            stdin=None if command.stdin is None else command.stdin.encode(),
        ),
        on_output=setting.feed,
        deadline_s=setting.deadline_s,
    )
    if outcome.still_running:
        # Without a shell the step's processes cannot be ended but with the container.
        engine.remove([container.id])
    return outcome


def learn_secrets(setting: Setting) -> None:
    """Hide what the step captures as a secret, even if it fails: then its output is shown."""
    secret = tuple(each for each in setting.step.captures if each.secret)
    if secret:
        only = replace(setting.step, captures=secret)
        texts = (setting.outputs["stdout"].text(), setting.outputs["stderr"].text())
        captured, _ = capture(only, *texts, where=setting.around.where)
        setting.around.redactor.add(captured.values())


def _not_started(command: Command, setting: Setting, exit_code: int | None) -> Failure:
    why, details = setting.outputs["stderr"].text().strip(), ""
    if isinstance(command.run, tuple):
        details = "" if setting.step.expect.exit_in else say_so(exit_code)
    elif why == "command not found: sh":
        why = "the image has no shell (sh); give `run` as a list of a program and its arguments"
    message = f"step {setting.step.name!r} could not be started: {why}"
    return setting.failure(message, "error", details=details)


def _broken(engine: Engine, outcome: ExecOutcome, setting: Setting) -> Failure | None:
    """Return why the command did not end by itself, None if it did."""
    step, container = setting.step, setting.container
    if outcome.oom:
        return setting.out_of_memory(f"the container of service {step.service!r}", container.memory_limit_mb)
    if outcome.container_lost:
        return _lost(engine, setting)
    return setting.cut_off() if outcome.timed_out else None


def _ended_before(engine: Engine, setting: Setting) -> Failure | None:
    """Return a failure if the service that a step is to end has ended before it."""
    state = engine.state(setting.container.id)
    if state.running:
        return None
    step = setting.step
    ended = f"service {step.service!r}, which it is to end, had ended before ({state.describe_end()})"
    return setting.failure(f"step {step.name!r} was not run: {ended}", "error")


def _until_service_ends(engine: Engine, attempt: Attempt, setting: Setting) -> Attempt:
    """Wait for the end of the service that a step ends, and return *attempt* with what is wrong with it."""
    state = state_once_ended(engine, setting.container.id, deadline_s=setting.deadline_s)
    if state.running:
        failure = setting.cut_off(f"service {setting.step.service!r} had not ended")
        return replace(attempt, failures=(failure,), timed_out=True)
    wrong = _wrong_end(state, setting)
    return replace(attempt, failures=(wrong,)) if wrong else attempt


def _lost(engine: Engine, setting: Setting) -> Failure | None:
    """Return what is wrong with a step that its container's end has cut off, None if it was to end it.

    Who has ended it cannot be told, nor what the step would have done: so the file has to say so.
    """
    step = setting.step
    try:
        state = state_once_ended(engine, setting.container.id)
    except ClnrmError as error:
        message = f"step {step.name!r}: the container of service {step.service!r} has ended"
        # Somebody has removed it.
        is_gone = isinstance(error, LostContainerError)
        return replace(setting.failure(message, "error"), is_infrastructure=is_gone)
    wrong = _wrong_end(state, setting)
    if wrong or step.expect.service_ends:
        return wrong
    ended = f"as service {step.service!r} ended ({state.describe_end()})"
    remedy = "if the step is to end it, write service_ends = true in its expect"
    message = f"step {step.name!r} was cut off {ended}: its exit code was not seen; {remedy}"
    return setting.failure(message, "error")


def _wrong_end(state: ContainerState, setting: Setting) -> Failure | None:
    """Return a failure if a service has ended during a step, and not as it may."""
    step = setting.step
    if judge_end(setting.container.service, state.exit_code) == "meant":
        return None
    message = (
        f"step {step.name!r}: the container of service {step.service!r} has ended ({state.describe_end()})"
    )
    return setting.failure(message, "error")
