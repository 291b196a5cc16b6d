"""Counting the lines of a stream that match a regular expression, each byte of it searched once."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from pytest_clnrm.util.patterns import matching

_PART_BYTES = 65536
_OVERLAP_BYTES = 1024


@dataclass(slots=True)
class _Unfinished:
    """A line whose end has not arrived.

    :param text: what is still to be searched.
    :param counted: it has matched already.
    :param grown: something was added since it was searched.
    """

    text: bytearray = field(default_factory=bytearray)
    counted: bool = False
    grown: bool = False


class LineCount:
    """Counts the lines that match, over several streams that arrive in pieces of any size.

    :param pattern: a regular expression, searched anywhere in each line. A line beyond 64 KB is
        searched in parts, which share 1 KB.
    :ivar matching: how many lines have matched so far.
    :ivar lines: how many lines there were, unfinished ones left out.
    """

    def __init__(self, pattern: str) -> None:
        self._pattern = pattern
        self._unfinished: dict[str, _Unfinished] = {}
        self.matching = 0
        self.lines = 0

    def feed(self, pieces: Iterable[tuple[str, bytes]]) -> None:
        """Take what has arrived next, of each stream in its order.

        :raises PatternTimeoutError: if the search takes too long.
        """
        arrived: dict[str, bytearray] = {}
        for stream, data in pieces:
            arrived.setdefault(stream, bytearray()).extend(data)
        for stream, text in arrived.items():
            self._take(self._unfinished.setdefault(stream, _Unfinished()), text)

    def pause(self) -> None:
        """Search the unfinished lines: nothing more has arrived for now. A prompt has no line end.

        :raises PatternTimeoutError: if the search takes too long.
        """
        for rest in self._unfinished.values():
            if rest.grown:
                self._look(rest, rest.text)
                rest.grown = False

    def _take(self, rest: _Unfinished, text: bytearray) -> None:
        first, *more = text.split(b"\n")
        rest.text += first
        if more:
            lines = [_shown(each) for each in ([] if rest.counted else [rest.text]) + more[:-1]]
            # All at once: one that is to be ended in time is searched in another process.
            self.matching += sum(matching(self._pattern, lines))
            self.lines += len(more)
            rest.text, rest.counted = more[-1], False
        rest.grown = bool(rest.text)
        while len(rest.text) > _PART_BYTES:
            self._look(rest, rest.text[:_PART_BYTES])
            del rest.text[: _PART_BYTES - _OVERLAP_BYTES]

    def _look(self, line: _Unfinished, part: bytearray) -> None:
        if not line.counted and any(matching(self._pattern, [_shown(part)])):
            self.matching += 1
            line.counted = True


def _shown(line: bytearray) -> str:
    return line.decode("utf-8", "replace").rstrip("\r")
