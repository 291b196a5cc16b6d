"""Judging a text: what an output, a body, a log or the content of a file must be."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import NamedTuple

from pytest_clnrm.expect.conditions import bounds_text, missed
from pytest_clnrm.expect.golden import GoldenFileError, golden_files
from pytest_clnrm.expect.json_checks import path_differences
from pytest_clnrm.expect.json_match import (
    Differences,
    NotJsonError,
    TooMuchWorkError,
    Work,
    json_differences,
    parse_json,
)
from pytest_clnrm.expect.texts import (
    QUOTE_LIMIT,
    Output,
    case_hint,
    line_of,
    quote,
    regex_hint,
    text_difference,
)
from pytest_clnrm.model.key_path import KeyPath
from pytest_clnrm.model.text import LineExpect, LinesExpect, TextExpect
from pytest_clnrm.util.patterns import PatternTimeoutError, matching, replaced

_PROVEN_BY_A_PART = {"gt", "gte"}


class TextFault(NamedTuple):
    """One check of a text that does not hold.

    :param message: one line.
    :param details: more lines, "" if there is no more to say.
    :param at: the key of the check.
    """

    message: str
    details: str
    at: KeyPath


def judge_text(expect: TextExpect, output: Output) -> Iterator[TextFault]:
    """Yield what is wrong with a text; nothing if all of *expect* holds."""
    for key, message, details in _faults(expect, output):
        yield TextFault(message, details, (*expect.at, *key))
    if expect.file is not None or expect.json_file is not None:
        at = (*expect.at, "json_file" if expect.file is None else "file")
        for message, details in _judge_files(expect, output):
            yield TextFault(message, details, at)
    yield from _judge_lines(expect.line, output)
    for each in expect.count:
        yield from judge_count(each, output)
    if expect.has_json or expect.jsonpath:
        yield from _judge_json(expect, output)


def _judge_lines(expects: tuple[LineExpect, ...], output: Output) -> Iterator[TextFault]:
    """Yield what is wrong with single lines."""
    if not expects:
        return
    lines = _lines(output.text)
    for each in expects:
        name = f"line {each.number} of {output.name}"
        # Of an output that was cut off, what is counted from its end is known, but for its first line.
        known = len(lines) - output.is_cut
        if output.unproven and not -known <= each.number < 0:
            yield TextFault(f"{name} must be as expected{output.unproven}", "", each.at)
        elif abs(each.number) > len(lines):
            yield TextFault(f"there is no {name}, which has {len(lines)}", "", each.at)
        else:
            line = lines[each.number - (each.number > 0)]
            yield from judge_text(each.text, Output(name, line, 0))


def judge_count(expect: LinesExpect, output: Output) -> Iterator[TextFault]:
    """Yield a fault if another number of lines matches than expected."""
    lines = whole_lines(output)
    try:
        number = sum(matching(expect.regex, lines)) if lines else 0
    except (PatternTimeoutError, re.error) as error:
        # Patterns were checked when their file was read; a captured value can still break one.
        yield TextFault(f"{output.name} could not be searched: {error}", "", (*expect.at, "regex"))
        return
    wanted = missed(expect.number, number)
    if output.unproven and (wanted or any(each.op not in _PROVEN_BY_A_PART for each in expect.number)):
        message = f"the lines of {output.name} that match {quote(expect.regex)} are to be counted"
        yield TextFault(f"{message}{output.unproven}", "", expect.at)
    elif wanted:
        told = {0: "no line that matches", 1: "1 line that matches"}.get(number, f"{number} lines that match")
        yield TextFault(f"{output.name} has {told} {quote(expect.regex)}, expected {wanted}", "", expect.at)


def whole_lines(output: Output) -> list[str]:
    """Return the lines, without carriage returns, and without the first one of an output that was cut."""
    lines = _lines(output.text)
    return [line.rstrip("\r") for line in (lines[1:] if output.is_cut else lines)]


def _lines(text: str) -> list[str]:
    """Return the lines; what comes behind the last newline is one only if there is something."""
    lines = text.split("\n")
    return lines if lines[-1] else lines[:-1]


_Found = Iterator[tuple[KeyPath, str, str]]
"""The key of the check, what is wrong, and more lines about it."""


def _faults(expect: TextExpect, output: Output) -> _Found:
    """Yield (key, message, details) for each part of *expect* that does not hold."""
    name, text, unproven = output.name, output.text, output.unproven
    for index, part in enumerate(expect.contains):
        if part not in text:
            message = f"{name} does not contain {quote(part)}{output.got}"
            yield ("contains", index), message, case_hint(part, text)
    for index, part in enumerate(expect.not_contains):
        at = ("not_contains", index)
        if part in text:
            yield at, f"{name} contains {quote(part)}, which it must not", line_of(text, text.index(part))
        elif unproven:
            yield at, f"{name} must not contain {quote(part)}{unproven}", ""
    yield from _judge_patterns(expect, output)
    if expect.equals is not None:
        if unproven:
            yield ("equals",), f"{name} must equal {quote(expect.equals)}{unproven}", ""
        elif not _equal(expect.equals, text):
            message = f"{name} does not equal {quote(expect.equals)}{output.got}"
            yield ("equals",), message, text_difference(expect.equals, text)
    yield from _judge_ends(expect, output)
    yield from _judge_amounts(expect, output)


def _judge_ends(expect: TextExpect, output: Output) -> _Found:
    """Yield what is wrong if it does not begin or end as expected."""
    name, text, at = output.name, output.text, ("starts_with",)
    if expect.starts_with is not None:
        if output.unproven:
            yield at, f"{name} must start with {quote(expect.starts_with)}{output.unproven}", ""
        elif not text.startswith(expect.starts_with):
            yield at, f"{name} does not start with {quote(expect.starts_with)}{output.got}", ""
    if expect.ends_with is not None and not text.endswith(expect.ends_with):
        end = text if expect.ends_with.endswith("\n") else text.removesuffix("\n")
        if not end.endswith(expect.ends_with):
            shown = end[-QUOTE_LIMIT:]
            message = f"{name} does not end with {quote(expect.ends_with)}, its end is {quote(shown)}"
            yield ("ends_with",), message, ""


def _judge_amounts(expect: TextExpect, output: Output) -> _Found:
    """Yield what is wrong if it has another number of lines or characters than expected."""
    text = output.text
    for key, bounds, number, what in (
        ("lines", expect.lines, len(_lines(text)), "lines"),
        ("length", expect.length, len(text.removesuffix("\n")), "characters"),
    ):
        if not bounds:
            continue
        if output.unproven:
            yield (key,), f"{output.name} must have {bounds_text(bounds)} {what}{output.unproven}", ""
        elif wanted := missed(bounds, number):
            yield (key,), f"{output.name} has {number} {what}, expected {wanted}", ""


def _judge_patterns(expect: TextExpect, output: Output) -> _Found:
    """Yield what is wrong for each regular expression that does not hold."""
    name, unproven = output.name, output.unproven
    patterns = [("regex", index, each) for index, each in enumerate(expect.regex)]
    patterns += [("not_regex", index, each) for index, each in enumerate(expect.not_regex)]
    for key, index, pattern in patterns:
        at, wanted = (key, index), key == "regex"
        try:
            found = output.search(pattern)
        except re.error as error:
            # Patterns were checked when their file was read; a captured value can still break one.
            yield at, f"{quote(pattern)} is no regular expression: {error}", ""
            continue
        except PatternTimeoutError as error:
            yield at, f"{name} could not be searched: {error}", ""
            continue
        if wanted and not found:
            yield at, f"{name} does not match {quote(pattern)}{output.got}", regex_hint(pattern, output.text)
        elif found and not wanted:
            message = f"{name} matches {quote(pattern)}, which it must not"
            yield at, message, f"it matched {quote(found.text)}"
        elif unproven and not wanted:
            yield at, f"{name} must not match {quote(pattern)}{unproven}", ""


def _equal(expected: str, got: str) -> bool:
    """Tell whether they are equal; one newline at the end of *got* is ignored if *expected* ends with none.

    Programs end their last line with a newline that nobody writes into a scenario file. An expected empty
    text means no output at all.
    """
    if expected and not expected.endswith("\n"):
        got = got.removesuffix("\n")
    return expected == got


def _judge_files(expect: TextExpect, output: Output) -> Iterator[tuple[str, str]]:
    """Yield (message, details) for each file that it differs from."""
    name = output.name
    if output.unproven:
        yield f"{name} must equal the file {quote(expect.file or expect.json_file)}{output.unproven}", ""
        return
    files = golden_files()
    try:
        got = _redacted(output.text, expect)
        if expect.file is not None:
            updated = files.update(expect.file, got)
            expected = got if updated else _redacted(files.read(expect.file), expect)
            # The newline at the end of a file is the editor's.
            expected = expected.removesuffix("\n")
            if got.removesuffix("\n") != expected:
                details = text_difference(expected, got)
                yield f"{name} does not equal the file {quote(expect.file)}", details
        if expect.json_file is not None:
            pretty = json.dumps(parse_json(got), indent=2, ensure_ascii=False) + "\n"
            updated = files.update(expect.json_file, pretty)
            expected = pretty if updated else _redacted(files.read(expect.json_file), expect)
            yield from _json_file_faults(name, expect.json_file, expected, got)
    except GoldenFileError as error:
        yield f"{name} {error}", ""
    except (NotJsonError, RecursionError) as error:
        yield f"{name} is no JSON: {error}", ""
    except (re.error, PatternTimeoutError) as error:
        yield f"{name} could not be redacted: {error}", ""


def _redacted(text: str, expect: TextExpect) -> str:
    for each in expect.redact:
        text = replaced(each.regex, each.replacement, text)
    return text


def _json_file_faults(name: str, file: str, expected: str, got: str) -> Iterator[tuple[str, str]]:
    found = Differences(work=Work())
    what = f"the file {quote(file)}"
    try:
        wanted = parse_json(expected)
        what = name
        found.compare(wanted, parse_json(got), "$", exact=True)
    except NotJsonError as error:
        yield f"{what} is no JSON: {error}", ""
        return
    except (TooMuchWorkError, RecursionError) as error:
        found.give_up("$", str(error))
    if found.count:
        first, *more = found.told()
        yield f"{name} is not the JSON of the file {quote(file)}: {first}", "\n".join(more)


def _judge_json(expect: TextExpect, output: Output) -> Iterator[TextFault]:
    """Yield what is wrong if the text is no JSON, or not the expected one."""
    at = (*expect.at, "json" if expect.has_json else "jsonpath")
    if output.unproven:
        yield TextFault(f"{output.name} must be JSON{output.unproven}", "", at)
        return
    try:
        got = parse_json(output.text)
    except NotJsonError as error:
        yield TextFault(f"{output.name} is no JSON: {error}", "", at)
        return
    found = [(at, json_differences(expect.json, got) if expect.has_json else [])]
    found += [(path.at, told) for path, told in path_differences(expect.jsonpath, output.text, got)]
    for place, differences in found:
        if differences:
            message = f"{output.name} is not the expected JSON: {differences[0]}"
            yield TextFault(message, "\n".join(differences[1:]), place)
