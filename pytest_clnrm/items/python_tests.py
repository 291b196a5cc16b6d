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
from pytest_clnrm.items.properties import set_properties
from pytest_clnrm.items.report_data import report_data
from pytest_clnrm.model.result import ContainerFacts, Failure, Result, SpanCounts, StepResult, tail
from pytest_clnrm.report.rows import failure_of
from pytest_clnrm.reservation.item_demand import is_scenario
from pytest_clnrm.reservation.priorities import priority_of
from pytest_clnrm.scheduling.tickets import TICKET, lease_of
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
    kept_under_lease: bool = False
    has_containers: bool = False
    traces: list[ScenarioTrace] = field(default_factory=list)
    results: list[Result] = field(default_factory=list)
    """Of scenarios that it has run."""


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
            end(failed=failed)

    # what pytest tells

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        """Begin a new record, for each rerun too."""
        self._record = None if is_scenario(item) else _Record(item=item)

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(self, fixturedef: Any) -> Generator[None, object, object]:
        """Remember which fixture is set up: containers that are made meanwhile are its own."""
        __tracebackhide__ = True
        self._fixtures.append(fixturedef.argname)
        try:
            return (yield)
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
                pytest.fail(str(error), pytrace=False)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Show the logs of a failing test's containers, and put its result on its last report."""
        record = self._record
        if record is not None and record.item is item:
            self._tell_properties(record)
        report = yield
        if record is not None and record.item is item:
            if report.failed:
                self._show(record, report, call.excinfo.value if call.excinfo else None)
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
        ticket = item.stash.get(TICKET, None)
        record.has_containers = bool(record.has_containers or ticket or self._used_by(item))
        if record.has_containers:
            set_properties(
                item,
                tags=_tags(item),
                priority=priority_of(item, self.runtime.settings, self.runtime.rootdir).label,
                worker=self.runtime.worker,
                slot_wait_s=ticket.waited_s if ticket else 0.0,
            )

    def _show(self, record: _Record, report: pytest.TestReport, error: BaseException | None) -> None:
        redactors: list[Redactor] = []
        for live in self._used_by(record.item):
            live.failed = True
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
        failure = failure_of(report)
        for redactor in redactors:
            failure = redactor.result(failure)
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
        ):
            result = self._result(record)
        kept = list(self.kept)
        self.kept.clear()
        if result is not None or kept:
            report.clnrm_test = report_data(  # type: ignore[attr-defined]
                result=result or {},
                engine=self.runtime.engine_text(),
                kept=tuple(kept),
                lease=lease_of(record.item) if record is not None and record.kept_under_lease else "",
            )

    def _result(self, record: _Record) -> dict[str, Any]:
        item = record.item
        file, line, _ = item.location
        ticket = item.stash.get(TICKET, None)
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
            slot_wait_s=ticket.waited_s if ticket else 0.0,
            worker=self.runtime.worker,
            # pytest-rerunfailures counts the runs of an item.
            containers=tuple(record.containers.values()),
            steps=tuple(record.steps),
            failures=tuple(record.failures),
            notes=notes,
            spans=SpanCounts(
                runner=sum(each.count_ours() for each in record.traces)
                + sum(each.spans.runner for each in record.results),
                workload=sum(len(each.workload()) for each in record.traces)
                + sum(each.spans.workload for each in record.results),
            ),
            artifacts=tuple(each for result in record.results for each in result.artifacts),
        )
        return result.to_data()


def _tags(item: pytest.Item) -> tuple[str, ...]:
    return tuple(dict.fromkeys(marker.name for marker in item.iter_markers()))


def _uses(item: pytest.Item, live: LiveContainer) -> bool:
    """Tell whether a container was made for an item, or for a fixture that it uses."""
    return live.nodeid == item.nodeid or live.fixture in getattr(item, "fixturenames", ())
