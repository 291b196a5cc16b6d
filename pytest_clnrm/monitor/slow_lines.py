"""Lines in a log about what takes long: after a threshold, and each time that twice the time has passed."""

from __future__ import annotations

from pytest_clnrm.monitor.view import HostView, RunView, activity, budget_text, clock_text
from pytest_clnrm.status.status_file import QueueStatus, WorkerStatus

_MIN_S = 0.001


class SlowLines:
    """Decides when something has taken so long that a line is due.

    :param after_s: when the first line is due.
    """

    def __init__(self, after_s: float) -> None:
        self._after_s = max(after_s, _MIN_S)
        self._due_s: dict[tuple[str, str, float], float] = {}

    def look(self, view: HostView) -> list[str]:
        """Return the lines that are due."""
        lines = []
        seen: dict[tuple[str, str, float], float] = {}
        for run in view.runs:
            for key, text in _long(run, view):
                lasted_s = view.taken_s - key[2]
                due_s = self._due_s.get(key, self._after_s)
                if lasted_s >= due_s:
                    lines.append(text)
                    while due_s <= lasted_s:
                        due_s *= 2
                seen[key] = due_s
        # What has ended is forgotten.
        self._due_s = seen
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
