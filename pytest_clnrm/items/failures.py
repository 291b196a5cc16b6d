"""Failed scenarios as pytest shows failed Python tests: exceptions, places and tracebacks of its own kinds.

What is built here is what pytest makes of a Python test (``ExceptionChainRepr`` of ``ReprEntry``): other
plugins read it, xdist sends it, and the terminal colours it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from _pytest._code.code import (
    ExceptionChainRepr,
    ReprEntry,
    ReprEntryNative,
    ReprFileLocation,
    ReprTraceback,
)

from pytest_clnrm.errors import ClnrmError
from pytest_clnrm.model.result import Result
from pytest_clnrm.report.failure_text import Explained, title
from pytest_clnrm.util.terminal_text import one_line

if TYPE_CHECKING:
    import pytest
    from _pytest._code import Traceback
    from _pytest._code.code import TerminalRepr

PACKAGE = Path(__file__).resolve().parents[1]
_MACHINERY = ("_pytest", "pluggy", "xdist")
_INSTALLED = {"site-packages", "dist-packages"}
_FAILED = "E   "
"""What pytest begins the lines with that it shows in red, from the first one on."""


class ScenarioFailedError(AssertionError):
    """The program did something else than a scenario expects; the result says what.

    :ivar result: of the scenario, where a Python test has run it.
    """

    result: Result | None = None


class ScenarioBrokenError(Exception):
    """A scenario could not be run to its end: its engine, an image or a service failed."""


def error_of(result: Result) -> ScenarioFailedError | ScenarioBrokenError:
    """Return what a test raises that has failed like *result*, called as its first failure.

    It is broken if any of them says so: whoever expects the first one (``xfail``) does not expect that.
    """
    is_broken = any(each.kind == "error" for each in result.failures)
    return (ScenarioBrokenError if is_broken else ScenarioFailedError)(one_line(title(result.failures[0])))


def is_infrastructure(error: BaseException | None) -> bool:
    """Tell whether a test that *error* ends has failed for no fault of its own.

    That is an error of ours that says so, one that is raised ``from`` such an error, and a scenario that a
    Python test has run.
    """
    while error is not None:
        if isinstance(error, ClnrmError):
            return error.is_infrastructure
        if isinstance(error, ScenarioFailedError):
            return error.result is not None and error.result.is_infrastructure
        if getattr(error, "clnrm_is_infrastructure", False):
            return True
        error = error.__cause__
    return False


def raise_at(path: Path, line: int, error: BaseException) -> NoReturn:
    """Raise *error* as if line *line* of the file at *path* had: its traceback ends there."""
    __tracebackhide__ = True
    source = "\n" * (max(1, line) - 1) + "raise error"
    exec(compile(source, str(path), "exec"), {"error": error, "__name__": "scenario"})  # noqa: S102
    raise error


def place_of(where: str, file: str, line: int) -> tuple[str, int]:
    """Return the parts of ``file:line``, *file* and *line* if it names none.

    It is another file than the scenario's for a step of a block that is written there.
    """
    named, _, number = where.rpartition(":")
    return (named, int(number)) if number.isdecimal() else (file, line)


def scenario_repr(
    failures: Iterable[Explained],
    rest: Iterable[str] = (),
    *,
    path: Path,
    shown_path: str,
    line: int,
    native: bool,
    clean: Callable[[str], str],
) -> ExceptionChainRepr:
    """Return what pytest shows of failures, at least one: an entry each, with its place in the file.

    :param rest: lines that are to be shown below all of them.
    :param path: of the file, absolute; *shown_path* is what a person reads.
    :param line: of the scenario, for failures that name no line.
    :param native: as ``--tb=native`` wants it.
    :param clean: removes secrets and control characters.
    """
    entries: list[ReprEntry | ReprEntryNative] = []
    places: list[ReprFileLocation] = []
    for failure in failures:
        message = one_line(clean(failure.message))
        place = ReprFileLocation(*place_of(failure.where, shown_path, line), message)
        lines = _body(failure, message, clean)
        if native:
            head = f"{place.path}:{place.lineno}: {message}"
            entries.append(ReprEntryNative([f"{each}\n" for each in (head, *lines)]))
        else:
            entries.append(ReprEntry(lines, None, None, place, "short"))
        places.append(place)
    below = clean("\n".join(rest))
    traceback = ReprTraceback(entries, below or None, "native" if native else "short")
    first = places[0].lineno if places[0].path == shown_path else line
    crash = ReprFileLocation(str(path), first, places[0].message)
    return ExceptionChainRepr([(traceback, crash, None)])


def _body(failure: Explained, message: str, clean: Callable[[str], str]) -> list[str]:
    """Return the lines below a failure's place: source and command, and marked as failed what was seen."""
    # Each cleaned as one text: a secret may have several lines.
    about, details = (_indented(clean("\n".join(each))) for each in (failure.about, failure.details))
    return [*about, f"{_FAILED}{message}", *details] if about or details else []


def _indented(text: str) -> list[str]:
    return [f"    {line}" if line else "" for line in text.split("\n")] if text else []


def frames_of_others(traceback: Traceback, rootdir: Path, *, while_running: bool) -> Traceback:
    """Return the frames that a user can do something about: none of this package, of pytest or of xdist.

    :param while_running: the exception came while a scenario ran, perhaps in a signal's handler: what is
        below this package is what it called, so that only frames of the project are somebody else's.
    """

    def is_others(path: Path) -> bool:
        if PACKAGE in path.parents:
            return False
        if while_running:
            return rootdir in path.parents and not _INSTALLED & set(path.parts)
        return not any(part in _MACHINERY for part in path.parts)

    return traceback.filter(lambda entry: is_others(Path(entry.path)) and not entry.ishidden(None))


def with_crash(chain: ExceptionChainRepr, crash: ReprFileLocation) -> ExceptionChainRepr:
    """Return *chain* with another place of the crash."""
    *before, (traceback, _, description) = chain.chain
    return ExceptionChainRepr([*before, (traceback, crash, description)])


def cleaned(shown: TerminalRepr, clean: Callable[[str], str]) -> TerminalRepr:
    """Return pytest's own traceback, cleaned in its place; it stays one, if secrets are within its lines.

    :param clean: removes secrets and control characters.
    """
    if isinstance(shown, ExceptionChainRepr):
        for traceback, crash, _ in shown.chain:
            for entry in traceback.reprentries:
                entry.lines = [clean(line) for line in entry.lines]
                if isinstance(entry, ReprEntry) and entry.reprlocals is not None:
                    entry.reprlocals.lines = [clean(line) for line in entry.reprlocals.lines]
            if crash is not None:
                crash.message = clean(crash.message)
        if shown.reprcrash is not None:
            shown.reprcrash.message = clean(shown.reprcrash.message)
    return shown


def clean_report(report: pytest.TestReport, clean: Callable[[str], str]) -> None:
    """Clean all that is shown of *report*: sections, captured output, tracebacks of pytest's own."""
    report.sections = [(clean(title), clean(text)) for title, text in report.sections]
    if isinstance(report.longrepr, ExceptionChainRepr):
        text = str(report.longrepr)
        if clean(text) != text:
            report.longrepr = clean(text)
    elif isinstance(report.longrepr, str):
        report.longrepr = clean(report.longrepr)
    elif isinstance(report.longrepr, tuple):
        path, line, reason = report.longrepr
        report.longrepr = path, line, clean(reason)
