"""The neighbours as data: which version, with which options, and what it changes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from clnrm_testing.neighbours import checks
from clnrm_testing.neighbours.suite import BREAKS_LATE, DOCUMENT, OUTCOMES, SECOND_TIME


@dataclass(frozen=True, kw_only=True)
class Neighbour:
    """A plugin that the suite is run beside.

    :param package: its name in the package index, "" for a run without a neighbour.
    :param beside: what else is installed with it.
    :param options: of pytest's command line; ``{url}`` is that of the stub of a server, as in *environ*.
    :param files: more files of the suite's folder.
    :param changes: how tests end otherwise than without it.
    :param with_workers: the same, under workers alone.
    :param without: tests that it cannot run by itself.
    :param attempts: how often tests run that run more than once.
    :param check: looks at what it has written.
    :param has_server: it reports to a server, of which there is a stub.
    :param junit_has_reruns: JUnit's file has a case for each run of a test, not for each test.
    :param in_children: it calls the hooks of an item in a process of its own.
    :param may_print: what stands in its output, though it would be a fault otherwise.
    :param note: for the docs.
    """

    package: str = ""
    version: str = ""
    beside: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    environ: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    changes: Mapping[str, str] = field(default_factory=dict)
    with_workers: Mapping[str, str] = field(default_factory=dict)
    without: tuple[str, ...] = ()
    attempts: Mapping[str, int] = field(default_factory=dict)
    check: checks.Check | None = None
    has_server: bool = False
    junit_has_reruns: bool = False
    in_children: bool = False
    may_print: tuple[str, ...] = ()
    note: str = ""

    @property
    def name(self) -> str:
        """Return what it is called on the command line."""
        return self.package or "none"

    @property
    def requirements(self) -> tuple[str, ...]:
        """Return what pip is to install."""
        return (f"{self.package}=={self.version}", *self.beside) if self.package else ()

    def outcomes(self, *, workers: int) -> dict[str, str]:
        """Return how each test has to end."""
        found = {**OUTCOMES, **self.changes, **(self.with_workers if workers else {})}
        return {nodeid: outcome for nodeid, outcome in found.items() if nodeid not in self.without}


def _twice(*outcomes: str, but: str = "") -> dict[str, int]:
    """Return that all tests run twice that end like that at first."""
    return {nodeid: 2 for nodeid, ended in OUTCOMES.items() if ended in outcomes and nodeid != but}


NONE = Neighbour()
"""The suite by itself."""

_PASS_THE_SECOND_TIME = dict.fromkeys(SECOND_TIME, "passed")
_SHARED = ("test_containers.py::test_shared[one]", "test_containers.py::test_shared[two]")
_OLDER = ("pytest==8.4.2",)
_NEEDS_OLDER = "with pytest 8.4.2, as it fails by itself with 9.2"
_NO_DOCUMENT = "it fails by itself for doctests in text files"

PINNED: tuple[Neighbour, ...] = (
    Neighbour(
        package="allure-pytest",
        version="2.16.2",
        options=("--alluredir=allure",),
        check=checks.allure,
        note="a scenario that does not do what is expected has failed, one that cannot be run is broken",
    ),
    Neighbour(
        package="pytest-reportportal",
        version="5.6.13",
        options=(
            "--reportportal",
            "-orp_endpoint={url}",
            "-orp_project=suite",
            "-orp_api_key=key",
            "-orp_launch=suite",
        ),
        has_server=True,
        check=checks.report_portal,
        note="against a stub of its server",
    ),
    Neighbour(
        package="pytest-retry",
        version="1.7.0",
        options=("--retries=1",),
        changes=_PASS_THE_SECOND_TIME,
        attempts=_twice("failed"),
        may_print=("Traceback (most recent call last)",),
        note="it runs again what fails in its call",
    ),
    Neighbour(package="pytest-timeout", version="2.4.0", options=("--timeout=60",)),
    Neighbour(
        package="pytest-opentelemetry",
        version="1.1.0",
        options=("--export-traces",),
        environ={
            "OTEL_EXPORTER_OTLP_ENDPOINT": "{url}",
            "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
            "OTEL_TRACES_EXPORTER": "otlp_proto_http",
        },
        has_server=True,
        check=checks.open_telemetry,
        note="both plugins send their spans to a stub of a collector",
    ),
)
"""Those of the extra "neighbours", beside which CI runs the suite."""

NEIGHBOURS: tuple[Neighbour, ...] = (
    *PINNED,
    Neighbour(package="anyio", version="4.16.0"),
    Neighbour(package="ddtrace", version="4.16.0", options=("--ddtrace",)),
    Neighbour(
        package="flaky",
        version="3.8.1",
        options=("--force-flaky", "--max-runs=2"),
        changes=_PASS_THE_SECOND_TIME,
        attempts=_twice("failed", "xfailed", "error", but=BREAKS_LATE),
        may_print=("/pytest_clnrm/",),
        junit_has_reruns=True,
        note="it runs again what fails in its set-up or call; JUnit's file has a case for each run",
    ),
    Neighbour(package="hypothesis", version="6.170.15"),
    Neighbour(package="pytest-aiohttp", version="1.1.1"),
    Neighbour(package="pytest-asyncio", version="1.5.0"),
    Neighbour(package="pytest-azurepipelines", version="1.0.5"),
    Neighbour(package="pytest-bdd", version="9.0.1"),
    Neighbour(package="pytest-benchmark", version="5.3.1"),
    Neighbour(package="pytest-cases", version="3.10.1", beside=_OLDER, note=_NEEDS_OLDER),
    Neighbour(package="pytest-celery", version="1.3.0"),
    Neighbour(package="pytest-check", version="3.0.3"),
    Neighbour(package="pytest-clarity", version="1.0.1"),
    Neighbour(package="pytest-codspeed", version="5.0.4"),
    Neighbour(package="pytest-cov", version="7.1.0", options=("--cov=.",)),
    Neighbour(
        package="pytest-csv",
        version="3.0.0",
        options=("--csv=table.csv", "--csv-columns=id,status,duration,message"),
        check=checks.table,
        note="with other columns it fails by itself for every item that is not in a Python file",
    ),
    Neighbour(package="pytest-custom-exit-code", version="0.3.0"),
    Neighbour(package="pytest-datadir", version="1.8.0"),
    Neighbour(package="pytest-deadfixtures", version="3.1.0"),
    Neighbour(package="pytest-dependency", version="0.6.1", options=("-oautomark_dependency=true",)),
    Neighbour(package="pytest-django", version="4.14.0"),
    Neighbour(package="pytest-docker", version="3.2.6"),
    Neighbour(package="pytest-dotenv", version="0.5.2", files={".env": "WORD=hello\n"}),
    Neighbour(package="pytest-durations", version="1.10.0"),
    Neighbour(package="pytest-env", version="1.8.5", options=("-oenv=WORD=hello",)),
    Neighbour(package="pytest-fail-slow", version="0.6.0", options=("--fail-slow=60s",)),
    Neighbour(package="pytest-flask", version="1.3.0"),
    Neighbour(
        package="pytest-forked",
        version="1.7.5",
        options=("--forked",),
        beside=_OLDER,
        changes=dict.fromkeys(_SHARED, "error"),
        with_workers=dict.fromkeys(_SHARED, "passed"),
        in_children=True,
        note=f"{_NEEDS_OLDER}; in one process its children cannot use `clnrm_factory`",
    ),
    Neighbour(package="pytest-freezer", version="0.4.9"),
    Neighbour(
        package="pytest-github-actions-annotate-failures",
        version="0.4.2",
        environ={"GITHUB_ACTIONS": "true"},
        check=checks.github,
        note="annotations stand at the line of the step or check",
    ),
    Neighbour(package="pytest-harvest", version="1.10.5"),
    Neighbour(package="pytest-html", version="4.2.0", options=("--html=page.html",), check=checks.html_page),
    Neighbour(package="pytest-httpserver", version="1.2.0"),
    Neighbour(package="pytest-icdiff", version="0.9"),
    Neighbour(package="pytest-instafail", version="0.5.0", options=("--instafail",)),
    Neighbour(
        package="pytest-json-report", version="1.5.0", options=("--json-report",), check=checks.json_report
    ),
    Neighbour(package="pytest-lazy-fixtures", version="1.4.1"),
    Neighbour(
        package="pytest-md-report",
        version="0.8.0",
        options=("--md-report", "--md-report-output=report.md"),
        check=checks.markdown,
    ),
    Neighbour(package="pytest-memray", version="1.11.0", options=("--memray",)),
    Neighbour(package="pytest-metadata", version="3.1.1"),
    Neighbour(package="pytest-mock", version="3.17.0"),
    Neighbour(
        package="pytest-monitor",
        version="1.6.6",
        beside=_OLDER,
        changes={DOCUMENT: "error"},
        may_print=("/pytest_clnrm/",),
        note=f"{_NEEDS_OLDER}; {_NO_DOCUMENT}",
    ),
    Neighbour(package="pytest-nunit", version="1.0.7", options=("--nunit-xml=nunit.xml",)),
    Neighbour(package="pytest-order", version="1.5.0", check=checks.priority_first),
    Neighbour(package="pytest-picked", version="0.5.1"),
    Neighbour(package="pytest-pretty", version="1.3.0"),
    Neighbour(package="pytest-print", version="1.4.1"),
    Neighbour(package="pytest-profiling", version="1.8.1"),
    Neighbour(
        package="pytest-random-order",
        version="1.2.0",
        options=("--random-order",),
        check=checks.priority_first,
        note="random within each priority",
    ),
    Neighbour(
        package="pytest-randomly",
        version="5.1.0",
        check=checks.priority_first,
        note="random within each priority",
    ),
    Neighbour(
        package="pytest-reportlog",
        version="1.0.0",
        options=("--report-log=log.jsonl",),
        check=checks.report_log,
    ),
    Neighbour(package="pytest-repeat", version="0.9.4"),
    Neighbour(package="pytest-reraise", version="2.1.2"),
    Neighbour(
        package="pytest-rerunfailures",
        version="16.7",
        options=("--reruns=1",),
        changes=_PASS_THE_SECOND_TIME,
        attempts=_twice("failed", "error"),
        junit_has_reruns=True,
        note="JUnit's file has a case for each run",
    ),
    Neighbour(package="pytest-rich", version="0.3.0", options=("--rich",)),
    Neighbour(package="pytest-run-parallel", version="0.10.0"),
    Neighbour(package="pytest-shard", version="0.1.2", options=("--num-shards=1", "--shard-id=0")),
    Neighbour(package="pytest-socket", version="0.8.1"),
    Neighbour(package="pytest-split", version="0.11.0", options=("--splits=1", "--group=1")),
    Neighbour(package="pytest-subtests", version="0.15.0"),
    Neighbour(package="pytest-sugar", version="1.1.1"),
    Neighbour(
        package="pytest-tap", version="3.5", options=("--tap-files",), beside=_OLDER, note=_NEEDS_OLDER
    ),
    Neighbour(package="pytest-test-groups", version="1.2.1"),
    Neighbour(package="pytest-testmon", version="2.2.0", options=("--testmon",)),
    Neighbour(package="pytest-trio", version="0.8.0"),
    Neighbour(
        package="qase-pytest",
        version="9.0.0",
        options=("--ignore=test_document.txt",),
        without=(DOCUMENT,),
        note=_NO_DOCUMENT,
    ),
    Neighbour(package="syrupy", version="7.0.1"),
    Neighbour(package="teamcity-messages", version="1.33", options=("--teamcity",), check=checks.team_city),
    Neighbour(package="testcontainers", version="4.15.0"),
    Neighbour(package="typeguard", version="4.6.0"),
)
"""All: the pinned ones, then the others by name."""
