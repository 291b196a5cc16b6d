"""Processes of ours that outlive the run which has started them: watchdogs and keepers.

Each has a process session of its own, so that what the terminal sends the run does not reach it. What costs
memory is imported once it is needed.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import subprocess

    from pytest_clnrm.engine.api import Engine
    from pytest_clnrm.ledger.folder import Folder

# Isolated: neither PYTHON* variables, nor the current folder, nor site's .pth files decide what it imports.
_CODE = "import sys; sys.path += sys.argv[2:]; del sys.argv[2:]; from {module} import main; main(sys.argv[1])"


def start(module: str, told: str, *, output: int | None = None) -> subprocess.Popen[bytes]:
    """Start a process that calls ``main`` of a module of ours with *told*.

    :param output: what its output is; None for nothing.
    :raises OSError: if it cannot be started.
    """
    import subprocess

    package = str(Path(__file__).parents[2])
    paths = [package, *(os.path.abspath(each) for each in sys.path if each)]  # noqa: PTH100 (links stay)
    return subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", _CODE.format(module=module), told, *paths],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL if output is None else output,
        stderr=subprocess.DEVNULL,
        cwd="/",
        start_new_session=True,
    )


def connect(folder: Folder, choice: str, identity: str) -> Engine:
    """Return the engine of a run.

    :param choice: how it has to be named: "auto" and its like, or a URL.
    :raises EngineUnavailableError: if it does not answer, or another one does.
    """
    from pytest_clnrm.cleanup.cleaner import connect_with_locks
    from pytest_clnrm.errors import EngineUnavailableError

    engine = connect_with_locks(folder, choice)
    if engine.facts.identity != identity:
        engine.close()
        raise EngineUnavailableError("another engine answers", ())
    return engine


def join_embedded(folder: Path, url: str) -> None:
    """Join the embedded engine, if a run uses it: it must not end before it is swept."""
    if url == f"unix://{folder / 'engine' / 'engine.sock'}":
        from pytest_clnrm.engine.embedded import join
        from pytest_clnrm.errors import EngineUnavailableError

        try:
            join.join(folder, os.environ)
        except EngineUnavailableError:
            # The engine is gone, and with it all that ran there.
            return


def asked_to_end() -> int:
    """Return a descriptor that can be read once this process was asked to end."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer)
    signal.signal(signal.SIGTERM, lambda *_: None)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    return reader
