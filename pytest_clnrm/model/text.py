"""What is expected of a text, whatever it is of: an output, a body, a log, the content of a file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from pytest_clnrm.model.expectations import Condition
from pytest_clnrm.model.json_checks import JsonPathExpect
from pytest_clnrm.model.key_path import KeyPath


@dataclass(frozen=True, slots=True, kw_only=True)
class Redaction:
    """What is not compared: each match of a regular expression is replaced in both texts.

    :param replacement: taken as it is.
    :cvar regex_fields: which strings are regular expressions.
    :cvar blank_fields: of which an empty text says something.
    :cvar file_keys: field -> its keys in a file, where these are not its name.
    """

    regex_fields: ClassVar = ("regex",)
    blank_fields: ClassVar = ("replacement",)
    file_keys: ClassVar = {"replacement": ("with",)}

    regex: str
    replacement: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LinesExpect:
    """How many lines match a regular expression.

    :cvar regex_fields: as of :class:`Redaction`.
    """

    regex_fields: ClassVar = ("regex",)

    regex: str
    number: tuple[Condition, ...]
    at: KeyPath = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class LineExpect:
    """What one line of a text must be.

    :param number: from 1, or from -1 for the last one backwards.
    """

    number: int
    text: TextExpect
    at: KeyPath = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class TextExpect:
    """What a text must be; everything that is set must hold.

    :param lines: how many it has; a last one counts without its newline too.
    :param length: how many characters, without one newline at its end.
    :param file: a file whose content it must equal, beside the scenario file.
    :param json_file: a file whose JSON it must equal.
    :param redact: done before it is compared with a file.
    :param json: a value that the text, parsed as JSON, must match: objects by the keys named here,
        everything else by equality. ``has_json`` tells an expected ``null`` from none.
    :cvar json_fields: of which strings stand for JSON values.
    :cvar regex_fields: as of :class:`Redaction`.
    :cvar blank_fields: as of :class:`Redaction`.
    """

    json_fields: ClassVar = ("json",)
    regex_fields: ClassVar = ("regex", "not_regex")
    blank_fields: ClassVar = ("equals", "json")

    contains: tuple[str, ...] = ()
    not_contains: tuple[str, ...] = ()
    regex: tuple[str, ...] = ()
    not_regex: tuple[str, ...] = ()
    equals: str | None = None
    starts_with: str | None = None
    ends_with: str | None = None
    lines: tuple[Condition, ...] = ()
    line: tuple[LineExpect, ...] = ()
    count: tuple[LinesExpect, ...] = ()
    length: tuple[Condition, ...] = ()
    file: str | None = None
    json_file: str | None = None
    redact: tuple[Redaction, ...] = ()
    json: Any = None
    has_json: bool = False
    jsonpath: tuple[JsonPathExpect, ...] = ()
    at: KeyPath = ()
