"""Hiding secret values in text that leaves a run: the terminal, reports, spans, logs.

A secret is hidden as it is, and as programs write it: escaped in JSON and in Python, quoted in URLs, in
base64 at any place of a longer text, and each line of one that has several. Values shorter than
:data:`MIN_CHARS` are not hidden: they are found everywhere, and a text that is masked everywhere tells
nothing.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import fields, is_dataclass, replace
from itertools import chain
from typing import TYPE_CHECKING, TypeVar, cast
from urllib.parse import quote, quote_plus

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

__all__ = ["MASK", "MIN_CHARS", "RedactedStream", "Redactor"]

MASK = "***"
MIN_CHARS = 3
MIN_BASE64_CHARS = 8

_Data = TypeVar("_Data", bound="DataclassInstance")
_KEPT = frozenset({"nodeid", "file", "started", "worker", "outcome", "kind", "priority", "id", "line"})
"""Fields of results that tell which item it was, or have one of few values."""

_CUT_BEHIND = re.compile(r" ?\[?\.\.\.")
_CUT_BEFORE = re.compile(r"(?:left out \.\.\.\]\n|first \d+ bytes:\n) *")


class Redactor:
    """Replaces secrets by :data:`MASK`. More may be added while it is used.

    :param secrets: the values.
    """

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._forms: tuple[str, ...] = ()
        self.add(secrets)

    def __bool__(self) -> bool:
        """Tell whether there is anything to hide."""
        return bool(self._forms)

    def add(self, secrets: Iterable[str]) -> None:
        """Hide these values too from now on."""
        forms = {form for secret in secrets for form in _forms(secret)}
        self._forms = tuple(sorted(forms.union(self._forms), key=lambda form: (-len(form), form)))

    def text(self, text: str) -> str:
        """Return *text* with all secrets masked, those that overlap as one."""
        return _masked(text, self._found(text)) if self._forms else text

    def cut_text(self, text: str) -> str:
        """Return *text* masked, and with it what is left of secrets where *text* was cut and says so."""
        if not self._forms:
            return text
        places = [cut.end() for cut in _CUT_BEFORE.finditer(text)]
        return _masked(text, chain(self._found(text), self._begun(text), self._ended(text, places)))

    def end_of_text(self, text: str) -> str:
        """Return *text* masked, the end of a longer one: it may begin within a secret."""
        return _masked(text, chain(self._found(text), self._ended(text, [0]))) if self._forms else text

    def result(self, result: _Data) -> _Data:
        """Return a dataclass of a result with all secrets in its texts masked, at any depth."""
        if not self._forms:
            return result
        changed = {
            each.name: self._value(getattr(result, each.name))
            for each in fields(result)
            if each.name not in _KEPT
        }
        return replace(result, **changed)

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
        """Yield start and end of each secret, also of those that overlap."""
        for form in self._forms:
            start = text.find(form)
            while start >= 0:
                yield start, start + len(form)
                start = text.find(form, start + 1)

    def _begun(self, text: str) -> Iterator[tuple[int, int]]:
        """Yield the beginnings of secrets in front of a cut."""
        for cut in _CUT_BEHIND.finditer(text):
            for form in self._forms:
                length = next((n for n in _lengths(form) if text.endswith(form[:n], 0, cut.start())), 0)
                if length:
                    yield cut.start() - length, cut.start()

    def _ended(self, text: str, places: Iterable[int]) -> Iterator[tuple[int, int]]:
        """Yield the ends of secrets at *places*, behind a cut."""
        for place in places:
            for form in self._forms:
                length = next((n for n in _lengths(form) if text.startswith(form[-n:], place)), 0)
                if length:
                    yield place, place + length

    def unfinished(self, text: str) -> int:
        """Return how long *text* is without the beginning of a secret that may follow at its end."""
        whole = list(self._found(text))
        begins = (
            at
            for form in self._forms
            for at in range(max(0, len(text) - len(form) + 1), len(text))
            if form.startswith(text[at:]) and not any(start < at < end for start, end in whole)
        )
        return min(begins, default=len(text))


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
        text = self._held + text
        ends = self._redactor.unfinished(text)
        self._held = text[ends:]
        if ends:
            self._write(self._redactor.text(text[:ends]))

    def close(self) -> None:
        """Write what was held back: nothing follows any more."""
        held, self._held = self._held, ""
        if held:
            self._write(self._redactor.text(held))


def _lengths(form: str) -> range:
    """Return the lengths of a part of a secret that is worth hiding, longest first."""
    return range(len(form) - 1, MIN_CHARS - 1, -1)


def _forms(secret: str) -> Iterator[str]:
    """Yield how a secret may be written."""
    for line in {secret, secret.strip(), *(each.strip() for each in secret.splitlines())}:
        if len(line) < MIN_CHARS:
            continue
        yield line
        yield repr(line)[1:-1]
        yield json.dumps(line)[1:-1]
        yield json.dumps(line, ensure_ascii=False)[1:-1]
        data = line.encode("utf-8", "replace")
        yield quote(data)
        yield quote(data, safe="")
        yield quote_plus(data)
        for skipped in range(3):
            for form in _base64(data, skipped):
                if len(form) >= MIN_BASE64_CHARS:
                    yield form


def _base64(data: bytes, skipped: int) -> Iterator[str]:
    """Yield *data* in base64 as it stands behind *skipped* other bytes, without characters that it shares."""
    first = (skipped * 8 + 5) // 6
    last = (skipped + len(data)) * 8 // 6
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        yield encode(b"\0" * skipped + data)[first:last].decode()


def _masked(text: str, found: Iterable[tuple[int, int]]) -> str:
    """Return *text* with a mask in place of each of the places *found*, of all that overlap only one."""
    parts: list[str] = []
    written = 0
    for start, end in sorted(found):
        if start >= written:
            parts += (text[written:start], MASK)
        written = max(written, end)
    return "".join((*parts, text[written:]))
