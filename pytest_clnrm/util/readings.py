"""What a text means to those who wrote it: escapes of JSON, Python, shells, URLs and HTML undone.

So a secret is found in it however it was written, and the place where it was.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator
from functools import cached_property
from typing import NamedTuple


class Forms(NamedTuple):
    """How secrets are looked for.

    :param plain: as they are, each line by itself too; *spaceless* with "+" for each blank, as in URLs.
    :param coded: in base64; *lower* in hex.
    """

    plain: tuple[str, ...] = ()
    spaceless: tuple[str, ...] = ()
    coded: tuple[str, ...] = ()
    lower: tuple[str, ...] = ()


class Reading:
    """What a text means.

    :param text: the text as it was written.
    :param escape: finds its escapes.
    :param decode: returns what one of them means.
    :param outer: what *text* itself was read from.
    """

    def __init__(
        self,
        text: str,
        escape: re.Pattern[str],
        decode: Callable[[re.Match[str]], str],
        outer: Reading | Plain,
    ) -> None:
        self._written = text
        self._escape = escape
        self._decode = decode
        self._outer = outer
        self.text = escape.sub(decode, text)

    @cached_property
    def _parts(self) -> tuple[list[int], list[tuple[int, int, bool]]]:
        """Return where each part starts in :attr:`text`; where it was written, and whether as it is."""
        starts: list[int] = []
        parts: list[tuple[int, int, bool]] = []
        read = written = 0
        for match in self._escape.finditer(self._written):
            for start, end, as_it_is in (
                (written, match.start(), True),
                (match.start(), match.end(), False),
            ):
                if start < end:
                    starts.append(read)
                    parts.append((start, end, as_it_is))
                    read += end - start if as_it_is else len(self._decode(match))
            written = match.end()
        starts.append(read)
        parts.append((written, len(self._written), True))
        return starts, parts

    def place(self, start: int, end: int) -> tuple[int, int]:
        """Return where what stands from *start* to *end* was written in the outermost text."""
        starts, parts = self._parts
        first, last = bisect_right(starts, start) - 1, bisect_left(starts, end) - 1
        begins, _, as_it_is = parts[first]
        if as_it_is:
            begins += start - starts[first]
        last_begins, ends, as_it_is = parts[last]
        if as_it_is:
            ends = last_begins + end - starts[last]
        return self._outer.place(begins, ends)


class Plain(NamedTuple):
    """A text that means what it says."""

    text: str

    @staticmethod
    def place(start: int, end: int) -> tuple[int, int]:
        """Return where it was written."""
        return start, end


_BACKSLASH = re.compile(
    r"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}"
    r"|x[0-9a-fA-F]{2}|[0-3][0-7]{2}|[\s\S])"
)
_NEXT = "%[89abAB][0-9a-fA-F]"
_PERCENT = re.compile(
    f"%[0-7][0-9a-fA-F]|%[c-dC-D][0-9a-fA-F]{_NEXT}|%[eE][0-9a-fA-F](?:{_NEXT}){{2}}"
    f"|%[fF][0-9a-fA-F](?:{_NEXT}){{3}}| "
)
_ENTITY = re.compile(r"&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z]{2,8});")
_QUOTE = re.compile(r"""'\\''|'"'"'""")
# As (?:\s|\\[nr])+, but begun by a set of characters: what has none of them is passed over at once.
_WRAP = re.compile(r"[\s\\](?:(?<=\s)|[nr])(?:\s|\\[nr])*")
_BEGUN_ESCAPE = re.compile(
    r"(?:"
    r"\\(?:u[dD][89abAB][0-9a-fA-F]{2}(?:\\(?:u[0-9a-fA-F]{0,3})?)?|u[0-9a-fA-F]{0,3}|U[0-9a-fA-F]{0,7}"
    r"|x[0-9a-fA-F]?|[0-3][0-7]?)?"
    rf"|%(?:[0-9a-fA-F]|[c-fC-F][0-9a-fA-F](?:{_NEXT}){{0,2}}(?:%[89abAB]?)?)?"
    r"""|&#?\w{0,8}|'(?:\\'?|"'?"?)?"""
    r")\Z"
)
_LONGEST_ESCAPE = 12
_LETTERS = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f", "a": "\a", "v": "\v", "0": "\0"}


def begun_escape(text: str) -> int:
    """Return where an escape starts that ends beyond *text*; its length if there is none."""
    found = _BEGUN_ESCAPE.search(text, max(0, len(text) - _LONGEST_ESCAPE))
    return found.start() if found else len(text)


def _of_backslash(match: re.Match[str]) -> str:
    code = match[0][1:]
    if len(code) == 1:
        return _LETTERS.get(code, code)
    if code[0] in "01234567":
        return chr(int(code, 8))
    if len(code) == 11:  # noqa: PLR2004 two halves of a character beyond U+FFFF
        high, low = int(code[1:5], 16), int(code[7:], 16)
        return chr(0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00))
    number = int(code[1:], 16)
    return chr(number) if number <= 0x10FFFF else match[0]  # noqa: PLR2004 Unicode ends


def _of_percent(match: re.Match[str]) -> str:
    if match[0] == " ":
        return "+"
    text = bytes.fromhex(match[0].replace("%", "")).decode("utf-8", "replace")
    return text.replace(" ", "+")


def _of_entity(match: re.Match[str]) -> str:
    import html

    return html.unescape(match[0])


def readings(text: str, forms: Forms) -> Iterator[tuple[Reading | Plain, tuple[str, ...]]]:
    """Yield each way to read *text*, and what is looked for in it."""
    plain = Plain(text)
    yield plain, forms.plain
    coded: list[Reading | Plain] = [plain]
    if "\\" in text:
        once = Reading(text, _BACKSLASH, _of_backslash, plain)
        yield once, forms.plain
        coded.append(once)
        if "\\" in once.text:
            yield Reading(once.text, _BACKSLASH, _of_backslash, once), forms.plain
    if "%" in text or "+" in text:
        percent = Reading(text, _PERCENT, _of_percent, plain)
        yield percent, forms.spaceless
        if "%" in text:
            coded.append(percent)
    if "&" in text:
        yield Reading(text, _ENTITY, _of_entity, plain), forms.plain
    if "'\\''" in text or "'\"'\"'" in text:
        yield Reading(text, _QUOTE, lambda _: "'", plain), forms.plain
    for each in coded if forms.coded or forms.lower else ():
        yield Reading(each.text, _WRAP, lambda _: "", each), forms.coded
        yield Reading(each.text.translate(_LOWER), _WRAP, lambda _: "", each), forms.lower


_LOWER = {ord(letter): letter.lower() for letter in "ABCDEF"}
