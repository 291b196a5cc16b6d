"""Using the embedded engine: the one that runs already, else a new one, shared by this user's processes.

One a host and user (a runtime folder is both): two of them would fight over the bridge and the firewall.
It stays until the last process that joined it has ended; see :mod:`pytest_clnrm.engine.embedded.keeper`. Its
images stay in the user's cache for the next time.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import select
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from pytest_clnrm.engine.embedded.host_network import dockerd_of_this_network
from pytest_clnrm.engine.embedded.keeper import (
    STALE,
    START_TIMEOUT_S,
    STOP_TIMEOUT_S,
    flock,
    is_held,
    record_lock,
)
from pytest_clnrm.engine.embedded.kinds import answers, end_process, find_program
from pytest_clnrm.errors import EngineUnavailableError
from pytest_clnrm.util.beneath import held

# dockerd first: it is the one that scenarios are mostly written for.
KINDS = ("dockerd", "podman")
LOG_LINES = 15
BUSY_TIMEOUT_S = 30.0
# Podman's init process for containers, which Debian's podman only recommends.
CATATONIT = Path("/usr/libexec/podman/catatonit")
# A socket's path has room for 107 bytes; the longest below our folder is containerd's.
LONGEST_SOCKET = "exec/containerd/containerd.sock.ttrpc"
PATH_MAX = 107
_PROC = Path("/proc/self")
INSTALL = "On Debian: `apt-get install docker.io iptables` (as root), or `apt-get install podman catatonit`."
_OF_DOCKER = ("dockerd", "containerd", "runc", "iptables")
_PACKAGES = {"dockerd": "docker.io", "setpriv": "util-linux"}

# A process uses one embedded engine, from the first question to its end: fixtures and other threads may
# still talk to it after the run's own last call.
_joined: dict[Path, int] = {}


def join(runtime_dir: Path, environ: Mapping[str, str], kinds: Sequence[str] = KINDS) -> str:
    """Become a user of the embedded engine until this process ends, and return the engine's URL.

    It is started if it does not run.

    :param runtime_dir: this user's folder on this host.
    :param environ: where the user's cache folder is looked up.
    :param kinds: what may be started, in order of preference.
    :raises EngineUnavailableError: if it cannot be started: what is missing, or the end of its log.
    """
    if not _PROC.exists():
        raise EngineUnavailableError(
            "the embedded engine runs on Linux alone",
            ("Start Docker Desktop, Colima or Podman's machine.",),
        )
    folder = runtime_dir / "engine"
    _make_folder(folder)
    socket = folder / "engine.sock"
    with flock(folder / "lock", wait=_impatient(folder)):
        if folder not in _joined:
            # In this order: once our file is locked, no keeper takes the engine for unused.
            _joined[folder] = record_lock(folder / "users" / f"{os.getpid()}-{secrets.token_hex(4)}.lock")
        try:
            if not _is_up(folder):
                _start(folder, storage_folder(environ), kinds)
        except BaseException:
            os.close(_joined.pop(folder))
            raise
    return f"unix://{socket}"


def leave(runtime_dir: Path) -> None:
    """Stop being a user before this process ends.

    Returns once the engine has ended and its files are gone; at once if it has other users.
    """
    folder = runtime_dir / "engine"
    handle = _joined.pop(folder, None)
    if handle is not None:
        os.close(handle)
    while is_held(folder / "keeper.lock"):
        if any(is_held(file) for file in (folder / "users").glob("*.lock")):
            return
        time.sleep(0.02)


def storage_folder(environ: Mapping[str, str]) -> Path:
    """Return where embedded engines keep their images."""
    cache = environ.get("XDG_CACHE_HOME") or Path(environ.get("HOME") or Path.home()) / ".cache"
    return Path(cache) / "pytest-clnrm" / "engine"


def _make_folder(folder: Path) -> None:
    if len(os.fsencode(folder / LONGEST_SOCKET)) > PATH_MAX:
        raise EngineUnavailableError(
            f"the path of the embedded engine's folder is too long for a socket: {folder}",
            (f"It may have {PATH_MAX - len(LONGEST_SOCKET) - 1} bytes; set another XDG_RUNTIME_DIR.",),
        )
    try:
        (folder / "users").mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise EngineUnavailableError(f"the embedded engine's folder cannot be made: {error}") from None


def _impatient(folder: Path) -> Callable[[], None]:
    """Return a pause between two tries at the lock, which gives up when starting or ending takes too long."""
    deadline = time.monotonic() + START_TIMEOUT_S + STOP_TIMEOUT_S

    def wait() -> None:
        if time.monotonic() > deadline:
            raise EngineUnavailableError(
                f"another process has held {folder / 'lock'} for {START_TIMEOUT_S + STOP_TIMEOUT_S:g} s",
                ("It starts or ends the embedded engine, and hangs: end it.",),
            )
        time.sleep(0.02)

    return wait


def _is_up(folder: Path) -> bool:
    """Tell whether the engine runs and answers; one that is busy gets some time, as others use it."""
    deadline = time.monotonic() + BUSY_TIMEOUT_S
    while is_held(folder / "keeper.lock"):
        if answers(folder / "engine.sock"):
            return True
        if time.monotonic() > deadline:
            pid = (folder / "engine.pid").read_text(encoding="ascii").strip()
            raise EngineUnavailableError(
                f"the embedded engine (process {pid}) has not answered for {BUSY_TIMEOUT_S:g} s",
                ("If you end that process, the next run starts a new one.", *_log_tail(folder / "log")),
            )
        time.sleep(0.05)
    return False


def _start(folder: Path, storage: Path, kinds: Sequence[str]) -> None:
    """Start a keeper and wait until its engine answers; each kind that this machine has is tried."""
    _end_leftovers(folder)
    reasons: list[str] = []
    for kind in kinds:
        missing = _missing(kind)
        if not missing:
            answer = _spawn_keeper(folder, storage / kind, kind)
            if answer == "ready":
                return
            missing = [answer, *_log_tail(folder / "log")]
        reasons += [f"{kind}: {missing[0]}", *missing[1:]]
    raise EngineUnavailableError("no embedded engine can be started", (*reasons, INSTALL))


def _end_leftovers(folder: Path) -> None:
    """End what a killed keeper or engine left, and remove what would keep a new engine from starting.

    The old ones are on their way out, and must be gone: two engines on one storage break it. Their pid
    files must go even then, as an ended process that nobody reaps counts as alive for dockerd.
    """
    state = folder / "exec"
    for file, mark in (
        (folder / "engine.pid", folder / "engine.sock"),
        (state / "containerd" / "containerd.pid", state),
    ):
        with contextlib.suppress(OSError, ValueError):
            end_process(int(file.read_text(encoding="ascii")), str(mark), STOP_TIMEOUT_S)
        file.unlink(missing_ok=True)
    for name in STALE:
        (folder / name).unlink(missing_ok=True)


def _missing(kind: str) -> list[str]:
    """Return why this kind cannot run here, nothing if it can."""
    programs = ["setpriv", "podman"] if kind == "podman" else ["setpriv", *_OF_DOCKER]
    reasons = [
        f"{name} is not installed (package {_PACKAGES.get(name, name)})"
        for name in programs
        if not find_program(name)
    ]
    if kind == "podman":
        if not (CATATONIT.exists() or find_program("catatonit")):
            reasons.append("catatonit is not installed (package catatonit)")
        return reasons
    if os.geteuid() != 0:
        reasons.append("it needs root, and this process is not root's")
    pid = dockerd_of_this_network()
    if pid is not None:
        reasons.append(
            f"another dockerd runs already, process {pid}, but does not answer where it is looked for; "
            "name its address with --clnrm-engine or DOCKER_HOST"
        )
    return reasons


def _spawn_keeper(folder: Path, storage: Path, kind: str) -> str:
    """Start a keeper and return what it says: "ready", or why there is no engine."""
    package = Path(__file__).parents[3]
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); from pytest_clnrm.engine.embedded.keeper import main; "
        "main(*sys.argv[2:5], int(sys.argv[5]))"
    )
    reader, writer = os.pipe()
    # -I: neither the user's PYTHON* variables nor the current folder decide what it imports.
    argv = [sys.executable, "-I", "-c", code, str(package), str(folder), str(storage), kind, str(writer)]
    with held(reader):
        with held(writer), (folder / "log").open("wb") as log:
            subprocess.run(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=(writer,),
                check=False,
                timeout=START_TIMEOUT_S,
            )
        return _read_answer(reader)


def _read_answer(reader: int) -> str:
    readable, _, _ = select.select([reader], [], [], START_TIMEOUT_S + STOP_TIMEOUT_S)
    if not readable:
        return "its keeper does not answer"
    return os.read(reader, 4096).decode("utf-8", "replace") or "its keeper ended at once"


def _log_tail(log: Path) -> list[str]:
    try:
        lines = log.read_text(encoding="utf-8", errors="replace").removesuffix("\n").split("\n")
    except OSError:
        return []
    return [f"  {line}" for line in lines[-LOG_LINES:]]
