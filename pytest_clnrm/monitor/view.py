"""What the runs of a host do at one moment, as plain data, and the words for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from pytest_clnrm.status.status_file import QueueStatus, WorkerStatus
from pytest_clnrm.util.counted import counted

FORMAT = 1
_MB = 1 << 20
_MINUTE_S = 60
_HOUR_S = 3600
_WORDS = {
    "idle": "idle",
    "spans": "waits for spans",
    "test": "runs",
    "cleanup": "removes its containers",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class RunView:
    """One run.

    :param session: its id.
    :param pid: of its controller, or of its only process.
    :param alive: False if the controller has ended and what it left is still there.
    :param engine: URL of its engine, "" if that is not known yet.
    :param queue: None before there is one.
    """

    session: str
    pid: int
    alive: bool = True
    engine: str = ""
    workers: tuple[WorkerStatus, ...] = ()
    queue: QueueStatus | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class WaiterView:
    """A demand that waits in a ledger.

    :param demand: in words.
    :param label: what it is for.
    """

    run: str
    priority: str
    demand: str
    since_s: float
    label: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptView:
    """A shared service that is kept for the next run.

    :param label: what it is.
    :param project: the folder of the project.
    :param left_seconds: how long it stays if nobody uses it.
    """

    label: str
    project: str
    left_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetView:
    """The ledger of one engine; budgets are zero while no run lives.

    :param foreign_containers: those of ``containers`` that other ledgers hold.
    :param waiters: in the order in which they are served.
    :param kept: what stays for the next run of a project.
    """

    engine: str
    containers: int = 0
    max_containers: int = 0
    foreign_containers: int = 0
    memory_bytes: int = 0
    memory_budget_bytes: int = 0
    waiters: tuple[WaiterView, ...] = ()
    kept: tuple[KeptView, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class HostView:
    """All runs that share the folder of a ledger.

    :param taken_s: by the clock of all times in it.
    :param prepared: the images of prepared services, a line each.
    """

    taken_s: float
    runs: tuple[RunView, ...] = ()
    budgets: tuple[BudgetView, ...] = ()
    prepared: tuple[str, ...] = ()


def to_data(view: HostView) -> dict[str, Any]:
    """Return *view* as plain data; moments become seconds since then (``since_s`` becomes ``seconds``)."""
    data: dict[str, Any] = {"format": FORMAT, **_relative(asdict(view), view.taken_s)}
    del data["taken_s"]
    return data


def _relative(value: Any, now_s: float) -> Any:
    if isinstance(value, Mapping):
        return {
            name.replace("since_s", "seconds"): round(max(0.0, now_s - each), 3) if each else 0.0
            for name, each in value.items()
            if name.endswith("since_s")
        } | {name: _relative(each, now_s) for name, each in value.items() if not name.endswith("since_s")}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_relative(each, now_s) for each in value]
    return value


def clock_text(seconds: float) -> str:
    """Return how long something has lasted, in whole units: ``7s``, ``1m05s``, ``2h10m``."""
    whole = max(0, int(seconds))
    if whole < _MINUTE_S:
        return f"{whole}s"
    if whole < _HOUR_S:
        return f"{whole // _MINUTE_S}m{whole % _MINUTE_S:02d}s"
    return f"{whole // _HOUR_S}h{whole % _HOUR_S // _MINUTE_S:02d}m"


def megabytes(size: int) -> str:
    """Return a size in MB."""
    return f"{size // _MB} MB"


def activity(worker: WorkerStatus) -> str:
    """Return what a worker is at, in words."""
    if worker.phase == "slot":
        return f"waits for {worker.detail}" if worker.detail else "waits for its slot"
    if worker.phase == "image":
        return worker.detail or "gets its images"
    if worker.phase == "service":
        return f"waits for {worker.detail} to be ready"
    if worker.phase == "step":
        return f"step {worker.detail!r}"
    return _WORDS[worker.phase]


def queue_text(queue: QueueStatus) -> str:
    """Return how many items wait, by priority."""
    parts = [f"{count} {level}" for level, count in queue.waiting.items() if count]
    return f"queue: {', '.join(parts) or 'empty'}"


def budget_text(budget: BudgetView) -> str:
    """Return how much of a budget is used."""
    if budget.max_containers:
        text = (
            f"{budget.containers} of {budget.max_containers} containers, "
            f"{budget.memory_bytes // _MB} of {megabytes(budget.memory_budget_bytes)}"
        )
    else:
        text = f"{counted(budget.containers, 'container')}, {megabytes(budget.memory_bytes)} in use"
    if budget.foreign_containers:
        text += f", {budget.foreign_containers} of them other ledgers'"
    return text
