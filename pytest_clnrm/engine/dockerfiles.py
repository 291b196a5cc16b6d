"""What a Dockerfile would make the engine do that no build may, told before anything is sent.

A file is not parsed as one engine does: each of its lines is taken for the start of an instruction, and lines
are joined in each way that some engine joins them. So nothing is hidden in a continued line, behind a parser
directive, or in a heredoc, and what is told too much is only what nobody writes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from pytest_clnrm.engine.fetching import REMEDY, fetched_by_add

__all__ = ["MAX_BYTES", "problem_of_dockerfile"]

MAX_BYTES = 1 << 20
MAX_LINES = 5000

_KEYWORDS = ("ADD", "ARG", "COPY", "FROM", "RUN")
_ESCAPE = re.compile(r"^\s*#\s*escape\s*=", re.IGNORECASE | re.MULTILINE)
_INSTRUCTION = re.compile(r"(?:ONBUILD\s+)?([A-Z]+)\s+(.*)", re.IGNORECASE | re.DOTALL)
_STARTS = tuple(f"{lead}{each} " for lead in ("", "ONBUILD ") for each in _KEYWORDS)
_LONGEST = max(map(len, _STARTS))
_FROM = re.compile(r"(?:--\S+\s+)*(\S+)(?:\s+AS\s+\S+)?\s*", re.IGNORECASE)
_FLAG = re.compile(r"--from=(\S+)|--mount=\S*?\bfrom=([^,\s]+)", re.IGNORECASE)
_ARG = re.compile(r"""(\w+)=("[^"]*"|'[^']*'|\S*)""")
_VARIABLE = re.compile(r"\$\{([^}]*)\}|\$(\w+)")
_EXPANSION = re.compile(r"(\w+)(?:(:?[-+])(.*))?")
_ID = re.compile(r"(?:sha256:)?[0-9a-f]*", re.IGNORECASE)
_QUOTES = re.compile(r"[\"'\\`]")


def problem_of_dockerfile(content: bytes, args: Mapping[str, str]) -> str:
    """Return what is wrong with a Dockerfile, and the remedy; "" if nothing is.

    :param args: of the build.
    """
    if len(content) > MAX_BYTES or content.count(b"\n") > MAX_LINES:
        return f"its Dockerfile is longer than {MAX_LINES} lines or {MAX_BYTES >> 20} MB"
    instructions = list(_instructions(content.decode("utf-8", "replace").lstrip("\ufeff")))
    for keyword, rest in instructions:
        if keyword == "ADD" and (found := fetched_by_add(rest)):
            return f"{found} {REMEDY}"
    values: dict[str, list[str]] = {name: [value] for name, value in args.items()}
    for keyword, rest in instructions:
        if keyword == "ARG":
            for name, value in _ARG.findall(rest):
                values.setdefault(name, []).append(value)
    stages = sum(keyword == "FROM" for keyword, _ in instructions)
    for keyword, rest in instructions:
        for image in _images(keyword, rest):
            # A stage may be named by its number.
            stage = keyword != "FROM" and image.isdecimal() and len(image) < 5 and int(image) < stages  # noqa: PLR2004
            if not stage and _may_be_id(image, values, set()):
                return (
                    f"{keyword} {image} may be the id of any image of this host, or the start of one: write "
                    "its name with a tag (name:tag); a stage needs a name that is no hexadecimal number"
                )
    return ""


def _instructions(text: str) -> Iterator[tuple[str, str]]:
    """Yield each instruction that some engine may read: its keyword in capitals, and what follows."""
    lines = text.split("\n")
    seen: set[tuple[str, str]] = set()
    for escape in ("\\", "`") if _ESCAPE.search(text) else ("\\",):
        sign = re.escape(escape)
        # Docker has taken two signs for one that is escaped only since BuildKit.
        for ending in (rf"{sign}\s*$", rf"(?:^|(?<!{sign})){sign}\s*$"):
            for at in range(len(lines)):
                if (read := _joined(lines, at, re.compile(ending))) and read not in seen:
                    seen.add(read)
                    yield read


def _joined(lines: list[str], at: int, ending: re.Pattern[str]) -> tuple[str, str] | None:
    """Return the instruction that starts at a line, None if it is none of those looked at."""
    pieces: list[str] = []
    head = ""
    for index in range(at, len(lines)):
        line = lines[index].rstrip()
        if not line or line.lstrip().startswith("#"):
            # Left out between continued lines; as the first line, the next one is a start as well.
            if not pieces:
                return None
            continue
        continued = ending.search(line)
        piece = line[: continued.start()] if continued else line
        if not pieces and not piece.strip():
            return None
        pieces.append(piece)
        if len(head) < _LONGEST:
            head = " ".join(("".join(pieces) + "|").split()).removesuffix("|").upper()[:_LONGEST]
            if not any(head.startswith(each) or each.startswith(head) for each in _STARTS):
                return None
        if not continued:
            break
    found = _INSTRUCTION.fullmatch("".join(pieces).strip())
    return (found[1].upper(), found[2]) if found and found[1].upper() in _KEYWORDS else None


def _images(keyword: str, rest: str) -> Iterator[str]:
    if keyword == "FROM":
        if found := _FROM.fullmatch(rest):
            yield found[1]
    elif keyword in {"COPY", "RUN"}:
        for flag in _FLAG.finditer(rest):
            yield flag[1] or flag[2]


def _may_be_id(text: str, values: Mapping[str, list[str]], seen: set[str]) -> bool:
    """Tell whether *text* may be nothing but a hexadecimal number once its variables have values.

    :param seen: variables that have been looked at.
    """
    bare = _QUOTES.sub("", text)
    fixed = _VARIABLE.sub("", bare)
    if not _ID.fullmatch(fixed):
        return False
    if fixed:
        return True
    for braced, name in _VARIABLE.findall(bare):
        expansion = _EXPANSION.fullmatch(braced or name)
        if expansion is None:
            # A form that depends on the engine.
            return True
        if expansion[3] and _may_be_id(expansion[3], values, seen):
            return True
        if expansion[1] not in seen:
            seen.add(expansion[1])
            if any(_may_be_id(each, values, seen) for each in values.get(expansion[1], ())):
                return True
    return False
