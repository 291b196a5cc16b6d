"""What a Dockerfile would make the engine do that no build may, told before anything is sent.

A file is not parsed as one engine does: each of its lines is taken for the start of an instruction, and lines
are joined in each way that some engine joins them. So nothing is hidden in a continued line, behind a parser
directive, or in a heredoc, and what is told too much is only what nobody writes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from pytest_clnrm.engine.docker.fetching import REMEDY, fetched_by_add

MAX_BYTES = 1 << 20
MAX_LINES = 5000
# Of all instructions, as lines within one may be read as more; characters.
_MAX_READ = 4 * MAX_BYTES
# Beyond that it is not found out what an image is: names are shorter, and have few variables.
_MAX_IMAGE = 300
_MAX_VARIABLES = 10

_KEYWORDS = ("ADD", "ARG", "COPY", "FROM", "RUN")
_ESCAPE = re.compile(r"^\s*#\s*escape\s*=", re.IGNORECASE | re.MULTILINE)
_INSTRUCTION = re.compile(r"(?:ONBUILD\s+)?([A-Z]+)\s+(.*)", re.IGNORECASE | re.DOTALL)
_STARTS = tuple(f"{lead}{each} " for lead in ("", "ONBUILD ") for each in _KEYWORDS)
_LONGEST = max(map(len, _STARTS))
_FROM = re.compile(r"(?:--\S+\s+)*(\S+)(?:\s+AS\s+\S+)?\s*", re.IGNORECASE)
_VARIABLE = re.compile(r"\w*")
_EXPANSION = re.compile(r"(\w+)(?:(:?[-+])(.*))?")
_ID = re.compile(r"(?:sha256:)?[0-9a-f]*", re.IGNORECASE)
_QUOTES = re.compile(r"[\"'\\`]")


def problem_of_dockerfile(content: bytes, args: Mapping[str, str]) -> str:
    """Return what is wrong with a Dockerfile, and the remedy; "" if nothing is.

    :param args: of the build.
    """
    if len(content) > MAX_BYTES or content.count(b"\n") > MAX_LINES:
        return f"its Dockerfile is longer than {MAX_LINES} lines or {MAX_BYTES >> 20} MB"
    instructions = []
    read = 0
    for each in _instructions(content.decode("utf-8", "replace").lstrip("\ufeff")):
        instructions.append(each)
        read += len(each[1])
        if read > _MAX_READ:
            return "its Dockerfile has too many instructions within continued lines"
    for keyword, rest in instructions:
        if keyword == "ADD" and (found := fetched_by_add(rest)):
            return f"{found} {REMEDY}"
    values: dict[str, list[str]] = {name: [value] for name, value in args.items()}
    for keyword, rest in instructions:
        if keyword == "ARG":
            for word in rest.split():
                name, _, value = word.partition("=")
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
        if len(head) < _LONGEST and piece.strip():
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
        for word in rest.split():
            flag, _, value = _QUOTES.sub("", word).partition("=")
            if flag.lower() == "--from":
                yield value
            elif flag.lower() == "--mount":
                fields = (each.partition("=") for each in value.split(","))
                yield from (image for key, _, image in fields if key.lower() == "from")


def _split(text: str) -> tuple[str, list[str]]:
    """Return what of *text* is no variable, and its variables: ``b`` and ``c:-${d}`` of ``a$b${c:-${d}}``."""
    fixed: list[str] = []
    variables: list[str] = []
    at = 0
    while at < len(text):
        if text[at] != "$":
            fixed.append(text[at])
            at += 1
        elif text.startswith("${", at):
            begin, depth, at = at + 2, 1, at + 2
            while at < len(text) and depth:
                depth += {"{": 1, "}": -1}.get(text[at], 0)
                at += 1
            variables.append(text[begin : at - 1 if not depth else at])
        else:
            found = _VARIABLE.match(text, at + 1)
            variables.append(found[0] if found else "")
            at += 1 + len(variables[-1])
    return "".join(fixed), variables


def _may_be_id(text: str, values: Mapping[str, list[str]], seen: set[str]) -> bool:
    """Tell whether *text* may be nothing but a hexadecimal number once its variables have values.

    :param seen: variables that have been looked at.
    """
    bare = _QUOTES.sub("", text)
    fixed, variables = _split(bare[:_MAX_IMAGE])
    if not _ID.fullmatch(fixed):
        return False
    if fixed or len(bare) > _MAX_IMAGE or len(seen) > _MAX_VARIABLES:
        return True
    for each in variables:
        expansion = _EXPANSION.fullmatch(each)
        if expansion is None:
            # A form that depends on the engine.
            return True
        if expansion[3] and _may_be_id(expansion[3], values, seen):
            return True
        if expansion[1] not in seen:
            seen.add(expansion[1])
            if any(_may_be_id(value, values, seen) for value in values.get(expansion[1], ())):
                return True
    return False
