"""An engine of a test's own: a dockerd in a network namespace of its own."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp
from typing import TYPE_CHECKING

import pytest

from clnrm_testing.busybox import busybox_tree
from clnrm_testing.left_behind import IMAGE, WITHIN_S
from clnrm_testing.patience import wait_until
from pytest_clnrm.engine.connect.connect import reach
from pytest_clnrm.errors import EngineUnavailableError

if TYPE_CHECKING:
    from docker import APIClient

    from pytest_clnrm.engine.api import EngineFacts

PROGRAMS = ("dockerd", "runc", "iptables", "unshare", "nsenter")


@dataclass
class Daemon:
    """A dockerd in a network namespace of its own.

    :param namespace: a process that holds the namespace.
    :param options: of its command line.
    """

    folder: Path
    namespace: int
    options: tuple[str, ...] = ()
    _process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Return where it answers."""
        return f"unix://{self.folder}/socket"

    def connect(self) -> tuple[APIClient, EngineFacts]:
        """Return a client, and what the engine is."""
        return reach(self.url, environ=os.environ, runtime_dir=self.folder)

    def start(self) -> None:
        """Start it, and wait until it answers."""
        # Those of a killed one: an ended process that nobody reaps counts as alive for dockerd.
        for file in ("pid", "exec/containerd/containerd.pid"):
            (self.folder / file).unlink(missing_ok=True)
        argv = ["nsenter", f"--net=/proc/{self.namespace}/ns/net", "dockerd", f"--host={self.url}"]
        argv += [f"--data-root={self.folder}/data", f"--exec-root={self.folder}/exec", *self.options]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [*argv, f"--pidfile={self.folder}/pid"], stdout=log, stderr=log, start_new_session=True
            )
        wait_until(self._answers, WITHIN_S, "an engine that answers")

    def stop(self, number: int) -> None:
        """Send it a signal, and wait for its end."""
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(WITHIN_S)

    def clear(self) -> None:
        """End what outlives an engine that was killed, and unmount what it has mounted."""
        for process in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                if f"{self.folder}/".encode() in (process / "cmdline").read_bytes():
                    os.kill(int(process.name), signal.SIGKILL)
        points = [line.split()[1] for line in Path("/proc/mounts").read_text("utf-8").splitlines()]
        for point in sorted((each for each in points if each.startswith(f"{self.folder}/")), reverse=True):
            subprocess.run(["umount", "--lazy", point], check=False)

    def _answers(self) -> bool:
        try:
            self.connect()[0].close()
        except EngineUnavailableError:
            return False
        return True


@contextmanager
def own_engine(*options: str) -> Iterator[Daemon]:
    """Yield an engine that runs, and has the image of the tests; skip where there cannot be one.

    :param options: of its command line.
    """
    missing = [name for name in PROGRAMS if shutil.which(name) is None]
    if os.geteuid() != 0 or missing:
        pytest.skip(f"an engine of the test's own needs root, and: {', '.join(missing) or 'nothing else'}")
    holder = subprocess.Popen(
        ["unshare", "--net", "sh", "-c", "echo; read line"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert holder.stdout is not None
    holder.stdout.readline()
    # A short path: a socket's may have 107 bytes.
    daemon = Daemon(Path(mkdtemp(prefix="clnrm-", dir="/tmp")), holder.pid, options)
    try:
        daemon.start()
        client, _ = daemon.connect()
        said = client.import_image_from_data(busybox_tree(), changes=["ENV PATH=/bin", 'CMD ["sh"]'])
        name, tag = IMAGE.split(":")
        client.tag(json.loads(said.splitlines()[-1])["status"], name, tag)
        client.close()
        yield daemon
    finally:
        daemon.stop(signal.SIGTERM)
        holder.communicate(b"\n")
        daemon.clear()
        shutil.rmtree(daemon.folder, ignore_errors=True)
