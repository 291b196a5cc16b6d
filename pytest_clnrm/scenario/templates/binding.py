"""Putting captured values into expectations about spans, once the steps have run.

Steps are bound by :func:`pytest_clnrm.scenario.templates.render.bind_step`.
"""

from __future__ import annotations

import dataclasses
import glob
from collections.abc import Mapping
from typing import Any, TypeVar

from pytest_clnrm.model.expectations import Condition, Expectations
from pytest_clnrm.scenario.templates.render import Renderer, TemplateError, names_deferred
from pytest_clnrm.util.patterns import problem_of

_T = TypeVar("_T")


def bind_expectations(
    expect: Expectations, values: Mapping[str, Any], captured: frozenset[str]
) -> Expectations:
    """Return *expect* with the templates that name captured values rendered.

    In a name a value stands for itself: it is no wildcard.

    :param values: the variables of the scenario and what its steps have captured.
    :param captured: the names under which steps capture; other templates have been rendered before.
    :raises TemplateError: if a value was never captured, or makes no regular expression.
    """
    return _Binder(values, captured).bound(expect) if captured else expect


class _Binder:
    def __init__(self, values: Mapping[str, Any], captured: frozenset[str]) -> None:
        self._captured = captured
        literal = {
            name: glob.escape(str(value)) if name in captured else value for name, value in values.items()
        }
        self._names = Renderer(literal, {}, (), {}, seed="expect")
        self._values = Renderer(values, {}, (), {}, seed="expect")

    def bound(self, value: _T, *, plain: bool = False) -> _T:
        """Return *value* with the strings in it rendered, at any depth.

        :param plain: it is compared as it is, and no name.
        """
        found: Any = value
        if isinstance(found, str):
            if names_deferred(found, self._captured):
                found = (self._values if plain else self._names).render_value(found, ("expect",))
        elif isinstance(found, Condition):
            found = dataclasses.replace(found, value=self.bound(found.value, plain=True))
            if found.op == "regex":
                _check_regex(found.value)
        elif dataclasses.is_dataclass(found) and not isinstance(found, type):
            # The place in the file is no text that could hold a template.
            names = [each.name for each in dataclasses.fields(found) if each.name != "at"]
            found = dataclasses.replace(
                found, **{name: self.bound(getattr(found, name), plain=plain) for name in names}
            )
        elif isinstance(found, Mapping):
            found = {key: self.bound(each, plain=plain) for key, each in found.items()}
        elif isinstance(found, (tuple, list)):
            found = type(found)(self.bound(each, plain=plain) for each in found)
        bound: _T = found
        return bound


def _check_regex(pattern: str) -> None:
    problem = problem_of(pattern)
    if problem:
        message = f"with the captured value, {pattern!r} is no regular expression: {problem}"
        raise TemplateError(message, path=("expect",))
