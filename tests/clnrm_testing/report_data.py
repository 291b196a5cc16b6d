"""Documents and spans for the tests of reports: a run as it looks, a hostile one, one with many spans."""

from __future__ import annotations

import random
from datetime import datetime, timedelta, timezone
from typing import Any

from pytest_clnrm.model.kept import KeptFile
from pytest_clnrm.model.result import ContainerFacts, Failure, Result, SpanCounts, StepResult
from pytest_clnrm.model.span import AttributeValue, Span, SpanEvent, SpanLink
from pytest_clnrm.report.json_report import report_document
from pytest_clnrm.telemetry.merge.merged_trace import MergedSpan

START = datetime(2026, 3, 14, 9, 26, 53, tzinfo=timezone.utc)
EPOCH_NS = int(START.timestamp()) * 10**9
MS = 10**6

HOSTILE = (
    "</script><script>window.hacked = 1</script>",
    "<img src=x onerror='window.hacked = 1'>",
    "<!-- <script>",
    "]]>&lt;b&gt; &amp; \"quotes\" 'single' `back`",
    "line\u2028separator\u2029paragraph",
    "null \x00, escape \x1b[31mred\x1b[0m, delete \x7f",
    "lone \ud800 surrogates \udfff",
    "\u202eright to left",
    "{{ 7 * 7 }} {% raw %} ${7 * 7}",
    "__proto__",
    "%E0%A4%A %zz",
)


def session(**changed: Any) -> dict[str, Any]:
    """Return the session of a document."""
    return {
        "id": "3d48c823",
        "started": START.isoformat(timespec="microseconds"),
        "duration_s": 24.6,
        "exit_status": 1,
        "workers": 4,
        "engine": "docker 28.0.1 at unix:///var/run/docker.sock",
        "max_containers": 10,
        "memory_budget_bytes": 8 << 30,
        **changed,
    }


def run_of(*results: Result, **changed: Any) -> dict[str, Any]:
    """Return the document of a run that gave *results*."""
    return report_document(session(**changed), [result.to_data() for result in results])


def at(seconds: float) -> str:
    """Return the time that many seconds after the session's start."""
    return (START + timedelta(seconds=seconds)).isoformat(timespec="microseconds")


NAMES = (
    "checkout", "refund", "login", "search by tag", "stock is reserved", "mail is sent", "rate limit",
    "orders[database=15]", "orders[database=16]", "invoice as PDF", "session expires", "currency rounding",
    "webhook is retried", "cache is warmed", "nightly export", "import of 10 000 rows",
)  # fmt: skip
DIFFERENCE = (
    "--- expected\n+++ got\n@@ -1,3 +1,3 @@\n order 4711\n-total 41.00 EUR\n+total 42.00 EUR\n paid\n"
)
LOG_LINES = (
    "starting PostgreSQL 16.2",
    'listening on IPv4 address "0.0.0.0", port 5432',
    "database system is ready",
    *("checkpoint starting: time",) * 9,
    "could not accept SSL connection: EOF detected",
    "received fast shutdown request",
    "shutting down",
)
LOG = "".join(f"2026-03-14 09:27:{index:02d} UTC [31] LOG:  {text}\n" for index, text in enumerate(LOG_LINES))


def _step(name: str, start_s: float, duration_s: float, **changed: Any) -> StepResult:
    given: dict[str, Any] = {"service": "app", "outcome": "passed", "exit_code": 0, **changed}
    return StepResult(name=name, started_s=start_s, duration_s=duration_s, **given)


def _container(service: str, **changed: Any) -> ContainerFacts:
    given: dict[str, Any] = {"peak_memory_bytes": 143 << 20, **changed}
    return ContainerFacts(
        id="22947a20a2971d46c5f5fdc4881f995ffb887a927561c14856b2c35ce6a2a992",
        name=f"clnrm-3d48c823-gw0-1-{service}",
        service=service,
        image={"db": "postgres:16", "app": "registry.example.org/shop/app:1.42"}.get(service, "busybox:1"),
        memory_bytes=512 << 20,
        cpus=1.0,
        **given,
    )


def _scenario(index: int, start_s: float, worker: int, rng: random.Random) -> Result:
    turn, which = divmod(index, len(NAMES))
    name = f"{NAMES[which]} {turn + 1}" if turn else NAMES[which]
    duration_s = round(rng.uniform(1.2, 5.0), 3)
    outcome: Any = {2: "failed", 6: "failed", 9: "error", 12: "crashed", 14: "skipped"}.get(index, "passed")
    file = f"tests/shop/{name.split('[', maxsplit=1)[0].replace(' ', '-')}.clnrm.toml"
    steps = [
        _step(
            "create the schema", duration_s * 0.35, duration_s * 0.1, service="db", stdout="CREATE TABLE\n"
        ),
        _step("place an order", duration_s * 0.47, duration_s * 0.2, stdout='{"order": 4711}\n'),
        _step(
            "ask for the total",
            duration_s * 0.69,
            duration_s * 0.22,
            stdout="order 4711\ntotal 41.00 EUR\npaid\n",
        ),
    ]
    failures: tuple[Failure, ...] = ()
    containers = (_container("db", logs=LOG), _container("app", logs="GET /health 200\n" * 12))
    if outcome == "failed":
        why = Failure(
            message="step 'ask for the total': stdout is not what was expected",
            where=f"{file}:31",
            step="ask for the total",
            details=DIFFERENCE,
        )
        failures = (why,)
        steps[2] = _step(
            "ask for the total", duration_s * 0.69, duration_s * 0.22, outcome="failed", failures=failures,
            stdout="order 4711\ntotal 42.00 EUR\npaid\n",
            stderr="warning: prices are cached since 09:26:11\n",
        )  # fmt: skip
        steps.append(_step("pay", 0, 0, outcome="not run", exit_code=None, attempts=0))
    elif outcome == "error":
        failures = (
            Failure(
                kind="error",
                message="service 'db' ran out of memory: its container is limited to 512 MB",
                where=f"{file}:8",
                details=LOG,
            ),
        )
        containers = (
            _container("db", logs=LOG, oom_killed=True, exit_code=137, peak_memory_bytes=511 << 20),
            containers[1],
        )
        steps = []
    elif outcome == "crashed":
        failures = (Failure(kind="error", message=f"worker crashed while running {file}::{name}"),)
        return Result(
            nodeid=f"{file}::{name}", name=name, file=file, line=0, outcome="crashed", failures=failures
        )
    elif outcome == "skipped":
        return Result(
            nodeid=f"{file}::{name}", name=name, file=file, line=3, outcome="skipped", worker=f"gw{worker}"
        )
    return Result(
        nodeid=f"{file}::{name}",
        name=name,
        file=file,
        line=3,
        tags=("integration", "slow") if index % 3 == 0 else ("smoke",) if index % 4 == 1 else (),
        priority=("high", "normal", "low")[min(2, index // 6)],
        outcome=outcome,
        started=at(start_s),
        duration_s=duration_s,
        slot_wait_s=(0.0, 0.4, 0.0, 1.3)[index % 4],
        worker=f"gw{worker}",
        containers=containers,
        steps=tuple(steps),
        failures=failures,
        unchecked=("determinism.seed", "report.digest") if index % 5 == 2 else (),
        spans=SpanCounts(runner=0, workload=0),
    )


def sample_run(count: int = 24, workers: int = 4) -> dict[str, Any]:
    """Return the document of a run as it looks: all outcomes, waits, several services."""
    rng = random.Random(4)  # noqa: S311 (seeded on purpose)
    free = [0.4] * workers
    results = []
    for index in range(count):
        worker = free.index(min(free))
        result = _scenario(index, free[worker] + (0.1, 0.5, 0.1, 1.4)[index % 4], worker, rng)
        results.append(result)
        if result.started:
            free[worker] += result.duration_s + (0.1, 0.5, 0.1, 1.4)[index % 4]
    document = run_of(*results, workers=workers, duration_s=max(free) + 0.5)
    for index, row in enumerate(document["scenarios"]):
        _add_details(row, index, rng)
    return document


def _add_details(row: dict[str, Any], index: int, rng: random.Random) -> None:
    """Add to a row what the session adds: lines of files, the command, what earlier runs have shown."""
    row["counted"] = ["failed"] if row["outcome"] == "crashed" else [row["outcome"]]
    if row["started"]:
        outcomes = "".join(
            "f" if rng.random() < (0.3 if index in {2, 4} else 0.0) else "p" for _ in range(12)
        )
        durations = [round(row["duration_s"] * rng.uniform(0.8, 1.1), 3) for _ in outcomes]
        row["history"] = {"outcomes": outcomes, "durations_s": durations}
    if index == FLAKY:
        _add_attempt(row)
    bad = row["outcome"] in {"failed", "error", "crashed"}
    if bad or row["is_flaky"]:
        row["reproduce"] = f"pytest '{row['nodeid']}'"
        failures = [*row["failures"], *(why for each in row["earlier"] for why in each["failures"])]
        places = [each["where"] for each in failures if each["where"]]
        row["sources"] = {
            where: {"first": int(where.rpartition(":")[2]) - 3, "lines": list(SOURCE)} for where in places
        }


FLAKY = 4
"""Index of a scenario that failed, and then passed."""
SOURCE = (
    "[[step]]", 'name = "ask for the total"', 'run = "curl -s http://app:8080/orders/4711"',
    'expect = { stdout = { file = "total.txt" } }', "", "[[step]]",
)  # fmt: skip


def _add_attempt(row: dict[str, Any]) -> None:
    """Make a row that passed one that had failed before: in a step of its first attempt."""
    why = Failure(
        message="exit code 7, expected 0", where=f"{row['file']}:24", step="place an order",
        details="stderr:\n    curl: (7) Failed to connect to app port 8080",
    )  # fmt: skip
    step = _step("place an order", 0.6, 0.2, outcome="failed", exit_code=7, failures=(why,))
    started = datetime.fromisoformat(row["started"])
    left = 1 - 0.9 / row["duration_s"]
    for each in (row, *row["steps"]):
        each["duration_s"] *= left
    for each in row["steps"]:
        each["started_s"] *= left
    row["started"] = (started + timedelta(seconds=0.9)).isoformat(timespec="microseconds")
    earlier = Result(
        nodeid=row["nodeid"], name=row["name"], file=row["file"], line=row["line"], outcome="failed",
        started=started.isoformat(timespec="microseconds"), duration_s=0.8, worker=row["worker"],
        steps=(step,), failures=(why,),
    )  # fmt: skip
    row.update(is_flaky=True, attempts=2, earlier=[earlier.to_data()])


def _ids(rng: random.Random) -> str:
    return f"{rng.getrandbits(64):016x}"


def sample_spans(document: dict[str, Any], each: int = 12) -> list[MergedSpan]:
    """Return spans for *document*: the runner's, and *each* of the workload for every scenario that ran."""
    return _placed(document, _spans_by_scenario(document, each))


def _spans_by_scenario(document: dict[str, Any], each: int) -> dict[str, list[Span]]:
    rng = random.Random(5)  # noqa: S311 (seeded on purpose)
    ran = [result for result in document["scenarios"] if result["started"]]
    return {result["nodeid"]: _spans_of(result, each, rng) for result in ran}


def _placed(document: dict[str, Any], spans: dict[str, list[Span]]) -> list[MergedSpan]:
    """Return *spans* as merging gives them."""
    workers = {result["nodeid"]: result["worker"] for result in document["scenarios"]}
    return [
        MergedSpan(span=span, worker=workers[nodeid], scenario=nodeid, under=span.parent_id or "")
        for nodeid, group in spans.items()
        for span in group
    ]


def _spans_of(result: dict[str, Any], count: int, rng: random.Random) -> list[Span]:
    trace = f"{rng.getrandbits(128):032x}"
    resource = {"service.name": "pytest-clnrm", "clnrm.worker.id": result["worker"], "process.pid": 4242}
    start_ns = EPOCH_NS + int((datetime.fromisoformat(result["started"]) - START).total_seconds() * 1e9)
    length_ns = int(result["duration_s"] * 1e9)

    def ours(name: str, share: float, length: float, parent: str | None, **attributes: Any) -> Span:
        failed = attributes.pop("failed", "")
        return Span(
            trace_id=trace, span_id=_ids(rng), name=name, parent_id=parent, origin="runner",
            service="pytest-clnrm",
            start_ns=start_ns + int(length_ns * share), end_ns=start_ns + int(length_ns * (share + length)),
            kind="client" if name == "clnrm.step" else "internal", resource=resource, attributes=attributes,
            status="error" if failed else "unset", status_message=failed,
        )  # fmt: skip

    bad = result["outcome"] != "passed"
    root = ours("clnrm.scenario", 0, 1, None, failed=result["failures"][0]["message"] if bad else "",
                **{"test.case.name": result["nodeid"], "clnrm.priority": result["priority"]})  # fmt: skip
    found = [root]
    if result["slot_wait_s"]:
        wait = result["slot_wait_s"] / result["duration_s"]
        found.append(ours("clnrm.slot.wait", -wait, wait, root.span_id, demand="2 containers, 1024 MB"))
    found.append(ours("clnrm.image.pull", 0.0, 0.08, root.span_id, **{"container.image.name": "postgres:16"}))
    for service in ("db", "app"):
        found.append(ours("clnrm.container.create", 0.09, 0.05, root.span_id, **{"container.name": service}))
        found.append(ours("clnrm.container.start", 0.14, 0.07, root.span_id, **{"container.name": service}))
        found.append(ours("clnrm.container.ready", 0.21, 0.12, root.span_id, **{"container.name": service}))
    for step in result["steps"]:
        if step["outcome"] == "not run":
            continue
        share, length = step["started_s"] / result["duration_s"], step["duration_s"] / result["duration_s"]
        failed = "stdout is not what was expected" if step["outcome"] != "passed" else ""
        span = ours(
            "clnrm.step", share, length, root.span_id, failed=failed, **{"clnrm.step.name": step["name"]}
        )
        found.append(span)
        found += _workload(span, count // len(result["steps"]), rng)
    found.append(ours("clnrm.container.stop", 0.94, 0.06, root.span_id))
    return found


def _workload(step: Span, count: int, rng: random.Random) -> list[Span]:
    """Return *count* spans of a program within the span of a step, nested."""
    found: list[Span] = []
    open_spans = [step]
    length = step.end_ns - step.start_ns
    for index in range(count):
        parent = open_spans[-1] if rng.random() < 0.5 else rng.choice(open_spans[-3:])
        service = ("shop-app", "payments", "postgres")[min(2, len(open_spans) - 1)]
        room = parent.end_ns - parent.start_ns
        start_ns = parent.start_ns + int(room * rng.uniform(0.02, 0.5))
        failed = index % 17 == 11
        span = Span(
            trace_id=step.trace_id,
            span_id=_ids(rng),
            parent_id=parent.span_id,
            name=rng.choice(
                ("GET /orders/{id}", "POST /orders", "SELECT orders", "INSERT orders", "charge card")
            ),
            start_ns=start_ns,
            end_ns=min(parent.end_ns, start_ns + max(int(room * rng.uniform(0.2, 0.45)), 20_000)),
            kind=rng.choice(("server", "client", "internal")),
            service=service,
            status="error" if failed else "unset",
            status_message="deadline exceeded" if failed else "",
            attributes={
                "http.request.method": "GET",
                "http.response.status_code": 504 if failed else 200,
                "url.full": f"http://app:8080/orders/{rng.randrange(10**6)}",
            },
            resource={"service.name": service, "telemetry.sdk.language": "python"},
            events=(
                SpanEvent(
                    name="exception", time_ns=start_ns + 5 * MS, attributes={"exception.type": "TimeoutError"}
                ),
            )
            if failed
            else (),
            step=str(step.attributes["clnrm.step.name"]),
        )
        found.append(span)
        open_spans = [*open_spans[-4:], span] if room > length / 40 else [step]
    return found


def many_spans(count: int = 10_000, workers: int = 8) -> tuple[dict[str, Any], list[MergedSpan]]:
    """Return a document of 100 scenarios and *count* spans, spread over them."""
    document = sample_run(100, workers)
    spans = _spans_by_scenario(document, count // 130)
    fill = [group for group in spans.values() if any(span.name == "clnrm.step" for span in group)]
    rng = random.Random(6)  # noqa: S311 (seeded on purpose)
    for index in range(count - sum(map(len, spans.values()))):
        group = fill[index % len(fill)]
        group += _workload(rng.choice([span for span in group if span.name == "clnrm.step"]), 1, rng)
    return document, _placed(document, spans)


def hostile_run() -> tuple[dict[str, Any], list[MergedSpan]]:
    """Return a run in which every text is one that would break a careless page."""
    results = [_hostile_result(index, text) for index, text in enumerate(HOSTILE)]
    document = run_of(*results, engine=HOSTILE[0], id=HOSTILE[1])
    for row, text in zip(document["scenarios"], HOSTILE, strict=True):
        row.update(
            reproduce=text,
            sources={text: {"first": 1, "lines": [text]}},
            counted=["failed", text],
            history={"outcomes": text, "durations_s": [0.5] * len(text)},
            output=[{"name": text, "text": f"--- {text}\n+++ {text}\n-{text}\n+{text}{text}"}],
            earlier=[{**row}],
        )
    spans = {
        result["nodeid"]: [_hostile_span(index, text)]
        for index, (text, result) in enumerate(zip(HOSTILE, document["scenarios"], strict=True))
    }
    return document, _placed(document, spans)


def _hostile_result(index: int, text: str) -> Result:
    failure = Failure(message=text, where=text, step=text, details=text)
    step = StepResult(
        name=text, service=text, outcome="failed", started_s=0.1, duration_s=0.5, exit_code=1, stdout=text,
        stderr=text, failures=(failure,),
    )  # fmt: skip
    container = ContainerFacts(
        id=text, name=text, service=text, image=text, memory_bytes=1, cpus=1.0, reuse=text, logs=text
    )
    return Result(
        nodeid=f"tests/{text}.toml::{text}", name=text, file=text, line=1, tags=(text,), outcome="failed",
        started=at(index), duration_s=0.9, worker=text, containers=(container,), steps=(step,),
        failures=(failure,), unchecked=(text,), notes=(text,),
        artifacts=(KeptFile(service=text, path=text, file=text, size_bytes=9),),
    )  # fmt: skip


def _hostile_span(index: int, text: str) -> Span:
    start_ns = EPOCH_NS + index * 10**9
    odd: dict[str, AttributeValue] = {
        "list": [text, {text: text}],
        "bytes": b"<\x00>",
        "nan": float("nan"),
        "big": 1 << 63,
    }
    return Span(
        trace_id="0" * 31 + "1", span_id=f"{index + 1:016x}", name=text, service=text, status="error",
        status_message=text, start_ns=start_ns, end_ns=start_ns + 10**9, attributes={text: text, **odd},
        resource={text: text}, events=(SpanEvent(name=text, attributes={text: text}),),
        links=(SpanLink(trace_id=text, span_id="f" * 16),),
    )  # fmt: skip
