"""Files of environment variables, as `docker compose` reads them; nothing in them is filled in."""

from __future__ import annotations

import re

_ENTRY = re.compile(
    r"""
    [ \t]* (?:export[ \t]+)? (?P<name>[A-Za-z_][A-Za-z0-9_.-]*) [ \t]* = [ \t]*
    (?:
        '(?P<literal>[^']*)' (?P<after>[ \t]*(?:\#[^\n]*)?)
        | "(?P<escaped>(?:[^"\\]|\\.)*)" (?P<behind>[ \t]*(?:\#[^\n]*)?)
        | (?P<plain>(?!['"])[^\n]*)
    )
    (?:\n|\Z)
    """,
    re.VERBOSE | re.DOTALL,
)
_NOTHING = re.compile(r"[ \t]*(?:#[^\n]*)?(?:\n|\Z)")
_COMMENT = re.compile(r"(?:^|[ \t]+)#.*")
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", '"': '"', "\\": "\\", "$": "$"}
_NAME_ALONE = re.compile(r"[ \t]*(?:export[ \t]+)?(\w+)[ \t]*(?:\n|\Z)")


def read_env(text: str) -> dict[str, str]:
    """Return the variables of a file: a line each, ``NAME=value``, quoted or not; the last of a name counts.

    :raises ValueError: with the line of the first thing that is something else, and what to write.
    """
    text = text.replace("\r\n", "\n")
    found: dict[str, str] = {}
    at = 0
    while at < len(text):
        if nothing := _NOTHING.match(text, at):
            at = nothing.end()
            continue
        entry = _ENTRY.match(text, at)
        if entry is None:
            raise ValueError(f"line {text.count(chr(10), 0, at) + 1}: {_why(text, at)}")
        found[entry["name"]] = _value(entry)
        at = entry.end()
    return found


def _value(entry: re.Match[str]) -> str:
    if entry["literal"] is not None:
        return entry["literal"]
    if entry["escaped"] is not None:
        return re.sub(
            r"\\(.)", lambda each: _ESCAPES.get(each[1], each[0]), entry["escaped"], flags=re.DOTALL
        )
    return _COMMENT.sub("", entry["plain"]).strip()


def _why(text: str, at: int) -> str:
    if alone := _NAME_ALONE.match(text, at):
        return f"{alone[1]} has no value: this host's environment is not read; write {alone[1]}=..."
    line = text[at:].partition("\n")[0]
    if re.match(r"[ \t]*(?:export[ \t]+)?[A-Za-z_][A-Za-z0-9_.-]*[ \t]*=", line):
        return "the quotes around the value are not closed, or something follows them"
    return "no variable: expected NAME=value, with a name of letters, digits, '_', '.' and '-'"
