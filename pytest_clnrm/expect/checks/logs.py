"""Judging what a service has printed."""

from __future__ import annotations

import re
from collections.abc import Iterator

from pytest_clnrm.expect.text_checks import TextFault, judge_count, judge_text, whole_lines
from pytest_clnrm.expect.texts import Output, quote
from pytest_clnrm.model.check import LogCheck
from pytest_clnrm.util.patterns import PatternTimeoutError, matching


def judge_log(check: LogCheck, output: Output) -> Iterator[TextFault]:
    """Yield why a log is something else than expected; it is shown with the first.

    :param output: named as messages call it.
    """
    excerpt = output.excerpt()
    for fault in _faults(check, output):
        yield fault._replace(details="\n".join(filter(None, (fault.details, excerpt))))
        excerpt = ""


def _faults(check: LogCheck, output: Output) -> Iterator[TextFault]:
    if check.content is not None:
        yield from judge_text(check.content, output)
    whole = whole_lines(output)
    try:
        for each in check.count:
            yield from judge_count(each, output)
        if check.order:
            yield from _judge_order(check, whole, output)
    except (PatternTimeoutError, re.error) as error:
        # Patterns were checked when their file was read; a captured value can still break one.
        yield TextFault(f"{output.name} could not be searched: {error}", "", check.at)


def _judge_order(check: LogCheck, lines: list[str], output: Output) -> Iterator[TextFault]:
    """Yield a fault for the first pattern that matches no line behind that of the one before."""
    behind, before = 0, ""
    for index, pattern in enumerate(check.order):
        found = [
            number for number, matches in enumerate(matching(pattern, lines) if lines else ()) if matches
        ]
        at = next((number for number in found if number >= behind), None)
        if at is None:
            hint = ""
            if found:
                hint = f"it matches before that: line {found[-1] + 1}: {quote(lines[found[-1]])}"
            message = f"{output.name} has no line that matches {quote(pattern)}{before}{output.unproven}"
            yield TextFault(message, hint, (*check.at, "order", index))
            return
        behind, before = at + 1, f" after line {at + 1}, {quote(lines[at])}"
