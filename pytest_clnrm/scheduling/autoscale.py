"""More workers while many items wait, fewer while few do.

The policy of ``--clnrm-autoscale MIN:MAX``: more than 100 waiting items double the workers, fewer than 10
halve them if there are more than 4, within the limits. Only idle workers are retired.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

_MANY_WAIT = 100
_FEW_WAIT = 10
_FEW_WORKERS = 4


@dataclass(frozen=True, slots=True)
class Autoscale:
    """How many workers a run may use.

    :param minimum: at least 1.
    :param maximum: not below the minimum.
    """

    minimum: int = 4
    maximum: int = 32

    def goal(self, waiting: int, workers: int) -> int:
        """Return how many workers there should be, for *waiting* items and *workers* now."""
        goal = workers
        if waiting > _MANY_WAIT:
            goal = workers * 2
        elif waiting < _FEW_WAIT and workers > _FEW_WORKERS:
            goal = workers // 2
        return min(max(goal, self.minimum), self.maximum)


class Autoscaler:
    """Starts and retires workers of a run the way xdist replaces crashed ones.

    :param dsession: xdist's DSession of this run.
    :param limits: how many workers there may be.
    """

    def __init__(self, dsession: Any, limits: Autoscale) -> None:
        self._dsession = dsession
        self._limits = limits
        self._goal: int | None = None
        self._starting: set[Any] = set()

    def __call__(self, waiting: int, live: Sequence[Any], idle: Sequence[Any]) -> None:
        """Take one step towards the goal for *waiting* items: start one worker, or retire idle ones.

        :param live: workers that take part.
        :param idle: those of them that have nothing to do.
        """
        if self._dsession.shuttingdown:
            return
        # A worker that died on its start was replaced by xdist itself.
        self._starting &= self._dsession._active_nodes  # noqa: SLF001 - there is no public way
        self._starting -= set(live)
        there = len(live) + len(self._starting)
        if self._goal is None or (there == self._goal and not self._starting):
            self._goal = self._limits.goal(waiting, there)
        if there < self._goal:
            self._start_one()
        for node in list(idle)[: max(there - self._goal, 0)]:
            node.shutdown()

    def _start_one(self) -> None:
        """Start one worker. That blocks the controller, so events of others come between two of them."""
        import execnet

        manager = self._dsession.nodemanager
        spec = execnet.XSpec(str(manager.specs[0]))
        manager.group.allocate_id(spec)
        node = manager.setup_node(spec, self._dsession.queue.put)
        self._dsession._active_nodes.add(node)  # noqa: SLF001 - as DSession._clone_node does
        self._starting.add(node)
