"""``{{ service.web.address }}`` and ``{{ service.web.ports.8080 }}``, which are known when the services run.

Steps and checks name them as they name captured values. A variable or captured value called ``service`` wins.
"""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from typing import Any

from pytest_clnrm.scenario.templates.render import names_deferred, parsed, strings_in

SERVICE = "service"
Place = tuple[str | int, ...]
"""The keys behind ``service``, as far as they are constant: ``("web", "ports", 8080)``."""


def running_names(text: str, variables: AbstractSet[str]) -> frozenset[str]:
    """Return what templates of a file may name of running services: ``service``, or nothing.

    :param variables: of the file, and the names that its steps capture.
    """
    named = SERVICE in text and ("{{" in text or "{%" in text) and SERVICE not in variables
    return frozenset({SERVICE}) if named else frozenset()


def places_in(value: Any) -> Iterator[Place]:
    """Yield what strings in *value*, at any depth, name of running services."""
    for text in strings_in(value):
        if names_deferred(text, frozenset({SERVICE})):
            yield from _places(text)


def _places(text: str) -> Iterator[Place]:
    from jinja2 import nodes

    tree = parsed(text)
    inner: set[int] = set()
    # From outside to inside: what was a part of a longer one is not told again.
    for node in tree.find_all((nodes.Getattr, nodes.Getitem)) if tree else ():
        if id(node) in inner:
            continue
        keys: list[str | int | None] = []
        at: nodes.Node = node
        while isinstance(at, (nodes.Getattr, nodes.Getitem)):
            inner.add(id(at))
            arg = at.attr if isinstance(at, nodes.Getattr) else getattr(at.arg, "value", None)
            keys.append(arg if isinstance(arg, (str, int)) else None)
            at = at.node
        if isinstance(at, nodes.Name) and at.name == SERVICE:
            constant = keys[::-1]
            yield tuple(constant[: constant.index(None)] if None in constant else constant)  # type: ignore[arg-type]
