"""The command line of ``python -m pytest_clnrm``."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from pytest_clnrm.errors import ClnrmError, EngineUnavailableError, LedgerError
from pytest_clnrm.settings import values
from pytest_clnrm.util.terminal_text import shown

if TYPE_CHECKING:
    from pytest_clnrm.engine.api import Engine
    from pytest_clnrm.ledger.folder import Folder
    from pytest_clnrm.monitor.view import HostView

DONE, FAILED, USAGE = 0, 1, 2
_WATCH_S = 1.0
_DESCRIPTION = (
    "Look at all runs of pytest-clnrm on this host, remove what dead ones left, import from Compose."
)
_EXITS = "exit codes: 0 done, 1 it could not be done (the reason is on stderr), 2 wrong arguments"


def main(arguments: Sequence[str]) -> int:
    """Run a command and return its exit code."""
    given = _parser().parse_args(arguments)
    command: Callable[[argparse.Namespace], None] = given.command
    try:
        command(given)
    except EngineUnavailableError as error:
        _say(sys.stderr, "\n".join([f"pytest_clnrm: {error.summary}", *error.details]))
        return FAILED
    except ClnrmError as error:
        _say(sys.stderr, f"pytest_clnrm: {error}")
        return FAILED
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except BrokenPipeError:
        # Who read our output has had enough; nothing is to be flushed into it at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE
    return DONE


def _say(stream: TextIO, text: str) -> None:
    """Write *text*, of which others have written a part, as it may stand on a terminal."""
    stream.write(f"{shown(text)}\n")
    stream.flush()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m pytest_clnrm", description=_DESCRIPTION, epilog=_EXITS, allow_abbrev=False
    )
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument(
        "--ledger-dir",
        type=Path,
        metavar="DIR",
        help="folder in which runs share what they have reserved, as clnrm_ledger_dir (default: the user's "
        "runtime folder)",
    )

    status = commands.add_parser(
        "status",
        parents=[shared],
        help="show runs, workers, waiters and budgets",
        description="Show all runs on this host: their workers with item, step and containers, what waits, "
        "and how much of the budget is used.",
        epilog=_EXITS,
        allow_abbrev=False,
    )
    status.add_argument("--json", action="store_true", help="as one JSON document a line")
    status.add_argument("--watch", action="store_true", help="again every second, until Ctrl-C")
    status.set_defaults(command=_status)

    sweep = commands.add_parser(
        "sweep",
        parents=[shared],
        help="remove what dead runs left on the engine",
        description="Remove containers, networks and volumes of dead owners. What living runs use, and what "
        "other users and hosts have there, is left alone.",
        epilog=_EXITS,
        allow_abbrev=False,
    )
    sweep.add_argument("--kept", action="store_true", help="also what --clnrm-keep left")
    sweep.add_argument(
        "--prepared", action="store_true", help="also the images of prepared services, which are no leftovers"
    )
    sweep.add_argument(
        "--engine",
        type=_engine,
        default="auto",
        metavar="auto|embedded|URL",
        help="as --clnrm-engine (default: auto)",
    )
    sweep.set_defaults(command=_sweep)

    imported = commands.add_parser(
        "import",
        help="make a scenario file from one of Docker Compose",
        description="Write a scenario file with what is understood of a file of Docker Compose, and a "
        "comment for each thing that is not. Several files are not merged.",
        epilog=_EXITS,
        allow_abbrev=False,
    )
    imported.add_argument("file", type=Path, metavar="FILE", help="such as docker-compose.yml")
    imported.add_argument(
        "-o",
        "--output",
        type=Path,
        metavar="FILE",
        help="write it there, in the folder of the other file (default: to stdout)",
    )
    imported.add_argument("--force", action="store_true", help="even if there is such a file")
    imported.add_argument(
        "--profile", action="append", default=[], metavar="NAME", help="take services of this profile too"
    )
    imported.set_defaults(command=_import)
    return parser


def _engine(text: str) -> str:
    try:
        return values.engine(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _import(given: argparse.Namespace) -> None:
    from pytest_clnrm.compose.scenario_file import scenario_of

    output: Path | None = given.output
    if output is None:
        sys.stdout.write(scenario_of(given.file, given.profile))
        return
    if output.absolute().parent.resolve() != given.file.absolute().parent.resolve():
        raise ClnrmError(f"{output}: paths are relative to {given.file}: write it into the same folder")
    text = scenario_of(given.file, given.profile)
    try:
        with output.open("w" if given.force else "x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise ClnrmError(f"{output} is there already: --force overwrites it") from None
    except OSError as error:
        raise ClnrmError(f"{output}: {error.strerror}") from None


def _sweep(given: argparse.Namespace) -> None:
    from pytest_clnrm.cleanup.cleaner import connect_with_locks, describe_swept, sweep_dead

    folder = _folder(given.ledger_dir)
    if folder is None:
        # Without a ledger nothing on any engine can be known to be ours.
        _say(sys.stdout, f"removed: {describe_swept(Counter())}")
        return
    engine = connect_with_locks(folder, given.engine)
    try:
        swept = sweep_dead(folder, engine, kept=given.kept)
        if given.prepared:
            swept["image"] = _sweep_prepared(folder, engine)
    finally:
        engine.close()
    _say(sys.stdout, f"removed: {describe_swept(swept)}")


def _sweep_prepared(folder: Folder, engine: Engine) -> int:
    """Remove the images of prepared services, and return how many that were."""
    from pytest_clnrm.ledger.locks import host_lock
    from pytest_clnrm.pool.prepared_store import LOCK, PreparedStore

    with host_lock(folder, LOCK):
        return PreparedStore(folder, engine.facts.identity).remove_all(engine)


def _status(given: argparse.Namespace) -> None:
    folder = _folder(given.ledger_dir)
    if given.watch and not given.json and sys.stdout.isatty():
        _watch(folder, given.ledger_dir)
        return
    while True:
        _say(sys.stdout, _json(_look(folder)) if given.json else _text(_look(folder), given.ledger_dir))
        if not given.watch:
            return
        time.sleep(_WATCH_S)


def _watch(folder: Folder | None, ledger_dir: Path | None) -> None:
    """Show the status on the terminal until Ctrl-C."""
    from pytest_clnrm.monitor.drawing import watch

    watch(lambda: _look(folder), _WATCH_S, ledger_dir=ledger_dir and ledger_dir.resolve())


def _folder(configured: Path | None) -> Folder | None:
    """Return the ledger's folder, None where no run has used it yet: who looks makes nothing.

    :raises LedgerError: if it cannot be used, or was named and is not there.
    """
    from pytest_clnrm.ledger.folder import default_path, open_folder, was_opened

    path = configured.resolve() if configured else default_path(os.environ)[0]
    if was_opened(path):
        return open_folder(path if configured else None, os.environ)
    if configured and not path.is_dir():
        raise LedgerError(f"--ledger-dir {configured}: there is no such folder")
    return None


def _look(folder: Folder | None) -> HostView:
    from pytest_clnrm.monitor.gather import host_view
    from pytest_clnrm.monitor.view import HostView
    from pytest_clnrm.pool.prepared_store import describe, records

    if folder is None:
        return HostView(taken_s=time.monotonic())
    found = (each for place in folder.all_prepared() for each in records(place))
    return replace(host_view(folder), prepared=tuple(describe(found)))


def _json(view: HostView) -> str:
    from pytest_clnrm.monitor.view import to_data

    return json.dumps(to_data(view))


def _text(view: HostView, ledger_dir: Path | None) -> str:
    from pytest_clnrm.monitor.drawing import host_lines

    return "\n".join(host_lines(view, ledger_dir=ledger_dir and ledger_dir.resolve()))
