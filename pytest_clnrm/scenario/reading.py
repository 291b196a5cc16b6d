"""From the bytes of a scenario file to its TOML values."""

from __future__ import annotations

import errno
import re
from difflib import get_close_matches
from typing import Any, NamedTuple

from pytest_clnrm.errors import Mistake, ScenarioFileError
from pytest_clnrm.model.key_path import KeyPath
from pytest_clnrm.toml.positions import leaves, place_of, source_line
from pytest_clnrm.util.beneath import open_beneath

_EXPRESSION = re.compile(
    r"""(?<=[=\[,])([ \t]{,99})\{\{.{,999}?\}\}(?=[ \t]{,99}(?:[,\]}#]|$))""", re.MULTILINE
)
_HEADER = re.compile(r"[ \t]*\[\[?[ \t]*[\w\"']")
_LONG_NUMBER = re.compile(r"[0-9A-Fa-f_]{16}")
_ENDS = {"{%": "%}", "{#": "#}"}
_STATEMENT = re.compile(r"\{[%#]")
MAX_FILE_BYTES = 1 << 20
MAX_ENTRIES = 10_000
MAX_VALUES = 200_000
MAX_DEPTH = 50
_INT_MIN, _INT_MAX = -(2**63), 2**63 - 1
_TWICE = re.compile(r"overwrite|twice|mutable|outside of its|already", re.IGNORECASE)


class Source(NamedTuple):
    """A scenario file as it was read.

    :param text: with LF at the ends of lines, without a byte order mark.
    :param modified_s: time of its modification, Unix seconds.
    """

    text: str
    modified_s: float


def read(path: str) -> Source:
    """Return the text of a file.

    :param path: absolute, links resolved: what has become a link since is not followed.
    :raises ScenarioFileError: if it cannot be read, is longer than 1 MiB, or is not UTF-8.
    """
    try:
        with open_beneath("/", path) as file:
            data = file.read(MAX_FILE_BYTES)
            modified_s = file.status.st_mtime
    except OSError as error:
        if error.errno == errno.EFBIG:
            size = f"{MAX_FILE_BYTES >> 20} MiB"
            message = f"the file is larger than {size}; spread its scenarios over several files"
            raise refused(path, message, line=1) from None
        raise refused(path, f"cannot be read: {error.strerror or type(error).__name__}") from None
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        # The position counts from behind the byte order mark.
        data = data.removeprefix(b"\xef\xbb\xbf")
        before = data[: error.start].decode("utf-8", "replace")
        place = place_of(before, len(before))
        line = data.split(b"\n")[place.line - 1].decode("utf-8", "replace").rstrip("\r")
        message = f"not UTF-8: byte 0x{data[error.start]:02x} cannot stand here; save the file as UTF-8"
        raise refused(path, message, line=place.line, column=place.column, source=line) from None
    return Source(text.replace("\r\n", "\n"), modified_s)


def text_of(path: str) -> str:
    """Return the text of another file that a scenario file names.

    :param path: absolute, links resolved: what has become a link since is not followed.
    :raises ValueError: if it cannot be read, is longer than 1 MiB, or is not UTF-8.
    """
    try:
        with open_beneath("/", path) as file:
            return file.read(MAX_FILE_BYTES).decode("utf-8-sig")
    except OSError as error:
        if error.errno == errno.EFBIG:
            raise ValueError(f"is larger than {MAX_FILE_BYTES >> 20} MiB") from None
        raise ValueError(f"cannot be read: {error.strerror or type(error).__name__}") from None
    except UnicodeDecodeError as error:
        raise ValueError(f"is not UTF-8: byte 0x{error.object[error.start]:02x} cannot stand there") from None


def parse(text: str, path: str, note: str = "") -> dict[str, Any]:
    """Return the values of a TOML text.

    :param path: of the file, for the error.
    :param note: a hint to add to a mistake.
    :raises ScenarioFileError: with the place of the first thing that is no TOML.
    """
    import tomli

    try:
        return tomli.loads(text)
    except tomli.TOMLDecodeError as error:
        line, column = error.lineno, error.colno
        from pytest_clnrm.scenario.slips import of_syntax

        shown = source_line(text, line)
        if _TWICE.search(error.msg):
            column = len(shown) - len(shown.lstrip()) + 1
            remedy = f"a key or table can be given only once{_first_one(text, line)}"
        else:
            remedy = of_syntax(error.msg, shown, column)
        hint = "; ".join(filter(None, (remedy, note)))
        source = "" if may_show_secret(text, line) else shown
        message = f"not valid TOML: {error.msg}"
        wrong = refused(path, message, line=line, column=column, source=source, hint=hint)
    except ValueError as error:
        # tomli passes on what Python says of a number with thousands of digits, without its place.
        wrong = refused(path, f"not valid TOML: {error}", hint=note)
    raise wrong


def _first_one(text: str, line: int) -> str:
    """Return where the key or table at *line* was given before, "" if it is not found."""
    lines = text.split("\n")
    begin = re.match(r"\s*(\[+[^\]]*\]+|[^=]+=)", lines[line - 1])
    if begin is None:
        return ""
    same = (at for at in range(line - 1) if lines[at].lstrip().startswith(begin[1]))
    # Of a key take the nearest one above: earlier ones of that name stand in other tables.
    first = next(same, None) if begin[1].startswith("[") else max(same, default=None)
    return "" if first is None else f": the first stands in line {first + 1}"


def may_show_secret(text: str, line: int) -> bool:
    """Tell whether a line of a text that is no TOML may hold the value of a secret variable."""
    lines = text.split("\n")[:line]
    if _speaks_of_secret(lines[-1] if lines else ""):
        return True
    headers = [each for each in lines if _HEADER.match(each)]
    in_variables = "vars" in (headers[-1] if headers else "\n".join(lines))
    return in_variables and _speaks_of_secret(text)


def _speaks_of_secret(text: str) -> bool:
    words = {word for word in re.findall(r"[a-z]{4,8}", text.lower()) if word[0] == "s"}
    return bool(get_close_matches("secret", words, n=1, cutoff=0.7))


def excess(document: dict[str, Any]) -> list[tuple[KeyPath, str]]:
    """Return a mistake where a document is larger or deeper than any that a person writes; at most one.

    What is checked later takes time and memory by the number of entries, and some of it by the depth.
    """
    values = 0
    waiting: list[tuple[KeyPath, Any]] = [((), document)]
    while waiting:
        path, value = waiting.pop()
        values += len(value)
        if len(path) > MAX_DEPTH:
            return [(path, f"is nested more than {MAX_DEPTH} levels deep")]
        if len(value) > MAX_ENTRIES:
            return [(path, f"has {len(value)} entries; at most {MAX_ENTRIES} are allowed")]
        if values > MAX_VALUES:
            return [((), f"there are more than {MAX_VALUES} values; spread the scenarios over several files")]
        items = value.items() if isinstance(value, dict) else enumerate(value)
        waiting += [((*path, key), each) for key, each in items if isinstance(each, (dict, list))]
    return []


def huge_numbers(text: str, document: dict[str, Any]) -> list[tuple[KeyPath, str]]:
    """Return a mistake for each whole number beyond 64 bits, which TOML does not know."""
    if not _LONG_NUMBER.search(text):
        return []
    message = "this number is beyond 64 bits"
    return [
        (path, message)
        for path, value in leaves(document)
        if isinstance(value, int) and not _INT_MIN <= value <= _INT_MAX
    ]


def outline(text: str) -> dict[str, Any]:
    """Return what can be known of a file that is TOML only when its templates are rendered.

    Rendering needs ``[vars]``, ``[matrix]`` and ``[[parametrize]]`` of the same file. So its statements are
    left out, and what is still no TOML then is read table by table, for these alone.
    """
    import tomli

    plain = _EXPRESSION.sub(r"\g<1>0", _without_statements(text))
    try:
        return tomli.loads(plain)
    except ValueError:
        found: dict[str, Any] = {}
        for table in re.split(r"^(?=[ \t]*\[)", plain, flags=re.MULTILINE):
            if re.match(r"[ \t]*\[[ \t]*(?:vars|template[ \t]*\.[ \t]*vars|matrix)[ \t]*\]", table):
                try:
                    found.update(tomli.loads(table))
                except ValueError:
                    continue
            elif re.match(r"[ \t]*\[\[[ \t]*parametrize[ \t]*\]\]", table):
                try:
                    found.setdefault("parametrize", []).extend(tomli.loads(table)["parametrize"])
                except ValueError:
                    continue
        return found


def _without_statements(text: str) -> str:
    """Return *text* without ``{% ... %}`` and ``{# ... #}``, read once from its start to its end."""
    kept: list[str] = []
    at = 0
    while begin := _STATEMENT.search(text, at):
        end = text.find(_ENDS[begin[0]], begin.end())
        if end < 0:
            break
        kept.append(text[at : begin.start()])
        at = end + 2
    return "".join((*kept, text[at:]))


def refused(
    path: str, message: str, *, line: int = 0, column: int = 0, source: str = "", hint: str = ""
) -> ScenarioFileError:
    """Return the error of a file of which nothing can be told but one mistake, at no key."""
    mistake = Mistake(line=line, column=column, path="", message=message, source=source, hint=hint)
    return ScenarioFileError(path, (mistake,))
