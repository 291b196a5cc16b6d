"""report.html: the run as one page that needs no network and nothing beside it.

Whatever a scenario says reaches the page as JSON that cannot end its script element, and is put there as text
by ``page/*.js``, never as markup. The page's own policy forbids all but the style and script written here.
"""

from __future__ import annotations

import base64
import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pytest_clnrm.report.page_data import counted_as, page_data, script_json
from pytest_clnrm.util.counted import counted
from pytest_clnrm.util.files import write_whole

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_clnrm.report.span_trees import PlacedSpan

MAX_SPANS = 10_000
"""How many spans of a run are shown."""
OUTCOMES = ("failed", "error", "crashed", "flaky", "passed", "xpassed", "xfailed", "skipped")
SCRIPTS = (
    "base.js",
    "data.js",
    "search.js",
    "rows.js",
    "lanes.js",
    "timeline.js",
    "minimap.js",
    "spans.js",
    "failure.js",
    "past.js",
    "details.js",
    "path.js",
    "compare.js",
    "main.js",
)
EXIT_STATUS = {
    2: "interrupted",
    3: "ended by an internal error",
    4: "ended by a usage error",
}
MINUTE_S, HOUR_S = 60, 3600


def write_html(path: Path, document: Mapping[str, Any], spans: Sequence[PlacedSpan] = ()) -> None:
    """Write report.html to *path*: a reader sees the old file or the whole new one.

    :param document: that of :func:`pytest_clnrm.report.json_report.report_document`.
    :param spans: what is to be shown of the trace; up to :data:`MAX_SPANS` fit into 1 MB.
    :raises OSError: if it cannot be written.
    """
    write_whole(path, html_page(document, spans))


def html_page(document: Mapping[str, Any], spans: Sequence[PlacedSpan] = ()) -> str:
    """Return report.html; the same for the same arguments.

    :param document: as in :func:`write_html`.
    """
    import jinja2

    loader = jinja2.PackageLoader("pytest_clnrm.report", "page")
    environment = jinja2.Environment(
        loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )

    def source(name: str) -> str:
        return loader.get_source(environment, name)[0]

    style = source("style.css")
    script = '"use strict";\n(() => {\n' + "".join(map(source, SCRIPTS)) + "})();\n"
    data = page_data(document, spans)
    session, data_text = data["session"], script_json(data)
    # Of a large run both are large.
    del data
    tests = document.get("tests", ())
    # Only a merged report has any.
    problems = session.get("problems", ())
    rows = (*document["scenarios"], *tests)
    outcomes = Counter(each["outcome"] for each in rows)
    counts = Counter(outcome for each in rows for outcome in _filters(each))
    # Subtests that fail count for pytest, and have no row.
    counted: Counter[str] = Counter(document["session"].get("counts", {}))
    counted |= counts
    return environment.get_template("report.html.j2").render(
        title=f"incomplete: {_title(counted)}" if problems else _title(counted),
        verdict="failed" if problems else _verdict(counts),
        problems=problems,
        shards=len(session.get("shards", ())),
        ended=EXIT_STATUS.get(document["session"]["exit_status"], ""),
        session=session,
        duration=_duration(document["session"]["duration_s"]),
        counts=[(outcome, counts[outcome]) for outcome in OUTCOMES if counts[outcome]],
        shares=[(outcome, outcomes[outcome]) for outcome in OUTCOMES if outcomes[outcome]],
        amount=_amount(len(document["scenarios"]), len(tests)),
        heading="Scenarios and tests" if tests else "Scenarios",
        policy=_policy(style, script),
        style=style,
        script=script,
        data=data_text,
    )


def _policy(style: str, script: str) -> str:
    """Return the content security policy: this style and this script, and nothing from anywhere."""

    def digest(text: str) -> str:
        return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()

    return (
        f"default-src 'none'; script-src 'sha256-{digest(script)}'; style-src 'sha256-{digest(style)}'; "
        "base-uri 'none'; form-action 'none'"
    )


def _filters(row: Mapping[str, Any]) -> set[str]:
    """Return by which outcomes a row is found: its own, and all as which pytest has counted it."""
    counted = row.get("counted") or [counted_as(row["outcome"])]
    return {row["outcome"], *counted, *(["flaky"] if row.get("is_flaky") else [])}


def _verdict(counts: Counter[str]) -> str:
    if counts["failed"] or counts["error"]:
        return "failed"
    return "passed" if counts["passed"] + counts["xpassed"] else "empty"


def _title(counts: Counter[str]) -> str:
    """Return the worst of a run in words, in pytest's numbers."""
    crashed = f" ({counts['crashed']} crashed)" if counts["crashed"] else ""
    errors = "error" if counts["error"] == 1 else "errors"
    bad = [f"{counts['failed']} failed{crashed}"] if counts["failed"] else []
    bad += [f"{counts['error']} {errors}"] if counts["error"] else []
    if bad:
        return ", ".join(bad)
    if not counts["passed"]:
        return "nothing ran"
    return f"{counts['passed']} passed"


def _amount(scenarios: int, tests: int) -> str:
    amount = counted(scenarios, "scenario")
    return f"{amount}, {counted(tests, 'Python test')}" if tests else amount


def _duration(seconds: float) -> str:
    """Return a run's duration for a reader."""
    if seconds < MINUTE_S:
        return f"{seconds:.1f} s"
    if seconds < HOUR_S:
        return f"{int(seconds // MINUTE_S)} min {int(seconds % MINUTE_S)} s"
    return f"{int(seconds // HOUR_S)} h {int(seconds % HOUR_S // MINUTE_S)} min"
