"""How this package's command line is called, to be copied into a shell."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterable


def own_command(arguments: Iterable[str]) -> str:
    """Return what a shell runs with these arguments by the Python that runs now."""
    return shlex.join([sys.executable or "python", "-m", "pytest_clnrm", *arguments])


def sweep_arguments(*, kept: bool, ledger_dir: object = None, engine: str = "") -> list[str]:
    """Return the arguments by which what was left is removed.

    :param kept: also what ``--clnrm-keep`` left.
    :param ledger_dir: None where it is the user's own.
    :param engine: its URL, "" for the one that is found.
    """
    return [
        "sweep",
        *(["--kept"] if kept else []),
        *(["--ledger-dir", str(ledger_dir)] if ledger_dir is not None else []),
        *(["--engine", engine] if engine else []),
    ]
