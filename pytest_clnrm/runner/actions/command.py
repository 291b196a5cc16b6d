"""A command in the container of a service."""

from __future__ import annotations

import contextlib
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

    from pytest_clnrm.engine.api import Engine
    from pytest_clnrm.model.result import Failure
    from pytest_clnrm.model.step import Command
    from pytest_clnrm.pool.running import RunningContainer
    from pytest_clnrm.runner.actions.attempt import Setting


def run_command(command: Command, setting: Setting) -> Attempt:
    """Run *command* to its end, and judge what it did.

    :raises ClnrmError: if the engine does not do what it is asked for.
    """
    engine = setting.around.runtime.engine()
    outcome = _exec(engine, command, setting)
    with within(setting.deadline_s):
        learn_secrets(setting)
    outcome = _without_meant_end(engine, outcome, setting)
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
    return replace(attempt, failures=failures, captured=captured)


def judge_output(setting: Setting, exit_code: int | None) -> tuple[Mapping[str, str], tuple[Failure, ...]]:
    """Return what is captured of a program that has ended, and why what it did is not what is expected."""
    stdout, stderr = setting.outputs["stdout"], setting.outputs["stderr"]
    failures = judge_step(
        setting.step,
        exit_code=exit_code,
        stdout=stdout.text(),
        stderr=stderr.text(),
        where=setting.around.where,
        stdout_omitted_bytes=stdout.omitted_bytes,
        stderr_omitted_bytes=stderr.omitted_bytes,
    )
    if setting.around.scenario.stdout_spans:
        problems = setting.around.trace.add_printed(stdout.text(), stdout.omitted_bytes)
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
        ended = f"the container of service {step.service!r} has ended{_why_ended(engine, container)}"
        failure = setting.failure(f"step {step.name!r}: {ended}", "error")
        return replace(failure, is_infrastructure=_is_gone(engine, container))
    return setting.cut_off() if outcome.timed_out else None


def _without_meant_end(engine: Engine, outcome: ExecOutcome, setting: Setting) -> ExecOutcome:
    """Return *outcome*, as a success where the step has ended its own service in an announced way.

    The step ends with its container, and may not get to tell its exit code. Its output is judged as usual.
    """
    container = setting.container
    may_end = container.service.may_end and setting.step.expect.exit_in == (0,)
    if not outcome.container_lost or not may_end:
        return outcome
    with contextlib.suppress(ClnrmError):
        code = state_once_ended(engine, container.id).exit_code
        if judge_end(container.service, code) == "meant":
            return replace(outcome, exit_code=0, container_lost=False)
    return outcome


def _is_gone(engine: Engine, container: RunningContainer) -> bool:
    """Tell whether somebody has removed a container, rather than its program ended."""
    try:
        engine.state(container.id)
    except LostContainerError:
        return True
    except ClnrmError:
        return False
    return False


def _why_ended(engine: Engine, container: RunningContainer) -> str:
    """Return how a container ended, in brackets; "" if the engine does not know any more."""
    with contextlib.suppress(ClnrmError):
        return f" ({state_once_ended(engine, container.id).describe_end()})"
    return ""
