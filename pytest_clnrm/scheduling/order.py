"""The order of a session's items: priority first, then as collected.

Who sorts when: :mod:`pytest_clnrm.session.lazy`, which calls this for runs in which something has a priority.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import pytest

from pytest_clnrm.model.priority import Priority
from pytest_clnrm.names import PRIORITY_ATTRIBUTE, PRIORITY_MARKER

PriorityOf = Callable[[pytest.Item], int]


def own_priority(item: pytest.Item) -> Priority | None:
    """Return the priority that an item's own attribute or closest marker names, None if neither is there.

    :raises pytest.UsageError: if the marker's argument is no priority.
    """
    own = getattr(item, PRIORITY_ATTRIBUTE, None)
    if own is not None:
        return Priority(own)
    marker = item.get_closest_marker(PRIORITY_MARKER)
    if marker is None:
        return None
    names = [*marker.args, *marker.kwargs.values()]
    if len(names) == 1 and isinstance(names[0], str):
        with suppress(KeyError):
            return Priority.parse(names[0])
    given = ", ".join(
        [*map(repr, marker.args), *(f"{name}={value!r}" for name, value in marker.kwargs.items())]
    )
    allowed = ", ".join(f'"{priority.label}"' for priority in Priority)
    raise pytest.UsageError(f"{item.nodeid}: @pytest.mark.{PRIORITY_MARKER}({given}): takes one of {allowed}")


def refuse(config: pytest.Config, items: list[pytest.Item], error: pytest.UsageError) -> None:
    """End the run for a wrong marker; in a worker of xdist as a failed collection, with nothing to run.

    :param error: its message begins with the node id.
    :raises pytest.UsageError: *error*, elsewhere.
    """
    if not hasattr(config, "workerinput"):
        raise error
    # A worker that ends with a usage error counts as crashed and would be replaced again and again.
    report = pytest.CollectReport(
        nodeid=str(error).split(": ", 1)[0], outcome="failed", longrepr=str(error), result=[]
    )
    config.hook.pytest_collectreport(report=report)
    items.clear()


def sort(config: pytest.Config, items: list[pytest.Item], priority_of: PriorityOf) -> None:
    """Sort *items* in place; equals keep their order.

    :param priority_of: smaller runs first.
    :raises pytest.UsageError: for a wrong marker; under xdist it is a failed collection instead.
    """
    try:
        items.sort(key=priority_of)
    except pytest.UsageError as error:
        refuse(config, items, error)


def check(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Look at each item's own priority.

    :raises pytest.UsageError: for a wrong marker; under xdist it is a failed collection instead.
    """
    try:
        for item in items:
            own_priority(item)
    except pytest.UsageError as error:
        refuse(config, items, error)
