"""Judging one step: exit code, output, and the values captured from it.

An output may have been cut. What is found in the rest counts as found; what can only be told from the whole
is a failure that says so, since a pass would not be proven.
"""

from __future__ import annotations

import re
import signal
from collections.abc import Callable

from pytest_clnrm.expect.json_match import NotJsonError, parse_json, resolve_pointer
from pytest_clnrm.expect.text_checks import judge_text
from pytest_clnrm.expect.texts import Output, quote
from pytest_clnrm.model.captured import captured_text
from pytest_clnrm.model.key_path import KeyPath
from pytest_clnrm.model.result import Failure
from pytest_clnrm.model.step import Capture, Step, StepExpect
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
    lacks: str = "",
) -> tuple[Failure, ...]:
    """Return why *step* did something else than expected; empty if it did what was expected.

    :param exit_code: None if it did not end by itself.
    :param stdout: decoded; its end if it was cut.
    :param where: gives ``file:line`` of a key path.
    :param stdout_omitted_bytes: how many bytes before that were not kept.
    :param lacks: why the beginning of both may be missing, in words; "" if it is there.
    """
    out = Output("stdout", stdout, stdout_omitted_bytes, lacks)
    err = Output("stderr", stderr, stderr_omitted_bytes, lacks)
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
    if not wrong and exit_code in _SHELL_CODES and exit_code not in expect.exit_in:
        # It has failed, but not as the program whose failure is expected: that has not run.
        fail(f"exit code {exit_code}: {_SHELL_CODES[exit_code]}", at, say_so(exit_code), err, out)
    elif wrong:
        meaning = _exit_meaning(exit_code)
        if exit_code is not None and expect.exit_in == (0,) and (expect.stdout or expect.stderr):
            meaning = "\n".join((*filter(None, [meaning]), say_so(exit_code)))
        fail(wrong, at, meaning, err, out)
    for text, output in ((expect.stdout, out), (expect.stderr, err)):
        if text is not None:
            for fault in judge_text(text, output):
                fail(fault.message, fault.at or at, fault.details, output)
    return tuple(failures)


def say_so(exit_code: int | None) -> str:
    """Return how a file says that an exit code is right."""
    return f"where that is right: exit = {exit_code} in expect"


def _exit_message(expect: StepExpect, exit_code: int | None) -> str:
    """Return what is wrong with the exit code, "" if nothing is. No ``exit_in`` allows every code."""
    if exit_code is None and expect.service_ends:
        return ""
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


def capture(
    step: Step,
    stdout: str,
    stderr: str,
    *,
    where: Where,
    stdout_omitted_bytes: int = 0,
    stderr_omitted_bytes: int = 0,
    lacks: str = "",
) -> tuple[dict[str, str], tuple[Failure, ...]]:
    """Return the values that *step* captures, by name, and a failure for each that is not there.

    A JSON string is taken as it is, any other JSON value as compact JSON. The parameters are those of
    :func:`judge_step`.
    """
    outputs = {
        "stdout": Output("stdout", stdout, stdout_omitted_bytes, lacks),
        "stderr": Output("stderr", stderr, stderr_omitted_bytes, lacks),
    }
    return capture_from(step, lambda each: outputs[each.stream], where=where)


class AbsentError(LookupError):
    """What is to be captured is not there; the message says what is missing."""


def capture_from(
    step: Step, source_of: Callable[[Capture], Output], *, where: Where
) -> tuple[dict[str, str], tuple[Failure, ...]]:
    """Return the values that *step* captures, as :func:`capture` does.

    :param source_of: returns the text of which a value is taken, or raises AbsentError.
    """
    values: dict[str, str] = {}
    failures: list[Failure] = []
    told: set[str] = set()
    for each in step.captures:
        output: Output | None = None
        try:
            output = source_of(each)
            values[each.name] = _captured(each, output)
        except (LookupError, re.error, PatternTimeoutError) as error:
            if isinstance(error, AbsentError) and each.default is not None:
                values[each.name] = each.default
                continue
            why, place = f"cannot capture {each.name!r}: {error}", where(each.at or step.at)
            details = "" if output is None or output.name in told else output.excerpt()
            told.add("" if output is None else output.name)
            failures.append(Failure(message=why, where=place, step=step.name, details=details))
    return values, tuple(failures)


def _captured(what: Capture, output: Output) -> str:
    """Return the value.

    :raises AbsentError: with the reason why it is not there.
    :raises LookupError: if that cannot be told.
    :raises re.error: if its regular expression is none.
    :raises PatternTimeoutError: if it takes too long.
    """
    if what.regex is not None:
        found = output.search(what.regex)
        if not found:
            unproven = output.unproven
            message = f"{output.name} does not match {quote(what.regex)}{unproven}"
            raise LookupError(message) if unproven else AbsentError(message)
        value = found.first if found.groups else found.text
        if value is None:
            raise AbsentError(f"the first group of {quote(what.regex)} took no part in the match")
        return value
    if what.json is None:
        return output.text
    if output.unproven:
        raise LookupError(f"{output.name} must be JSON{output.unproven}")
    try:
        document = parse_json(output.text)
    except NotJsonError as error:
        raise LookupError(f"{output.name} is no JSON: {error}") from None
    try:
        named = resolve_pointer(document, what.json)
    except LookupError as error:
        raise AbsentError(*error.args) from None
    return captured_text(named)
