"""Judging one step: exit code, output, and the values captured from it.

An output may have been cut. What is found in the rest counts as found; what can only be told from the whole
is a failure that says so, since a pass would not be proven.
"""

from __future__ import annotations

import json
import re
import signal
from collections.abc import Callable, Iterator
from typing import Any

from pytest_clnrm.expect.json_match import NotJsonError, json_differences, parse_json, resolve_pointer
from pytest_clnrm.expect.texts import Output, case_hint, line_of, quote, regex_hint, text_difference
from pytest_clnrm.model.key_path import KeyPath
from pytest_clnrm.model.result import Failure
from pytest_clnrm.model.step import Capture, Step, StepExpect, TextExpect
from pytest_clnrm.util.patterns import PatternTimeoutError

Where = Callable[[KeyPath], str]

_SHELL_CODES = {126: "it was found, but could not be run", 127: "the command was not found"}


def judge_step(
    step: Step,
    *,
    exit_code: int | None,
    stdout: str,
    stderr: str,
    where: Where,
    stdout_omitted_bytes: int = 0,
    stderr_omitted_bytes: int = 0,
) -> tuple[Failure, ...]:
    """Return why *step* did something else than expected; empty if it did what was expected.

    :param exit_code: None if it did not end by itself.
    :param stdout: decoded; its end if it was cut.
    :param where: gives ``file:line`` of a key path.
    :param stdout_omitted_bytes: how many bytes before that were not kept.
    """
    out = Output("stdout", stdout, stdout_omitted_bytes)
    err = Output("stderr", stderr, stderr_omitted_bytes)
    expect = step.expect
    failures: list[Failure] = []

    told: set[str] = set()

    def fail(message: str, at: KeyPath, detail: str, *outputs: Output) -> None:
        # An output is shown with the first failure that it explains.
        excerpts = [each.excerpt() for each in outputs if each.name not in told]
        told.update(each.name for each in outputs)
        text = "\n".join(each for each in (detail, *excerpts) if each)
        failures.append(Failure(message=message, where=where(at), step=step.name, details=text))

    at = expect.at or step.at
    wrong = _exit_message(expect, exit_code)
    if wrong:
        fail(wrong, at, _exit_meaning(exit_code), err, out)
    for text, output in ((expect.stdout, out), (expect.stderr, err)):
        if text is not None:
            for message, details in _judge_text(text, output):
                fail(message, text.at or at, details, output)
    return tuple(failures)


def _exit_message(expect: StepExpect, exit_code: int | None) -> str:
    """Return what is wrong with the exit code, "" if nothing is. No ``exit_in`` allows every code."""
    good = not expect.exit_in or exit_code in expect.exit_in
    if exit_code is not None and good and exit_code not in expect.exit_not_in:
        return ""
    wanted = " or ".join(str(each) for each in expect.exit_in)
    refused = " or ".join(str(each) for each in expect.exit_not_in)
    expected = " but ".join(part for part in (wanted or "any", f"not {refused}" if refused else "") if part)
    if exit_code is None:
        return f"no exit code (the command did not end by itself), expected {expected}"
    return f"exit code {exit_code}, expected {expected}"


def _exit_meaning(exit_code: int | None) -> str:
    """Say what a shell or the kernel means by an exit code, "" where only the program knows."""
    if exit_code is None:
        return ""
    if exit_code in _SHELL_CODES:
        return f"exit code {exit_code} of a shell: {_SHELL_CODES[exit_code]}"
    try:
        name = signal.Signals(exit_code - 128).name
    except ValueError:
        return ""
    return f"exit code {exit_code} usually means: ended by {name}"


def _judge_text(expect: TextExpect, output: Output) -> Iterator[tuple[str, str]]:
    """Yield (message, details) for each part of *expect* that does not hold."""
    name, text, unproven = output.name, output.text, output.unproven
    for part in expect.contains:
        if part not in text:
            yield f"{name} does not contain {quote(part)}{output.got}", case_hint(part, text)
    for part in expect.not_contains:
        if part in text:
            yield f"{name} contains {quote(part)}, which it must not", line_of(text, text.index(part))
        elif unproven:
            yield f"{name} must not contain {quote(part)}{unproven}", ""
    yield from _judge_patterns(expect, output)
    if expect.equals is not None:
        if unproven:
            yield f"{name} must equal {quote(expect.equals)}{unproven}", ""
        elif not _equal(expect.equals, text):
            message = f"{name} does not equal {quote(expect.equals)}{output.got}"
            yield message, text_difference(expect.equals, text)
    if expect.has_json:
        yield from _judge_json(expect.json, output)


def _judge_patterns(expect: TextExpect, output: Output) -> Iterator[tuple[str, str]]:
    """Yield (message, details) for each regular expression that does not hold."""
    name, unproven = output.name, output.unproven
    patterns = [(each, True) for each in expect.regex] + [(each, False) for each in expect.not_regex]
    for pattern, wanted in patterns:
        try:
            found = output.search(pattern)
        except re.error as error:
            # Patterns were checked when their file was read; a captured value can still break one.
            yield f"{quote(pattern)} is no regular expression: {error}", ""
            continue
        except PatternTimeoutError as error:
            yield f"{name} could not be searched: {error}", ""
            continue
        if wanted and not found:
            yield f"{name} does not match {quote(pattern)}{output.got}", regex_hint(pattern, output.text)
        elif found and not wanted:
            yield f"{name} matches {quote(pattern)}, which it must not", f"it matched {quote(found.text)}"
        elif unproven and not wanted:
            yield f"{name} must not match {quote(pattern)}{unproven}", ""


def _equal(expected: str, got: str) -> bool:
    """Tell whether they are equal; one newline at the end of *got* is ignored if *expected* ends with none.

    Programs end their last line with a newline that nobody writes into a scenario file. An expected empty
    text means no output at all.
    """
    if expected and not expected.endswith("\n"):
        got = got.removesuffix("\n")
    return expected == got


def _judge_json(expected: Any, output: Output) -> Iterator[tuple[str, str]]:
    """Yield (message, details) if the output is no JSON, or not the expected one."""
    if output.unproven:
        yield f"{output.name} must be JSON{output.unproven}", ""
        return
    try:
        got = parse_json(output.text)
    except NotJsonError as error:
        yield f"{output.name} is no JSON: {error}", ""
        return
    differences = json_differences(expected, got)
    if differences:
        yield f"{output.name} is not the expected JSON: {differences[0]}", "\n".join(differences[1:])


def capture(
    step: Step,
    stdout: str,
    stderr: str,
    *,
    where: Where,
    stdout_omitted_bytes: int = 0,
    stderr_omitted_bytes: int = 0,
) -> tuple[dict[str, str], tuple[Failure, ...]]:
    """Return the values that *step* captures, by name, and a failure for each that is not there.

    A JSON string is taken as it is, any other JSON value as compact JSON. The parameters are those of
    :func:`judge_step`.
    """
    outputs = {
        "stdout": Output("stdout", stdout, stdout_omitted_bytes),
        "stderr": Output("stderr", stderr, stderr_omitted_bytes),
    }
    values: dict[str, str] = {}
    failures: list[Failure] = []
    told: set[str] = set()
    for each in step.captures:
        output = outputs[each.stream]
        try:
            values[each.name] = _captured(each, output)
        except (LookupError, re.error, PatternTimeoutError) as error:
            why, place = f"cannot capture {each.name!r}: {error}", where(each.at or step.at)
            details = "" if output.name in told else output.excerpt()
            told.add(output.name)
            failures.append(Failure(message=why, where=place, step=step.name, details=details))
    return values, tuple(failures)


def _captured(what: Capture, output: Output) -> str:
    """Return the value.

    :raises LookupError: with the reason why it is not there.
    :raises re.error: if its regular expression is none.
    :raises PatternTimeoutError: if it takes too long.
    """
    if what.regex is not None:
        found = output.search(what.regex)
        if not found:
            raise LookupError(f"{output.name} does not match {quote(what.regex)}{output.unproven}")
        value = found.first if found.groups else found.text
        if value is None:
            raise LookupError(f"the first group of {quote(what.regex)} took no part in the match")
        return value
    if output.unproven:
        raise LookupError(f"{output.name} must be JSON{output.unproven}")
    try:
        named = resolve_pointer(parse_json(output.text), what.json or "")
    except NotJsonError as error:
        raise LookupError(f"{output.name} is no JSON: {error}") from None
    if isinstance(named, str):
        return named
    return json.dumps(named, ensure_ascii=False, separators=(",", ":"))
