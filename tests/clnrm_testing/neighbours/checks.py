"""What neighbours write, and whether each test is in it once, as what it was."""

from __future__ import annotations

import csv
import gzip
import html
import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from clnrm_testing.neighbours.seen import Run
from clnrm_testing.neighbours.suite import BREAKS_LATE, BROKEN

Check = Callable[[Run, Mapping[str, str]], Iterator[str]]
"""Yields in words what is wrong with what a neighbour has written, by how each test ended."""


def _compare(what: str, expected: Mapping[str, str], found: Iterable[tuple[str, str]]) -> Iterator[str]:
    """Yield the differences between what each test was and what was written of it, one after the other."""
    written: dict[str, str] = {}
    for name, status in found:
        written[name] = f"there twice, as {written[name]} and {status}" if name in written else status
    for name in sorted({*expected, *written}):
        if expected.get(name) != written.get(name):
            yield f"{what}: {name}: {written.get(name, 'missing')}, not {expected.get(name, 'there')}"


def _in_words(expected: Mapping[str, str], words: Mapping[str, str]) -> dict[str, str]:
    """Return the outcomes in the words of a neighbour."""
    return {nodeid: words.get(outcome, outcome) for nodeid, outcome in expected.items()}


def allure(run: Run, expected: Mapping[str, str]) -> Iterator[str]:
    """Look at Allure's results: failed is not broken, and each of both has a message."""
    outcomes = _in_words(expected, {"error": "broken", "xfailed": "skipped"})
    outcomes.update((nodeid, "broken") for nodeid in BROKEN if outcomes.get(nodeid) == "failed")
    results = [json.loads(path.read_text("utf-8")) for path in run.folder.glob("allure/*-result.json")]
    # Allure has names without their files.
    named = {nodeid.rpartition("::")[2]: outcome for nodeid, outcome in outcomes.items()}
    yield from _compare("Allure", named, ((each["name"], each["status"]) for each in results))
    for each in results:
        if each["status"] in {"failed", "broken"} and not each.get("statusDetails", {}).get("message"):
            yield f"Allure: {each['name']}: no message"


def report_portal(run: Run, expected: Mapping[str, str]) -> Iterator[str]:
    """Look at what ReportPortal was told: each item is begun and ended once, in one launch."""
    begun: list[tuple[str, str]] = []
    ended: dict[str, str] = {}
    launches = []
    for request in run.requests:
        where = request.path.rpartition("/suite/")[2]
        if where.startswith("launch"):
            launches.append(request.method)
        elif where.startswith("item"):
            sent = json.loads(request.body)
            if request.method == "POST":
                begun.append((sent["name"], request.id))
            else:
                ended[where.removeprefix("item/")] = sent["status"].lower()
    if launches != ["POST", "PUT"]:
        yield f"ReportPortal: requests for launches: {launches}"
    wanted = _in_words(expected, {"error": "failed", "xfailed": "skipped"})
    yield from _compare(
        "ReportPortal", wanted, ((name, ended.get(given, "not ended")) for name, given in begun)
    )


def open_telemetry(run: Run, expected: Mapping[str, str]) -> Iterator[str]:
    """Look at the spans of pytest-opentelemetry: one for each test, with its status."""
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    found: list[tuple[str, str]] = []
    for request in run.requests:
        body = gzip.decompress(request.body) if request.body[:2] == b"\x1f\x8b" else request.body
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            for scope in resource.scope_spans:
                if scope.scope.name == "pytest-opentelemetry":
                    found += [
                        (
                            span.name,
                            "failed" if span.status.code == span.status.STATUS_CODE_ERROR else "passed",
                        )
                        for span in scope.spans
                        if span.name in expected
                    ]
    wanted = _in_words(expected, {"error": "failed", "skipped": "passed", "xfailed": "passed"})
    # What fails in its teardown has passed to pytest-opentelemetry.
    yield from _compare("spans", {**wanted, BREAKS_LATE: "passed"}, found)


def json_report(run: Run, expected: Mapping[str, str]) -> Iterator[str]:
    """Look at pytest-json-report's document."""
    document = json.loads((run.folder / ".report.json").read_text("utf-8"))
    rows = [(each["nodeid"], each["outcome"]) for each in document["tests"]]
    yield from _compare("JSON report", expected, rows)


def html_page(run: Run, expected: Mapping[str, str]) -> Iterator[str]:
    """Look at pytest-html's page, which has a row more for an error in teardown."""
    text = (run.folder / "page.html").read_text("utf-8")
    (blob,) = re.findall(r'data-jsonblob="([^"]*)"', text)
    tests: dict[str, list[dict[str, Any]]] = json.loads(html.unescape(blob))["tests"]
    yield from _compare(
        "page", expected, ((nodeid, rows[-1]["result"].lower()) for nodeid, rows in tests.items())
    )
    for nodeid, rows in tests.items():
        if len(rows) > 1 + (nodeid == BREAKS_LATE):
            yield f"page: {nodeid}: {len(rows)} rows"


def report_log(run: Run, expected: Mapping[str, str]) -> Iterator[str]:
    """Look at pytest-reportlog's lines: each phase of a test once."""
    lines = [json.loads(line) for line in (run.folder / "log.jsonl").read_text("utf-8").splitlines()]
    phases = Counter((each["nodeid"], each["when"]) for each in lines if each["$report_type"] == "TestReport")
    if twice := sorted(each for each, count in phases.items() if count > 1):
        yield f"log: there twice: {twice}"
    if others := sorted({nodeid for nodeid, _ in phases} ^ set(expected)):
        yield f"log: other tests: {others}"


def markdown(run: Run, expected: Mapping[str, str]) -> Iterator[str]:
    """Look at the sums of pytest-md-report."""
    lines = (run.folder / "report.md").read_text("utf-8").strip().splitlines()
    columns, sums = ([cell.strip() for cell in line.strip("|").split("|")] for line in (lines[0], lines[-1]))
    for outcome, count in Counter(expected.values()).items():
        # A test whose teardown fails has passed too.
        wanted = str(count + (outcome == "passed"))
        if sums[columns.index(outcome)] != wanted:
            yield f"Markdown: {sums[columns.index(outcome)]} {outcome}, not {wanted}"


def priority_first(run: Run, expected: Mapping[str, str]) -> Iterator[str]:
    """Look at the order: what has the higher priority comes first in one process."""
    first = run.processes["main"].ran[:2] if not run.workers else []
    if any(not nodeid.startswith("orders.") for nodeid in first):
        yield f"order: first came {first}"


def table(run: Run, expected: Mapping[str, str]) -> Iterator[str]:
    """Look at pytest-csv's rows."""
    with (run.folder / "table.csv").open(encoding="utf-8", newline="") as file:
        rows = [(row["id"], row["status"]) for row in csv.DictReader(file)]
    # What fails in its teardown only has a row for its call too.
    yield from _compare("table", expected, (each for each in rows if each != (BREAKS_LATE, "passed")))


_ANNOTATION = re.compile(r"::error file=([^,]*),line=(\d+)")


def github(run: Run, expected: Mapping[str, str]) -> Iterator[str]:
    """Look at the annotations for GitHub: one for each whose call failed, at the line that is wrong."""
    found = _ANNOTATION.findall(run.output)
    for place in (("fails.clnrm.toml", "8"), ("test_outcomes.py", "19")):
        if place not in found:
            yield f"annotations: none at {':'.join(place)}, but at {found}"
    wanted = sum(outcome == "failed" for outcome in expected.values())
    if len(found) != wanted:
        yield f"annotations: {len(found)}, not {wanted}"


_TEAM_CITY = re.compile(r"##teamcity\[testFinished .*?name='((?:[^'|]|\|.)*)'")


def team_city(run: Run, expected: Mapping[str, str]) -> Iterator[str]:
    """Look at the messages for TeamCity: each test ends once."""
    # What fails in its teardown is a second test to TeamCity.
    found = [each for each in _TEAM_CITY.findall(run.output) if not each.endswith("_teardown")]
    if len(found) != len(expected) or len(set(found)) != len(found):
        yield f"TeamCity: {len(found)} tests have ended, not {len(expected)}: {sorted(found)}"
