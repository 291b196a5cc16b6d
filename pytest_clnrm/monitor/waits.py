"""What a run waits for: images, services that are not ready, and a slot while nothing else of it runs.

It is shown without being asked for. That a step runs, or that an item waits its turn, is nothing to tell.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from pytest_clnrm.monitor.view import HostView, RunView, activity, budget_text

LONG_S = 10.0
"""After which a wait is told, unless ``clnrm_slow_after`` says otherwise."""


@dataclass(frozen=True, slots=True)
class Wait:
    """Something that is waited for.

    :param who: worker, or "queue".
    :param since_s: by the clock of the view.
    :param once: what is the same for many items, "" if this is told in any case.
    :param is_pull: an image is pulled or built.
    """

    who: str
    since_s: float
    text: str
    once: str = ""
    is_pull: bool = False


def waits_of(run: RunView, view: HostView) -> Iterator[Wait]:
    """Yield what a run waits for."""
    busy = [worker for worker in run.workers if worker.item]
    for worker in busy:
        if worker.phase == "image" and worker.detail:
            yield Wait(worker.worker, worker.since_s, worker.detail, is_pull=True)
        elif worker.phase == "service":
            yield Wait(worker.worker, worker.since_s, f"{worker.item} {activity(worker)}", once=worker.detail)
    if any(worker.phase != "slot" for worker in busy):
        return
    used = "; ".join(f"{budget_text(budget)} in use" for budget in view.budgets)
    for worker in busy:
        yield Wait(worker.worker, worker.since_s, f"{worker.item} {activity(worker)}")
    if run.queue is not None and run.queue.head and not busy:
        text = f"{run.queue.head} waits for its slot{f' ({used})' if used else ''}"
        yield Wait("queue", run.queue.head_since_s, text)


class NewWaits:
    """Tells what a log has told: a service that each scenario waits for is told of the first one alone."""

    def __init__(self) -> None:
        self._first: dict[str, tuple[str, float]] = {}

    def is_new(self, wait: Wait) -> bool:
        """Tell whether it may be told, once or again."""
        key = (wait.who, wait.since_s)
        return not wait.once or self._first.get(wait.once, key) == key

    def told(self, wait: Wait) -> None:
        """Note that it was told."""
        if wait.once:
            self._first.setdefault(wait.once, (wait.who, wait.since_s))
