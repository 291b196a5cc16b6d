"""``{{ service.web.address }}`` and ``{{ service.web.ports.8080 }}``, which are known when the services run.

Steps and checks name them as they name captured values. So they do with ``{{ worker }}`` and
``{{ scenario_id }}``, which keep apart who uses a shared service; these are known before services start. A
variable or captured value of the same name wins.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from typing import Any

from pytest_clnrm.scenario.templates.render import names_deferred, parsed, strings_in

SERVICE = "service"
USERS = ("worker", "scenario_id")
"""Names that stand for who uses a service: letters, digits and ``_`` alone, as a database's name may have."""
_USERS = {name: re.compile(rf"\{{[{{%][^{{}}]*(?<![\w.]){name}\b") for name in USERS}
Place = tuple[str | int, ...]
"""The keys behind ``service``, as far as they are constant: ``("web", "ports", 8080)``."""


def running_names(text: str, variables: AbstractSet[str]) -> frozenset[str]:
    """Return what templates of a file may name of running services and of who uses them.

    :param variables: of the file, and the names that its steps capture.
    """
    named = SERVICE in text and ("{{" in text or "{%" in text) and SERVICE not in variables
    users = {name for name, pattern in _USERS.items() if name not in variables and pattern.search(text)}
    return frozenset({SERVICE, *users}) if named else frozenset(users)


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
