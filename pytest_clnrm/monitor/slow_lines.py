"""Lines in a log about what takes long: after a threshold, and each time that twice the time has passed."""

from __future__ import annotations

from collections.abc import Iterable

from pytest_clnrm.monitor.view import HostView, RunView, activity, budget_text, clock_text
from pytest_clnrm.monitor.waits import NewWaits, waits_of
from pytest_clnrm.status.status_file import QueueStatus, WorkerStatus

_MIN_S = 0.001
_Key = tuple[str, str, float]
"""Who, at what, since when."""


class _Doubling:
    """Decides when something has lasted so long that a line is due.

    :param after_s: when the first line is due.
    """

    def __init__(self, after_s: float) -> None:
        self._after_s = max(after_s, _MIN_S)
        self._due_s: dict[_Key, float] = {}

    def due(self, lasting: Iterable[_Key], now_s: float) -> set[_Key]:
        """Return those of which a line is due; what does not last any more is forgotten."""
        found: set[_Key] = set()
        seen: dict[_Key, float] = {}
        for key in lasting:
            lasted_s = now_s - key[-1]
            due_s = self._due_s.get(key, self._after_s)
            if lasted_s >= due_s:
                found.add(key)
                while due_s <= lasted_s:
                    due_s *= 2
            seen[key] = due_s
        self._due_s = seen
        return found


class SlowLines:
    """All that runs or waits for long.

    :param after_s: when the first line is due.
    """

    def __init__(self, after_s: float) -> None:
        self._doubling = _Doubling(after_s)

    def look(self, view: HostView) -> list[str]:
        """Return the lines that are due."""
        found = [each for run in view.runs for each in _long(run, view)]
        due = self._doubling.due([key for key, _ in found], view.taken_s)
        return [text for key, text in found if key in due]


class WaitLines:
    """What is waited for, as it is told without being asked for.

    :param after_s: when the first line is due.
    """

    def __init__(self, after_s: float) -> None:
        self._doubling = _Doubling(after_s)
        self._waits = NewWaits()

    def look(self, view: HostView) -> list[str]:
        """Return the lines that are due."""
        found = {("", each.who, each.since_s): each for run in view.runs for each in waits_of(run, view)}
        lines = []
        for key in sorted(self._doubling.due(found, view.taken_s)):
            wait = found[key]
            if self._waits.is_new(wait):
                lines.append(f"{wait.text} ({clock_text(view.taken_s - wait.since_s)})")
                self._waits.told(wait)
        return lines


def _long(run: RunView, view: HostView) -> list[tuple[tuple[str, str, float], str]]:
    """Return (who, which item, since when) and the line, for all that runs or waits in *run*."""
    found = [
        ((worker.worker, worker.item, worker.item_since_s), _worker_line(worker, view.taken_s))
        for worker in run.workers
        if worker.item
    ]
    if run.queue is not None and run.queue.head:
        head = run.queue
        found.append((("queue", head.head, head.head_since_s), _head_line(head, view)))
    return found


def _worker_line(worker: WorkerStatus, now_s: float) -> str:
    lasted = clock_text(now_s - worker.item_since_s)
    line = f"{worker.worker}: {worker.item} has been running for {lasted}"
    if worker.phase == "slot":
        return f"{worker.worker}: {worker.item} has been waiting for {lasted}: {activity(worker)}"
    if worker.phase == "test":
        return line
    return f"{line}: {activity(worker)} ({clock_text(now_s - worker.since_s)})"


def _head_line(queue: QueueStatus, view: HostView) -> str:
    lasted = clock_text(view.taken_s - queue.head_since_s)
    line = f"queue: {queue.head} has been waiting for its slot for {lasted}"
    used = [budget_text(budget) for budget in view.budgets]
    return f"{line} ({'; '.join(used)} in use)" if used else line
