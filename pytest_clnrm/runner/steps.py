"""Running the steps of a scenario: retries, timeouts, captures, and the result of each step."""

from __future__ import annotations

import contextlib
import shlex
import time
from codecs import getincrementaldecoder
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from pytest_clnrm.engine.api import ExecOutcome, ExecSpec
from pytest_clnrm.errors import ClnrmError, ScenarioTimeoutError
from pytest_clnrm.expect.steps import capture, judge_step
from pytest_clnrm.model.result import Failure, StepResult, clean_text, tail
from pytest_clnrm.runner.service_ends import judge_end, state_once_ended
from pytest_clnrm.scenario.templates.confined import bind
from pytest_clnrm.scenario.templates.render import TemplateError, bind_step, names_in_step
from pytest_clnrm.util.output import BoundedOutput
from pytest_clnrm.util.patterns import within
from pytest_clnrm.util.redaction import Redactor
from pytest_clnrm.util.terminal_text import LiveText

if TYPE_CHECKING:
    from pytest_clnrm.engine.api import Engine
    from pytest_clnrm.model.key_path import KeyPath
    from pytest_clnrm.model.scenario import Scenario
    from pytest_clnrm.model.step import Step
    from pytest_clnrm.pool.running import RunningContainer
    from pytest_clnrm.telemetry.tracing import ScenarioTrace

Stream = Literal["stdout", "stderr"]
OnStepOutput = Callable[[str, Stream, str], None]

STREAMS: tuple[Stream, ...] = ("stdout", "stderr")
RESULT_TEXT_CHARS = 64 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class _Attempt:
    """One run of one step."""

    outcome: ExecOutcome
    stdout: BoundedOutput
    stderr: BoundedOutput
    failures: tuple[Failure, ...]
    captured: dict[str, str]


@dataclass(kw_only=True)
class StepRunner:
    """Runs the steps of one scenario, one after another.

    :param began_s: ``time.monotonic()`` of the scenario's start.
    :param deadline_s: ``time.monotonic()`` at which the scenario's time is over.
    :param where: returns file and line of a key path.
    :param trace: gets a span of each attempt.
    :param on_output: gets (step, stream, text) as it arrives, without secrets and harmless to a terminal.
    :param redactor: hides secrets; learns those that steps capture.
    """

    engine: Engine
    scenario: Scenario
    began_s: float
    deadline_s: float
    where: Callable[[KeyPath], str]
    trace: ScenarioTrace
    redactor: Redactor
    on_output: OnStepOutput | None = None
    captured: dict[str, str] = field(default_factory=dict)
    _began: tuple[Step, float] | None = field(default=None, init=False)
    _outputs: dict[Stream, BoundedOutput] = field(default_factory=dict, init=False)

    def run(self, step: Step, container: RunningContainer) -> tuple[StepResult, ClnrmError | None]:
        """Run *step*, and again while it fails and may be retried.

        What others raise meanwhile (a time limit of another plugin, Ctrl-C) goes through; :meth:`cut_off`
        returns the result until there.

        :return: its result, and the error after which no further step can run, None if there is none.
        """
        self._outputs, self._began = {}, None
        started_s = time.monotonic()
        attempts = 0
        attempt: _Attempt | None = None
        error: ClnrmError | None = None
        bound = step
        try:
            try:
                bound = self._bind(step)
            except TemplateError as unbound:
                return self._not_bound(step, unbound, started_s), None
            self._began = bound, started_s
            while True:
                attempts += 1
                attempt = self._attempt(bound, container)
                lost = attempt.outcome.container_lost or attempt.outcome.still_running
                if not attempt.failures or attempts > step.retry.times or lost:
                    break
                if time.monotonic() + step.retry.delay_s >= self.deadline_s:
                    runs = "1 attempt" if attempts == 1 else f"{attempts} attempts"
                    raise ScenarioTimeoutError(
                        f"waiting to run step {step.name!r} again after {runs}; the last: "
                        f"{attempt.failures[0].message}"
                    )
                time.sleep(step.retry.delay_s)
            self.captured.update(attempt.captured)
            if attempt.outcome.timed_out and time.monotonic() >= self.deadline_s:
                error = ScenarioTimeoutError(f"step {step.name!r} was running")
        except ClnrmError as raised:
            error = raised
        return self._result(bound, attempt, attempts=attempts, started_s=started_s, error=error), error

    def cut_off(self, step: Step) -> StepResult:
        """Return the result of *step*, in which :meth:`run` has ended with an exception of others."""
        bound, started_s = self._began or (step, time.monotonic())
        return self._result(bound, None, attempts=1, started_s=started_s, error=None, cut_off=True)

    def _bind(self, step: Step) -> Step:
        if not step.templated:
            return step
        values = {**self.scenario.variables, **self.captured}
        return bind(bind_step, step, values, wall_s=max(1.0, self.deadline_s - time.monotonic()))

    def _not_bound(self, step: Step, error: TemplateError, started_s: float) -> StepResult:
        """Return the result of a step that uses a value which no earlier step has captured."""
        named = names_in_step(step)
        # Of several that are missing the first one is told.
        why = next(
            (
                f"{{{{ {each.name} }}}} has no value: step {before.name!r} has not captured it"
                for before in self.scenario.steps
                for each in before.captures
                if each.name in named and each.name not in self.captured
            ),
            str(error),
        )
        return StepResult(
            name=step.name,
            service=step.service,
            outcome="failed",
            started_s=started_s - self.began_s,
            attempts=0,
            failures=(self._failure(step, why, "error"),),
        )

    def _attempt(self, step: Step, container: RunningContainer) -> _Attempt:
        """Run *step* once, within a span of its own."""
        about = {"clnrm.step.name": step.name, "clnrm.service": step.service}
        with self.trace.span("clnrm.step", about, kind="client") as span:
            env = self.trace.enter_step(
                step.name,
                span.traceparent,
                given=container.env,
                made_with=container.spec.env,
                own=step.env,
            )
            attempt = self._try(replace(step, env=env), container)
            span.set("process.exit.code", attempt.outcome.exit_code)
            if attempt.failures:
                timed_out = attempt.outcome.timed_out
                span.fail(attempt.failures[0].message, "timeout" if timed_out else "failed")
            return attempt

    def _try(self, step: Step, container: RunningContainer) -> _Attempt:
        outputs = self._outputs = {stream: BoundedOutput() for stream in STREAMS}
        live = None if self.on_output is None else _Live(step, self.on_output, self.redactor)

        def on_output(stream: Stream, data: bytes) -> None:
            outputs[stream].feed(data)
            if live is not None:
                live.feed(stream, data)

        own_deadline_s = self.deadline_s
        if step.timeout_s is not None:
            own_deadline_s = min(self.deadline_s, time.monotonic() + step.timeout_s)
        outcome = self.engine.exec(
            container.id,
            ExecSpec(
                argv=("sh", "-c", step.run) if isinstance(step.run, str) else step.run,
                env=step.env,
                workdir=step.workdir,
                user=step.user,
                stdin=None if step.stdin is None else step.stdin.encode(),
            ),
            on_output=on_output,
            deadline_s=own_deadline_s,
        )
        if outcome.still_running:
            # Without a shell the step's processes cannot be ended but with the container.
            self.engine.remove([container.id])
        stdout, stderr = outputs["stdout"], outputs["stderr"]
        with within(own_deadline_s):
            self._learn_secrets(step, stdout, stderr)
        if live is not None:
            live.close()
        outcome = self._without_meant_end(step, outcome, container)
        broken = self._broken(step, outcome, container)
        if broken is not None:
            return _Attempt(outcome=outcome, stdout=stdout, stderr=stderr, failures=(broken,), captured={})
        with within(own_deadline_s):
            failures, captured = self._judge(step, outcome, stdout, stderr)
        return _Attempt(outcome=outcome, stdout=stdout, stderr=stderr, failures=failures, captured=captured)

    def _judge(
        self, step: Step, outcome: ExecOutcome, stdout: BoundedOutput, stderr: BoundedOutput
    ) -> tuple[tuple[Failure, ...], dict[str, str]]:
        """Return why *step* failed, and what it captured if it did not."""
        failures = judge_step(
            step,
            exit_code=outcome.exit_code,
            stdout=stdout.text(),
            stderr=stderr.text(),
            where=self.where,
            stdout_omitted_bytes=stdout.omitted_bytes,
            stderr_omitted_bytes=stderr.omitted_bytes,
        )
        if not outcome.started and (failures or isinstance(step.run, str)):
            failures = (self._not_started(step, stderr.text().strip()),)
        if self.scenario.stdout_spans:
            problems = self.trace.add_printed(stdout.text(), stdout.omitted_bytes)
            failures += tuple(self._failure(step, problem) for problem in problems)
        captured: dict[str, str] = {}
        if not failures and step.captures:
            captured, failures = capture(
                step,
                stdout.text(),
                stderr.text(),
                where=self.where,
                stdout_omitted_bytes=stdout.omitted_bytes,
                stderr_omitted_bytes=stderr.omitted_bytes,
            )
        return failures, captured

    def _learn_secrets(self, step: Step, stdout: BoundedOutput, stderr: BoundedOutput) -> None:
        """Hide what *step* captures as a secret, even if it fails: then its output is shown."""
        secret = tuple(each for each in step.captures if each.secret)
        if secret:
            only = replace(step, captures=secret)
            captured, _ = capture(only, stdout.text(), stderr.text(), where=self.where)
            self.redactor.add(captured.values())

    def _not_started(self, step: Step, why: str) -> Failure:
        if isinstance(step.run, str) and why == "command not found: sh":
            why = "the image has no shell (sh); give `run` as a list of a program and its arguments"
        return self._failure(step, f"step {step.name!r} could not be started: {why}", "error")

    def _broken(self, step: Step, outcome: ExecOutcome, container: RunningContainer) -> Failure | None:
        """Return why the step did not end by itself, None if it did."""
        if outcome.oom:
            limit = f"the container of service {step.service!r} is limited to {container.memory_limit_mb} MB"
            return self._failure(step, f"step {step.name!r} ran out of memory: {limit}", "error")
        if outcome.container_lost:
            ended = f"the container of service {step.service!r} has ended{self._why_ended(container.id)}"
            return self._failure(step, f"step {step.name!r}: {ended}", "error")
        if not outcome.timed_out:
            return None
        if time.monotonic() < self.deadline_s:
            return self._failure(step, f"step {step.name!r} timed out after {step.timeout_s:g} s")
        return Failure(message=f"step {step.name!r} was cut off by the scenario's timeout", step=step.name)

    def _failure(
        self, step: Step, message: str, kind: Literal["expectation", "error"] = "expectation"
    ) -> Failure:
        return Failure(message=message, kind=kind, where=self.where(step.at), step=step.name)

    def _without_meant_end(
        self, step: Step, outcome: ExecOutcome, container: RunningContainer
    ) -> ExecOutcome:
        """Return *outcome*, as a success where the step has ended its own service in an announced way.

        The step ends with its container, and may not get to tell its exit code. Its output is judged as
        usual.
        """
        if not outcome.container_lost or not container.service.may_end or step.expect.exit_in != (0,):
            return outcome
        with contextlib.suppress(ClnrmError):
            code = state_once_ended(self.engine, container.id).exit_code
            if judge_end(container.service, code) == "meant":
                return replace(outcome, exit_code=0, container_lost=False)
        return outcome

    def _why_ended(self, container: str) -> str:
        """Return how a container ended, in brackets; "" if the engine does not know any more."""
        with contextlib.suppress(ClnrmError):
            return f" ({state_once_ended(self.engine, container).describe_end()})"
        return ""

    def _shown(self, output: BoundedOutput) -> str:
        """Return the end of an output without secrets, with a note of how much is left out."""
        text = clean_text(output.text())
        if output.omitted_bytes:
            text = f"[... {output.omitted_bytes} bytes left out ...]\n{text}"
        # Secrets are hidden before the text is cut, which could leave a part of one. For a long output only
        # what is shown is searched, and as much more as the longest secret is long.
        looked_at = RESULT_TEXT_CHARS + self.redactor.longest
        if len(text) <= looked_at:
            return tail(self.redactor.cut_text(text), RESULT_TEXT_CHARS)
        end = self.redactor.end_of_text(self.redactor.cut_text(text[-looked_at:]))[-RESULT_TEXT_CHARS:]
        return f"[... {len(text) - RESULT_TEXT_CHARS} characters left out ...]\n{end}"

    def _result(
        self,
        step: Step,
        attempt: _Attempt | None,
        *,
        attempts: int,
        started_s: float,
        error: ClnrmError | None,
        cut_off: bool = False,
    ) -> StepResult:
        now_s = time.monotonic()
        result = StepResult(
            name=step.name,
            service=step.service,
            outcome="error" if cut_off or error is not None else "passed",
            command=step.run if isinstance(step.run, str) else shlex.join(step.run),
            started_s=started_s - self.began_s,
            duration_s=now_s - started_s,
            attempts=attempts,
        )
        if attempt is None:
            # Of a step that captures a secret it is not known yet what has to be hidden.
            if any(each.secret for each in step.captures):
                return result
            so_far = {stream: self._shown(output) for stream, output in self._outputs.items()}
            return replace(result, stdout=so_far.get("stdout", ""), stderr=so_far.get("stderr", ""))
        if attempt.outcome.timed_out:
            outcome: Any = "timeout"
        elif error is not None:
            outcome = "error"
        else:
            outcome = "failed" if attempt.failures else "passed"
        return replace(
            result,
            outcome=outcome,
            exit_code=attempt.outcome.exit_code,
            stdout=self._shown(attempt.stdout),
            stderr=self._shown(attempt.stderr),
            # At the scenario's timeout that is the one failure.
            failures=()
            if isinstance(error, ScenarioTimeoutError)
            else _with_attempts(attempt.failures, attempts, now_s - started_s),
        )


def _with_attempts(failures: tuple[Failure, ...], attempts: int, duration_s: float) -> tuple[Failure, ...]:
    """Return *failures*, the first one with how often the step was tried, and for how long."""
    if not failures or attempts == 1:
        return failures
    message = f"{failures[0].message} (after {attempts} attempts over {duration_s:.1f} s)"
    return replace(failures[0], message=message), *failures[1:]


class _Live:
    """The output of one attempt on its way to the terminal: whole characters, harmless ones, no secrets.

    Where a step captures a secret its output is shown at its end: only then the secret is known.
    """

    def __init__(self, step: Step, show: OnStepOutput, redactor: Redactor) -> None:
        self._decode = {stream: getincrementaldecoder("utf-8")("replace") for stream in STREAMS}
        self._shown = {stream: LiveText(partial(show, step.name, stream)) for stream in STREAMS}
        self._out = {stream: redactor.stream(self._shown[stream].feed) for stream in STREAMS}
        self._held: list[tuple[Stream, str]] | None = (
            [] if any(each.secret for each in step.captures) else None
        )

    def feed(self, stream: Stream, data: bytes, *, final: bool = False) -> None:
        """Take the next piece."""
        text = self._decode[stream].decode(data, final)
        if self._held is not None:
            self._held.append((stream, text))
        else:
            self._out[stream].feed(text)

    def close(self) -> None:
        """Show what was held back."""
        for stream in STREAMS:
            self.feed(stream, b"", final=True)
        for stream, text in self._held or ():
            self._out[stream].feed(text)
        for stream in STREAMS:
            self._out[stream].close()
            self._shown[stream].close()
