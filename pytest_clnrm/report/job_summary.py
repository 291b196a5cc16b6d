"""A run in Markdown, for the page that a CI service shows of a job. Pure: from what was counted to text.

Texts of tests stand in HTML, where nothing of them is Markdown or a tag.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from html import escape

MAX_FAILURES = 20
MAX_FAILURE_CHARS = 4000
MAX_TITLE_CHARS = 300
SLOWEST = 5
_ORDER = ("failed", "error", "crashed", "passed", "skipped", "xfailed", "xpassed", "rerun")


@dataclass(frozen=True, slots=True, kw_only=True)
class Bad:
    """An item that has failed.

    :param outcome: "failed" or "error".
    :param message: its first line.
    :param text: all that pytest shows of it.
    """

    nodeid: str
    outcome: str
    message: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """A run.

    :param counts: as pytest counts, of each outcome.
    :param slow: node id and seconds of items, in any order.
    :param flaky: node ids of what failed and then passed.
    :param report: where the report is, "" if there is none.
    """

    counts: dict[str, int]
    duration_s: float
    bad: Sequence[Bad] = ()
    slow: Sequence[tuple[str, float]] = ()
    flaky: Sequence[str] = ()
    report: str = ""


def job_summary(run: Summary) -> str:
    """Return a run in Markdown."""
    return "\n".join(_lines(run)) + "\n"


def _lines(run: Summary) -> Iterator[str]:
    named = [*_ORDER, *sorted(run.counts.keys() - set(_ORDER))]
    counts = ", ".join(f"{run.counts[name]} {name}" for name in named if run.counts.get(name))
    yield f"### pytest: {escape(counts) or 'nothing was run'} in {run.duration_s:.0f} s"
    yield ""
    for each in run.bad[:MAX_FAILURES]:
        yield from _failure(each)
    if len(run.bad) > MAX_FAILURES:
        yield from (f"{len(run.bad) - MAX_FAILURES} more failures are in the log.", "")
    if run.bad:
        yield from ("Run what failed again: `pytest --lf`", "")
    if run.flaky:
        yield f"Flaky, failed and then passed: {_codes(run.flaky)}"
        yield ""
    slowest = sorted(run.slow, key=lambda each: -each[1])[:SLOWEST]
    if slowest:
        yield from ("| slowest | seconds |", "| --- | ---: |")
        yield from (f"| {_code(nodeid)} | {seconds:.1f} |" for nodeid, seconds in slowest)
        yield ""
    if run.report:
        yield f"Report: {_code(run.report)}"
        yield ""


def _failure(each: Bad) -> Iterator[str]:
    text = each.text.strip("\n")
    if len(text) > MAX_FAILURE_CHARS:
        half = MAX_FAILURE_CHARS // 2
        text = f"{text[:half]}\n[... {len(text) - 2 * half} characters left out]\n{text[-half:]}"
    title = f"{each.outcome.upper()} {_code(each.nodeid)} {escape(_cut(each.message))}"
    yield f"<details><summary>{title}</summary>"
    yield ""
    yield f"<pre>{escape(text)}</pre>"
    yield ""
    yield "</details>"
    yield ""


def _codes(nodeids: Iterable[str]) -> str:
    return ", ".join(map(_code, nodeids))


def _code(text: str) -> str:
    # In HTML a bar ends a cell of a table, and characters of Markdown mean what they mean elsewhere.
    shown = escape(_cut(" ".join(text.split())))
    for char in "|*_`[]~\\":
        shown = shown.replace(char, f"&#{ord(char)};")
    return f"<code>{shown}</code>"


def _cut(text: str) -> str:
    return text if len(text) <= MAX_TITLE_CHARS else f"{text[:MAX_TITLE_CHARS]}..."
