"""``{{ args.user }}`` in the steps of a block: filled in where the block is used, before all other templates.

An argument may itself hold templates, which name what a step there may name. So what is filled in is text of
a template, ``{{ args.user }}`` becomes what was given for it, and within an expression it becomes one:
``{{ args.path | upper }}`` with ``path = "/x/{{ id }}"`` becomes ``{{ ("/x/" ~ (id)) | upper }}``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from pytest_clnrm.scenario.matrix import as_text
from pytest_clnrm.scenario.templates.render import TemplateError, names_deferred, tokens

ARGS = "args"
_WHOLE = re.compile(r"\{\{-? *args\.([A-Za-z_]\w*) *-?\}\}", re.ASCII)
_SPACE = frozenset({"whitespace"})
_BEGIN, _END = ("variable_begin", "block_begin"), ("variable_end", "block_end")


def names_args(text: str) -> bool:
    """Tell whether a text names arguments."""
    return ARGS in text and names_deferred(text, frozenset({ARGS}))


def whole(text: str) -> str:
    """Return the argument that is all of a text, "" if there is none."""
    found = _WHOLE.fullmatch(text.strip())
    return found[1] if found else ""


def filled(text: str, args: Mapping[str, Any], used: set[str]) -> str:
    """Return *text* with the arguments that its templates name.

    :param used: gets their names.
    :raises TemplateError: if it names one that there is not, or in a way in which it cannot be filled in.
    """

    def given(name: str) -> Any:
        used.add(name)
        if name not in args:
            known = ", ".join(args) or "none"
            raise TemplateError(f'the block has no argument "{name}"; it has: {known}')
        return args[name]

    def plain(match: re.Match[str]) -> str:
        value = given(match[1])
        return as_text(value) if isinstance(value, (str, int, float)) else _as_json(value)

    done = _WHOLE.sub(plain, text)
    if not names_args(done):
        return done
    return "".join(_with_expressions(done, given))


def _with_expressions(text: str, given: Any) -> Iterator[str]:
    """Yield the parts of *text*, with an expression for each argument."""
    waiting: list[tuple[str, str]] = []
    within = False
    for kind, value in tokens(text):
        within = kind in _BEGIN or (within and kind not in _END)
        if not within:
            yield from _rest(waiting)
            waiting = []
            yield value
            continue
        if waiting or (kind, value) == ("name", ARGS):
            waiting.append((kind, value))
            name = _named(waiting)
            if name:
                yield _expression(given(name))
                waiting = []
            continue
        yield value
    yield from _rest(waiting)


def _named(waiting: list[tuple[str, str]]) -> str:
    """Return the argument that these tokens name, "" if more of them are needed.

    :raises TemplateError: if they name none.
    """
    parts = [value for kind, value in waiting if kind not in _SPACE]
    if len(parts) >= 2 and parts[1] not in {".", "["}:  # noqa: PLR2004 args and what follows
        raise TemplateError("an argument is named args.NAME")
    if parts[1:2] == ["."] and len(parts) == 3:  # noqa: PLR2004
        return parts[2]
    if parts[1:2] == ["["] and len(parts) == 4:  # noqa: PLR2004
        if parts[3] != "]" or parts[2][:1] not in {"'", '"'}:
            raise TemplateError("an argument is named args.NAME, by a constant name")
        return parts[2][1:-1]
    return ""


def _rest(waiting: list[tuple[str, str]]) -> Iterator[str]:
    if waiting:
        raise TemplateError("an argument is named args.NAME")
    yield ""


def _expression(value: Any) -> str:
    """Return an expression that gives what was given for an argument."""
    if not isinstance(value, str):
        # Lists and tables too: Jinja writes them as JSON does, and has the same words for true and false.
        return f"({_as_json(value)})"
    parts: list[str] = []
    inner: list[str] = []
    depth = 0
    for kind, text in tokens(value):
        if kind == "block_begin":
            raise TemplateError("an argument with a statement ({% %}) cannot stand in an expression")
        if kind == "variable_begin":
            depth, inner = 1, []
        elif kind == "variable_end":
            depth = 0
            parts.append(f"({''.join(inner).strip()})")
        elif depth:
            inner.append(text)
        elif kind == "data":
            parts.append(_literal(text))
    return f"({' ~ '.join(parts)})" if parts else '("")'


def _as_json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)


def _literal(text: str) -> str:
    escapes = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r"}
    return '"' + "".join(escapes.get(each, each) for each in text) + '"'
