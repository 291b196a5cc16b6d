"""``clnrm sweep``: remove what dead runs left."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pytest_clnrm.cli.command import command, engine_option, json_option, ledger_dir_option, say, say_json
from pytest_clnrm.cli.ledger_folder import ledger_folder

if TYPE_CHECKING:
    from pytest_clnrm.engine.api import Engine
    from pytest_clnrm.ledger.folder import Folder

KINDS = ("container", "network", "volume", "image")


@command(
    "sweep",
    examples=[
        ("sweep", "Remove what killed runs left. The next run does so too."),
        ("sweep --kept", "Remove what --clnrm-keep left, too."),
    ],
)
@click.option("--kept", is_flag=True, help="Also what --clnrm-keep left.")
@click.option(
    "--prepared", is_flag=True, help="Also the images of prepared services, which are no leftovers."
)
@json_option("How many objects of each kind were removed, as one JSON object.")
@engine_option
@ledger_dir_option
def sweep(*, kept: bool, prepared: bool, as_json: bool, engine: str, ledger_dir: Path | None) -> None:
    """Remove what dead runs left on the engine.

    Containers, networks and volumes of dead owners, and shared services that stay for the next run. What
    living runs use, and what other users and hosts have there, is left alone.
    """
    from pytest_clnrm.cleanup.cleaner import describe_swept

    swept = _sweep(ledger_folder(ledger_dir), engine, kept=kept, prepared=prepared)
    if as_json:
        say_json({kind: swept[kind] for kind in KINDS})
    else:
        say(f"removed: {describe_swept(swept)}")


def _sweep(folder: Folder | None, choice: str, *, kept: bool, prepared: bool) -> Counter[str]:
    """Remove it, and return how many objects of each kind that were."""
    from pytest_clnrm.cleanup.cleaner import connect_with_locks, sweep_dead
    from pytest_clnrm.cleanup.keeping import end_all_kept

    if folder is None:
        # Without a ledger nothing on any engine can be known to be ours.
        return Counter()
    engine = connect_with_locks(folder, choice)
    try:
        swept = sweep_dead(folder, engine, kept=kept)
        swept += end_all_kept(folder, engine)
        if prepared:
            swept["image"] = _sweep_prepared(folder, engine)
    finally:
        engine.close()
    return swept


def _sweep_prepared(folder: Folder, engine: Engine) -> int:
    """Remove the images of prepared services, and return how many that was."""
    from pytest_clnrm.ledger.locks import host_lock
    from pytest_clnrm.pool.prepared_store import LOCK, PreparedStore

    with host_lock(folder, LOCK):
        return PreparedStore(folder, engine.facts.identity).remove_all(engine)
