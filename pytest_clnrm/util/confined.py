"""A process that does work on what others wrote, with limits of time and memory that hold for all of it.

What runs in it may take for ever within one call into C, where no exception reaches it, or ask for all
memory: then the process is ended, and the next request gets another one. It knows its limits before it
reads the first request, and ends with the one who asks: at the end of its input.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import select
import signal
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import IO, Literal, NoReturn

MAX_REPLY_BYTES = 256 << 20
_GRACE_S = 1.0
"""CPU time from the exception that ends a piece of work to the end of the process that does not heed it."""
_TO_CHILD = struct.Struct("!dQ")
_FROM_CHILD = struct.Struct("!cQ")
_REPLY, _NOTE, _MEMORY, _TIME = b"R", b"N", b"M", b"T"

# Isolated: neither PYTHON* variables, nor the current folder, nor site's .pth files decide what it imports.
_CODE = (
    "import sys; sys.path += sys.argv[4:]; from pytest_clnrm.util.confined import serve; "
    "serve(sys.argv[1], int(sys.argv[2]), sys.argv[3].split())"
)


class ConfinedError(Exception):
    """A piece of work was given up.

    :param reason: "time" or "memory" (its limit), or "ended": the process has ended by itself.
    :param note: the last one that was sent, b"" if none was.
    """

    def __init__(self, reason: Literal["time", "memory", "ended"], note: bytes = b"") -> None:
        super().__init__(reason)
        self.reason = reason
        self.note = note


class OutOfTimeError(BaseException):
    """Raised within the work when its CPU time is over; no ``except Exception`` holds it back."""


class Confined:
    """One such process: it is started with the first request, and again after each that was given up.

    It does one thing at a time: who has several threads has several of these.

    :param function: ``module:name`` of what takes the bytes of a request and returns those of the reply.
    :param memory_bytes: of its address space, all included.
    :param imports: modules that its work needs besides that of *function*.
    """

    def __init__(self, function: str, *, memory_bytes: int, imports: Sequence[str] = ()) -> None:
        self._function = function
        self._imports = " ".join(imports)
        self._memory_bytes = memory_bytes
        self._process: subprocess.Popen[bytes] | None = None
        self._pid = os.getpid()

    def call(self, request: bytes, *, cpu_s: float, wall_s: float) -> bytes:
        """Return the reply.

        :param cpu_s: seconds that it may compute.
        :param wall_s: seconds until it is ended whatever it does.
        :raises ConfinedError: if it was given up.
        """
        ends_s = time.monotonic() + wall_s
        if self._pid != os.getpid():
            # A forked process would read the replies of the one that it comes from.
            self._process, self._pid = None, os.getpid()
        process = self._process or self._start()
        self._process = None
        received = bytearray()
        try:
            with contextlib.suppress(BrokenPipeError):  # how it ended is seen below
                assert process.stdin is not None  # noqa: S101 (a pipe)
                process.stdin.write(_TO_CHILD.pack(cpu_s, len(request)) + request)
                process.stdin.flush()
            kind, reply = _reply(process, ends_s, received)
        except BaseException:
            _end(process)
            raise
        if kind == _REPLY:
            self._process = process
            return reply
        _end(process)
        raise ConfinedError("memory" if kind == _MEMORY else "time", bytes(received))

    def _start(self) -> subprocess.Popen[bytes]:
        package = str(Path(__file__).parents[2])
        paths = [package, *(os.path.abspath(each) for each in sys.path if each)]  # noqa: PTH100 (links stay)
        return subprocess.Popen(
            [
                *(sys.executable, "-I", "-S", "-c", _CODE),
                *(self._function, str(self._memory_bytes), self._imports, *paths),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd="/",
            start_new_session=True,
        )

    def close(self) -> None:
        """End it; the next request starts another one."""
        process, self._process = self._process, None
        if process is not None:
            _end(process)


class ConfinedPool:
    """Such processes for several threads: each uses one at a time; they are kept, and end with this one.

    The parameters are those of :class:`Confined`.
    """

    def __init__(self, function: str, *, memory_bytes: int, imports: Sequence[str] = ()) -> None:
        self._made: Callable[[], Confined] = lambda: Confined(
            function, memory_bytes=memory_bytes, imports=imports
        )
        self._idle: list[Confined] = []
        self._lock = threading.Lock()
        atexit.register(self.close)

    def call(self, request: bytes, *, cpu_s: float, wall_s: float) -> bytes:
        """Return the reply of one that is idle or new.

        :raises ConfinedError: if it was given up.
        """
        with self._lock:
            confined = self._idle.pop() if self._idle else None
        confined = confined or self._made()
        try:
            return confined.call(request, cpu_s=cpu_s, wall_s=wall_s)
        finally:
            with self._lock:
                self._idle.append(confined)

    def close(self) -> None:
        """End those that are idle."""
        with self._lock:
            idle, self._idle = self._idle, []
        for each in idle:
            each.close()


def _reply(process: subprocess.Popen[bytes], ends_s: float, noted: bytearray) -> tuple[bytes, bytes]:
    """Return kind and bytes of the reply; put the last note into *noted*.

    :raises ConfinedError: if there is none in time.
    """
    while True:
        kind, size = _FROM_CHILD.unpack(_read(process, _FROM_CHILD.size, ends_s, noted))
        if size > MAX_REPLY_BYTES:
            raise ConfinedError("memory", bytes(noted))
        data = _read(process, size, ends_s, noted)
        if kind != _NOTE:
            return kind, data
        noted[:] = data


def _read(process: subprocess.Popen[bytes], size: int, ends_s: float, noted: bytearray) -> bytes:
    assert process.stdout is not None  # noqa: S101 (a pipe)
    descriptor = process.stdout.fileno()
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    data = bytearray()
    while len(data) < size:
        left_s = ends_s - time.monotonic()
        if left_s <= 0 or not poll.poll(left_s * 1000):
            raise ConfinedError("time", bytes(noted))
        piece = os.read(descriptor, min(size - len(data), 1 << 20))
        if not piece:
            code = process.wait()
            # Out of memory, Python itself may end without an error message.
            out_of_time = code in {-signal.SIGXCPU, -signal.SIGKILL}
            raise ConfinedError("time" if out_of_time else "ended", bytes(noted))
        data += piece
    return bytes(data)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with contextlib.suppress(OSError):  # what was not written yet is of no use any more
                pipe.close()


# What follows runs in the process itself.


def confined() -> bool:
    """Tell whether this is such a process."""
    return _out is not None


def note(data: bytes) -> None:
    """Tell the one who asks what is being done now; nothing in any other process."""
    if _out is not None:
        _send(_NOTE, data)


_out: IO[bytes] | None = None


def _send(kind: bytes, data: bytes) -> None:
    assert _out is not None  # noqa: S101 (only serve calls this before it is set, and it sets it)
    _out.write(_FROM_CHILD.pack(kind, len(data)) + data)
    _out.flush()


def serve(function: str, memory_bytes: int, imports: Sequence[str]) -> None:
    """Answer requests until the input ends; the parameters are those of :class:`Confined`."""
    import resource

    global _out  # noqa: PLW0603 one a process, and this is that process
    requests = sys.stdin.buffer
    _out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    signal.signal(signal.SIGPROF, _out_of_time)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _limit(resource.RLIMIT_AS, memory_bytes)
    work: Callable[[bytes], bytes] | None = None
    while head := requests.read(_TO_CHILD.size):
        cpu_s, size = _TO_CHILD.unpack(head)
        request = requests.read(size)
        try:
            # Not within the time to compute: without bytecode on a slow machine it takes seconds.
            work = work or _import(function, imports)
            used = resource.getrusage(resource.RUSAGE_SELF)
            _limit(resource.RLIMIT_CPU, int(used.ru_utime + used.ru_stime + cpu_s + _GRACE_S) + 1)
            signal.setitimer(signal.ITIMER_PROF, cpu_s)
            reply = work(request)
            signal.setitimer(signal.ITIMER_PROF, 0)
        except MemoryError:
            _send(_MEMORY, b"")
        except OutOfTimeError:
            _send(_TIME, b"")
        else:
            _send(_REPLY, reply)


def _import(function: str, imports: Sequence[str]) -> Callable[[bytes], bytes]:
    for each in imports:
        import_module(each)
    module, _, name = function.partition(":")
    found: Callable[[bytes], bytes] = getattr(import_module(module), name)
    return found


def _limit(what: int, value: int) -> None:
    """Set a soft limit, at most the hard one. Where the system does not know it, there is none."""
    import resource

    _, hard = resource.getrlimit(what)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(what, (value if hard == resource.RLIM_INFINITY else min(value, hard), hard))


def _out_of_time(*_: object) -> NoReturn:
    raise OutOfTimeError
