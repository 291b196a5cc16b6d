"""Compares what the workers collected, then lets the work be done by our queue or by xdist's own ``load``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from pytest_clnrm.names import FACTS_FILE

_SHOWN = 3


class NoChoiceError(Exception):
    """Nothing can be chosen; the message says why."""


def are_ordinary(folder: Path) -> bool | None:
    """Tell whether the facts in the run's folder say that all items are ordinary; None if there are none."""
    try:
        return (folder / FACTS_FILE).stat().st_size == 0
    except OSError:
        return None


def collection_difference(
    expected: Sequence[str], expected_by: str, found: Sequence[str], found_by: str
) -> str | None:
    """Return in words how two workers' collections differ; None if they are the same."""
    if list(expected) == list(found):
        return None
    lines = [f"Workers {expected_by} and {found_by} collected different tests, so none can be handed out."]
    on_one, on_other = frozenset(expected), frozenset(found)
    missing = [nodeid for nodeid in expected if nodeid not in on_other]
    extra = [nodeid for nodeid in found if nodeid not in on_one]
    for worker, nodeids in ((expected_by, missing), (found_by, extra)):
        if nodeids:
            more = f" and {len(nodeids) - _SHOWN} more" if len(nodeids) > _SHOWN else ""
            lines.append(f"only on {worker}: {', '.join(nodeids[:_SHOWN])}{more}")
    if not missing and not extra:
        place = next(
            (at for at, pair in enumerate(zip(expected, found, strict=False)) if pair[0] != pair[1]),
            min(len(expected), len(found)),
        )
        lines.append("They are the same tests in another order, or another number of times.")
        for worker, nodeids in ((expected_by, list(expected)), (found_by, list(found))):
            lines.append(f"test {place + 1} on {worker}: {''.join(nodeids[place : place + 1]) or '(none)'}")
    lines.append("A usual reason: parameters taken from a set, the time, or random values.")
    return "\n".join(lines)


class ChosenScheduling:
    """xdist's Scheduling protocol: waits for all collections, then passes everything on to what was chosen.

    :param config: pytest's, for reports of failed collections.
    :param workers: how many must have collected before the choice.
    :param choose: returns a scheduling for a collection, or raises a :class:`NoChoiceError`.
    """

    def __init__(
        self,
        config: pytest.Config,
        *,
        workers: int,
        choose: Callable[[Sequence[str]], Any],
    ) -> None:
        self.config = config
        self._workers = workers
        self._choose = choose
        self._collections: dict[Any, list[str] | None] = {}
        self._collection: list[str] | None = None
        self._collected_by = ""
        self._chosen: Any = None
        self._given_up = False

    @property
    def nodes(self) -> list[Any]:
        """Return all workers."""
        return list(self._collections)

    @property
    def collection_is_completed(self) -> bool:
        """Tell whether as many workers have collected as there were to be at the start."""
        done = sum(collection is not None for collection in self._collections.values())
        return self._collection is not None or self._given_up or done >= self._workers

    @property
    def has_pending(self) -> bool:
        """Tell whether anything waits or runs."""
        return self._chosen is not None and bool(self._chosen.has_pending)

    @property
    def tests_finished(self) -> bool:
        """Tell whether the session may end."""
        return self._given_up or (self._chosen is not None and bool(self._chosen.tests_finished))

    def add_node(self, node: Any) -> None:
        """Get to know a worker."""
        self._collections[node] = None
        if self._chosen is not None:
            self._chosen.add_node(node)

    def add_node_collection(self, node: Any, collection: Sequence[str]) -> None:
        """Take what a worker collected; one that collected something else than the others gets no work."""
        if self._collection is not None:
            difference = collection_difference(
                self._collection, self._collected_by, collection, node.gateway.id
            )
            if difference is not None:
                self._reject(node, difference)
                return
        self._collections[node] = list(collection)
        if self._chosen is not None:
            self._chosen.add_node_collection(node, list(collection))

    def remove_node(self, node: Any) -> str | None:
        """Forget a worker and return the id of the item that it was running.

        :raises KeyError: if it is not known.
        """
        del self._collections[node]
        if self._chosen is None or node not in self._chosen.nodes:
            return None
        crashed: str | None = self._chosen.remove_node(node)
        return crashed

    def mark_test_complete(self, node: Any, item_index: int, duration: float = 0) -> None:
        """Note that an item has ended."""
        self._chosen.mark_test_complete(node, item_index, duration)

    def started(self, nodeid: str) -> None:
        """Note that an item has started, for a scheduling that wants to know."""
        started = getattr(self._chosen, "started", None)
        if started is not None:
            started(nodeid)

    def mark_test_pending(self, item: str) -> None:
        """Let a crashed item be run again."""
        self._chosen.mark_test_pending(item)

    def remove_pending_tests_from_node(self, node: Any, indices: Sequence[int]) -> None:
        """Pass on a worker's answer to "steal"."""
        self._chosen.remove_pending_tests_from_node(node, indices)

    def schedule(self) -> None:
        """Choose, the first time; then hand out work."""
        if self._chosen is None and not self._given_up:
            self._make_choice()
        if self._chosen is not None:
            self._chosen.schedule()

    def wake(self) -> None:
        """Ask the gate again, if there is one."""
        wake = getattr(self._chosen, "wake", None)
        if wake is not None and not self._given_up:
            wake()

    def _make_choice(self) -> None:
        collected = {node: ids for node, ids in self._collections.items() if ids is not None}
        first, expected = next(iter(collected.items()))
        for node, found in collected.items():
            difference = collection_difference(expected, first.gateway.id, found, node.gateway.id)
            if difference is not None:
                self._fail(node, difference)
                self._given_up = True
                return
        try:
            chosen = self._choose(expected)
        except NoChoiceError as error:
            self._fail(first, str(error))
            self._given_up = True
            return
        self._collection, self._collected_by = expected, first.gateway.id
        for node, ids in self._collections.items():
            chosen.add_node(node)
            if ids is not None:
                chosen.add_node_collection(node, ids)
        self._chosen = chosen

    def _reject(self, node: Any, difference: str) -> None:
        """Do without a worker that came late and collected something else."""
        self._chosen.remove_node(node)
        self._collections[node] = None
        node.shutdown()
        if all(other.shutting_down for other in self._collections):
            difference += "\nNo other worker is left: the rest of the tests was not run."
            self._given_up = True
        self._fail(node, difference)

    def _fail(self, node: Any, reason: str) -> None:
        report = pytest.CollectReport(nodeid=node.gateway.id, outcome="failed", longrepr=reason, result=[])
        self.config.hook.pytest_collectreport(report=report)
