"""Running the steps of a scenario: retries, timeouts, captures, and the result of each step."""

from __future__ import annotations

import shlex
import time
from codecs import getincrementaldecoder
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from pytest_clnrm.errors import ClnrmError, ScenarioTimeoutError
from pytest_clnrm.expect.golden import using
from pytest_clnrm.model.fault import AwaitExit, Fault
from pytest_clnrm.model.http import HttpRequest
from pytest_clnrm.model.result import Failure, StepResult, clean_text, tail
from pytest_clnrm.model.step import Command, ImageRun
from pytest_clnrm.runner.actions.attempt import STREAMS, Attempt, Setting, Stream, Surroundings
from pytest_clnrm.runner.actions.command import run_command
from pytest_clnrm.runner.actions.fault import await_exit, cause_fault
from pytest_clnrm.runner.golden import CLAIMS, GoldenFolder
from pytest_clnrm.scenario.templates.binding import bind_step
from pytest_clnrm.scenario.templates.confined import bind
from pytest_clnrm.scenario.templates.places import SERVICE, USERS
from pytest_clnrm.scenario.templates.render import TemplateError, names_in_step
from pytest_clnrm.util.counted import counted
from pytest_clnrm.util.output import BoundedOutput
from pytest_clnrm.util.terminal_text import LiveText

if TYPE_CHECKING:
    from pytest_clnrm.model.step import Action, Step
    from pytest_clnrm.util.redaction import Redactor

OnStepOutput = Callable[[str, Stream, str], None]

RESULT_TEXT_CHARS = 64 * 1024


@dataclass(kw_only=True)
class StepRunner:
    """Runs the steps of one scenario, one after another.

    :param around: what they all have.
    :param began_s: ``time.monotonic()`` of the scenario's start.
    :param on_output: gets (step, stream, text) as it arrives, without secrets and harmless to a terminal.
    """

    around: Surroundings
    began_s: float
    on_output: OnStepOutput | None = None
    captured: dict[str, str] = field(default_factory=dict)
    _began: tuple[Step, float] | None = field(default=None, init=False)
    _outputs: dict[Stream, BoundedOutput] = field(default_factory=dict, init=False)
    _judged_outputs: dict[Stream, BoundedOutput] = field(default_factory=dict, init=False)

    def run(self, step: Step) -> tuple[StepResult, ClnrmError | None]:
        """Run *step*, and again while it fails and may be retried.

        What others raise meanwhile (a time limit of another plugin, Ctrl-C) goes through; :meth:`cut_off`
        returns the result until there.

        :return: its result, and the error after which no further step can run, None if there is none.
        """
        self._outputs, self._began = {}, None
        started_s = time.monotonic()
        attempts = 0
        attempt: Attempt | None = None
        error: ClnrmError | None = None
        bound = step
        try:
            try:
                bound = self._bind(step)
                for each in step.captures:
                    # A block may be used again: no later step takes what an earlier use has captured.
                    self.captured.pop(each.name, None)
            except TemplateError as unbound:
                return self._not_bound(step, unbound, started_s), None
            self._began = bound, started_s
            self._mark(step)
            again = step.retry
            over_s = float("inf") if again.timeout_s is None else started_s + again.timeout_s
            while True:
                attempts += 1
                before, attempt = attempt, self._attempt(bound, over_s)
                if before and attempt.timed_out and over_s <= time.monotonic() < self.around.deadline_s:
                    # What the one before did not do says more than that there was no time for this one.
                    attempt = replace(before, is_last=attempt.is_last)
                    break
                self._judged_outputs = self._outputs
                if not attempt.failures or attempt.is_last:
                    break
                if again.times is not None and attempts > again.times:
                    break
                next_s = time.monotonic() + again.delay_s
                if next_s >= over_s and over_s < self.around.deadline_s:
                    break
                if next_s >= self.around.deadline_s:
                    runs = counted(attempts, "attempt")
                    raise ScenarioTimeoutError(
                        f"waiting to run step {step.name!r} again after {runs}; the last: "
                        f"{attempt.failures[0].message}"
                    )
                time.sleep(again.delay_s)
            self.captured.update(attempt.captured)
            if attempt.timed_out and time.monotonic() >= self.around.deadline_s:
                error = ScenarioTimeoutError(f"step {step.name!r} was running")
        except ClnrmError as raised:
            error = raised
        return self._result(bound, attempt, attempts=attempts, started_s=started_s, error=error), error

    def cut_off(self, step: Step) -> StepResult:
        """Return the result of *step*, in which :meth:`run` has ended with an exception of others."""
        bound, started_s = self._began or (step, time.monotonic())
        return self._result(bound, None, attempts=1, started_s=started_s, error=None, cut_off=True)

    def _mark(self, step: Step) -> None:
        """Note when a step begins since which logs are checked.

        Of several of one name the last one is meant, which begins when those before are no longer looked at.
        """
        checks = (check for each in self.around.scenario.steps for check in each.checks)
        if any(getattr(check, "since", "") == step.name for check in checks):
            self.around.began_s[step.name] = self.around.runtime.engine().clock_s()

    def _bind(self, step: Step) -> Step:
        if not step.templated:
            return step
        around = self.around
        values = {**around.users, **around.scenario.variables, **self.captured}
        if SERVICE not in values and SERVICE in names_in_step(step):
            from pytest_clnrm.runner.running_services import running_services

            values[SERVICE] = running_services(step, around)
        names = {each.name for before in around.scenario.steps for each in before.captures}
        known_now = frozenset({SERVICE, *USERS, *names} - around.scenario.variables.keys())
        wall_s = max(1.0, around.deadline_s - time.monotonic())
        return bind(bind_step, step, values, known_now, wall_s=wall_s)

    def _not_bound(self, step: Step, error: TemplateError, started_s: float) -> StepResult:
        """Return the result of a step that uses a value which no earlier step has captured."""
        named = names_in_step(step)
        # Of several that are missing the first one is told.
        why = next(
            (
                f"{{{{ {each.name} }}}} has no value: step {before.name!r} has not captured it"
                for before in self.around.scenario.steps
                for each in before.captures
                if each.name in named and each.name not in self.captured
            ),
            str(error),
        )
        where = self.around.where(error.path or step.at)
        return StepResult(
            name=step.name,
            service=step.service,
            outcome="failed",
            phase=step.phase,
            started_s=started_s - self.began_s,
            attempts=0,
            failures=(Failure(message=why, kind="error", where=where, step=step.name),),
        )

    def _attempt(self, step: Step, over_s: float) -> Attempt:
        """Run *step* once, within a span of its own.

        :param over_s: ``time.monotonic()`` at which it is not run any more.
        """
        about = {"clnrm.step.name": step.name, "clnrm.service": step.service or None}
        around = self.around
        outputs = self._outputs = {stream: BoundedOutput() for stream in STREAMS}
        live = None if self.on_output is None else _Live(step, self.on_output, around.redactor)
        deadline_s = min(around.deadline_s, over_s)
        if step.timeout_s is not None:
            deadline_s = min(deadline_s, time.monotonic() + step.timeout_s)
        with around.trace.span("clnrm.step", about, kind="client") as span:
            setting = Setting(
                around=around,
                step=step,
                span=span,
                deadline_s=deadline_s,
                outputs=outputs,
                show=(lambda *_: None) if live is None else live.feed,
            )
            with using(self._golden(step)):
                attempt = _with_checks(perform(step.action, setting), setting)
            if live is not None:
                live.close()
            if attempt.failures:
                span.fail(attempt.failures[0].message, "timeout" if attempt.timed_out else "failed")
            return attempt

    def _golden(self, step: Step) -> GoldenFolder:
        """Return the files that what *step* gives is compared with."""
        runtime, scenario = self.around.runtime, self.around.scenario
        update = runtime.settings.update_golden and runtime.run_folder is not None
        return GoldenFolder(
            rootdir=str(runtime.rootdir),
            scenario_file=scenario.file,
            owner=f"step {step.name!r} of {scenario.file}::{scenario.name}",
            claims=runtime.run_folder() / CLAIMS if update and runtime.run_folder else None,
            drafts=self.around.golden,
            without_secrets=self.around.redactor.text,
            loaded=runtime.loaded,
        )

    def _shown(self, output: BoundedOutput) -> str:
        """Return the end of an output without secrets, with a note of how much is left out."""
        text = clean_text(output.text())
        if output.omitted_bytes:
            text = f"[... {output.omitted_bytes} bytes left out ...]\n{text}"
        # Secrets are hidden before the text is cut, which could leave a part of one. For a long output only
        # what is shown is searched, and as much more as the longest secret is long.
        redactor = self.around.redactor
        looked_at = RESULT_TEXT_CHARS + redactor.longest
        if len(text) <= looked_at:
            return tail(redactor.cut_text(text), RESULT_TEXT_CHARS)
        end = redactor.end_of_text(redactor.cut_text(text[-looked_at:]))[-RESULT_TEXT_CHARS:]
        return f"[... {len(text) - RESULT_TEXT_CHARS} characters left out ...]\n{end}"

    def _result(
        self,
        step: Step,
        attempt: Attempt | None,
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
            phase=step.phase,
            outcome="error" if cut_off or error is not None else "passed",
            command=described(step.action),
            kind=_kind(step.action),
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
        if attempt.timed_out:
            outcome: Any = "timeout"
        elif error is not None:
            outcome = "error"
        else:
            outcome = "failed" if attempt.failures else "passed"
        return replace(
            result,
            outcome=outcome,
            exit_code=attempt.exit_code,
            stdout=self._shown(self._judged_outputs["stdout"]),
            stderr=self._shown(self._judged_outputs["stderr"]),
            # At the scenario's timeout that is the one failure.
            failures=()
            if isinstance(error, ScenarioTimeoutError)
            else _told(step, attempt.failures, attempts, now_s - started_s),
        )


def perform(action: Action, setting: Setting) -> Attempt:
    """Do what a step does, and judge it.

    :raises ClnrmError: if it cannot be done.
    """
    if isinstance(action, Command):
        return run_command(action, setting)
    if isinstance(action, ImageRun):
        from pytest_clnrm.runner.actions.image import run_image

        return run_image(action, setting)
    if isinstance(action, HttpRequest):
        from pytest_clnrm.runner.actions.http import run_http

        return run_http(action, setting)
    if isinstance(action, Fault):
        return cause_fault(action, setting)
    return await_exit(setting) if isinstance(action, AwaitExit) else Attempt()


def _with_checks(attempt: Attempt, setting: Setting) -> Attempt:
    """Return an attempt with what the checks of its step have shown, where it has come to its end."""
    if not setting.step.checks or (attempt.failures and (attempt.timed_out or attempt.is_last)):
        return attempt
    from pytest_clnrm.runner.checks.perform import make_checks

    return replace(attempt, failures=(*attempt.failures, *make_checks(setting)))


def _kind(action: Action) -> Literal["run", "http", "image"]:
    if isinstance(action, HttpRequest):
        return "http"
    return "image" if isinstance(action, ImageRun) else "run"


def described(action: Action) -> str:
    """Return what a step does, as its result tells it: a command as a shell would write it, "" for none."""
    if isinstance(action, Command):
        return action.run if isinstance(action.run, str) else shlex.join(action.run)
    if isinstance(action, ImageRun):
        return shlex.join([action.image, *(action.entrypoint or ()), *(action.run or ())])
    if isinstance(action, HttpRequest):
        return f"{action.method} {action.url}"
    if isinstance(action, Fault):
        return action.kind
    return "wait for its exit" if isinstance(action, AwaitExit) else ""


def _told(step: Step, failures: tuple[Failure, ...], attempts: int, duration_s: float) -> tuple[Failure, ...]:
    """Return *failures*, the first one with how often the step was tried, and for how long."""
    if step.phase == "setup":
        # What the scenario is about was not tried: it is broken, and has not failed.
        failures = tuple(replace(each, kind="error") for each in failures)
    if not failures or (attempts == 1 and step.retry.timeout_s is None):
        return failures
    message = f"{failures[0].message} (after {counted(attempts, 'attempt')} over {duration_s:.1f} s)"
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
