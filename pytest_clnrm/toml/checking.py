"""All mistakes of a document against the types that describe it, in plain words.

msgspec stops at the first mistake. So a document that it refuses is walked once more, slowly, along the same
types, and each mistake is told with its key path.
"""

from __future__ import annotations

import copy
import difflib
import functools
import itertools
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import msgspec
import msgspec.inspect as types

from pytest_clnrm.errors import MAX_MISTAKES
from pytest_clnrm.model.key_path import KeyPath
from pytest_clnrm.model.units import DURATION_ALLOWED, DURATION_PATTERN, SIZE_ALLOWED, SIZE_PATTERN

Model = TypeVar("Model", bound=msgspec.Struct)

_NAMES_SHOWN = 20
_NAME_CHARS = 64
_NAMES_COMPARED = 200

_KINDS: dict[type[types.Type], tuple[type, ...]] = {
    types.StructType: (dict,),
    types.DictType: (dict,),
    types.ListType: (list,),
    types.StrType: (str,),
    types.LiteralType: (str,),
    types.BoolType: (bool,),
    types.IntType: (int,),
    types.FloatType: (int, float),
}
_WORDS = {DURATION_PATTERN: DURATION_ALLOWED, SIZE_PATTERN: SIZE_ALLOWED}


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One mistake, by its key path in the document.

    :param path: of a missing key: of the table in which it is missing.
    :param hint: "did you mean ...?", "" if nothing is near.
    :param missing: the key that is missing, "" if something is wrong.
    """

    path: KeyPath
    message: str
    hint: str = ""
    missing: str = ""

    @property
    def subject(self) -> KeyPath:
        """Return the path of what is wrong or missing."""
        return (*self.path, self.missing) if self.missing else self.path


def find_mistakes(document: Mapping[str, Any], model: type[msgspec.Struct]) -> list[Finding]:
    """Return the first mistakes of *document* against *model*, in the order of the document."""
    return list(itertools.islice(_walk(document, _types_of(model), ()), MAX_MISTAKES))


@functools.cache
def _types_of(model: type[msgspec.Struct]) -> types.Type:
    return types.type_info(model)


def convert(document: Mapping[str, Any], model: type[Model]) -> tuple[Model | None, list[Finding]]:
    """Return *document* as *model*, and its mistakes.

    After mistakes the document is that of the rest, so that more can be said of it; None if there is no rest.
    """
    try:
        return msgspec.convert(document, model), []
    except msgspec.ValidationError as error:
        findings = find_mistakes(document, model) or [Finding(path=(), message=str(error))]
    rest = _without(document, [each.subject for each in findings])
    _complete(rest, _types_of(model))
    try:
        return msgspec.convert(rest, model), findings
    except msgspec.ValidationError:
        return None, findings


def follows_from(path: KeyPath, wrong: list[KeyPath]) -> bool:
    """Tell whether a finding at *path* is only a consequence of an error in *wrong*."""
    gone = [_droppable(each) for each in wrong]
    below = any(path[: len(each)] == each for each in (*wrong, *gone))
    beside = any(each[: len(path)] == path and len(each) == len(path) + 1 for each in gone)
    unknown_service = path[-1:] == ("service",) or path[-2:-1] == ("depends_on",)
    # The service was left out for its own mistake, or was meant to stand in a misspelt table at the top.
    no_service = any(len(each) == 1 or (each[:1] == ("service",) and len(each) == 2) for each in wrong)  # noqa: PLR2004
    return below or beside or (unknown_service and no_service)


def _without(document: Mapping[str, Any], paths: list[KeyPath]) -> dict[str, Any]:
    """Return a copy of *document* without what stands at *paths*; a list goes as a whole."""
    rest: dict[str, Any] = copy.deepcopy(dict(document))
    for path in paths:
        keys = _droppable(path)
        table: Any = functools.reduce(_member, keys[:-1], rest)
        if keys and isinstance(table, dict):
            table.pop(keys[-1], None)
    return rest


def _complete(value: Any, expected: types.Type) -> None:
    """Put an example at each required key that is missing below *value*, and into lists that are too short.

    What is found wrong with these examples is only a consequence of mistakes that were told already.
    """
    fitting = next((each for each, _ in _choices(expected) if _fits(value, each)), None)
    if isinstance(fitting, types.StructType):
        for each in fitting.fields:
            if each.required:
                value.setdefault(each.encode_name, _example(each.type))
            if each.encode_name in value:
                _complete(value[each.encode_name], each.type)
    elif isinstance(fitting, types.DictType):
        for each in value.values():
            _complete(each, fitting.value_type)
    elif isinstance(fitting, types.ListType):
        value += [_example(fitting.item_type)] * ((fitting.min_length or 0) - len(value))
        for each in value:
            _complete(each, fitting.item_type)


def _example(expected: types.Type) -> Any:
    """Return a value of the first kind that *expected* allows; a text is a name and a path too."""
    first, _ = next(_choices(expected))
    if isinstance(first, types.StrType):
        return "/example"
    if isinstance(first, types.IntType):
        return first.ge or 0
    return [] if isinstance(first, types.ListType) else {}


def _droppable(path: KeyPath) -> KeyPath:
    """Return the path of the key around *path*: a list goes as a whole, so that no index changes."""
    while path and isinstance(path[-1], int):
        path = path[:-1]
    return path


def _member(value: Any, key: str | int) -> Any:
    """Return what *value* holds at *key*, None if that has gone."""
    if isinstance(value, dict):
        return value.get(key)
    return value[key] if isinstance(value, list) and isinstance(key, int) else None


def nearest(name: str, known: Iterable[str]) -> str:
    """Return the known name that *name* is most like, "" if it is like none."""
    # Comparing takes time by the product of the lengths, for each name.
    names = [each for each in itertools.islice(known, _NAMES_COMPARED) if len(each) <= _NAME_CHARS]
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.6) if len(name) <= _NAME_CHARS else []
    return near[0] if near else ""


def suggestion(name: str, known: Iterable[str]) -> str:
    """Return ``did you mean "..."?`` for a name near to a known one, else ""."""
    near = nearest(name.lower().replace("-", "_"), known)
    return f'did you mean "{near}"?' if near else ""


def some(names: Collection[str]) -> str:
    """Return ``a, b, c``, of many names only the first."""
    shown = ", ".join(map(shortened, itertools.islice(names, _NAMES_SHOWN)))
    return f"{shown}, ... ({len(names)} in all)" if len(names) > _NAMES_SHOWN else shown


def shortened(text: str) -> str:
    """Return *text*, cut if it is long."""
    return text if len(text) <= _NAME_CHARS else f"{text[: _NAME_CHARS - 3]}..."


def listed(names: list[str] | tuple[str, ...]) -> str:
    """Return ``a, b or c``."""
    return " or ".join(filter(None, (", ".join(names[:-1]), names[-1]))) if names else "none"


def _walk(value: Any, expected: types.Type, path: KeyPath) -> Iterator[Finding]:
    choices = list(_choices(expected))
    fitting = [each for each in choices if _fits(value, each[0])]
    if not fitting:
        wanted = listed(list(dict.fromkeys(_called(*each) for each in choices)))
        yield Finding(path=path, message=f"expected {wanted}, found {_shown(value)}")
        return
    chosen, allowed = fitting[0]
    if isinstance(chosen, types.StructType):
        yield from _walk_struct(value, chosen, path)
    elif isinstance(chosen, types.DictType):
        for key, each in value.items():
            for finding in _walk(key, chosen.key_type, (*path, key)):
                yield Finding(path=finding.path, message=f"the name {finding.message}")
            yield from _walk(each, chosen.value_type, (*path, key))
    elif isinstance(chosen, types.ListType):
        if chosen.min_length is not None and len(value) < chosen.min_length:
            yield Finding(path=path, message="is empty: at least one entry is needed")
        for index, each in enumerate(value):
            yield from _walk(each, chosen.item_type, (*path, index))
    else:
        problem = _problem(value, [each for each, _ in fitting], allowed)
        if problem:
            near = suggestion(value, _texts(fitting)) if isinstance(value, str) else ""
            yield Finding(path=path, message=problem, hint=near)


def _walk_struct(value: Mapping[str, Any], struct: types.StructType, path: KeyPath) -> Iterator[Finding]:
    fields = {each.encode_name: each for each in struct.fields}
    for key, each in value.items():
        if key in fields:
            yield from _walk(each, fields[key].type, (*path, key))
        else:
            yield Finding(
                path=(*path, key),
                message=f'unknown key "{shortened(key)}"; allowed here: {", ".join(fields)}',
                hint=suggestion(key, list(fields)),
            )
    for name, each in fields.items():
        if each.required and name not in value:
            yield Finding(path=path, message=f'the key "{name}" is missing', missing=name)


def _choices(expected: types.Type, allowed: str = "") -> Iterator[tuple[types.Type, str]]:
    """Yield each plain type that is allowed, with what it allows in words; not None, which TOML lacks."""
    if isinstance(expected, types.Metadata):
        yield from _choices(expected.type, (expected.extra or {}).get("allowed", allowed))
    elif isinstance(expected, types.UnionType):
        for each in expected.types:
            yield from _choices(each, allowed)
    elif not isinstance(expected, types.NoneType):
        yield expected, allowed


def _fits(value: Any, expected: types.Type) -> bool:
    """Tell whether *value* is of the kind of *expected*, whatever its pattern and bounds."""
    if isinstance(expected, types.AnyType):
        return True
    if isinstance(value, bool):
        return isinstance(expected, types.BoolType)
    return isinstance(value, _KINDS[type(expected)])


def _called(expected: types.Type, allowed: str) -> str:
    """Return what *expected* is called in a message."""
    if isinstance(expected, types.LiteralType):
        return listed([f'"{each}"' for each in _order(expected.values)])
    if isinstance(expected, types.StrType):
        return allowed if expected.pattern and allowed else "text"
    names: dict[type[types.Type], str] = {
        types.StructType: "a table",
        types.DictType: "a table",
        types.ListType: "a list",
        types.BoolType: "true or false",
        types.IntType: "a whole number",
        types.FloatType: "a number",
    }
    return names[type(expected)]


def _order(values: tuple[Any, ...]) -> list[Any]:
    """Return the values of a Literal in a stable order: msgspec sorts them, we say high before low."""
    wanted = ["high", "normal", "low"]
    return sorted(values, key=lambda each: (wanted.index(each) if each in wanted else 0, str(each)))


def _texts(fitting: list[tuple[types.Type, str]]) -> list[str]:
    return [str(value) for each, _ in fitting if isinstance(each, types.LiteralType) for value in each.values]


def _problem(value: Any, fitting: list[types.Type], allowed: str) -> str:
    """Return what is wrong with *value*, "" if one of the types that fit its kind takes it."""
    problems = [_problem_with(value, each, allowed) for each in fitting]
    return "" if "" in problems else problems[0]


def _problem_with(value: Any, expected: types.Type, allowed: str) -> str:
    if isinstance(expected, types.LiteralType):
        return "" if value in expected.values else f"{_shown(value)} is not {_called(expected, '')}"
    if isinstance(expected, types.StrType):
        if expected.min_length and len(value) < expected.min_length:
            return "is empty"
        if expected.pattern and not re.search(expected.pattern, value):
            return (
                f"{_shown(value)} is not allowed: {allowed or _WORDS.get(expected.pattern, expected.pattern)}"
            )
        return ""
    if isinstance(expected, (types.IntType, types.FloatType)):
        return _out_of_range(value, expected)
    return ""


def _out_of_range(value: float, expected: types.IntType | types.FloatType) -> str:
    low, high = expected.ge, expected.le
    # Written so that NaN, with which every comparison is false, is outside of every range.
    if (low is None or value >= low) and (high is None or value <= high):
        return ""
    bounds = (
        f"from {low:.10g} to {high:.10g}" if low is not None and high is not None else f"at least {low:.10g}"
    )
    return f"{_shown(value)} is out of range: {bounds}"


def _shown(value: Any) -> str:
    """Return *value* as a short text in the words of TOML."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return "a table"
    if isinstance(value, list):
        return "a list"
    text = f'"{value}"' if isinstance(value, str) else str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."  # noqa: PLR2004 about half a line
