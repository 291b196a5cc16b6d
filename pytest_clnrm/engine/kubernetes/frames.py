"""What is said to our agent in a pod, and what it says: the frames of ``engine/tool/agent.c``."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_clnrm.engine.api import ExecSpec

PIECE = 16384
MAX_REQUEST = 2 << 20
MAX_TEXTS = 30_000
FRAME = 5
HELLO, OUTPUT, ERRORS, WANTED, END, LOST = b"HOEWZL"
IN_JOURNAL = frozenset({OUTPUT, ERRORS, END})
UNKNOWN, FORGOTTEN, DEAD = 1, 2, 3
"""Why a step is lost: it never began, its output was too much to be kept, or who noted it was killed."""

_STARTED, _OUT_OF_MEMORY, _KILLED, _LEFT = 1, 2, 4, 8
_IN_USER, _IN_FOLDER, _IN_PROGRAM = 1, 2, 3
_ENOENT, _EPERM, _ENOTDIR = 2, 1, 20
NOT_EXECUTABLE, NOT_FOUND = 126, 127


@dataclass(frozen=True, slots=True)
class Ending:
    """How a step ended."""

    code: int
    flags: int
    stage: int
    error: int

    @property
    def started(self) -> bool:
        """Tell whether its program was started."""
        return bool(self.flags & _STARTED)

    @property
    def oom(self) -> bool:
        """Tell whether a process of the container was killed for memory meanwhile."""
        return bool(self.flags & _OUT_OF_MEMORY)

    @property
    def killed(self) -> bool:
        """Tell whether we have ended it."""
        return bool(self.flags & _KILLED)

    @property
    def left(self) -> bool:
        """Tell whether some of its processes could not be ended."""
        return bool(self.flags & _LEFT)

    def why_not(self, spec: ExecSpec) -> tuple[str, int]:
        """Return why it could not be started, and the exit code that a shell gives that."""
        reason = os.strerror(self.error).lower()
        missing = self.error in {_ENOENT, _ENOTDIR}
        if self.stage == _IN_USER:
            if self.error == _EPERM:
                text = f"the container does not run as root, so no command can run as user {spec.user!r}"
            else:
                text = f"the image has no user {spec.user!r}" if missing else f"user {spec.user}: {reason}"
            return text, NOT_EXECUTABLE
        if self.stage == _IN_FOLDER:
            text = (
                f"no such folder in the container: {spec.workdir}"
                if missing
                else f"folder {spec.workdir}: {reason}"
            )
            return text, NOT_FOUND if missing else NOT_EXECUTABLE
        if self.stage == _IN_PROGRAM:
            found = "command not found" if missing else reason
            return f"{found}: {spec.argv[0]}", NOT_FOUND if missing else NOT_EXECUTABLE
        return f"no process can be had for it: {reason}", NOT_EXECUTABLE


class Reader:
    """Cuts what comes into frames."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> Iterator[tuple[int, bytes]]:
        """Yield kind and content of each frame that is whole."""
        rest = self._rest + data
        at = 0
        while len(rest) - at >= FRAME:
            kind, size = struct.unpack_from("<BI", rest, at)
            if len(rest) - at - FRAME < size:
                break
            yield kind, rest[at + FRAME : at + FRAME + size]
            at += FRAME + size
        self._rest = rest[at:]


def ending(content: bytes) -> Ending:
    """Return how a step ended."""
    return Ending(*struct.unpack("<IIII", content))


def frame(kind: bytes, content: bytes = b"") -> bytes:
    """Return what is sent."""
    return struct.pack("<BI", kind[0], len(content)) + content


def run(step: int, spec: ExecSpec) -> bytes:
    """Return the frame that begins a step.

    :raises ValueError: if it is too long.
    """
    variables = [f"{name}={value}" for name, value in spec.env.items()]
    texts = [spec.user or "", spec.workdir or "", *spec.argv, *variables]
    content = struct.pack("<QIIB", step, len(spec.argv), len(variables), spec.stdin is not None)
    content += b"".join(os.fsencode(each) + b"\0" for each in texts)
    if len(content) > MAX_REQUEST or len(texts) > MAX_TEXTS:
        raise ValueError(f"its arguments and variables are {len(content)} bytes, at most {MAX_REQUEST} go")
    return frame(b"R", content)


def told_from(step: int, at: int) -> bytes:
    """Return the frame that asks for a step's journal, from a byte of it on."""
    return frame(b"J", struct.pack("<QQ", step, at))


def kill(step: int) -> bytes:
    """Return the frame that ends a step."""
    return frame(b"K", struct.pack("<Q", step))


def forget(step: int) -> bytes:
    """Return the frame that removes a step's journal."""
    return frame(b"D", struct.pack("<Q", step))
