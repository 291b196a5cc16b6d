"""The checks of a text, see :mod:`pytest_clnrm.scenario.format.document`."""

from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, UnsetType

from pytest_clnrm.model.key_path import KeyPath
from pytest_clnrm.model.text import LineExpect, LinesExpect, Redaction, TextExpect
from pytest_clnrm.scenario.format.json_document import (
    AmountBounds,
    AmountDoc,
    JsonPathsDoc,
    amount_conditions,
    built_paths,
)
from pytest_clnrm.scenario.format.parts import Patterns, Table, several, words

GoldenFile = Annotated[str, Meta(min_length=1)]
LineNumber = Annotated[
    str, Meta(pattern="^-?[1-9][0-9]{0,8}$", extra=words("the number of a line: 1, or -1 for the last"))
]


class RedactDoc(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What differs from run to run, and is not compared."""

    regex: Annotated[
        str,
        Meta(min_length=1, description="Each match is replaced.", examples=["[0-9]{4}-[0-9]{2}-[0-9]{2}"]),
    ]
    replacement: Annotated[str, Meta(description="By this text, as it is.", examples=["DATE"])] = (
        msgspec.field(name="with")
    )


class MatchesDoc(AmountDoc, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How many lines match a regular expression; all bounds must hold."""

    regex: Annotated[str, Meta(min_length=1, description="Searched anywhere in a line.", examples=["^error"])]

    def built(self, at: KeyPath) -> LinesExpect:
        """Return the expectation."""
        return LinesExpect(regex=self.regex, number=amount_conditions(self), at=at)


class TextDoc(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a text must be; everything that is set must hold."""

    contains: (
        Annotated[Patterns, Meta(description="A part of it, or each of several.", examples=["ready"])] | None
    ) = None
    not_contains: (
        Annotated[Patterns, Meta(description="No part of it, nor any of several.", examples=["error"])] | None
    ) = None
    regex: (
        Annotated[
            Patterns, Meta(description="Searched anywhere; Python's syntax.", examples=["(?m)^id: [0-9]+$"])
        ]
        | None
    ) = None
    not_regex: (
        Annotated[Patterns, Meta(description="Found nowhere; Python's syntax.", examples=["(?i)warning"])]
        | None
    ) = None
    equals: (
        Annotated[
            str, Meta(description="All of it; one newline at its end need not be named.", examples=["ok"])
        ]
        | None
    ) = None
    starts_with: (
        Annotated[str, Meta(min_length=1, description="How it begins.", examples=["<html>"])] | None
    ) = None
    ends_with: (
        Annotated[
            str,
            Meta(
                min_length=1,
                description="How it ends; one newline at its end need not be named.",
                examples=["done"],
            ),
        ]
        | None
    ) = None
    lines: (
        Annotated[AmountBounds, Meta(description="How many lines it has.", examples=[3, {"gte": 1}])] | None
    ) = None
    line: (
        Annotated[
            dict[LineNumber, Annotated["str | TextDoc", Meta(description="A text is all of it.")]],
            Meta(
                description="What single lines are: 1 is the first, -1 the last; a text is all of one.",
                examples=[{"1": "NAME  STATE", "-1": {"starts_with": "total"}}],
            ),
        ]
        | None
    ) = None
    count: (
        Annotated[
            MatchesDoc | list[MatchesDoc],
            Meta(description="How many lines match.", examples=[{"regex": "^error", "eq": 0}]),
        ]
        | None
    ) = None
    length: (
        Annotated[
            AmountBounds,
            Meta(
                description="How many characters it has, without one newline at its end.",
                examples=[32, {"lt": 1000}],
            ),
        ]
        | None
    ) = None
    file: (
        Annotated[
            GoldenFile,
            Meta(
                description="It equals this file, relative to the scenario file's folder and below rootdir.",
                examples=["golden/orders.txt"],
            ),
        ]
        | None
    ) = None
    json_file: (
        Annotated[
            GoldenFile,
            Meta(description="It is the same JSON as this file.", examples=["golden/orders.json"]),
        ]
        | None
    ) = None
    redact: Annotated[
        list[RedactDoc],
        Meta(
            description="Done to the text and the file before they are compared.",
            examples=[[{"regex": "id=[0-9]+", "with": "id=ID"}]],
        ),
    ] = []
    json: (
        Annotated[
            Any,
            Meta(
                description="It is JSON: objects have at least these members, all else is the same.",
                examples=[{"state": "open"}],
            ),
        ]
        | UnsetType
    ) = UNSET
    jsonpath: (
        Annotated[
            JsonPathsDoc,
            Meta(
                description="It is JSON: what a path selects is this value, or as a table of checks says.",
                examples=[{"$.items[0].id": 3, "$.items[*].id": {"each": {"type": "integer"}}}],
            ),
        ]
        | None
    ) = None

    def built(self, at: KeyPath) -> TextExpect:
        """Return the expectation."""
        return TextExpect(
            contains=tuple(several(self.contains)),
            not_contains=tuple(several(self.not_contains)),
            regex=tuple(several(self.regex)),
            not_regex=tuple(several(self.not_regex)),
            equals=self.equals,
            starts_with=self.starts_with,
            ends_with=self.ends_with,
            lines=amount_conditions(self.lines),
            line=tuple(
                _line(number, each, (*at, "line", number)) for number, each in (self.line or {}).items()
            ),
            count=tuple(
                each.built((*at, "count", index) if isinstance(self.count, list) else (*at, "count"))
                for index, each in enumerate(several(self.count))
            ),
            length=amount_conditions(self.length),
            file=self.file,
            json_file=self.json_file,
            redact=tuple(Redaction(regex=each.regex, replacement=each.replacement) for each in self.redact),
            json=None if self.json is UNSET else self.json,
            has_json=self.json is not UNSET,
            jsonpath=built_paths(self.jsonpath or {}, (*at, "jsonpath")),
            at=at,
        )


def _line(number: str, given: str | TextDoc, at: KeyPath) -> LineExpect:
    text = given.built(at) if isinstance(given, TextDoc) else TextExpect(equals=given, at=at)
    return LineExpect(number=int(number), text=text, at=at)
