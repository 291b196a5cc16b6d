"""Putting in what is known only at run time: captured values, and what is known of running services.

The file's author has written what stands in a pattern, and in the variables of the file, as a pattern. What
comes in at run time stands for itself there: each of its characters is one of the text, in a regular
expression as in a glob.
"""

from __future__ import annotations

import dataclasses
import functools
import glob
import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, NoReturn

from pytest_clnrm.model.captured import JsonText
from pytest_clnrm.model.expectations import Condition, Expectations
from pytest_clnrm.model.key_path import KeyPath
from pytest_clnrm.model.step import Step
from pytest_clnrm.scenario.templates.render import (
    BOUND,
    ONE_NAME,
    Renderer,
    TemplateError,
    names_deferred,
)
from pytest_clnrm.util.patterns import PatternTimeoutError, problem_of, search

_REMEDY = r"capture what is not blank, as regex = 'id=(\S+)' does"
_ANY_TEXTS = ("", "\N{REPLACEMENT CHARACTER}")
"""What finds something in both is taken to match every text."""
_FILLER = "xx"
_NEVER = "(?!)"
"""Stands for a pattern that cannot be made for comparison, so that what matches every text is refused."""


def bind_step(step: Step, values: Mapping[str, Any], captured: frozenset[str]) -> Step:
    """Return *step* with the templates in its strings rendered.

    A string that is one name, and stands for a JSON value, becomes what was captured: a number, say.

    :param values: the variables of the scenario and the values captured so far; of equal names the
        captured value is expected to stand here.
    :param captured: the names that are known only now, whether they have a value or not; strings that name
        none of them are as they are to be.
    :raises TemplateError: with the path in the file as its author wrote it: a name has no value, a text is
        empty of which nothing is checked then, or a pattern is no regular expression.
    """
    binder = _Binder(values, captured, seed=f"{step.at}{step.name}")
    changes = {name: binder.bound(getattr(step, name), (*step.at, name)) for name in BOUND}
    return dataclasses.replace(step, **changes, templated=False)


def bind_expectations(
    expect: Expectations, values: Mapping[str, Any], captured: frozenset[str]
) -> Expectations:
    """Return *expect* with the templates that name captured values rendered.

    In a name a value stands for itself: it is no wildcard.

    :param values: the variables of the scenario and what its steps have captured.
    :param captured: the names under which steps capture; other templates have been rendered before.
    :raises TemplateError: as :func:`bind_step` does.
    """
    if not captured:
        return expect
    binder = _Binder(values, captured, seed="expect", usual=glob.escape)
    bound: Expectations = binder.bound(expect, ("expect",))
    return bound


class _Kind(NamedTuple):
    """What a string is.

    :param quote: makes what stands in it for a text alone.
    :param is_json: it stands for a JSON value.
    :param may_be_empty: an empty text says something there.
    :param is_handed: to a program, or to the engine: it cannot hold a NUL character.
    """

    quote: Callable[[str], str] = str
    is_json: bool = False
    may_be_empty: bool = False
    is_handed: bool = False


_PLAIN = _Kind()


class _Binder:
    """Puts values into the strings of a step, or of what is expected of spans.

    :param values: what templates may name.
    :param captured: the names that are known only now; other strings are left as they are.
    :param usual: how strings are read, but for those of fields that say it.
    """

    def __init__(
        self,
        values: Mapping[str, Any],
        captured: frozenset[str],
        *,
        seed: str,
        usual: Callable[[str], str] = str,
    ) -> None:
        self._values = values
        self._captured = captured
        self._usual = usual
        self._seed = seed
        self._renderers: dict[Callable[[str], str], Renderer] = {}

    def bound(self, value: Any, path: KeyPath, kind: _Kind = _PLAIN) -> Any:
        """Return *value* with the strings in it rendered, at any depth.

        :param path: the keys that lead to it.
        :param kind: what a string is that stands in no field of a dataclass.
        """
        if isinstance(value, str):
            return self._text(value, path, kind) if names_deferred(value, self._captured) else value
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            below: KeyPath = getattr(value, "at", ()) or path
            # The place in the file is no text that could hold a template.
            names = [each.name for each in dataclasses.fields(value) if each.name != "at"]
            keys = getattr(value, "file_keys", {})
            changes = {
                name: self.bound(
                    getattr(value, name), (*below, *keys.get(name, (name,))), self._kind(value, name)
                )
                for name in names
            }
            return dataclasses.replace(value, **changes)
        if isinstance(value, (tuple, list)):
            kind = _within(kind)
            return type(value)(self.bound(each, (*path, index), kind) for index, each in enumerate(value))
        if isinstance(value, Mapping):
            kind = _within(kind)
            return {key: self.bound(each, (*path, key), kind) for key, each in value.items()}
        return value

    def _kind(self, owner: Any, name: str) -> _Kind:
        """Return what the strings of a field are."""
        quote = str if isinstance(owner, Condition) else self._usual
        return _Kind(
            re.escape if name in getattr(owner, "regex_fields", ()) else quote,
            name in getattr(owner, "json_fields", ()),
            name in getattr(owner, "blank_fields", ()),
            name in getattr(owner, "handed_fields", ()),
        )

    def _text(self, text: str, path: KeyPath, kind: _Kind) -> Any:
        if kind.is_json and (one := ONE_NAME.fullmatch(text)):
            value = self._values.get(one[1])
            if isinstance(value, JsonText):
                return value.value
        bound: str = self._renderer(kind.quote).render_value(text, path)
        if not bound and not kind.may_be_empty:
            self._refuse(text, path, "is empty with what was captured, which it must not be")
        if kind.is_handed and "\0" in bound:
            told = f"{_key(path)} = {text!r:.120} holds a NUL character with what was captured"
            raise TemplateError(f"{told}, which cannot be passed to a program", path=path)
        if kind.quote is re.escape:
            self._check_regex(text, bound, path)
        return bound

    def _renderer(self, quote: Callable[[str], str]) -> Renderer:
        if quote not in self._renderers:
            quoted = frozenset[str]() if quote is str else self._captured
            self._renderers[quote] = Renderer(
                self._values, {}, (), {}, seed=self._seed, quoted=quoted, quote=quote
            )
        return self._renderers[quote]

    def _check_regex(self, text: str, pattern: str, path: KeyPath) -> None:
        if problem := problem_of(pattern):
            message = f"with the captured value, {pattern!r:.200} is no regular expression: {problem}"
            raise TemplateError(message, path=path)
        filled = self._filled(text, path)
        if filled == pattern:
            return
        matched, usual = _matched(pattern), _matched(filled)
        if matched == "every" != usual or (matched, usual) == ("no", "every"):
            why = f"matches {matched} text with what was captured, so it says nothing"
            self._refuse(text, path, why)

    def _filled(self, text: str, path: KeyPath) -> str:
        """Return what pattern *text* would be if nothing blank had been captured and nothing empty put in.

        If that matches every text too, its author wrote it so, as in ``^(?!.*{{ id }})``, which says what a
        text lacks.
        """
        try:
            filled: str = self._filling.render_value(text, path)
        except TemplateError:
            return _NEVER
        return _NEVER if problem_of(filled) else filled

    @functools.cached_property
    def _filling(self) -> Renderer:
        texts = {name: self._values.get(name) for name in self._captured}
        blank = [name for name, text in texts.items() if isinstance(text, str) and not text.strip()]
        values = {**self._values, **dict.fromkeys(blank, _FILLER)}
        return Renderer(values, {}, (), {}, seed=self._seed, quoted=self._captured, quote=_filler)

    def _refuse(self, text: str, path: KeyPath, why: str) -> NoReturn:
        raise TemplateError(f"{_key(path)} = {text!r:.120} {why}; {_REMEDY}", path=path)


def _key(path: KeyPath) -> str:
    return next((each for each in reversed(path) if isinstance(each, str)), "")


def _within(kind: _Kind) -> _Kind:
    """Return what the strings of a list or table are: members of a JSON value may be empty."""
    return kind._replace(may_be_empty=kind.may_be_empty or kind.is_json)


def _filler(text: str) -> str:
    """Return *text* for a pattern, made two characters if it is shorter: of one, a ``?`` leaves nothing."""
    return re.escape(text or _FILLER) * (2 if len(text) == 1 else 1)


def _matched(pattern: str) -> str:
    """Return whether a regular expression finds something in "every" text, in "no" text, or "" in some."""
    try:
        found = {search(pattern, text) is not None for text in _ANY_TEXTS}
    except PatternTimeoutError:
        return ""
    if len(found) > 1:
        return ""
    return "every" if found.pop() else "no"
