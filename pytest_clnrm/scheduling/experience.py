"""The order of items by what is expected of them, with those kept together that share fixtures.

What shares a fixture of a class, a module or a package, or one parameter of a fixture of the session, stays
together as pytest has it, or that fixture would be set up again and again. Such a group goes by what its
items are expected to take together, or by the likeliest of its failures; within it the same holds again.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence

import pytest

from pytest_clnrm.names import together_key

Path = tuple[Hashable, ...]

_NEVER_RUN_LIKELIHOOD = 0.5
"""That of failing, of an item that is not known: less than of one that failed last."""

_QUICK_S = 0.05
"""Where so little is at stake, neighbours of a file stay on one worker, as without an order."""

_UNLIKELY = 0.05
"""The same for failures: four passes since the last one."""


def arrange(items: list[pytest.Item], expected: Mapping[str, float], *, likely_to_fail: bool) -> None:
    """Sort *items* in place, by what is expected of them; equals keep their order.

    :param expected: node id -> seconds that it takes, or how likely it fails.
    :param likely_to_fail: which of both. One that is not known comes before all others by time, and behind
        those that failed last by failures.
    """
    unknown = _NEVER_RUN_LIKELIHOOD if likely_to_fail else math.inf
    paths = [path_of(item) for item in items]
    values = [expected.get(item.nodeid, unknown) for item in items]
    little = _UNLIKELY if likely_to_fail else _QUICK_S
    for item, path, value in zip(items, paths, values, strict=True):
        alone = item.nodeid if value >= little else item.nodeid.split("::", 1)[0]
        item.stash[together_key] = repr(path[0]) if path else alone
    order = arranged(paths, values, highest=likely_to_fail)
    items[:] = [items[index] for index in order]


def arranged(paths: Sequence[Path], values: Sequence[float], *, highest: bool) -> list[int]:
    """Return the indices of items in the order in which they go: largest first; equals keep their order.

    :param paths: of each item the groups that it belongs to, the widest first.
    :param values: of each item.
    :param highest: a group's value is the highest of its items, else their sum.
    """

    def ordered(indices: Sequence[int], depth: int) -> list[int]:
        groups: dict[Hashable, list[int]] = {}
        for index in indices:
            path = paths[index]
            # A number is no group's name: those are tuples.
            groups.setdefault(path[depth] if len(path) > depth else index, []).append(index)

        def value_of(group: Sequence[int]) -> float:
            own = [values[index] for index in group]
            return max(own) if highest else math.fsum(own)

        found: list[int] = []
        for name, group in sorted(groups.items(), key=lambda each: -value_of(each[1])):
            found += group if isinstance(name, int) else ordered(group, depth + 1)
        return found

    return ordered(range(len(paths)), 0)


def path_of(item: pytest.Item) -> Path:
    """Return the groups that an item belongs to by its fixtures, the widest first.

    An item of another plugin, which has none, belongs to those of its file.
    """
    info = getattr(item, "_fixtureinfo", None)
    if info is None:
        return (("file", item.nodeid.split("::", 1)[0]),)
    scopes = {each.scope for known in info.name2fixturedefs.values() for each in known}
    path = [("session", *parameters)] if (parameters := _parameters(item, "session")) else []
    for scope, kind in (("package", pytest.Package), ("module", pytest.Module), ("class", pytest.Class)):
        if scope in scopes:
            node = item.getparent(kind)
            path.append((scope, node.nodeid if node else "", *_parameters(item, scope)))
    return tuple(path)


def _parameters(item: pytest.Item, scope: str) -> list[tuple[str, int]]:
    """Return which parameters of fixtures of *scope* an item runs with."""
    callspec = getattr(item, "callspec", None)
    if callspec is None:
        return []
    scopes = callspec._arg2scope  # noqa: SLF001 (pytest sorts by it too, and has no other name for it)
    return [(name, at) for name, at in sorted(callspec.indices.items()) if scopes[name].value == scope]
