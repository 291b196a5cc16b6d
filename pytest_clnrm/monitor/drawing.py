"""Views as lines of text for a terminal; the only module here that imports rich."""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Iterable, Iterator, Sequence

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.live import Live
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from pytest_clnrm.monitor.view import (
    BudgetView,
    HostView,
    RunView,
    activity,
    budget_text,
    clock_text,
    megabytes,
    queue_text,
)
from pytest_clnrm.monitor.waits import waits_of
from pytest_clnrm.status.status_file import WorkerStatus
from pytest_clnrm.util.counted import counted
from pytest_clnrm.util.own_command import own_command, sweep_arguments
from pytest_clnrm.util.terminal_text import one_line

_UNLIMITED = 10_000
_WIDE = 90
_MEDIUM = 60
_ELLIPSIS = "…"
_MIN_ITEM = 8
_HEAD_ROWS = 2

width_of = cell_len


class _Tail:
    """A text of which the end is shown where there is no room for all: the end of a node id tells most."""

    def __init__(self, text: str, style: str = "") -> None:
        self._text = one_line(text)
        self._style = style

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        text = self._text
        if cell_len(text) > options.max_width:
            while text and cell_len(text) >= options.max_width:
                text = text[1:]
            text = f"{_ELLIPSIS}{text}"
        yield Text(text, style=self._style, no_wrap=True, overflow="crop")

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        width = cell_len(self._text)
        return Measurement(min(width, _MIN_ITEM), width)


def run_lines(view: HostView, *, columns: int, rows: int, colour: bool) -> list[str]:
    """Return the lines below a run's own output: its budget and queue, then its workers.

    :param view: of this run alone.
    :param columns: the terminal's; lines are one column shorter.
    :param rows: how many lines there may be.
    """
    parts: list[RenderableType] = [_line(text, "bold") for text in _head_texts(view)]
    workers = [worker for run in view.runs for worker in run.workers]
    room = max(1, rows - len(parts))
    shown, hidden = workers, 0
    if len(workers) > room:
        # Busy ones first, as there is no room for all.
        busy = sorted(workers, key=lambda worker: not worker.item)
        shown, hidden = busy[: room - 1], len(workers) - room + 1
    if shown:
        parts.append(_table(shown, view.taken_s, columns))
    if hidden:
        parts.append(_line(f"{_ELLIPSIS} and {hidden} more workers", "dim"))
    return _rendered(parts, columns=columns, colour=colour)


def wait_lines(view: HostView, *, columns: int, rows: int, colour: bool, after_s: float) -> list[str]:
    """Return a line for each image that is being pulled, and for what has been waited for long.

    :param after_s: how long that is.
    """
    waits = dict.fromkeys(
        wait.text if wait.is_pull else f"{wait.text} ({clock_text(view.taken_s - wait.since_s)})"
        for run in view.runs
        for wait in waits_of(run, view)
        if wait.is_pull or view.taken_s - wait.since_s >= after_s
    )
    lines: list[RenderableType] = [_line(f"clnrm: {text}", "dim") for text in waits]
    return _rendered(lines[:rows], columns=columns, colour=colour)


def host_lines(
    view: HostView, *, columns: int | None = None, colour: bool = False, ledger_dir: object = None
) -> list[str]:
    """Return all that can be seen of a host.

    :param columns: the terminal's, None for lines of any length.
    :param ledger_dir: which was named, None if none was.
    """
    parts: list[RenderableType] = []
    width = columns or _UNLIMITED
    for run in view.runs:
        parts += _run_parts(run, view.taken_s, width, ledger_dir)
    for budget in view.budgets:
        parts += _budget_parts(budget, view.taken_s)
    if not parts:
        parts.append(_text("no run of pytest-clnrm on this host, and nothing reserved"))
    parts += map(_text, view.prepared)
    return _rendered(parts, columns=width, colour=colour, expand=columns is not None)


def _head_texts(view: HostView) -> list[str]:
    texts = [budget_text(budget) for budget in view.budgets]
    queues = [run.queue for run in view.runs if run.queue is not None]
    texts += [queue_text(queue) for queue in queues]
    heads = [f"clnrm: {'; '.join(texts)}"] if texts else ["clnrm: no scenario has started"]
    heads += [
        f"next: {queue.head} waits for its slot ({clock_text(view.taken_s - queue.head_since_s)})"
        for queue in queues
        if queue.head
    ]
    return heads[:_HEAD_ROWS]


def _run_parts(run: RunView, now_s: float, width: int, ledger_dir: object) -> Iterator[RenderableType]:
    where = f" on {run.engine}" if run.engine else ""
    state = ""
    if not run.alive:
        sweep = own_command(sweep_arguments(kept=False, ledger_dir=ledger_dir, engine=run.engine))
        state = f" has ended and left something (see: {sweep})"
    yield _line(f"run {run.session}, process {run.pid}{where}{state}", "bold")
    if run.queue is not None:
        head = run.queue.head
        waits = f"; next: {head} ({clock_text(now_s - run.queue.head_since_s)})" if head else ""
        yield _line(f"  {queue_text(run.queue)}{waits}")
    if run.workers:
        yield _table(run.workers, now_s, width, indent="  ")


def _budget_parts(budget: BudgetView, now_s: float) -> Iterator[RenderableType]:
    yield _line(f"engine {budget.engine}: {budget_text(budget)}", "bold")
    for kept in budget.kept:
        left = clock_text(kept.left_seconds)
        yield _line(f"  keeps {kept.label} for the next run of {kept.project}, {left} more")
    for number, waiter in enumerate(budget.waiters, start=1):
        yield _line(
            f"  waits {number}. {waiter.priority}, run {waiter.run}, {waiter.demand}, "
            f"{clock_text(now_s - waiter.since_s)}: {waiter.label}"
        )


def _table(workers: Sequence[WorkerStatus], now_s: float, width: int, indent: str = "") -> Table:
    table = Table.grid(expand=width < _UNLIMITED, padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True, ratio=1 if width < _UNLIMITED else None)
    if width >= _MEDIUM:
        table.add_column(no_wrap=True, justify="right")
    table.add_column(no_wrap=True, overflow="ellipsis", ratio=1 if width < _UNLIMITED else None)
    table.add_column(no_wrap=True, justify="right")
    if width >= _WIDE:
        table.add_column(no_wrap=True, justify="right")
    for worker in workers:
        table.add_row(*_cells(worker, now_s, width, indent))
    return table


def _cells(worker: WorkerStatus, now_s: float, width: int, indent: str) -> Iterable[RenderableType]:
    waits = worker.phase in {"slot", "image", "service", "spans"}
    yield _text(f"{indent}{worker.worker}", style="cyan")
    yield _Tail(worker.item)
    if width >= _MEDIUM:
        yield _text(clock_text(now_s - worker.item_since_s) if worker.item else "")
    yield _text(activity(worker), style="yellow" if waits else "dim" if not worker.item else "")
    yield _text(
        clock_text(now_s - worker.since_s) if worker.phase not in {"idle", "test"} else "", style="dim"
    )
    if width >= _WIDE:
        holds = f"{counted(worker.containers, 'container')}, {megabytes(worker.memory_bytes)}"
        yield _text(holds if worker.containers else "")


def _text(text: str, style: str = "") -> Text:
    """Return *text*, which may come from a file, on one line and without control characters."""
    return Text(one_line(text), style=style)


def _line(text: str, style: str = "") -> Text:
    """Return *text* as :func:`_text` does, for a row of its own: what has no room is cut off."""
    return Text(one_line(text), style=style, no_wrap=True, overflow="ellipsis")


def _rendered(
    parts: Sequence[RenderableType], *, columns: int, colour: bool, expand: bool = True
) -> list[str]:
    """Return *parts* as lines; with *colour* each ends with its colours put back."""
    file = io.StringIO()
    console = Console(
        file=file,
        # A terminal's last column is left free: writing it may or may not begin a new line.
        width=max(1, columns - 1) if expand else _UNLIMITED,
        height=100,
        force_terminal=colour,
        color_system="standard" if colour else None,
        no_color=not colour,
        legacy_windows=False,
        markup=False,
        emoji=False,
        highlight=False,
        soft_wrap=False,
        _environ={},
    )
    for part in parts:
        console.print(part, overflow="ellipsis", no_wrap=True)
    return [line.rstrip() if not colour else line for line in file.getvalue().splitlines()]


def watch(look: Callable[[], HostView], period_s: float, *, ledger_dir: object = None) -> None:
    """Show on the terminal what *look* returns, again every *period_s* seconds, until KeyboardInterrupt."""
    console = Console(highlight=False, markup=False, emoji=False)
    with Live(console=console, screen=True, auto_refresh=False) as live:
        while True:
            view = look()
            lines = host_lines(
                view, columns=console.width, colour=not console.no_color, ledger_dir=ledger_dir
            )
            live.update(Text.from_ansi("\n".join(lines)), refresh=True)
            time.sleep(period_s)
