"""Wake-ups between processes: a FIFO for each waiter, and the clock that waits on it."""

from __future__ import annotations

import errno
import os
import select
import time
from contextlib import suppress
from pathlib import Path
from typing import Protocol

# A process may die between writing the state and waking others: so waiters also look by themselves.
_POLL_S = 1.0
_POLL_WITHOUT_FIFO_S = 0.1


class Clock(Protocol):
    """Where all times come from."""

    def monotonic(self) -> float:
        """Return seconds that all processes of this machine count alike and that never jump."""

    def wait(self, fd: int | None, timeout_s: float) -> bool:
        """Return True once *fd* can be read, False after *timeout_s*; None is never readable."""


class SystemClock:
    """The machine's own clock."""

    def monotonic(self) -> float:
        """Return the time since boot."""
        return time.monotonic()

    def wait(self, fd: int | None, timeout_s: float) -> bool:
        """Wait in the kernel."""
        poll = select.poll()
        if fd is not None:
            poll.register(fd, select.POLLIN)
        return bool(poll.poll(max(timeout_s, 0) * 1000))


class Wakeup:
    """Where wake-ups arrive, once :meth:`listen` was called: a FIFO at *path*.

    ``fd`` can be read when one has arrived; it stays None where the file system has no FIFOs. ``poll_s`` is
    how long to wait before looking without a wake-up.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._pid = os.getpid()
        self.fd: int | None = None
        self.poll_s = _POLL_S

    def listen(self) -> None:
        """Begin to listen, if that has not begun yet."""
        if self.fd is not None or self.poll_s != _POLL_S:
            return
        try:
            os.mkfifo(self._path, 0o600)
        except OSError as error:
            if error.errno not in {errno.EPERM, errno.ENOTSUP, errno.ENOSYS}:
                raise
            self.poll_s = _POLL_WITHOUT_FIFO_S
            return
        # Opened for writing too: else it would read as ended after the first writer's end, and spin.
        self.fd = os.open(self._path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)

    @property
    def name(self) -> str:
        """Return the file's name, for others to :func:`ring`."""
        return self._path.name

    def drain(self) -> None:
        """Forget the wake-ups so far. Call it before looking: what arrives while looking must stay."""
        if self.fd is not None:
            with suppress(BlockingIOError):
                os.read(self.fd, 65536)

    def close(self) -> None:
        """Stop listening."""
        if self.fd is not None:
            os.close(self.fd)
            self.fd = None
            # A forked child closes its copy; the file is its parent's.
            if os.getpid() == self._pid:
                self._path.unlink(missing_ok=True)


def ring(path: Path) -> bool:
    """Wake up whoever listens at *path*; False if nobody does."""
    try:
        fd = os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        os.write(fd, b"!")
    except BlockingIOError:
        # A full FIFO wakes as well as one more byte in it.
        return True
    except BrokenPipeError:
        return False
    finally:
        os.close(fd)
    return True
