"""The controller's side of a run: results from all workers, the terminal summary, the report."""

from __future__ import annotations

import os
import shlex
import time
from contextlib import suppress
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from pluggy import HookimplMarker

from pytest_clnrm.names import ARTIFACTS_FOLDER, CRASHED
from pytest_clnrm.report.rows import Rows, key_of
from pytest_clnrm.report.usage import usage
from pytest_clnrm.session.outcomes import FAILED, is_infrastructure, outcome_notes, title_of
from pytest_clnrm.session.summary import Note, Weight, some, wrong
from pytest_clnrm.util.counted import counted
from pytest_clnrm.util.own_command import own_command, sweep_arguments
from pytest_clnrm.util.redaction import Redactor
from pytest_clnrm.util.terminal_text import shown

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator
    from pathlib import Path

    import pytest

    from pytest_clnrm.runtime.runtime import Runtime
    from pytest_clnrm.session.run_guard import RunGuard
    from pytest_clnrm.session.run_trace import RunTrace

hookimpl = HookimplMarker("pytest")

_PORTS_NAMED = 10


def open_ports_lines(ports: Collection[tuple[str, str, int]]) -> list[str]:
    """Return, for each host, that services were open to whoever reaches it, and what to do.

    :param ports: host, service and container port.
    """
    lines = []
    for host in sorted({host for host, _, _ in ports}):
        named = [f"{port} of service {service!r}" for at, service, port in sorted(ports) if at == host]
        more = len(named) - _PORTS_NAMED
        rest = f" and {more} more" if more > 0 else ""
        lines.append(
            f"{'port' if len(named) == 1 else 'ports'} {', '.join(named[:_PORTS_NAMED])}{rest} "
            f"{'was' if len(named) == 1 else 'were'} published on all addresses of the engine's machine: "
            f"whoever reaches {host} reaches them while their containers run. Leave `ports` out and reach "
            "services by steps in containers, or let a firewall there keep others out (docs/engines.md)"
        )
    return lines


class SessionResults:
    """Gathers results from test reports, sums them up and writes the report.

    It is a plugin of the controller, or of the only process.

    :param began_s: when the run began, in seconds since 1970; *began_monotonic_s* by ``time.monotonic()``.
    :param kept_late: names of containers that this process has kept, and that are on no test report.
    :param category: returns the outcome as which pytest counts a report, "" if it does not count it.
    """

    def __init__(
        self,
        *,
        runtime: Runtime,
        guard: RunGuard | None = None,
        began_s: float,
        began_monotonic_s: float,
        category: Callable[[pytest.TestReport], str] = lambda _report: "",
        kept_late: list[str] | None = None,
    ) -> None:
        self.runtime = runtime
        self.guard = guard
        self.workers = 1
        self.distributed = False
        self.results: dict[str, dict[str, Any]] = {}
        self.tests: dict[str, dict[str, Any]] = {}
        self.sources: dict[str, dict[str, Any]] = {}
        self.rows = Rows() if runtime.settings.report_dir is not None else None
        self._category = category
        self._kept_late = [] if kept_late is None else kept_late
        self.refused: dict[str, list[str]] = {}
        self.kept: list[str] = []
        self.nodes: list[Any] = []
        self.engine = ""
        self.started = datetime.fromtimestamp(began_s, timezone.utc)
        self.merged: RunTrace | None = None
        self._started_s = began_monotonic_s
        self._written: Path | None = None
        self._not_written = ""
        self._artifacts: Path | None = None
        self._problems: list[str] = []
        self._updated: list[str] = []

    def prepare(self) -> None:
        """Check before the run that the report's folder can be made.

        It is not left there: pytest looks for its configuration file at paths on the command line that exist,
        so workers, which start later, would find another one than this process.

        :raises OSError: if it cannot be made.
        """
        directory = self.runtime.settings.report_dir
        if directory is None:
            return
        missing = [each for each in (directory, *directory.parents) if not each.exists()]
        directory.mkdir(parents=True, exist_ok=True)
        for each in missing:
            with suppress(OSError):  # another run may have begun to use it
                each.rmdir()

    def duration_s(self) -> float:
        """Return for how long the run has lasted."""
        return time.monotonic() - self._started_s

    def written(self) -> str:
        """Return where the report was written, "" if there is none."""
        return str(self._written or "")

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take the result that a test report carries."""
        node = getattr(report, "node", None)
        worker = node.gateway.id if node is not None else self.runtime.worker
        if self.rows is not None:
            self.rows.add(report, self._category(report), worker)
        of_test = getattr(report, "clnrm_test", None)
        if of_test is not None:
            self._take(of_test)
            if of_test["result"]:
                self.tests[key_of(report)] = of_test["result"]
                self.sources.setdefault(key_of(report), {}).update(of_test["sources"])
        carried = getattr(report, "clnrm", None)
        if carried is not None:
            self.results[key_of(report)] = carried["result"]
            self.sources[key_of(report)] = carried["sources"]
            self._take(carried)
        elif report.when == CRASHED and self.runtime.settings.names_scenario(report.nodeid):
            from pytest_clnrm.model.result import Failure, Result

            file, _, name = report.nodeid.partition("::")
            why = Failure(kind="error", message=f"worker crashed while running {report.nodeid}")
            crashed = Result(
                nodeid=report.nodeid,
                name=name,
                file=file,
                line=0,
                outcome="crashed",
                failures=(why,),
                worker=worker,
            )
            self.results[report.nodeid] = crashed.to_data()

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Take what could not be collected, or was skipped when it was."""
        if self.rows is not None:
            self.rows.add_collected(report)

    def _take(self, carried: dict[str, Any]) -> None:
        self.engine = carried["engine"] or self.engine
        self.kept += carried["kept"]
        if carried["kept"] and carried["lease"]:
            self.runtime.holdings.keep(carried["lease"])
        if carried["refused"] is not None:
            summary, details = carried["refused"]
            self.refused[summary] = details

    @hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        """Merge the spans, and write the report where ``--clnrm-report`` asks for it; workers have ended."""
        from pytest_clnrm.session.worker_output import take_output

        settings = self.runtime.settings
        directory = settings.report_dir
        for node in self.nodes:
            self.kept += take_output(node, self.runtime)
        self.results.update((data["nodeid"], data) for data, _ in self.runtime.interrupted)
        if directory is not None:
            with suppress(OSError):  # writing the report says what is wrong
                directory.mkdir(parents=True, exist_ok=True)
        self._merge(int(exitstatus))
        if settings.update_golden and self.runtime.run_folder is not None:
            from pytest_clnrm.runner.golden import CLAIMS, updated

            self._updated = updated(self.runtime.run_folder() / CLAIMS)
        self._put_artifacts(session.config)
        if self.merged is not None and session.config.hook.pytest_clnrm_spans.get_hookimpls():
            session.config.hook.pytest_clnrm_spans(config=session.config, collector=self.merged.collector())
        if directory is None:
            return
        about: dict[str, Any] = {
            "id": self.runtime.session_id,
            "started": self.started.isoformat(timespec="microseconds"),
            "duration_s": self.duration_s(),
            # Others may have changed it.
            "exit_status": int(getattr(session, "exitstatus", exitstatus)),
            "workers": self.workers,
            "engine": self.engine,
            "max_containers": settings.max_containers,
            "memory_budget_bytes": settings.memory_budget_bytes,
        }
        if settings.shard:
            from pytest_clnrm.session.shard import shard_data

            about["shard"] = shard_data(session.config)
        from pytest_clnrm.report.json_report import report_document, write_json

        tests: list[dict[str, Any]] = []
        if self.rows is not None:
            about["counts"] = dict(self.rows.counts)
            tests = self.rows.tests(self.tests, self.results, self.sources)
            self.rows.complete(self.results)
        redactor = Redactor(os.environ.get(name, "") for name in settings.secrets)
        document = report_document(about, self.results.values(), redactor.data(tests))
        if self.rows is not None:
            for key, row in zip(self.results, document["scenarios"], strict=True):
                row["counted"] = self.rows.counted(key)
                row["sources"] = self.sources.get(key, {})
        self._add_details(document, session.config, redactor)
        path = directory / "report.json"
        try:
            write_json(path, document)
            self._written = path
            path = directory / "report.html"
            # Jinja2 is only paid for where a report is asked for.
            from pytest_clnrm.report.html_report import MAX_SPANS, write_html

            write_html(path, document, self.merged.trace.spans(MAX_SPANS) if self.merged else ())
            self._written = path
        except OSError as error:
            self._not_written = f"{path} cannot be written: {error.strerror or error}"

    @staticmethod
    def _add_details(document: dict[str, Any], config: pytest.Config, redactor: Redactor) -> None:
        """Add what a reader of the report wants to know, and what no process that ran an item tells."""
        from pytest_clnrm.session.report_details import add_commands, add_history, add_sources
        from pytest_clnrm.util.source_lines import Sources

        rows = [*document["scenarios"], *document["tests"]]
        add_commands(rows, config)
        plain = [row for row in document["tests"] if "containers" not in row]
        add_sources(plain, Sources(str(config.rootpath), str(config.invocation_params.dir)))
        for row in rows:
            row.update({key: redactor.data(row[key]) for key in ("sources", "reproduce") if key in row})
        experience = config.pluginmanager.getplugin("clnrm-experience")
        if experience is not None:
            add_history(rows, experience.shown_before(row["nodeid"] for row in rows))

    def _put_artifacts(self, config: pytest.Config) -> None:
        if not self.results or self.runtime.run_folder is None:
            return
        from pytest_clnrm.items.artifact_place import base_of
        from pytest_clnrm.session.kept_artifacts import put_artifacts

        try:
            base = base_of(config, self.runtime.settings)
            if base is not None and put_artifacts(self.runtime.run_folder(), base):
                self._artifacts = base / ARTIFACTS_FOLDER
        except OSError as error:
            self._problems.append(f"the artifacts were not kept: {error.filename}: {error.strerror or error}")

    def _merge(self, exitstatus: int) -> None:
        # Under xdist only workers know whether Python tests have recorded spans.
        if not (self.results or self.distributed or self.runtime.traces):
            return
        from pytest_clnrm.session.run_trace import complete_crashed, merge_spans

        settings = self.runtime.settings
        try:
            self.merged = merge_spans(
                self.runtime,
                start_s=self.started.timestamp(),
                failed=exitstatus != 0,
                attributes={
                    "test.suite.name": self.runtime.rootdir.name,
                    "test.suite.run.status": "failure" if exitstatus else "success",
                    "clnrm.engine": self.engine,
                    "clnrm.max_containers": settings.max_containers,
                    "clnrm.memory_budget_bytes": settings.memory_budget_bytes,
                },
                directory=settings.report_dir,
            )
            if self.merged is not None:
                complete_crashed(self.results, self.merged.trace)
        except OSError as error:
            self._not_written = f"the spans cannot be merged: {error.strerror or error}"

    def notes(self) -> Iterator[Note]:
        """Yield what concerns the whole run."""
        # Those that were kept after the last test report.
        self.kept += self._kept_late
        yield from self._refused_notes()
        yield from outcome_notes((*self.results.values(), *self.tests.values()), without=self.refused)
        for line in (*self.runtime.engine_warnings, *open_ports_lines(self.runtime.open_ports)):
            yield wrong(line)
        yield from self._kept_notes()
        if self.guard is not None:
            if self.guard.foreign:
                yield wrong(self.guard.foreign)
            for line in self.guard.warm.lines():
                yield Note(line, Weight.WRONG)
        for line in self.merged.lines if self.merged else ():
            yield wrong(line)
        if self._updated:
            yield wrong(
                f"updated {counted(len(self._updated), 'golden file')}: {some(self._updated)}", *self._updated
            )
        for problem in (*self._problems, self._not_written):
            if problem:
                yield wrong(problem, colour="red")
        yield from self._why_not_reused()
        yield from self._usage_notes()
        yield from self._what_next()
        if self._written is not None:
            yield Note(f"report written to {self._written}")
        elif self._artifacts is not None:
            yield Note(f"artifacts are in {self._artifacts}")

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Show what was interrupted as failures are shown: the first one, and with ``-v`` all."""
        option = terminalreporter.config.option
        if option.no_summary:
            return
        interrupted = self.runtime.interrupted
        for data, text in interrupted if option.verbose > 0 else interrupted[:1]:
            terminalreporter.section(f"clnrm: interrupted: {shown(data['nodeid'])}", sep="-")
            terminalreporter.line(shown(text))

    def _refused_notes(self) -> Iterator[Note]:
        """Yield that there is no engine, how many tests had none, and what to do."""
        for summary, details in self.refused.items():
            number = sum(title_of(each) == summary for each in (*self.results.values(), *self.tests.values()))
            told = f"{summary} ({counted(number, 'test')})" if number else summary
            for at, line in enumerate((told, *details)):
                yield wrong(line, colour="" if at else "red")
        if self.refused:
            yield wrong(f"`{own_command(['doctor'])}` tries what runs need", colour="")
        others = [data["nodeid"] for data, _ in self.runtime.interrupted[1:]]
        if others:
            yield wrong(f"interrupted too: {some(others)} (-v shows what they were at)")

    def _what_next(self) -> Iterator[Note]:
        """Yield how to look closer at scenarios and tests with containers that have failed."""
        results = (*self.results.values(), *self.tests.values())
        bad = [each for each in results if each["outcome"] in FAILED]
        if all(is_infrastructure(each) for each in bad):
            return
        settings = self.runtime.settings
        ways = ["`pytest --lf` runs what failed again"]
        if settings.report_dir is None:
            ways.append("--clnrm-report DIR shows its steps, logs and spans on one page")
        if settings.keep == "never":
            ways.append("--clnrm-keep failed leaves its containers to look at")
        yield Note(f"next: {'; '.join(ways)}", Weight.HINT)

    def _why_not_reused(self) -> Iterator[Note]:
        from pytest_clnrm.pool.proof import UNOBSERVABLE

        reasons = [
            container["reuse"]
            for result in self.results.values()
            for container in result["containers"]
            if container["reuse"].startswith(UNOBSERVABLE)
        ]
        # A single container would not have been used again anyway.
        if len(reasons) > 1:
            text = (
                f"no container was used again: {reasons[0]}. As root on the engine's host it can; "
                "where scenario files are trusted, --clnrm-pool inside asks the containers themselves "
                "(docs/pool.md)"
            )
            yield Note(text, Weight.HINT, colour="yellow")

    def _usage_notes(self) -> Iterator[Note]:
        """Yield how busy the containers were."""
        cap = self.runtime.settings.max_containers
        found = usage(self.results.values(), workers=self.workers, max_containers=cap)
        if found is not None:
            yield Note(found.describe(), Weight.DETAIL)

    def _kept_notes(self) -> Iterator[Note]:
        """Yield which containers were kept, and shell commands to look at and to remove them."""
        if not self.kept:
            return
        client, _, words = self.engine.partition(" ")
        url = words.rpartition(" at ")[2]
        at = [client, "--url" if client == "podman" else "-H", url]
        results = (*self.results.values(), *self.tests.values())
        facts = (each for result in results for each in result["containers"])
        ended = {each["name"] for each in facts if each["exit_code"] is not None}
        commands = [
            f"read its log with: {shlex.join([*at, 'logs', name])}"
            if name in ended
            else f"enter it with: {shlex.join([*at, 'exec', '-it', name, 'sh'])}"
            for name in self.kept
        ]
        if len(self.kept) == 1:
            yield wrong(f"container {self.kept[0]} is kept, and counts until it is removed", colour="")
            yield wrong(commands[0], colour="")
        else:
            yield wrong(
                f"{len(self.kept)} containers are kept, and count until they are removed: {some(self.kept)}",
                *(f"{name}: {command}" for name, command in zip(self.kept, commands, strict=True)),
                colour="",
            )
            yield wrong(f"the first: {commands[0]}", colour="")
        arguments = sweep_arguments(kept=True, ledger_dir=self.runtime.settings.ledger_dir, engine=url)
        yield wrong(f"remove what is kept with: {own_command(arguments)}", colour="")
