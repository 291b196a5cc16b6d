"""Our agent as a process of this machine, in the place of an exec in a pod."""

from __future__ import annotations

import os
import platform
import select
import signal
import subprocess
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from pytest_clnrm.engine.tool.program import agent

OWN = agent(platform.machine())


class LocalStream:
    """The streams of an agent of this machine; its folder keeps the journals."""

    def __init__(self, program: Path, folder: Path, environ: Mapping[str, str] | None = None) -> None:
        self.said = ""
        self.process = subprocess.Popen(
            [program, "steps", folder],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environ,
            bufsize=0,
            start_new_session=True,
        )

    def send(self, data: bytes) -> None:
        assert self.process.stdin is not None
        left = memoryview(data)
        try:
            while left:
                left = left[self.process.stdin.write(left) or 0 :]
        except ValueError:
            raise OSError("closed") from None

    def receive(self, deadline_s: float | None) -> bytes | None:
        out = self.process.stdout
        assert out is not None
        if out.closed:
            return b""
        left_s = None if deadline_s is None else max(0.0, deadline_s - time.monotonic())
        if not select.select([out], [], [], left_s)[0]:
            return None
        return os.read(out.fileno(), 65536)

    def cut(self) -> None:
        """Break the connection, as the end of an API server does; the agent is not told otherwise."""
        for each in (self.process.stdin, self.process.stdout):
            assert each is not None
            with suppress(OSError):
                each.close()

    def close(self) -> None:
        self.cut()

    def end(self) -> None:
        """Wait for the agent's end; a step that still runs is ended with it."""
        self.cut()
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGTERM)
        self.process.wait(10)
