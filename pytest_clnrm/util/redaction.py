"""Hiding secret values in text that leaves a run: the terminal, reports, spans, logs.

A secret is looked for in a text as it is, and in what the text means to those who wrote it: with escapes of
JSON, Python and shells, percent escapes of URLs, entities of HTML; in base64 at any place of a longer text
and wrapped at any column, and in hex. Of one that has several lines each line is hidden. Values shorter than
:data:`MIN_CHARS` are not hidden: they are found everywhere, and a text that is masked everywhere tells
nothing.
"""

from __future__ import annotations

import base64
import re
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator
from dataclasses import fields, is_dataclass, replace
from itertools import chain
from typing import TYPE_CHECKING, Any, TypeVar, cast

from pytest_clnrm.util.readings import Forms, begun_escape, readings

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

MASK = "***"
MIN_CHARS = 3
MIN_CODED_CHARS = 8

_Data = TypeVar("_Data", bound="DataclassInstance")
_KEPT = frozenset({"nodeid", "file", "started", "worker", "outcome", "kind", "priority", "id", "line"})
"""Fields of results that tell which item it was, or have one of few values."""

_CUT_BEHIND = re.compile(r" ?\[?\.\.\.")
_CUT_BEFORE = re.compile(r"(?:left out \.\.\.\]\n|first \d+ bytes:\n) *")
_MAX_HELD = 1 << 16
_MAX_CUTS = 1000
_MAX_FORMS = 4000
"""More secrets, or lines of secrets, than that take too long to be looked for: then nothing is shown."""


class Redactor:
    """Replaces secrets by :data:`MASK`. More may be added while it is used.

    :param secrets: the values.
    """

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._forms = Forms()
        self._too_many = False
        self.add(secrets)

    def __bool__(self) -> bool:
        """Tell whether there is anything to hide."""
        return bool(self._forms.plain) or self._too_many

    @property
    def longest(self) -> int:
        """Return how many characters the longest secret has, in whatever way it is written."""
        return 12 * max(map(len, self._forms.plain), default=0)

    def add(self, secrets: Iterable[str]) -> None:
        """Hide these values too from now on."""
        plain = dict.fromkeys(self._forms.plain)
        for form in chain.from_iterable(map(_plain_forms, secrets)):
            plain[form] = None
            if len(plain) > _MAX_FORMS:
                self._too_many = True
                return
        if len(plain) > len(self._forms.plain):
            self._forms = Forms(
                tuple(plain),
                tuple(dict.fromkeys(form.replace(" ", "+") for form in plain)),
                tuple(dict.fromkeys(chain.from_iterable(map(_base64_forms, plain)))),
                tuple(form for each in plain if len(form := each.encode("utf-8", "replace").hex()) >= 8),  # noqa: PLR2004
            )

    def text(self, text: str) -> str:
        """Return *text* with all secrets masked, those that overlap as one."""
        return _masked(text, self._found(text)) if self else text

    def cut_text(self, text: str) -> str:
        """Return *text* masked, and with it what is left of secrets where *text* was cut and says so."""
        if not self:
            return text
        return _masked(text, chain(self._found(text), self._cut(text)))

    def end_of_text(self, text: str) -> str:
        """Return *text* masked, the end of a longer one: it may begin within a secret."""
        return _masked(text, chain(self._found(text), self._cut(text, starts=True))) if self else text

    def result(self, result: _Data) -> _Data:
        """Return a dataclass of a result with all secrets in its texts masked, at any depth."""
        if not self:
            return result
        changed = {
            each.name: self._value(getattr(result, each.name))
            for each in fields(result)
            if each.name not in _KEPT
        }
        return replace(result, **changed)

    def data(self, value: Any) -> Any:
        """Return plain data of results with all secrets in its texts masked."""
        if not self:
            return value
        if isinstance(value, dict):
            return {key: each if key in _KEPT else self.data(each) for key, each in value.items()}
        if isinstance(value, list):
            return [self.data(each) for each in value]
        return self.cut_text(value) if isinstance(value, str) else value

    def _value(self, value: object) -> object:
        if isinstance(value, str):
            return self.cut_text(value)
        if isinstance(value, tuple):
            return tuple(self._value(each) for each in value)
        if is_dataclass(value):
            return self.result(cast("DataclassInstance", value))
        return value

    def stream(self, write: Callable[[str], None]) -> RedactedStream:
        """Return where text arrives in pieces, and is written on without secrets."""
        return RedactedStream(self, write)

    def _found(self, text: str) -> Iterator[tuple[int, int]]:
        """Yield start and end of each secret, also of those that overlap; all of *text* for too many."""
        if self._too_many and text:
            yield 0, len(text)
            return
        for reading, forms in readings(text, self._forms):
            for form in forms:
                start = reading.text.find(form)
                while start >= 0:
                    yield reading.place(start, start + len(form))
                    # Of those that overlap it the last one is enough, and keeps the work linear.
                    behind = start + len(form)
                    last = reading.text.rfind(form, start + 1, behind + len(form) - 1)
                    start = last if last >= 0 else reading.text.find(form, behind)

    def _cut(self, text: str, *, starts: bool = False) -> Iterator[tuple[int, int]]:
        """Yield what is left of secrets in front of a cut and behind one.

        :param starts: True if *text* itself begins behind a cut, and says nothing of others.
        """
        for reading, forms in readings(text, self._forms):
            read = reading.text
            behind = [0] if starts else [cut.end() for cut in _CUT_BEFORE.finditer(read)]
            before = [] if starts else [cut.start() for cut in _CUT_BEHIND.finditer(read)]
            # A text that says so more often was not cut by us.
            before[_MAX_CUTS // 2 : -_MAX_CUTS // 2] = []
            for form in forms:
                for place in before:
                    start = _begun(read, place, form, MIN_CHARS)
                    if start < place:
                        yield reading.place(start, place)
                for place in behind:
                    end = _ended(read, place, form)
                    if end > place:
                        yield reading.place(place, end)

    def finished(self, text: str) -> tuple[str, str]:
        """Return the masked *text* but for the beginning of a secret that may follow at its end, and that."""
        if not self:
            return text, ""
        whole = _merged(self._found(text))
        ends = [end for _, end in whole]

        def within_another(place: int) -> bool:
            around = bisect_right(ends, place)
            return around < len(whole) and whole[around][0] < place

        escape = begun_escape(text)
        held = len(text) if within_another(escape) else escape
        for reading, forms in readings(text[:held], self._forms):
            read = reading.text
            for form in forms:
                at = _begun(read, len(read), form, 1)
                while at < len(read):
                    start, _ = reading.place(at, len(read))
                    if not within_another(start):
                        held = min(held, start)
                        break
                    at = _begun(read, len(read), form, 1, at + 1)
        if len(text) - held > max(_MAX_HELD, self.longest):
            held = len(text)
        return _masked(text[:held], (each for each in whole if each[1] <= held)), text[held:]


class RedactedStream:
    """Text in pieces: what may be the beginning of a secret waits for the next piece.

    :param write: gets the rest.
    """

    def __init__(self, redactor: Redactor, write: Callable[[str], None]) -> None:
        self._redactor = redactor
        self._write = write
        self._held = ""

    def feed(self, text: str) -> None:
        """Take the next piece."""
        text, self._held = self._redactor.finished(self._held + text)
        if text:
            self._write(text)

    def close(self) -> None:
        """Write what was held back: nothing follows any more."""
        held, self._held = self._held, ""
        if held:
            self._write(self._redactor.text(held))


def _begun(text: str, end: int, form: str, least: int, first: int = 0) -> int:
    """Return where the longest beginning of *form* in front of *end* starts; *end* if there is none.

    :param least: characters that it has at least.
    :param first: where it may start at the earliest.
    """
    at = text.find(form[:least], max(first, end - len(form) + 1), end)
    while at >= 0:
        if text.startswith(form[: end - at], at):
            return at
        at = text.find(form[:least], at + 1, end)
    return end


def _ended(text: str, start: int, form: str) -> int:
    """Return where the longest end of *form* behind *start* ends; *start* if there is none."""
    head = text[start : start + MIN_CHARS]
    at = form.find(head, 1) if len(head) == MIN_CHARS else -1
    while at >= 0:
        if text.startswith(form[at:], start):
            return start + len(form) - at
        at = form.find(head, at + 1)
    return start


def _plain_forms(secret: str) -> Iterator[str]:
    for line in dict.fromkeys((secret, secret.strip(), *(each.strip() for each in secret.splitlines()))):
        if len(line) >= MIN_CHARS:
            yield line
            # As a repr of its bytes shows it: b'\xc3\xb6'.
            yield line.encode("utf-8", "replace").decode("latin-1")


def _base64_forms(form: str) -> Iterator[str]:
    data = form.encode("utf-8", "replace")
    for skipped in range(3):
        yield from (each for each in _base64(data, skipped) if len(each) >= MIN_CODED_CHARS)


def _base64(data: bytes, skipped: int) -> Iterator[str]:
    """Yield *data* in base64 as it stands behind *skipped* other bytes, without characters that it shares."""
    first = (skipped * 8 + 5) // 6
    last = (skipped + len(data)) * 8 // 6
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        yield encode(b"\0" * skipped + data)[first:last].decode()


def _merged(found: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return the places *found* in order, those that overlap as one."""
    merged: list[tuple[int, int]] = []
    for start, end in sorted(found):
        if merged and start < merged[-1][1]:
            merged[-1] = merged[-1][0], max(end, merged[-1][1])
        else:
            merged.append((start, end))
    return merged


def _masked(text: str, found: Iterable[tuple[int, int]]) -> str:
    """Return *text* with a mask in place of each of the places *found*, of all that overlap only one."""
    parts: list[str] = []
    written = 0
    for start, end in sorted(found):
        if start >= written:
            parts += (text[written:start], MASK)
        written = max(written, end)
    return "".join((*parts, text[written:]))
