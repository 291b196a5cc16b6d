"""The order of a session's items: priority first, then as collected.

The sorter is a plain ``pytest_collection_modifyitems`` that :func:`install_order` registers in
``pytest_configure(trylast=True)``: it runs after fixtures' reordering and pytest-randomly, and before
stepwise selects (a later sort would make ``--sw`` skip tests that never ran). Other plugins, such as
pytest-order and pytest-random-order, come after it, so a wrapper sorts again. ``--lf`` and ``--ff`` partition
stably after that, so priority holds within each part. ``--nf`` sorts each part by the files' times, so its
parts are sorted again.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import suppress

import pytest

from pytest_clnrm.model.priority import Priority

MARKER = "clnrm_priority"
PRIORITY_ATTRIBUTE = "clnrm_priority"

PriorityOf = Callable[[pytest.Item], int]


def own_priority(item: pytest.Item) -> Priority | None:
    """Return the priority that an item's own attribute or closest marker names, None if neither is there.

    :raises pytest.UsageError: if the marker's argument is no priority.
    """
    own = getattr(item, PRIORITY_ATTRIBUTE, None)
    if own is not None:
        return Priority(own)
    marker = item.get_closest_marker(MARKER)
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
    raise pytest.UsageError(f"{item.nodeid}: @pytest.mark.{MARKER}({given}): takes one of {allowed}")


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


class PrioritySorter:
    """Sorts a session's items by priority; equals keep their order.

    :param priority_of: smaller runs first.
    """

    def __init__(self, priority_of: PriorityOf) -> None:
        self._priority_of = priority_of
        self._found: dict[pytest.Item, int] = {}

    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        """Sort in place.

        :raises pytest.UsageError: for a wrong marker; under xdist it is a failed collection instead.
        """
        try:
            self._found = {item: self._priority_of(item) for item in items}
        except pytest.UsageError as error:
            refuse(config, items, error)
        items.sort(key=self._found.__getitem__)

    def priority_of(self, item: pytest.Item) -> int:
        """Return the priority by which an item was sorted, of one that was added later its own.

        :raises pytest.UsageError: for a wrong marker.
        """
        found = self._found.get(item)
        return self._priority_of(item) if found is None else found


class LastSorter:
    """Sorts once more what plugins have ordered that come after the first sorter, such as pytest-order.

    Equals keep the order that those gave them.
    """

    def __init__(self, first: PrioritySorter) -> None:
        self._first = first

    @pytest.hookimpl(wrapper=True)
    def pytest_collection_modifyitems(
        self, config: pytest.Config, items: list[pytest.Item]
    ) -> Generator[None, None, None]:
        """Sort in place; ``--lf``, ``--ff`` and ``--nf`` wrap around this.

        :raises pytest.UsageError: for a wrong marker; under xdist it is a failed collection instead.
        """
        yield
        try:
            items.sort(key=self._first.priority_of)
        except pytest.UsageError as error:
            refuse(config, items, error)


class NewFirstSorter:
    """Sorts the two parts that ``--nf`` makes by priority; equals keep the order that ``--nf`` gave them."""

    def __init__(self, first: PrioritySorter) -> None:
        self._first = first

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_collection_modifyitems(
        self, config: pytest.Config, items: list[pytest.Item]
    ) -> Generator[None, None, None]:
        """Sort what all others have left, in place."""
        known = set(config.cache.get("cache/nodeids", [])) if config.cache else set()
        yield
        items.sort(key=lambda item: (item.nodeid in known, self._first.priority_of(item)))


def install_order(config: pytest.Config, priority_of: PriorityOf) -> None:
    """Register the sorters; to be called in ``pytest_configure(trylast=True)``."""
    first = PrioritySorter(priority_of)
    config.pluginmanager.register(first, "clnrm-order")
    config.pluginmanager.register(LastSorter(first), "clnrm-order-last")
    if config.getoption("newfirst", default=False):
        config.pluginmanager.register(NewFirstSorter(first), "clnrm-order-newfirst")
