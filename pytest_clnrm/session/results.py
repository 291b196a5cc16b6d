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
from pytest_clnrm.util.redaction import Redactor
from pytest_clnrm.util.same_texts import with_same_texts
from pytest_clnrm.util.terminal_text import shown

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from pathlib import Path

    import pytest

    from pytest_clnrm.runtime.runtime import Runtime
    from pytest_clnrm.session.run_guard import RunGuard
    from pytest_clnrm.session.run_trace import RunTrace

hookimpl = HookimplMarker("pytest")

VERY_QUIET = -2
"""The verbosity of ``-qq``, with which pytest itself sums nothing up."""


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
        if node is not None and self.runtime.settings.names_scenario(report.nodeid):
            # pytest keeps all reports to the end.
            vars(report).update(with_same_texts(vars(report)))
        if self.rows is not None:
            self.rows.add(report, self._category(report), worker)
        of_test = getattr(report, "clnrm_test", None)
        if of_test is not None:
            self._take(of_test)
            if of_test["result"]:
                self.tests[key_of(report)] = of_test["result"]
        carried = getattr(report, "clnrm", None)
        if carried is not None:
            self.results[key_of(report)] = carried["result"]
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
            tests = self.rows.tests(self.tests, self.results)
            self.rows.complete(self.results)
        redactor = Redactor(os.environ.get(name, "") for name in settings.secrets)
        document = report_document(about, self.results.values(), redactor.data(tests))
        if self.rows is not None:
            for key, row in zip(self.results, document["scenarios"], strict=True):
                row["counted"] = self.rows.counted(key)
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
        from pytest_clnrm.session.report_details import Sources, add_commands, add_history, add_sources

        rows = [*document["scenarios"], *document["tests"]]
        sources = Sources(str(config.rootpath), str(config.invocation_params.dir))
        add_sources(rows, sources)
        add_commands(rows, config)
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

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Say once what concerns the whole run: with ``-qq`` only what is wrong or left behind."""
        option = terminalreporter.config.option
        if option.no_summary:
            return
        self._tell_outcomes(terminalreporter)
        if self.results and option.verbose > VERY_QUIET:
            self._tell_usage(terminalreporter)
            self._tell_why_not_reused(terminalreporter)
        self._tell_problems(terminalreporter)
        for path in self._updated:
            terminalreporter.line(shown(f"clnrm: {path} updated"), yellow=True)
        if self._written is not None and option.verbose > VERY_QUIET:
            terminalreporter.line(shown(f"clnrm: report written to {self._written}"))
        elif self._artifacts is not None and option.verbose > VERY_QUIET:
            terminalreporter.line(shown(f"clnrm: artifacts are in {self._artifacts}"))
        for problem in self._problems:
            terminalreporter.line(shown(f"clnrm: {problem}"), red=True)
        if self._not_written:
            terminalreporter.line(shown(f"clnrm: {self._not_written}"), red=True)

    def _tell_problems(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Say what is wrong with the run or left behind."""
        # Those that were kept after the last test report.
        self.kept += self._kept_late

        def say(text: str, **markup: bool) -> None:
            terminalreporter.line(shown(text), **markup)

        self._tell_interrupted(terminalreporter)
        if self.refused:
            terminalreporter.section("clnrm: no container engine", sep="-")
        for summary, details in self.refused.items():
            for line in (summary, *details):
                say(line)
        for line in self.runtime.engine_warnings:
            say(f"clnrm: {line}", yellow=True)
        for line in open_ports_lines(self.runtime.open_ports):
            say(f"clnrm: {line}", yellow=True)
        for line in self._kept_lines():
            say(line)
        if self.guard is not None and self.guard.foreign:
            say(f"clnrm: {self.guard.foreign}", yellow=True)
        for line in self.guard.warm.lines() if self.guard is not None else ():
            say(f"clnrm: {line}")
        for line in self.merged.lines if self.merged else ():
            say(f"clnrm: {line}", yellow=True)

    def _tell_outcomes(self, terminalreporter: pytest.TerminalReporter) -> None:
        from pytest_clnrm.session.outcomes import outcome_lines

        for heading, lines in outcome_lines((*self.results.values(), *self.tests.values())):
            terminalreporter.section(f"clnrm: {heading}", sep="-", yellow=True)
            for line in lines:
                terminalreporter.line(line)

    def _tell_interrupted(self, terminalreporter: pytest.TerminalReporter) -> None:
        for data, text in self.runtime.interrupted:
            terminalreporter.section(f"clnrm: interrupted: {shown(data['nodeid'])}", sep="-")
            terminalreporter.line(shown(text))

    def _tell_why_not_reused(self, terminalreporter: pytest.TerminalReporter) -> None:
        from pytest_clnrm.pool.proof import UNOBSERVABLE

        reasons = [
            container["reuse"]
            for result in self.results.values()
            for container in result["containers"]
            if container["reuse"].startswith(UNOBSERVABLE)
        ]
        # A single container would not have been used again anyway.
        if len(reasons) > 1:
            line = (
                f"clnrm: no container was used again: {reasons[0]}. As root on the engine's host it can; "
                "where scenario files are trusted, --clnrm-pool inside asks the containers themselves "
                "(docs/pool.md)"
            )
            terminalreporter.line(shown(line), yellow=True)

    def _kept_lines(self) -> list[str]:
        """Return which containers were kept, and shell commands to look at and to remove them."""
        if not self.kept:
            return []
        from pytest_clnrm.util.own_command import own_command, sweep_arguments

        client, _, words = self.engine.partition(" ")
        url = words.rpartition(" at ")[2]
        at = [client, "--url" if client == "podman" else "-H", url]
        results = (*self.results.values(), *self.tests.values())
        facts = (each for result in results for each in result["containers"])
        ended = {each["name"] for each in facts if each["exit_code"] is not None}
        lines = []
        for name in self.kept:
            entering = shlex.join([*at, "exec", "-it", name, "sh"])
            reading = shlex.join([*at, "logs", name])
            lines += [
                f"clnrm: container {name} is kept, and counts until it is removed",
                f"clnrm: read its log with: {reading}"
                if name in ended
                else f"clnrm: enter it with: {entering}",
            ]
        arguments = sweep_arguments(kept=True, ledger_dir=self.runtime.settings.ledger_dir, engine=url)
        return [*lines, f"clnrm: remove what is kept with: {own_command(arguments)}"]

    def _tell_usage(self, terminalreporter: pytest.TerminalReporter) -> None:
        from pytest_clnrm.report.usage import usage

        cap = self.runtime.settings.max_containers
        found = usage(self.results.values(), workers=self.workers, max_containers=cap)
        if found is not None:
            terminalreporter.line(shown(f"clnrm: {found.describe()}"))
