"""``clnrm status``: what runs on this host."""

from __future__ import annotations

import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pytest_clnrm.cli.command import EXITS, command, json_option, ledger_dir_option, say, say_json
from pytest_clnrm.cli.ledger_folder import ledger_folder

if TYPE_CHECKING:
    from pytest_clnrm.ledger.folder import Folder
    from pytest_clnrm.monitor.view import HostView

_WATCH_S = 1.0


@command(
    "status",
    examples=[
        ("status", "What runs now."),
        ("status --watch", "The same, again and again."),
        ("status --json", "One JSON document, for a program."),
    ],
    exits={**EXITS, 130: "Ctrl-C has ended --watch"},
)
@json_option("As one JSON document a line.")
@click.option("--watch", is_flag=True, help="Again every second, until Ctrl-C.")
@ledger_dir_option
def status(*, as_json: bool, watch: bool, ledger_dir: Path | None) -> None:
    """Show all runs on this host.

    Their workers with item, step and containers, what waits, and how much of the budget is used. It looks
    only: it takes no lock, asks no engine, and makes no file.
    """
    folder = ledger_folder(ledger_dir)
    if watch and not as_json and sys.stdout.isatty():
        _watch(folder, ledger_dir)
        return
    while True:
        if as_json:
            say_json(_data(_look(folder)))
        else:
            say(_text(_look(folder), ledger_dir))
        if not watch:
            return
        time.sleep(_WATCH_S)


def _watch(folder: Folder | None, ledger_dir: Path | None) -> None:
    """Show the status on the terminal until Ctrl-C."""
    from pytest_clnrm.monitor.drawing import watch

    watch(lambda: _look(folder), _WATCH_S, ledger_dir=ledger_dir and ledger_dir.resolve())


def _look(folder: Folder | None) -> HostView:
    from pytest_clnrm.monitor.gather import host_view
    from pytest_clnrm.monitor.view import HostView
    from pytest_clnrm.pool.prepared_store import describe, records

    if folder is None:
        return HostView(taken_s=time.monotonic())
    found = (each for place in folder.all_prepared() for each in records(place))
    return replace(host_view(folder), prepared=tuple(describe(found)))


def _data(view: HostView) -> dict[str, Any]:
    from pytest_clnrm.monitor.view import to_data

    return to_data(view)


def _text(view: HostView, ledger_dir: Path | None) -> str:
    from pytest_clnrm.monitor.drawing import host_lines

    return "\n".join(host_lines(view, ledger_dir=ledger_dir and ledger_dir.resolve()))
