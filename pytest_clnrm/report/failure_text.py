"""A failed scenario in words: each failure with the step's source and command, then its services.

Pure: from a :class:`~pytest_clnrm.model.result.Result` to text.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from pytest_clnrm.model.result import ContainerFacts, Failure, Result, StepResult
from pytest_clnrm.util.counted import counted
from pytest_clnrm.util.exit_codes import exit_code_in_words

Source = tuple[int, tuple[str, ...]]
"""The 1-based number of the first line of a step in its file, and its lines."""

MEGABYTE = 1 << 20
MAX_SOURCE_LINES = 12
MAX_COMMAND_CHARS = 500


def title(failure: Failure) -> str:
    """Return the message, with the step that it is about."""
    named = f"step {failure.step!r}"
    # What an expectation says holds texts of the file and of the program, which may read like that too.
    told = named in failure.message if failure.kind == "error" else failure.message.startswith(named)
    return failure.message if told or not failure.step else f"{named}: {failure.message}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Explained:
    """A failure in words.

    :param where: ``file:line``, "" if it has no place.
    :param message: one line: what was expected, and what was found.
    :param about: lines of the step's source, and its command.
    :param details: lines of what was seen.
    """

    where: str
    message: str
    about: tuple[str, ...] = ()
    details: tuple[str, ...] = ()


def explain_failure(failure: Failure, about: Iterable[str] = ()) -> Explained:
    """Return a failure in words, after the lines *about* its step."""
    details = failure.details.rstrip("\n")
    return Explained(
        where=failure.where,
        message=title(failure),
        about=tuple(about),
        details=tuple(details.split("\n")) if details else (),
    )


def explain(result: Result, *, source_of: Callable[[int], Source]) -> Iterator[Explained]:
    """Yield the failures of a scenario; the source of a step is in the first one that is about it.

    :param source_of: returns the source of the step of that index, (0, ()) if it is not known.
    """
    shown: set[str] = set()
    for failure in result.failures:
        about = () if failure.step in shown else _about_step(result, failure, source_of)
        shown.add(failure.step)
        yield explain_failure(failure, about)


def attempt_lines(earlier: Iterable[Result]) -> Iterator[str]:
    """Yield a line for each attempt that failed, with the first of its failures."""
    for number, each in enumerate(earlier, start=1):
        first = each.failures[0]
        where = f" ({first.where})" if first.where else ""
        yield f"attempt {number} failed: {title(first)}{where}"


def explain_rest(result: Result, reproduce: str, artifacts: str = "") -> Iterator[str]:
    """Yield the lines about the services of a failed scenario, its notes, and how to run it alone.

    :param reproduce: the command that does.
    :param artifacts: where its artifacts are, if there are any.
    """
    yield from (_service(each) for each in result.containers if each.timeline)
    if result.artifacts:
        yield f"artifacts: {counted(len(result.artifacts), 'file')}, {artifacts}"
    yield from (f"note: {note}" for note in result.notes)
    if result.earlier and not result.is_flaky:
        yield from attempt_lines(result.earlier)
        yield f"attempt {result.attempts} failed as above: it was the last"
    yield f"reproduce with: {reproduce}"


def _about_step(result: Result, failure: Failure, source_of: Callable[[int], Source]) -> Iterator[str]:
    """Yield the lines of the source and of the command of the step that *failure* is about."""
    for index, step in enumerate(result.steps):
        if step.name == failure.step and step.outcome not in {"passed", "not run"}:
            marked = {each.where for each in result.failures if each.step == failure.step}
            yield from _source(source_of(index), marked)
            yield from _command(step)
            return


def _source(source: Source, marked: set[str]) -> Iterator[str]:
    """Yield the lines with their numbers, a mark at those that failures name; a long one is cut."""
    first, lines = source
    numbers = {where.rpartition(":")[2] for where in marked}
    width = len(str(first + len(lines)))
    cut = False
    for index, line in enumerate(lines):
        number = str(first + index)
        if index >= MAX_SOURCE_LINES and number not in numbers:
            cut = True
            continue
        if cut:
            yield f"  {'...':>{width}}"
            cut = False
        yield f"{'>' if number in numbers else ' '} {number:>{width}} | {line}".rstrip()
    if cut:
        yield f"  {'...':>{width}}"


def _command(step: StepResult) -> Iterator[str]:
    if step.command:
        command = step.command.strip()
        if len(command) > MAX_COMMAND_CHARS:
            left_out = len(command) - MAX_COMMAND_CHARS
            command = f"{command[:MAX_COMMAND_CHARS]} [... {left_out} characters left out]"
        first, *more = command.split("\n")
        how = {"http": "sent", "image": "ran in a container of its own"}.get(step.kind, "ran")
        to = {"http": " to", "run": " in"}.get(step.kind, "")
        yield f"{how}{to} service {step.service!r}: {first}" if step.service else f"{how}: {first}"
        yield from (f"    {line}" for line in more)


def _service(facts: ContainerFacts) -> str:
    """Return the state of a service and its time line."""
    if facts.exit_code is None:
        state = "running"
    else:
        state = f"ended with {exit_code_in_words(facts.exit_code)}"
        if facts.oom_killed:
            state += f", out of memory: its limit is {facts.memory_bytes // MEGABYTE} MB"
    return f"service {facts.service!r}: {state} ({facts.timeline})"
