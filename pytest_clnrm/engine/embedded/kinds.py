"""The two engines that can be embedded: how each is run, emptied and cleaned up after."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import resource
import shutil
import signal
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from pytest_clnrm.engine.embedded.host_network import HostNetwork

POLL_S = 0.05
EMPTY_TIMEOUT_S = 30.0
PODMAN_NOFILE = 1048576
# Podman's service lowers its own limit to this number, and its containers cannot go above it.
PODMAN_NPROC = 32768
# What dockerd and its containerd write outside the folders that they are told to use; contents come first.
OUTSIDE = (
    Path("/etc/docker/key.json"),
    Path("/etc/docker"),
    Path("/run/docker/plugins"),
    Path("/run/docker"),
    Path("/run/containerd/s"),
    Path("/run/containerd"),
)


class _SocketConnection(http.client.HTTPConnection):
    def __init__(self, path: Path, timeout_s: float) -> None:
        super().__init__("localhost", timeout=timeout_s)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


def request(path: Path, method: str, target: str, timeout_s: float = 5.0) -> tuple[int, bytes]:
    """Return status and body of a request to the engine at the socket *path*.

    :raises OSError: if it does not answer.
    """
    connection = _SocketConnection(path, timeout_s)
    try:
        connection.request(method, target)
        response = connection.getresponse()
        return response.status, response.read()
    except http.client.HTTPException as error:
        raise OSError(f"{type(error).__name__}: {error}") from None
    finally:
        connection.close()


def answers(path: Path) -> bool:
    """Tell whether an engine answers at the socket *path*."""
    try:
        return request(path, "GET", "/_ping")[0] == http.client.OK
    except OSError:
        return False


def search_path() -> str:
    """Return PATH with the administrator's folders, which users often lack, at its end."""
    return os.pathsep.join(filter(None, (os.environ.get("PATH"), "/usr/local/sbin", "/usr/sbin", "/sbin")))


def find_program(name: str) -> str | None:
    """Return the path of a program, None if it is not installed."""
    return shutil.which(name, path=search_path())


def runs(pid: int, mark: str) -> bool:
    """Tell whether process *pid* is alive and has *mark* in its command line."""
    try:
        return mark.encode() in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


def end_process(pid: int, mark: str, wait_s: float) -> None:
    """End a process: SIGTERM, and SIGKILL after *wait_s*.

    :param mark: what its command line holds: the number alone may be someone else's by now.
    """
    for sig in (signal.SIGTERM, signal.SIGKILL):
        if not runs(pid, mark):
            return
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, sig)
        deadline = time.monotonic() + wait_s
        while runs(pid, mark) and time.monotonic() < deadline:
            time.sleep(POLL_S)


def containers_conf(
    cgroups: Path = Path("/sys/fs/cgroup"), systemd: Path = Path("/run/systemd/system")
) -> str:
    """Return Podman's settings for what this machine allows.

    Podman asks for ulimits of its own choosing, which fails without CAP_SYS_RESOURCE, so it gets those that
    we have. crun refuses a hybrid of cgroup v1 and v2, runc does not.
    """
    limits = ", ".join(
        f'"{name}={limit}:{limit}"'
        for name, limit in (
            ("nofile", _hard_limit(resource.RLIMIT_NOFILE, PODMAN_NOFILE)),
            ("nproc", _hard_limit(resource.RLIMIT_NPROC, PODMAN_NPROC)),
        )
    )
    lines = ["[containers]", f"default_ulimits = [{limits}]", "[engine]"]
    if not (cgroups / "cgroup.controllers").exists() and find_program("runc"):
        lines.append('runtime = "runc"')
    if not systemd.exists():
        lines += ['cgroup_manager = "cgroupfs"', 'events_logger = "file"']
    return "\n".join([*lines, ""])


@dataclass(kw_only=True)
class EmbeddedKind:
    """How one engine is run.

    :param name: "dockerd" or "podman".
    :param command: runs it in the foreground; ends with SIGTERM when its parent dies.
    :param folder: for its socket, pid file and run-time state.
    :param storage: for its images.
    :param network: the host's network as it was before, once :meth:`prepare` has looked.
    :param outside: those of :data:`OUTSIDE` that were not there before.
    """

    name: str
    folder: Path
    storage: Path
    command: list[str]
    environ: dict[str, str]
    network: HostNetwork | None = None
    outside: tuple[Path, ...] = ()

    @classmethod
    def of(cls, name: str, folder: Path, storage: Path) -> EmbeddedKind:
        """Return the engine called *name*, with its socket in *folder* and its images in *storage*."""
        environ = {**os.environ, "PATH": search_path()}
        url = f"unix://{folder / 'engine.sock'}"
        if name == "dockerd":
            command = [find_program("dockerd") or "dockerd", "--data-root", str(storage)]
            command += ["--exec-root", str(folder / "exec")]
            command += ["--pidfile", str(folder / "docker.pid"), "-H", url]
        else:
            command = [*_podman(folder, storage), "system", "service", "--time=0", url]
            environ["CONTAINERS_CONF"] = str(folder / "containers.conf")
        # setpriv (util-linux, on every Debian) and not preexec_fn: that runs Python between fork and exec.
        command = [find_program("setpriv") or "setpriv", "--pdeathsig", "TERM", *command]
        return cls(name=name, folder=folder, storage=storage, command=command, environ=environ)

    @property
    def socket(self) -> Path:
        """Return the path of its socket."""
        return self.folder / "engine.sock"

    def prepare(self) -> None:
        """Write the settings it needs, and note what it will change on the host."""
        self.storage.mkdir(parents=True, exist_ok=True)
        if self.name == "podman":
            (self.folder / "containers.conf").write_text(containers_conf(), encoding="utf-8")
        else:
            self.outside = tuple(path for path in OUTSIDE if not path.exists())
        # Podman needs no daemon: the user's own one may add rules of its kind at any time, so they stay.
        self.network = HostNetwork.note(self.folder / "network.json", firewall=self.name == "dockerd")

    def empty(self) -> None:
        """Remove all its containers and networks: nobody is left who uses them."""
        if self.name == "podman":
            for command in (["rm", "--all", "--force", "--time", "0"], ["network", "prune", "--force"]):
                self._run([*_podman(self.folder, self.storage), *command])
            return
        # An engine that does not answer any more is stopped all the same.
        with contextlib.suppress(OSError, ValueError):
            _, body = request(self.socket, "GET", "/containers/json?all=1", EMPTY_TIMEOUT_S)
            for each in json.loads(body):
                target = f"/containers/{quote(str(each['Id']))}?force=1&v=1"
                request(self.socket, "DELETE", target, EMPTY_TIMEOUT_S)
            request(self.socket, "POST", "/networks/prune", EMPTY_TIMEOUT_S)

    def clean(self) -> None:
        """Take back what it changed on the host."""
        # dockerd mounts its storage on itself, and one that was killed could not undo that.
        mount = f" {self.storage} "
        while mount in Path("/proc/self/mounts").read_text(encoding="utf-8", errors="replace"):
            if not self._run([find_program("umount") or "umount", str(self.storage)]):
                break
        if self.network is not None:
            self.network.restore()
        for path in self.outside:
            # A folder that somebody else uses by now is not empty, and stays.
            with contextlib.suppress(OSError):
                if path.is_dir():
                    path.rmdir()
                else:
                    path.unlink()

    def _run(self, command: list[str]) -> bool:
        """Run a command that may fail or hang without keeping the engine from ending; True if it worked."""
        with contextlib.suppress(subprocess.TimeoutExpired, OSError):
            done = subprocess.run(
                command,
                env=self.environ,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                check=False,
                timeout=EMPTY_TIMEOUT_S,
            )
            return done.returncode == 0
        return False


def _hard_limit(which: int, most: int) -> int:
    hard = resource.getrlimit(which)[1]
    return most if hard == resource.RLIM_INFINITY else min(hard, most)


def _podman(folder: Path, storage: Path) -> list[str]:
    program = find_program("podman") or "podman"
    command = [program, "--root", str(storage), "--runroot", str(folder / "exec")]
    command += ["--tmpdir", str(folder / "exec" / "tmp")]
    return [*command, "--network-config-dir", str(folder / "exec" / "networks")]
