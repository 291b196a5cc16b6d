r"""The marks around what a step says in a shell, on each of its two streams.

Nobody can guess them, and each step has new ones::

    \x1d<begin>\n ... the step's bytes ... \x1e<end> <exit code> <out of memory> <left>\n

A step that cannot be started has an end without a beginning: it then is a plain exec's to say why.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Marks:
    """Two marks that nobody can guess."""

    begin: str = field(default_factory=lambda: secrets.token_hex(16))
    end: str = field(default_factory=lambda: secrets.token_hex(16))


class Scanner:
    """Finds the marks in one stream, in any pieces, and gives back what is between them.

    Nothing is held back but what may be the first part of a mark. Its ``early`` says whether something came
    before the first of them, which is nobody's.
    """

    def __init__(self, marks: Marks) -> None:
        # Bytes that hardly end any output: else its last letter would often have to wait for the next.
        self._begin = f"\x1d{marks.begin}\n".encode()
        self._end = b"\x1e" + marks.end.encode()
        self._held = b""
        self._trailer: bytes | None = None
        self.begun = False
        self.ended = False
        self.early = False
        self.late = b""

    @property
    def numbers(self) -> tuple[int, ...]:
        """Return what is told behind the end."""
        return tuple(int(each) for each in (self._trailer or b"").split())

    def feed(self, data: bytes) -> bytes:
        """Return what of *data*, and of what was held back, is the step's."""
        data = self._held + data
        self._held = b""
        if not self.begun and self._trailer is None:
            data = self._find_begin(data)
        if self._trailer is None and self.begun:
            before, found, data = data.partition(self._end)
            if not found:
                kept = overlap(before, self._end)
                self._held = before[len(before) - kept :]
                return before[: len(before) - kept]
            self._trailer = b""
        else:
            before = b""
        if self._trailer is not None:
            self._take_trailer(data)
        return before

    def rest(self) -> bytes:
        """Return what was held back of a step that has no end."""
        held, self._held = self._held, b""
        return held if self.begun else b""

    def _find_begin(self, data: bytes) -> bytes:
        """Return what follows the beginning; what is before it is nobody's."""
        end = data.find(self._end)
        begin = data.find(self._begin)
        if begin >= 0 and (end < 0 or begin < end):
            self.begun = True
            self.early |= begin > 0
            return data[begin + len(self._begin) :]
        if end >= 0:
            self._trailer = b""
            self.early |= end > 0
            return data[end + len(self._end) :]
        kept = max(overlap(data, self._begin), overlap(data, self._end))
        self.early |= kept < len(data)
        self._held = data[len(data) - kept :]
        return b""

    def _take_trailer(self, data: bytes) -> None:
        if self.ended:
            self.late += data
            return
        line, newline, late = data.partition(b"\n")
        self._trailer = (self._trailer or b"") + line
        if newline:
            self.ended = True
            self.late += late


def overlap(data: bytes, mark: bytes) -> int:
    """Return how many bytes at the end of *data* may be the first of *mark*."""
    if mark[:1] not in data[1 - len(mark) :]:
        return 0
    for size in range(min(len(mark) - 1, len(data)), 0, -1):
        if data.endswith(mark[:size]):
            return size
    return 0
