"""Scenarios as pytest runs and reports them."""

from __future__ import annotations

import dataclasses
import os
import sys
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NoReturn

import pytest
from _pytest._code import Traceback
from _pytest._code.code import ExceptionChainRepr, ReprFileLocation
from _pytest.fixtures import FuncFixtureInfo, TopRequest

from pytest_clnrm.errors import ClnrmError, ContainerError, EngineUnavailableError
from pytest_clnrm.expect.texts import indent
from pytest_clnrm.items.artifact_place import base_of, shown_base
from pytest_clnrm.items.failures import (
    ScenarioBrokenError,
    ScenarioFailedError,
    clean_report,
    cleaned,
    error_of,
    frames_of_others,
    place_of,
    raise_at,
    with_crash,
)
from pytest_clnrm.items.file_node import FileNode
from pytest_clnrm.items.item_words import ItemWords, in_one_line
from pytest_clnrm.items.outline import Outline, outline_of
from pytest_clnrm.items.properties import outcome_of, set_properties
from pytest_clnrm.items.report_data import report_data
from pytest_clnrm.items.retries import as_failure, claim, is_worth_another, retries_of, with_earlier
from pytest_clnrm.items.right_size import TOLD, WholeRoom, is_out_of_memory, lowered
from pytest_clnrm.items.selection import marks_of, why_not_on
from pytest_clnrm.items.tags import add_mark, add_tag
from pytest_clnrm.model.result import Failure, Result
from pytest_clnrm.names import ARTIFACTS_FOLDER
from pytest_clnrm.report.failure_text import explain_failure, title
from pytest_clnrm.reservation.priorities import priority_of
from pytest_clnrm.runner.artifacts import ArtifactFolder
from pytest_clnrm.runner.volumes import imported, shared_with
from pytest_clnrm.scenario.locating import locate
from pytest_clnrm.scheduling.tickets import TICKET, lease_of, waited_s_of
from pytest_clnrm.telemetry.tracing import slot_attributes
from pytest_clnrm.util.redaction import Redactor
from pytest_clnrm.util.terminal_text import one_line

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from _pytest._code.code import TerminalRepr

    from pytest_clnrm.model.demand import Demand
    from pytest_clnrm.model.key_path import KeyPath
    from pytest_clnrm.model.priority import Priority
    from pytest_clnrm.model.scenario import Scenario
    from pytest_clnrm.pool.idle_leases import Leftover
    from pytest_clnrm.runner.scenario_run import ScenarioRun


class ScenarioItem(pytest.Item):
    """One scenario, or one combination of its matrix.

    :param fetch: returns the scenario.
    """

    clnrm_scenario = True

    # What most never have: each worker makes thousands of them, and runs a few.
    result: Result | None = None
    refused: EngineUnavailableError | None = None
    kept: tuple[str, ...] = ()
    _run: ScenarioRun | None = None
    _leftover: Leftover | None = None
    _told: Failure | None = None
    _attached: Result | None = None
    _broken_off: BaseException | None = None
    _artifacts_in: tuple[ArtifactFolder, ...] = ()
    _earlier: tuple[Result, ...] = ()
    _whole: Scenario | None = None
    _was_lost = False
    _fell_back: Demand | None = None
    _subtest: Failure | None = None
    # What hooks of other plugins look for on any item, and what plugins that run an item again reset.
    obj = None

    def __init__(self, *, outline: Outline, fetch: Callable[[], Scenario], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.outline = outline
        self._fetch = fetch
        # Whole: the matrix is no parameter to them, and its combinations are to be told apart.
        self.originalname = self.name
        self._fixtureinfo = FuncFixtureInfo((), (), [], {})
        self.fixturenames = self._fixtureinfo.names_closure
        self.funcargs: dict[str, object] = {}
        parent = self.parent
        assert isinstance(parent, FileNode)  # noqa: S101 (a scenario is collected by its file only)
        self._file = parent
        self.runtime = parent.runtime
        for tag in outline.tags:
            refusal = add_tag(self, tag)
            if refusal:
                parent.warn_once(refusal)
        for each in outline.selection.marks:
            add_mark(self, each)
        for mark in marks_of(outline.selection, os.environ, sys.platform, self._without_secrets):
            self.add_marker(mark)

    # What only who runs it needs is made then: each worker makes all items, and runs a few of them.

    @cached_property
    def _whole_room(self) -> WholeRoom:
        return WholeRoom(self.runtime)

    @cached_property
    def _redactor(self) -> Redactor:
        return Redactor({*self.outline.secrets, *self._file.named_secrets})

    def _without_secrets(self, text: str) -> str:
        return self._redactor.text(text)

    @cached_property
    def _words(self) -> ItemWords:
        return ItemWords(self._file, lambda: self.scenario, self.outline.name, self._redactor)

    @cached_property
    def _request(self) -> TopRequest:
        return TopRequest(self, _ispytest=True)  # type: ignore[arg-type]

    @cached_property
    def scenario(self) -> Scenario:
        """Return the scenario itself, fetched when first needed."""
        return self._fetch()

    def right_size(self, sizes: Mapping[str, int]) -> None:
        """Lower its limits to what earlier runs used.

        :param sizes: service -> bytes; empty if nothing is known.
        """
        if not sizes:
            return
        whole = self.scenario
        fitting = lowered(whole, sizes, self.runtime.settings.memory_bytes)
        if fitting is not whole:
            self._take(fitting)
            self._whole = whole

    def _take(self, scenario: Scenario) -> None:
        """Go on with other limits."""
        self.scenario, self.outline = scenario, outline_of(self.runtime, scenario)

    def repetition(self, number: int) -> ScenarioItem:
        """Return another item of this scenario, under a name with its number."""
        name = f"{self.name}[repeat-{number}]"
        made: ScenarioItem = ScenarioItem.from_parent(
            self._file, name=name, outline=self.outline, fetch=self._fetch
        )
        return made

    @property
    def clnrm_priority(self) -> Priority | None:
        """Return the priority that the file names, None if it names none."""
        return self.outline.priority

    @property
    def priority(self) -> Priority:
        """Return the priority that counts."""
        return priority_of(self, self.runtime.settings, self.runtime.rootdir)

    @property
    def is_skipped(self) -> bool:
        """Tell whether its file says that it does not run; what only the engine tells is not known yet."""
        return any(
            mark.name == "skip" or (mark.name == "skipif" and True in mark.args) for mark in self.own_markers
        ) and self.config.pluginmanager.hasplugin("skipping")

    def _initrequest(self) -> None:
        """Forget what the last run has left, as pytest's own items do when they are run again."""
        self.funcargs = {}
        vars(self).pop("_request", None)
        self._forget()

    def _forget(self) -> None:
        self.result, self.refused, self.kept = None, None, ()
        self._told = self._broken_off = self._attached = None
        self._earlier = ()
        for folder in self._artifacts_in:
            folder.forget()
        self._artifacts_in = ()

    def demand(self) -> Demand:
        """Return what has to be reserved before it may start."""
        return self.outline.demand

    def specification(self) -> str | None:
        """Return a text that is equal for scenarios that may share containers, None if it shares none."""
        return self.outline.specification

    def reportinfo(self) -> tuple[Path, int, str]:
        """Return path, 0-based line and name, for headings and JUnit."""
        return self.path, max(0, self.outline.line - 1), self.name

    def setup(self) -> None:
        """Get the images; the reservation was made before."""
        # Another plugin may run an item again, and need not call teardown in between.
        self.teardown()
        self._forget()
        why = why_not_on(self.outline.selection, self.runtime, os.environ, sys.platform)
        if why:
            raise pytest.skip.Exception(why, _use_item_location=True)
        if self.fixturenames:
            # Those that a hook has added.
            self._request._fillfixtures()  # noqa: SLF001 (as pytest's own items do)
        self._begin()

    def claim(self) -> None:
        """Note who tries it again when it fails, before other plugins look."""
        claim(self, self.outline.selection.retries, self.runtime.settings)

    def _begin(self) -> None:
        """Begin an attempt; each after the first uses nothing that was there before."""
        if self._fell_back is not None:
            self._whole_room.reserve(self._fell_back, self.demand())
        ticket = self.stash.get(TICKET, None)
        attempt = len(self._earlier) + 1
        self._run = self.new_run(
            attempt=attempt,
            slot_wait_s=ticket.waited_s if ticket and attempt == 1 else 0.0,
            reuse=ticket.reuse if ticket and attempt == 1 and not self._whole_room.lease else (),
            slot_attributes=slot_attributes(self.demand(), ticket.position if ticket else 0),
            on_output=_echo if self.config.getoption("capture", "") == "no" else None,
        )
        if refusal := self.holds_what_others_use():
            raise ContainerError(refusal)
        try:
            self._run.prepare()
        except BaseException as error:
            self._note_foreign(self._run, error)
            raise
        for warning in self._run.warnings():
            self._file.warn_at(self.outline.line, self._redactor.text(warning))

    def new_run(self, *, nodeid: str = "", lease: str = "", attempt: int = 1, **given: Any) -> ScenarioRun:
        """Return a run of this scenario.

        :param nodeid: of the Python test that it is part of, "" if it is run by itself.
        :param lease: that holds its room then; "" for that of the test.
        :param given: what else :class:`ScenarioRun` takes.
        """
        from pytest_clnrm.runner.scenario_run import ScenarioRun

        return ScenarioRun(
            scenario=self.scenario,
            runtime=self.runtime,
            nodeid=nodeid or self.nodeid,
            file=self._file.shown_path(),
            priority=self.priority,
            locate=self._locate,
            redactor=self._redactor,
            attempt=attempt,
            artifacts_in=self._artifact_folder(attempt),
            within=lease if nodeid else self._whole_room.lease or None,
            **given,
        )

    def explained_text(self, result: Result) -> str:
        """Return what is shown of a run that was part of a Python test, and has failed."""
        self.result = result
        # A fixture of a wider scope has no node id.
        test = result.nodeid if "::" in result.nodeid else ""
        return str(self._words.explained(result, self._shown_artifacts(), itself=test)).rstrip()

    def _artifact_folder(self, attempt: int) -> ArtifactFolder | None:
        """Return where an attempt's artifacts are put until the run is over; None: nowhere."""
        has_any = any(each.artifacts for each in self.scenario.services)
        folder = self.runtime.run_folder
        if not has_any or folder is None or base_of(self.config, self.runtime.settings) is None:
            return None
        name = self._redactor.text(self.name) + (f" attempt {attempt}" if attempt > 1 else "")
        made = ArtifactFolder(folder() / ARTIFACTS_FOLDER, name, self.nodeid)
        self._artifacts_in += (made,)
        return made

    def holds_what_others_use(self) -> str:
        """Return in words which writable volume holds what others use, "" if none does."""
        return used_by_others(self.scenario, self.session)

    def runtest(self) -> None:
        """Run the scenario.

        :raises ScenarioFailedError: if the program did something else than expected.
        :raises ScenarioBrokenError: if it could not be run to its end.
        """
        __tracebackhide__ = True
        if self.result is not None:
            # Another plugin runs it again without a setup of its own.
            self.setup()
        settings = self.runtime.settings
        left = retries_of(self, self.outline.selection.retries, settings)
        while is_worth_another(result := self._attempt()) and left:
            left -= 1
            self._earlier = (*self._earlier, result)
            self.result = None
            if self._run is not None:
                self._run.clean_up(is_last=False)
            self._begin()
        self.result = result = with_earlier(result, self._earlier)
        self._add_sections(result)
        if result.is_flaky and settings.flaky == "fail":
            self.result = result = as_failure(result, f"{self._file.shown_path()}:{self.outline.line}")
            self._raise(error_of(result), result.failures[0])
        if result.failures:
            if settings.subtests:
                self._report_subtests(result)
            self._raise(error_of(result), result.failures[0])

    def _attempt(self) -> Result:
        """Run it once; with its whole limits once more, if lowered ones were too little."""
        __tracebackhide__ = True
        result = self._execute()
        if result.is_infrastructure and self.runtime.loses_containers and not self._was_lost:
            self._was_lost = True
            if self._run is not None:
                self._run.clean_up(is_last=False)
            self.result = None
            self._begin()
            why = f"run again, as the cluster has failed it: {result.failures[0].message}"
            result = self._execute()
            self.result = result = dataclasses.replace(result, notes=(*result.notes, why))
        if self._whole is None or not is_out_of_memory(result):
            return result
        if self._run is not None:
            self._run.clean_up(is_last=False)
        self._fell_back = self.demand()
        self._take(self._whole)
        self._whole = self.result = None
        self._begin()
        result = self._execute()
        self.result = dataclasses.replace(result, notes=(*result.notes, TOLD))
        return self.result

    def _execute(self) -> Result:
        __tracebackhide__ = True
        run = self._run
        assert run is not None  # noqa: S101 (pytest calls setup first)
        try:
            self.result = run.execute()
        except BaseException as error:
            self._note_foreign(run, error)
            raise
        for problem in run.problems():
            self._file.warn_at(self.outline.line, self._redactor.text(problem))
        return self.result

    def _report_subtests(self, result: Result) -> None:
        """Report each check that does not hold by itself, as tests with the fixture ``subtests`` do."""
        __tracebackhide__ = True
        try:
            subtests = self._request.getfixturevalue("subtests")
        except pytest.FixtureLookupError:
            # Before pytest 9.0, without pytest-subtests.
            return
        for failure in result.failures:
            if failure.kind != "expectation":
                continue
            own = self._file.shown_path()
            file, line = place_of(failure.where, own, self.outline.line)
            place = f"line {line}" if file == own else f"{file}:{line}"
            named = self._words.clean(f"step {failure.step!r}, {place}" if failure.step else place)
            self._subtest = failure
            try:
                with subtests.test(msg=one_line(named)):
                    self._raise(ScenarioFailedError(one_line(self._words.clean(title(failure)))), failure)
            except ScenarioFailedError:
                # With -x pytest goes no further.
                return
            finally:
                self._subtest = None

    def _note_foreign(self, run: ScenarioRun, error: BaseException) -> None:
        """Keep what was done until another's exception: a time limit, Ctrl-C, an error in a hook of ours."""
        __tracebackhide__ = True
        if isinstance(error, (ClnrmError, pytest.skip.Exception)):
            return
        self._broken_off = error
        is_end = isinstance(error, (KeyboardInterrupt, pytest.exit.Exception))
        broken_off = run.broken_off(self._redactor.text(in_one_line(error)), at_once=is_end)
        self.result = with_earlier(broken_off, self._earlier)
        self._add_sections(self.result)
        if is_end:
            # pytest makes no report of the item, and shows the place where it was.
            data = {**self.result.to_data(), "outcome": "error"}
            self.runtime.interrupted.append((data, str(self._explain(self.result))))
            if not self.config.getoption("fulltrace", default=False):
                self._raise(error.with_traceback(None), self.result.failures[-1])

    def _raise(self, error: BaseException, failure: Failure) -> NoReturn:
        __tracebackhide__ = True
        if self._redactor:
            # Whoever shows the traceback reads the line, and a secret may stand in it.
            raise error
        file, line = place_of(failure.where, self._file.shown_path(), self.outline.line)
        raise_at(self.path, line if file == self._file.shown_path() else self.outline.line, error)

    def _add_sections(self, result: Result) -> None:
        details = "\n".join(failure.details for failure in result.failures)
        for step in result.steps:
            for stream, text in (("stdout", step.stdout), ("stderr", step.stderr)):
                # Output that a failure shows whole is not shown twice.
                if text and indent(text.removesuffix("\n")) not in details:
                    self.add_report_section("call", f"{stream} of step {step.name!r}", text)
        told = {failure.details.strip() for failure in result.failures}
        for container in result.containers:
            if container.logs and container.logs.strip() not in told:
                self.add_report_section("call", f"logs of service {container.service!r}", container.logs)
            if container.spans:
                self.add_report_section(
                    "call", f"spans of shared service {container.service!r}", container.spans
                )

    def teardown(self) -> None:
        """Remove the containers and give the reservation back."""
        run, self._run = self._run, None
        if run is not None:
            self.kept = run.clean_up()
            self._leftover = run.leftover
        self._whole_room.give_back()

    def _locate(self, at: KeyPath) -> tuple[int, int]:
        return locate(self._file.real_path, at)

    def _repr_failure_py(
        self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None
    ) -> TerminalRepr:
        """Return what is shown of an exception of any phase: in words for ours, else pytest's own.

        pytest asks ``repr_failure`` for the call only, and this for setup and teardown, too.
        """
        error = excinfo.value
        if self._subtest is not None:
            return self._words.repr_of([explain_failure(self._subtest)])
        if isinstance(error, (ScenarioFailedError, ScenarioBrokenError)) and self.result is not None:
            return self._explain(self.result)
        if isinstance(error, EngineUnavailableError):
            self.refused = error
        if isinstance(error, ClnrmError):
            failure = self._told = self._redactor.result(self._failure_of(error))
            return self._words.repr_of([explain_failure(failure)])
        shown = super()._repr_failure_py(excinfo, style)
        if error is self._broken_off and self.result is not None:
            return self._words.with_frames(self._explain(self.result), shown)
        others = list(self._traceback_filter(excinfo))
        crash = getattr(shown, "reprcrash", None)
        if isinstance(shown, ExceptionChainRepr) and crash is not None:
            path, line = (
                (str(others[-1].path), others[-1].lineno + 1) if others else (crash.path, crash.lineno)
            )
            shown = with_crash(shown, ReprFileLocation(path, line, crash.message))
            self._told = self._words.foreign(error, f"{path}:{line}")
        else:
            self._told = self._words.foreign(error, f"{self._file.shown_path()}:{self.outline.line}")
        return cleaned(shown, self._words.clean)

    def _traceback_filter(self, excinfo: pytest.ExceptionInfo[BaseException]) -> Traceback:
        """Return the frames that are shown of another's exception; if there are none, the last one."""
        running = excinfo.value is self._broken_off
        others = frames_of_others(excinfo.traceback, self.config.rootpath, while_running=running)
        return others if others or running else Traceback(excinfo.traceback[-1:])

    def _failure_of(self, error: ClnrmError) -> Failure:
        if self._run is not None:
            return self._run.failure_of(error)
        return Failure(
            kind="error",
            message=str(error),
            where=f"{self._file.shown_path()}:{self.outline.line}",
            is_infrastructure=error.is_infrastructure,
        )

    def _explain(self, result: Result) -> ExceptionChainRepr:
        return self._words.explained(result, self._shown_artifacts())

    def tell_properties(self) -> None:
        """Tell other plugins, and JUnit's file, what they cannot know otherwise."""
        set_properties(
            self,
            tags=map(self._words.clean, self.outline.tags),
            priority=self.priority.label,
            worker=self.runtime.worker,
            slot_wait_s=waited_s_of(self),
            artifacts=self._shown_artifacts(),
            outcome=outcome_of(self.result) if self.result else "",
            earlier=self.result.earlier if self.result else (),
        )

    def _shown_artifacts(self) -> list[str]:
        """Return the paths at which what was kept lies once the run is over, as they are shown."""
        files = self.result.artifacts if self.result else ()
        base = shown_base(self.config, self.runtime.settings) if files else ""
        return [os.path.join(base, each.file) for each in files]  # noqa: PTH118 (as it is shown)

    def attach(self, report: pytest.TestReport) -> None:
        """Put the result on *report*, if that is of the call or did not pass.

        The result's outcome is pytest's, so that xfail and skip marks count.
        """
        clean_report(report, self._words.clean)
        if self._fell_back is not None:
            report.clnrm_fell_back = True  # type: ignore[attr-defined]
        if self._subtest is not None:
            # That of the scenario itself is yet to come, and has the rest.
            report.sections = []
            return
        leftover, self._leftover = self._leftover, None
        if leftover is not None:
            report.clnrm_leftover = leftover.to_data()  # type: ignore[attr-defined]
        # Where a plugin has run the item again and changed the report afterwards, the next one tells.
        known = self.result is self._attached
        if report.when != "call" and report.passed and known and not self.kept:
            return
        outcome = report.outcome
        if report.failed and report.when != "call":
            outcome = "error"  # type: ignore[assignment]
        if report.failed and self._told is not None:
            told, self._told = self._told, None
            result = self._result()
            self.result = dataclasses.replace(result, failures=(*result.failures, told))
        result = self._result()
        self._attached = self.result
        if report.when == "teardown" and report.passed:
            outcome = result.outcome  # type: ignore[assignment]
        report.clnrm = report_data(  # type: ignore[attr-defined]
            result={**result.to_data(), "outcome": str(outcome)},
            engine=self.runtime.engine_text(),
            refused=(self.refused.summary, self.refused.details) if self.refused else None,
            kept=self.kept,
            lease=lease_of(self),
            sources=self._sources(result),
        )

    def _sources(self, result: Result) -> dict[str, Any]:
        """Return the lines at the places of all failures, for the report: without the scenario's secrets."""
        if self.runtime.settings.report_dir is None or not (result.failures or result.earlier):
            return {}
        from pytest_clnrm.util.source_lines import Sources

        places = (why.where for each in (result, *result.earlier) for why in each.failures)
        sources = Sources(str(self.config.rootpath), str(self.config.invocation_params.dir))
        found: dict[str, Any] = self._redactor.data(sources.at(places))
        return found

    def _result(self) -> Result:
        """Return the result, as far as it is known."""
        if self.result is not None:
            return self.result
        if self._run is not None:
            return with_earlier(self._run.result(), self._earlier)
        return Result(
            nodeid=self.nodeid,
            name=self.outline.name,
            file=self._file.shown_path(),
            line=self.outline.line,
            tags=self.outline.tags,
            priority=self.priority.label,
            worker=self.runtime.worker,
            unchecked=self.outline.unchecked,
        )


def _echo(step: str, stream: Literal["stdout", "stderr"], text: str) -> None:  # noqa: ARG001
    """Show the output of a step as it comes."""
    target = sys.stdout if stream == "stdout" else sys.stderr
    target.write(text)
    target.flush()


def used_by_others(scenario: Scenario, session: pytest.Session) -> str:
    """Return in words which writable volume of a scenario holds what others use, "" if none does."""
    if all(each.read_only for service in scenario.services for each in service.volumes):
        return ""
    items = session.items
    loaded = {**imported(), **{os.path.realpath(each.path): "a file that pytest loads" for each in items}}
    if session.config.inipath is not None:
        loaded[os.path.realpath(session.config.inipath)] = "pytest's configuration file"
    others = (each for each in items if isinstance(each, ScenarioItem) and each.outline.names_files)
    return shared_with(scenario, (each.scenario for each in others), loaded)
