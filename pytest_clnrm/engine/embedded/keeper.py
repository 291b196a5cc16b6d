"""The process that holds the embedded engine: starts it, waits for its last user to go, ends it.

It is a process of its own since the engine has to outlive the pytest process that started it while others
use it, and to end when the last of them is gone, killed or not. It imports the standard library only.

A user is a process that holds a POSIX record lock on its own file in ``FOLDER/users``. The kernel frees the
lock when the process ends, however it ends, and a forked child does not hold it. The keeper sleeps in the
kernel until such a lock is free. Users and keepers hold exclusive locks; who waits for one or asks takes a
shared one, and so is never taken for a user. ``FOLDER/lock`` is held while someone joins, and while the
keeper decides to end and ends: nobody can join an engine that is on its way out. ``FOLDER/keeper.lock`` is
held for the keeper's life. When the keeper itself is killed the engine gets SIGTERM (``PR_SET_PDEATHSIG``).
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from pytest_clnrm.engine.embedded.kinds import EmbeddedKind, answers

START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 30.0
POLL_S = 0.02
# Names of files that mean nothing once the engine has ended, and hinder the next one.
STALE = ("engine.pid", "docker.pid", "engine.sock")


def record_lock(file: Path) -> int:
    """Make *file* with its record lock held, and return the descriptor that holds it.

    It has its name once it is locked: nobody ever finds it free. An older file of that name is replaced.
    """
    fresh = file.with_name(f"{file.name}.{os.getpid()}")
    handle = os.open(fresh, os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    fresh.rename(file)
    return handle


def is_held(file: Path) -> bool:
    """Tell whether another process holds the record lock on *file*."""
    try:
        with file.open("rb") as handle:
            fcntl.lockf(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


@contextlib.contextmanager
def flock(file: Path, wait: Callable[[], None] = lambda: time.sleep(POLL_S)) -> Iterator[None]:
    """Hold the lock on *file*.

    :param wait: called between two tries; raises to give up.
    """
    handle = os.open(file, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                wait()
        yield
    finally:
        os.close(handle)


class Keeper:
    """Holds one engine.

    :param folder: for socket, pid file, log and locks.
    :param engine: what to run.
    """

    def __init__(self, folder: Path, engine: EmbeddedKind) -> None:
        self.folder = folder
        self.engine = engine
        self._ending = False

    def start(self) -> subprocess.Popen[bytes]:
        """Start the engine and wait until it answers.

        :raises RuntimeError: if it ends before that, or takes longer than :data:`START_TIMEOUT_S`.
        """
        self.engine.prepare()
        process = self._spawn()
        (self.folder / "engine.pid").write_text(f"{process.pid}\n", encoding="ascii")
        deadline = time.monotonic() + START_TIMEOUT_S
        while not answers(self.engine.socket):
            if process.poll() is not None:
                raise RuntimeError(f"{self.engine.name} ended with exit code {process.returncode}")
            if time.monotonic() > deadline:
                self._stop(process)
                raise RuntimeError(f"{self.engine.name} did not answer within {START_TIMEOUT_S:g} s")
            time.sleep(POLL_S)
        return process

    def serve(self, process: subprocess.Popen[bytes]) -> None:
        """Hold the engine until its last user has gone, then leave nothing of it behind but its storage.

        If the engine itself ends before, this process ends with it.
        """
        threading.Thread(target=self._watch, args=(process,), daemon=True).start()
        while True:
            self.wait_for_users()
            with flock(self.folder / "lock"):
                if not self._users():
                    self._ending = True
                    self.engine.empty()
                    self._stop(process)
                    self.clean()
                    return

    def wait_for_users(self) -> None:
        """Return once no process holds the lock of a file in ``users``; what the dead left is removed."""
        while files := self._users():
            for file in files:
                with contextlib.suppress(FileNotFoundError), file.open("rb") as handle:
                    fcntl.lockf(handle, fcntl.LOCK_SH)
                    file.unlink()

    def clean(self) -> None:
        """Remove what the engine leaves in ``folder`` and on this host."""
        self.engine.clean()
        shutil.rmtree(self.folder / "exec", ignore_errors=True)
        for name in (*STALE, "containers.conf", "network.json", "log"):
            (self.folder / name).unlink(missing_ok=True)

    def _users(self) -> list[Path]:
        return sorted((self.folder / "users").glob("*.lock"))

    def _spawn(self) -> subprocess.Popen[bytes]:
        with (self.folder / "log").open("wb") as log:
            return subprocess.Popen(
                self.engine.command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self.engine.environ,
                cwd="/",
                start_new_session=True,
            )

    def _stop(self, process: subprocess.Popen[bytes]) -> None:
        process.terminate()
        try:
            process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _watch(self, process: subprocess.Popen[bytes]) -> None:
        process.wait()
        if not self._ending:
            # The log stays: whoever finds the engine gone wants to read it.
            os._exit(1)


def main(folder: str, storage: str, kind: str, ready: int) -> None:
    """Run as the keeper, in a process that nobody waits for.

    :param ready: descriptor of a pipe; gets "ready", or why there is no engine.
    """
    if os.fork():
        os._exit(0)
    os.setsid()
    os.chdir("/")
    root = Path(folder)
    lock = record_lock(root / "keeper.lock")
    keeper = Keeper(root, EmbeddedKind.of(kind, root, Path(storage)))
    try:
        process = keeper.start()
    except (RuntimeError, OSError) as error:
        # Free before the answer: the next kind of engine is tried at once.
        os.close(lock)
        os.write(ready, str(error).encode())
        sys.exit(1)
    os.write(ready, b"ready")
    os.close(ready)
    keeper.serve(process)
    os.close(lock)
