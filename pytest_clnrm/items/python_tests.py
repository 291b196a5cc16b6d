"""Python tests with containers: what each did, for its reports, and what is kept if it fails."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, Protocol

import pytest

from pytest_clnrm.errors import ClnrmError, ServiceError
from pytest_clnrm.items.failures import is_infrastructure
from pytest_clnrm.items.properties import outcome_of, set_properties
from pytest_clnrm.items.report_data import report_data
from pytest_clnrm.items.retries import as_failure, with_earlier
from pytest_clnrm.model.result import ContainerFacts, Failure, Result, SpanCounts, StepResult, tail
from pytest_clnrm.reservation.item_demand import is_scenario
from pytest_clnrm.reservation.priorities import priority_of
from pytest_clnrm.scheduling.tickets import TICKET, failed_plainly, lease_of, waited_s_of
from pytest_clnrm.util.terminal_text import shown

if TYPE_CHECKING:
    from pytest_clnrm.pool.running import RunningContainer
    from pytest_clnrm.runtime.runtime import Runtime
    from pytest_clnrm.telemetry.tracing import ScenarioTrace
    from pytest_clnrm.util.redaction import Redactor

SHOWN_CHARS, SHOWN_LINES = 4096, 40
"""How much of a container's output is shown below a test that failed."""
REPORTED_CHARS = 64 * 1024
MAX_STEPS = 500
"""How many commands of a test are reported, the last ones."""


def last_lines(logs: str) -> str:
    """Return what is shown of a container's output."""
    lines = tail(shown(logs).strip("\n"), SHOWN_CHARS).split("\n")
    if len(lines) > SHOWN_LINES:
        lines = [f"[... {len(lines) - SHOWN_LINES} lines left out ...]", *lines[-SHOWN_LINES:]]
    return "\n".join(lines)


def _tells(error: BaseException | None, name: str, logs: str) -> bool:
    """Tell whether *error* shows the output of the container *name* already, which may still be growing."""
    if isinstance(error, ServiceError) and error.service == name:
        return bool(error.logs)
    return last_lines(logs) in "\n".join([str(error), *getattr(error, "__notes__", ())])


class End(Protocol):
    """Ends a container whose block a failure has ended."""

    def __call__(self, *, failed: bool) -> None:
        """Keep it if its test has failed, else remove it."""


SOURCES = pytest.StashKey[dict[str, Any]]()
"""Lines at the places of a test's failures, of all of its attempts."""


@dataclass(kw_only=True, eq=False)
class LiveContainer:
    """A container from its creation to its removal.

    :param logs: returns the end of its output without secrets.
    :param spans: returns in words what it has sent since a moment, nanoseconds since 1970, if it is shared.
    :param redactor: hides the secrets of whoever made it.
    :param fixture: the fixture in whose set-up it was made, "" if none was set up.
    :param nodeid: of the test that ran then.
    :ivar failed: a test that uses it has failed.
    :ivar may_have_ended: the test has told it to end, or has waited for its end.
    :ivar paused: the test has paused it.
    """

    running: RunningContainer
    logs: Callable[[], str]
    spans: Callable[[int], str]
    redactor: Redactor
    fixture: str
    nodeid: str
    failed: bool = False
    may_have_ended: bool = False
    paused: bool = False


@dataclass(kw_only=True, eq=False)
class Attempts:
    """The attempts of one test that is tried again when it fails.

    :param left: how many there may be after the one that runs.
    :ivar earlier: those before it; all have failed.
    :ivar again: the one that runs has failed, and there will be another.
    :ivar failed_fixtures: with their requests; of a wider scope perhaps, whose failure pytest remembers.
    :ivar was_told: a part of it, a subtest, was reported as failed already.
    """

    left: int
    earlier: list[Result] = field(default_factory=list)
    again: bool = False
    failed_fixtures: list[tuple[Any, pytest.FixtureRequest]] = field(default_factory=list)
    was_told: bool = False

    def take(self, report: pytest.TestReport, *, worth: bool) -> None:
        """Decide by the report of a phase whether there will be another attempt."""
        if report.when == "teardown":
            # What could not be torn down may be in the way of another.
            self.again = self.again and report.passed
        else:
            self.again = report.failed and worth and self.left > 0 and not self.was_told


@dataclass(kw_only=True, eq=False)
class _Record:
    """What one test has done with containers, from its set-up on."""

    item: pytest.Item
    started: datetime = field(default_factory=lambda: datetime.now(timezone.utc))
    began_s: float = field(default_factory=time.monotonic)
    steps: list[StepResult] = field(default_factory=list)
    steps_left_out: int = 0
    containers: dict[str, ContainerFacts] = field(default_factory=dict)
    logs: dict[str, tuple[str, str]] = field(default_factory=dict)
    """By id, the name and the logs of containers that are to be shown."""
    failures: list[Failure] = field(default_factory=list)
    waited_s: float = 0.0
    """For room of containers, beside its reservation."""
    kept_under_lease: bool = False
    has_containers: bool = False
    traces: list[ScenarioTrace] = field(default_factory=list)
    results: list[Result] = field(default_factory=list)
    """Of scenarios that it has run."""
    notes: list[str] = field(default_factory=list)


class PythonTests:
    """Follows the Python tests of one process; a plugin of pytest.

    :ivar kept: names of containers that were kept, and that no report has told yet.
    :ivar shared: the shared containers that this process uses, by their keys: ``Held`` of
        shared_container.py.
    """

    def __init__(self, runtime: Runtime) -> None:
        self.runtime = runtime
        self._record: _Record | None = None
        self._fixtures: list[str] = []
        self._live: dict[str, LiveContainer] = {}
        self._postponed: list[End] = []
        self.kept: list[str] = []
        self.shared: dict[str, Any] = {}
        self.attempts: Attempts | None = None

    # what containers tell

    def opened(
        self,
        running: RunningContainer,
        *,
        logs: Callable[[], str],
        redactor: Redactor,
        spans: Callable[[int], str] = lambda _: "",
    ) -> LiveContainer:
        """Note that a container was created, for the test and the fixture that are at work."""
        live = LiveContainer(
            running=running,
            logs=logs,
            spans=spans,
            redactor=redactor,
            fixture=self._fixtures[-1] if self._fixtures else "",
            nodeid=self._record.item.nodeid if self._record else "",
        )
        self._live[running.id] = live
        if self._record is not None:
            self._record.has_containers = True
        return live

    def ending(self, live: LiveContainer, error: BaseException | None) -> bool:
        """Note how a container is before its block ends; tell whether a failure ends it.

        :param error: what ends the block, None if it ends by itself.
        """
        is_failure = error is not None and not isinstance(
            error, (pytest.skip.Exception, pytest.exit.Exception, KeyboardInterrupt, GeneratorExit)
        )
        record = self._record
        if record is not None and _uses(record.item, live) and (is_failure or self._reports()):
            logs = self._noted(record, live, with_logs=is_failure)
            if is_failure:
                record.logs[live.running.id] = (live.running.service.name, logs)
        return is_failure

    def gone(self, live: LiveContainer) -> None:
        """Forget a container that was removed, or kept."""
        self._live.pop(live.running.id, None)

    def ran(self, step: StepResult) -> None:
        """Note a command that was run, for the report; its start is by the monotonic clock."""
        record = self._record
        if record is not None and self._reports():
            record.steps.append(replace(step, started_s=max(0.0, step.started_s - record.began_s)))
            if len(record.steps) > MAX_STEPS:
                del record.steps[0]
                record.steps_left_out += 1

    def included(self, result: Result, began_s: float) -> None:
        """Note what a scenario that the test has run did; *began_s* is by the monotonic clock."""
        record = self._record
        if record is None:
            return
        for step in result.steps:
            self.ran(replace(step, name=f"{result.name}: {step.name}", started_s=began_s + step.started_s))
        record.has_containers = True
        record.containers.update((each.id, each) for each in result.containers)
        record.results.append(result)

    def waited(self, seconds: float) -> None:
        """Note that the test that runs has waited for room of a container."""
        if self._record is not None:
            self._record.waited_s += seconds

    def traced(self, trace: ScenarioTrace) -> None:
        """Note the trace of the test that runs, whose spans are counted."""
        if self._record is not None:
            self._record.traces.append(trace)

    def was_kept(self, name: str, *, own_lease: bool) -> None:
        """Note that a container was kept.

        :param own_lease: it counts under a lease of its own, not under that of the test.
        """
        self.kept.append(name)
        if self._record is not None and not own_lease:
            self._record.kept_under_lease = True

    def postpone(self, end: End) -> None:
        """End a container once it is known whether the test whose exception has ended its block fails."""
        self._postponed.append(end)

    def settle(self, *, failed: bool = False) -> None:
        """End what was postponed; a test that goes on has caught the exception, and nothing of it is kept."""
        postponed, self._postponed = self._postponed, []
        failed = failed or (self._record is not None and bool(self._record.failures))
        for end in postponed:
            end(failed=failed and not self._is_tried_again())

    @property
    def attempt(self) -> int:
        """Return the number of the attempt that runs, from 1."""
        return 1 if self.attempts is None else len(self.attempts.earlier) + 1

    def _is_tried_again(self) -> bool:
        return self.attempts is not None and self.attempts.again

    # what pytest tells

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        """Begin a new record, for each rerun too."""
        if is_scenario(item):
            self._record = None
            return
        record = self._record = _Record(item=item)
        if self.attempt > 1:
            record.notes += [
                f"not new in attempt {self.attempt}: container "
                f"{live.running.service.name!r}, which the fixture {live.fixture!r} of a wider scope holds"
                for live in self._used_by(item)
            ]

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(
        self, fixturedef: Any, request: pytest.FixtureRequest
    ) -> Generator[None, object, object]:
        """Remember which fixture is set up: containers that are made meanwhile are its own."""
        __tracebackhide__ = True
        self._fixtures.append(fixturedef.argname)
        try:
            return (yield)
        except BaseException:
            if self.attempts is not None:
                self.attempts.failed_fixtures.append((fixturedef, request))
            raise
        finally:
            self._fixtures.pop()

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_teardown(self) -> Generator[None, object, object]:
        """End what was postponed once the fixtures are torn down."""
        __tracebackhide__ = True
        failed = True
        try:
            result = yield
            failed = False
            return result
        finally:
            try:
                self.settle(failed=failed)
            except ClnrmError as error:
                raise failed_plainly(str(error), is_infrastructure=error.is_infrastructure) from None

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Show the logs of a failing test's containers, and put its result on its last report."""
        record = self._record
        if record is not None and record.item is item:
            self._tell_properties(record)
        report = yield
        # For a unittest that is set by now.
        error = call.excinfo.value if call.excinfo else None
        if record is not None and record.item is item:
            if self.attempts is not None:
                self.attempts.take(report, worth=not is_infrastructure(error) and not _is_time_limit(error))
            if report.failed:
                self._show(record, report, error)
            elif call.when == "call" and self._reports():
                for live in self._used_by(item):
                    self._noted(record, live, with_logs=False)
            record.logs.clear()
            if call.when == "teardown":
                self._attach(record, report)
        elif self.kept:
            self._attach(None, report)
        return report

    def _tell_properties(self, record: _Record) -> None:
        """Tell other plugins, and JUnit's file, of a test with containers what they cannot know otherwise."""
        item = record.item
        record.has_containers = bool(record.has_containers or TICKET in item.stash or self._used_by(item))
        outcome = outcome_of(self._result(record))
        if record.has_containers or outcome or self.attempts is not None:
            set_properties(
                item,
                tags=_tags(item),
                priority=priority_of(item, self.runtime.settings, self.runtime.rootdir).label,
                worker=self.runtime.worker,
                slot_wait_s=waited_s_of(item) + record.waited_s,
                # JUnit's file has those of the teardown's report.
                outcome=outcome,
                earlier=self.attempts.earlier if self.attempts else (),
            )

    def _show(self, record: _Record, report: pytest.TestReport, error: BaseException | None) -> None:
        redactors: list[Redactor] = []
        for live in self._used_by(record.item):
            live.failed = live.failed or not self._is_tried_again()
            redactors.append(live.redactor)
            if live.running.id not in record.logs:
                logs = self._noted(record, live, with_logs=True)
                record.logs[live.running.id] = (live.running.service.name, logs)
        for name, logs in record.logs.values():
            if logs.strip() and not _tells(error, name, logs):
                report.sections.append(
                    (f"Captured logs of container {name!r} {report.when}", last_lines(logs))
                )
        since_ns = int(record.started.timestamp() * 1e9)
        for live in self._used_by(record.item):
            if spans := live.spans(since_ns):
                name = live.running.service.name
                report.sections.append((f"Captured spans of container {name!r} {report.when}", spans))
        from pytest_clnrm.report.rows import failure_of
        from pytest_clnrm.util.source_lines import Sources

        failure = replace(failure_of(report), is_infrastructure=is_infrastructure(error))
        for redactor in redactors:
            failure = redactor.result(failure)
        if self._reports():
            config = record.item.config
            found = Sources(str(config.rootpath), str(config.invocation_params.dir)).at([failure.where])
            for redactor in redactors:
                found = redactor.data(found)
            record.item.stash.setdefault(SOURCES, {}).update(found)
        if failure.is_infrastructure:
            report.clnrm_outcome = "infrastructure"  # type: ignore[attr-defined]
        record.failures.append(failure)

    def _used_by(self, item: pytest.Item) -> list[LiveContainer]:
        return [live for live in self._live.values() if _uses(item, live)]

    def _noted(self, record: _Record, live: LiveContainer, *, with_logs: bool) -> str:
        """Note how a container is, and return its logs if they are asked for."""
        logs = ""
        if with_logs:
            with suppress(ClnrmError):
                logs = live.logs()
        before = record.containers.get(live.running.id)
        record.containers[live.running.id] = self._facts(
            live.running, logs or (before.logs if before else "")
        )
        return logs

    def _facts(self, running: RunningContainer, logs: str) -> ContainerFacts:
        facts = replace(running.facts, logs=tail(logs, REPORTED_CHARS))
        # What the engine cannot tell any more must not hide what went wrong.
        with suppress(ClnrmError):
            engine = self.runtime.engine()
            state = engine.state(running.id)
            facts = replace(
                facts,
                oom_killed=state.oom_killed,
                exit_code=state.exit_code,
                peak_memory_bytes=engine.peak_memory_bytes(state) if state.running else None,
            )
        return facts

    def _reports(self) -> bool:
        return self.runtime.settings.report_dir is not None

    def _attach(self, record: _Record | None, report: pytest.TestReport) -> None:
        """Put on a report what the controller has to know."""
        result = None
        if record is not None and (
            # The command by which a kept container can be looked at depends on whether it still runs.
            (record.failures and record.containers)
            or (self._reports() and (record.containers or TICKET in record.item.stash))
            or self.attempts is not None
            or any(each.is_infrastructure for each in record.failures)
        ):
            result = self._result(record).to_data()
        kept = list(self.kept)
        self.kept.clear()
        if result is not None or kept:
            report.clnrm_test = report_data(  # type: ignore[attr-defined]
                result=result or {},
                engine=self.runtime.engine_text(),
                kept=tuple(kept),
                lease=lease_of(record.item) if record is not None and record.kept_under_lease else "",
                sources=record.item.stash.get(SOURCES, {}) if record is not None else {},
            )

    def _result(self, record: _Record) -> Result:
        item = record.item
        file, line, _ = item.location
        notes = (f"{record.steps_left_out} earlier commands are left out",) if record.steps_left_out else ()
        result = Result(
            nodeid=item.nodeid,
            name=item.name,
            file=file,
            line=0 if line is None else line + 1,
            tags=_tags(item),
            priority=priority_of(item, self.runtime.settings, self.runtime.rootdir).label,
            started=record.started.isoformat(timespec="microseconds"),
            duration_s=time.monotonic() - record.began_s,
            slot_wait_s=waited_s_of(item) + record.waited_s,
            worker=self.runtime.worker,
            # pytest-rerunfailures counts the runs of an item.
            containers=tuple(record.containers.values()),
            steps=tuple(record.steps),
            failures=tuple(record.failures),
            outcome="failed" if record.failures else "passed",
            notes=(*notes, *record.notes),
            spans=SpanCounts(
                runner=sum(each.count_ours() for each in record.traces)
                + sum(each.spans.runner for each in record.results),
                workload=sum(len(each.workload()) for each in record.traces)
                + sum(each.spans.workload for each in record.results),
            ),
            artifacts=tuple(each for result in record.results for each in result.artifacts),
        )
        if self.attempts is None:
            return result
        result = with_earlier(result, self.attempts.earlier)
        if result.is_flaky and self.runtime.settings.flaky == "fail":
            result = as_failure(result, f"{result.file}:{result.line}")
        return result


def _is_time_limit(error: BaseException | None) -> bool:
    """Tell whether pytest-timeout has ended a test: its clock is set once for all attempts."""
    trace = None if error is None else error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_globals.get("__name__") == "pytest_timeout":
            return True
        trace = trace.tb_next
    return False


def _tags(item: pytest.Item) -> tuple[str, ...]:
    return tuple(dict.fromkeys(marker.name for marker in item.iter_markers()))


def _uses(item: pytest.Item, live: LiveContainer) -> bool:
    """Tell whether a container was made for an item, or for a fixture that it uses."""
    return live.nodeid == item.nodeid or live.fixture in getattr(item, "fixturenames", ())
