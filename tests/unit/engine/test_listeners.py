"""Who listens in a container, from the tables of its network namespace."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from pytest_clnrm.engine.api import ContainerState, ExecOutcome, ExecSpec
from pytest_clnrm.engine.docker.listeners import Run, listeners_inside, listeners_outside
from pytest_clnrm.errors import ContainerError
from pytest_clnrm.model.seen import ProcessSeen, SocketSeen

HEAD = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode"
REST = "00000000:00000000 00:00000000 00000000  1000        0"
TABLES = {
    "tcp": f"{HEAD}\n"
    f"   0: 0100007F:1F90 00000000:0000 0A {REST} 77 1 0 100 0 0 10 0\n"
    f"   1: 0100007F:1F91 0100007F:9999 01 {REST} 78 1 0 20 4 30 10 -1\n",
    "tcp6": f"{HEAD}\n"
    f"   0: 00000000000000000000000000000000:0050 00000000000000000000000000000000:0000 0A {REST} 79 1 0\n"
    f"   1: 0000000000000000FFFF00000100007F:0051 00000000000000000000000000000000:0000 0A {REST} 80 1 0\n",
    "udp": f"{HEAD} ref pointer drops\n  12: 0200007F:0035 00000000:0000 07 {REST} 81 2 0 0\n",
}
SEEN = (
    ("tcp", "127.0.0.1", 8080),
    ("tcp", "::", 80),
    ("tcp", "127.0.0.1", 81),
    ("udp", "127.0.0.2", 53),
)
STATE = ContainerState(id="c" * 64, running=True, exit_code=None, oom_killed=False, pid=7)


def short(found: tuple[SocketSeen, ...] | None) -> tuple[tuple[str, str, int], ...]:
    """Return what is compared of sockets."""
    return tuple((each.protocol, each.address, each.port) for each in found or ())


def make_process(proc: Path, pid: int, container: str, sockets: tuple[str, ...] = ()) -> None:
    """Make a process of a container in a folder like /proc."""
    folder = proc / str(pid)
    (folder / "fd").mkdir(parents=True)
    (folder / "cgroup").write_text(f"0::/docker/{container}\n")
    (folder / "comm").write_text(f"p{pid}\n")
    (folder / "cmdline").write_bytes(b"/bin/p\0-x\0")
    for number, socket in enumerate(sockets):
        (folder / "fd" / str(number)).symlink_to(f"socket:[{socket}]")


def test_a_container_of_this_host(tmp_path: Path) -> None:
    """Its processes are those of its cgroup; what others have is not its."""
    make_process(tmp_path, 7, STATE.id, ("77", "99"))
    make_process(tmp_path, 8, "other", ("79",))
    (tmp_path / "self").mkdir()
    (tmp_path / "7" / "net").mkdir()
    for name, text in TABLES.items():
        (tmp_path / "7" / "net" / name).write_text(text)
    found = listeners_outside(STATE, proc=tmp_path)
    assert short(found) == SEEN
    assert found is not None
    assert found[0].process == ProcessSeen(pid=7, user="", name="p7", command="/bin/p -x")
    assert [each.process for each in found[1:]] == [None, None, None]


def test_a_container_elsewhere(tmp_path: Path) -> None:
    """A process of that number is another's, and its tables are not read."""
    make_process(tmp_path, 7, "other")
    assert listeners_outside(STATE, proc=tmp_path) is None


def saying(text: str, *, started: bool = True) -> Run:
    """Return what runs a command that prints this."""

    def run(spec: ExecSpec, hear: Callable[[str, bytes], None]) -> ExecOutcome:
        assert spec.argv[:2] == ("cat", "/proc/net/tcp")
        if text:
            hear("stdout", text.encode())
        hear("stderr", b"cat: /proc/net/tcp6: No such file\n")
        return ExecOutcome(exit_code=1, started=started)

    return run


def test_a_container_that_is_asked_itself() -> None:
    """Without IPv6 two tables are missing, which is no error; without an answer there is one."""
    assert short(listeners_inside(saying("".join(TABLES.values())))) == SEEN
    with pytest.raises(ContainerError, match="from outside on this host, and it has no `cat`"):
        listeners_inside(saying("", started=False))
    with pytest.raises(ContainerError, match="from outside on this host, and it does not show them"):
        listeners_inside(saying(""))
