"""Whether and how a container is looked at from outside; real ones are in the engine's tests."""

from __future__ import annotations

import os
import subprocess
from contextlib import ExitStack
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_clnrm.engine.docker.observe import _View, check_is_here, mounts_of, observe
from pytest_clnrm.engine.docker.observed_sockets import sockets
from pytest_clnrm.errors import ContainerError, UnobservableError

LINE = b"92 58 0:39 / %s rw,relatime master:12 shared:7 - tmpfs tmpfs rw,size=65536k,upperdir=/a\\054b\n"


@given(st.binary(min_size=1, max_size=20).map(lambda name: b"/" + name.replace(b"\0", b"x")))
def test_a_mount_point_may_be_called_anything(point: bytes) -> None:
    """The kernel writes blanks, tabs, newlines and backslashes as octal numbers; nothing else ends a word."""
    escaped = b"".join(rb"\%03o" % each if each in b" \t\n\\#" else bytes([each]) for each in point)
    (mount,) = mounts_of(LINE % escaped.replace(b"%", b"%"))
    assert (mount.point, mount.kind, mount.device, mount.writable) == (point, b"tmpfs", b"0:39", True)
    assert mount.option(b"upperdir") == b"/a,b"
    assert mount.option(b"lowerdir") == b""


@pytest.mark.parametrize(
    "line", [LINE.replace(b" rw,rel", b" ro,rel"), LINE.replace(b" rw,size", b" ro,size")]
)
def test_what_cannot_be_written(line: bytes) -> None:
    """Either the mount or its file system says so."""
    (mount,) = mounts_of(line % b"/x")
    assert not mount.writable


@pytest.mark.parametrize("pid", [os.getpid(), 1 << 30, 0], ids=["our own", "none", "no process"])
def test_a_process_that_is_not_the_containers(pid: int) -> None:
    """With an engine elsewhere the number is another process's here, or nobody's."""
    with pytest.raises(UnobservableError, match="its processes are not on this host, or cannot be seen"):
        observe(pid, "c" * 64, scratch=(), renewed=False)


def own_cgroup() -> str:
    """Return what the cgroup of this process is called, as a container's id is in it."""
    return Path("/proc/self/cgroup").read_text().split("\n", 1)[0]


def test_what_is_not_a_container() -> None:
    """It has no process beside it that waits, and nothing is done to it."""
    check_is_here(os.getpid(), own_cgroup())
    with pytest.raises(ContainerError):
        observe(os.getpid(), own_cgroup(), scratch=(), renewed=False)


def test_who_may_not_look(monkeypatch: pytest.MonkeyPatch) -> None:
    """The reason says so."""

    def refuse(*_: object, **__: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pytest_clnrm.engine.docker.observe.os.open", refuse)
    monkeypatch.setattr("pytest_clnrm.engine.docker.observe.check_is_here", lambda *_: None)
    with pytest.raises(UnobservableError, match="may not look at its processes, as it is not root"):
        observe(os.getpid(), "c", scratch=(), renewed=False)


SOCKETS = "sockets: used 1\nTCP: inuse 0 orphan 0 tw {tw} alloc 1 mem 26\nUDP: inuse 0 mem 0\n"


def test_closed_connections() -> None:
    """The table of connections is only asked for where there are some; a client's own port is no state."""
    table = "  sl  local_address rem_address st\n   0: 0100007F:{} 0100007F:1F90 06 x\n32768\t60999\n"
    asked = []

    def tcp(port: str) -> str:
        asked.append(port)
        return table.format(port)

    plain = {"sockets in use": "1", "TCP in use": "0", "UDP in use": "0"}
    assert sockets(SOCKETS.format(tw=0), lambda: tcp("1F90")) == plain
    assert asked == []
    assert sockets(SOCKETS.format(tw=1), lambda: tcp("9C40")) == plain
    kept = {**plain, "closed connection that keeps port 8080": ""}
    assert sockets(SOCKETS.format(tw=1), lambda: tcp("1F90")) == kept


def test_a_process_that_begins_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel's files are not those of processes, of which one may begin while they are looked at."""
    begun: list[subprocess.Popen[bytes]] = []
    listed = os.listdir

    def list_and_begin(folder: int) -> list[str]:
        # Interfaces of containers of an engine on this machine come and go.
        names = [name for name in listed(folder) if not name.startswith(("veth", "br-"))]
        if not begun:
            begun.append(opened.enter_context(subprocess.Popen(["sleep", "60"])))
            opened.callback(begun[0].kill)
        return names

    with ExitStack() as opened:
        view = _View(os.getpid(), opened)
        monkeypatch.setattr("pytest_clnrm.engine.docker.observe.os.listdir", list_and_begin)
        names = {name for name, _ in view.kernel_files()}
        monkeypatch.undo()
    assert begun
    assert "mode and owner of /proc/sys/kernel/hostname" in names
    assert not [name for name in names if name.removeprefix("mode and owner of /proc/")[0].isdigit()]


def test_sockets_by_which_an_engine_tells_an_address() -> None:
    """A packet socket that receives nothing does not count; one of a program that listens does."""
    row = "00000000a097e055 2      {kind}      {protocol}   {device}     {running} 0      0      20279324\n"
    head = "sk               RefCnt Type Proto  Iface R Rmem   User   Inode\n"
    idle = row.format(kind=2, protocol="0000", device=0, running=0)
    listening = row.format(kind=3, protocol="0003", device=2, running=1)
    text = SOCKETS.format(tw=0).replace("used 1", "used 3") + head + idle + listening
    assert sockets(text, lambda: "")["sockets in use"] == "2"
