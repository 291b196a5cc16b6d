"""What is made of what a container tells of itself; the real script is run by the engine's tests."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from pytest_clnrm.engine.api import ExecOutcome, ExecSpec
from pytest_clnrm.engine.docker.observe_inside import ask_inside
from pytest_clnrm.errors import ContainerError

MOUNTS = """overlay / overlay rw,relatime,lowerdir=/a:/b 0 0
proc /proc proc rw,nosuid 0 0
tmpfs /dev tmpfs rw,nosuid,size=65536k 0 0
/dev/vda /etc/hosts ext4 rw,relatime 0 0
/dev/vda /sbin/docker-init ext4 ro,relatime 0 0
tmpfs /my\\040data tmpfs rw 0 0
tmpfs /scratch tmpfs rw 0 0
"""
STATUS = "Name:\t{name}\nPid:\t{pid}\nUid:\t{uid}\t0\t0\t0\nSigIgn:\t{ignored}\nSigCgt:\t{pid}\n"
LIMITS = f"{'Limit':26}Soft Limit\n{'Max open files':26}{20000:<21}{20000:<21}files\n"
IPC = "       key      msqid perms\n       key      semid perms\n       key      shmid perms\n"
SOCKETS = "sockets: used 1\nTCP: inuse 0 orphan 0 tw {tw} alloc 1 mem 26\nUDP: inuse 0 mem 0\n"
TCP = """  sl  local_address rem_address st
   0: 0100007F:{port} 0100007F:1F90 06 x
   1: 0100007F:0016 0:0 0A x
32768\t60999
"""
FOLDER = "directory 0:0 755 0:0 4096 2026-01-01"


def stat(pid: int, name: str, parent: int, *, state: str = "S", nice: int = 0) -> str:
    """Return a line of /proc/PID/stat."""
    fields = [state, parent, *["0"] * 14, nice, "0", "0", 1000 + pid]
    return f"{pid} ({name}) {' '.join(map(str, fields))}"


OURS = [stat(1, "init", 0), stat(7, "sleep", 1), stat(8, "sh", 0), stat(30, "sh", 8)]


class Container:
    """Tells what it is told to; its session's shell has pid 8, and the script 30."""

    def __init__(self) -> None:
        self.mounts = MOUNTS
        self.processes = OURS
        self.uid = "0"
        self.ignored = "0"
        self.ipc = IPC
        self.tw = 0
        self.port = "9C40"
        self.seen = (
            f"/|{FOLDER}\n/tmp|{FOLDER}\n/proc|{FOLDER}\n/scratch|{FOLDER}\n/etc/hosts|regular file 0:0\n"
        )
        self.scratch = "/scratch|0:0 1777\n"
        self.code: int | None = 0
        self.started = True
        self.ran: list[ExecSpec] = []

    def run(
        self, container: str, spec: ExecSpec, on_output: Callable[..., None], deadline_s: float
    ) -> ExecOutcome:
        assert container == "c"
        assert spec.workdir == "/"
        self.ran.append(spec)
        text = {"cat": self.mounts if spec.argv[-1] == "/proc/mounts" else f"{TCP.format(port=self.port)}"}
        on_output("stderr", b"noise")
        on_output("stdout", text.get(spec.argv[0], self.told(spec.user)).encode())
        return ExecOutcome(exit_code=self.code, started=self.started)

    def told(self, user: str | None) -> str:
        """Return what the script prints."""
        status = "".join(
            STATUS.format(name="x", pid=pid, uid=user or self.uid, ignored=self.ignored) + LIMITS + "0\n"
            for pid in (1, 7, 8, 30)
        )
        kernel = status + self.ipc + SOCKETS.format(tw=self.tw) + self.mounts
        sections = {
            "scratch": self.scratch,
            "content": "1|127.0.0.1 localhost\n",
            "seen": self.seen,
            "processes": "".join(
                f"{each.split()[0]}|{line}\n" for each in self.processes for line in each.split("\n")
            ),
            "self": "30\n",
            "kernel": kernel,
            "end": "",
        }
        return "".join(f"\0{name}\n{text}" for name, text in sections.items())


class Client:
    """An engine that tells of changed files."""

    def __init__(self, *changes: tuple[str, int]) -> None:
        self.changes = changes
        self.asked = 0

    def diff(self, container: str) -> list[dict[str, object]]:
        assert container == "c"
        self.asked += 1
        return [{"Path": path, "Kind": kind} for path, kind in self.changes]


def look(container: Container, client: Client | None = None, **options: Any) -> dict[str, str]:
    """Return what is seen."""
    parts: Any = client or Client()
    return ask_inside(parts, "c", container.run, scratch=("/scratch",), **options)


def differences(container: Container, before: dict[str, str]) -> dict[str, str]:
    """Return what is seen now and was not so before."""
    return {name: value for name, value in look(container).items() if before.get(name) != value}


def test_what_is_seen_of_a_clean_container() -> None:
    """Neither the script itself, nor its session's shell by its pid, nor what only the kernel changes."""
    container = Container()
    seen = look(container)
    assert [name for name in seen if name.startswith("process ")] == [
        "process init, pid 1",
        "process sleep, pid 7",
    ]
    assert "'Max-open-files': '20000 20000 files'" in next(name for name in seen if "shell of ours" in name)
    assert {name for name in seen if name.startswith(("folder", "scratch"))} == {
        "folder /", "folder /tmp", "scratch folder /scratch",
    }  # fmt: skip
    assert seen["content of mounted files"] == "1|127.0.0.1 localhost\n"
    assert look(container) == seen


def test_where_is_looked() -> None:
    """Folders of the container's own, all of what is mounted and can be written; scratch folders apart."""
    container = Container()
    look(container)
    mounts, script = container.ran
    assert mounts.argv == ("cat", "/proc/mounts")
    assert script.argv[:2] == ("sh", "-c")
    assert script.argv[4:] == (
        "1", "/scratch", "1", "/etc/hosts", "/", "/dev", "/etc/hosts", "/my data", "-xdev", "(", "-type", "d",
        "-o", "-path", "/dev", "-o", "-path", "/dev/*",
        "-o", "-path", "/etc/hosts", "-o", "-path", "/etc/hosts/*",
        "-o", "-path", "/my data", "-o", "-path", "/my data/*", ")",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"processes": [*OURS, stat(9, "nc) (x", 1)]}, "process nc) (x, pid 9"),
        ({"processes": [*OURS, stat(9, ") \x0c30 (sh", 1)]}, "process ) \x0c30 (sh, pid 9"),
        ({"processes": [*OURS, stat(9, "a\n30|30 (sh", 1)]}, "process a\n30|30 (sh, pid 9"),
        ({"processes": [*OURS[:1], stat(7, "sleep", 1, state="T"), *OURS[2:]]}, "process sleep, pid 7"),
        ({"processes": [*OURS[:2], stat(8, "sh", 0, nice=5), *OURS[3:]]}, "shell of ours with nice 5"),
        ({"ignored": "4000"}, "shell of ours with nice 0"),
        ({"ipc": IPC + "         7          0   666 4096\n"}, "shared memory, semaphores or message queues"),
        ({"mounts": MOUNTS + "tmpfs /mnt tmpfs rw 0 0\n"}, "mounts"),
        ({"scratch": "/scratch|0:0 700\n"}, "scratch folder /scratch"),
        ({"scratch": "/scratch|0:0 1777\n/scratch/x|left\n"}, "scratch folder /scratch/x"),
        ({"seen": Container().seen + "/dev/x|regular file 0:0\n"}, "file /dev/x"),
        ({"tw": 1, "port": "1F90"}, "closed connection that keeps port 8080"),
    ],
)  # fmt: skip
def test_a_difference_has_a_name(change: dict[str, Any], name: str) -> None:
    """Each thing that is left is named as a user would call it."""
    container = Container()
    before = look(container)
    vars(container).update(change)
    assert any(each.startswith(name) for each in differences(container, before))


def test_a_clients_closed_connection_is_none() -> None:
    """Its port was the kernel's choice, and is not chosen again while it is kept."""
    container = Container()
    before = look(container)
    container.tw = 1
    assert differences(container, before) == {}


def test_who_is_not_root_asks_again_as_root() -> None:
    """A user may not look everywhere."""
    container = Container()
    container.uid = "1000"
    look(container)
    assert [spec.user for spec in container.ran] == [None, None, "0"]


def test_the_engine_is_asked_first() -> None:
    """Where it tells of a changed file, no program of the container is asked: it may be that one."""
    container = Container()
    before = look(container)
    changes = [("/x", 1), ("/tmp", 0), ("/sbin/docker-init", 1), ("/gone", 2), ("/bin/find", 0)]  # noqa: S108
    client = Client(*changes)
    container.ran.clear()
    added = look(container, client, before=before).items() - before.items()
    assert dict(added) == {
        "file /x": "added",
        "file /gone": "removed",
        "file /bin/find": "changed",
    }
    assert container.ran == []


def test_the_engine_is_asked_each_time() -> None:
    """Folders tell of themselves, and what something is mounted on is no change."""
    container, client = Container(), Client(("/tmp", 0), ("/sbin/docker-init", 1))  # noqa: S108
    before = look(container)
    assert look(container, client, before=before) == before
    assert look(container, client, before=before) == before
    assert client.asked == 2
    assert [spec.argv[0] for spec in container.ran] == ["cat", "sh", "sh", "sh"], (
        "the mounts are known by then"
    )


def test_a_name_of_several_lines() -> None:
    """What stands on a line of its own is not taken for another file."""
    container = Container()
    container.seen += f"/data/a\n/data|{FOLDER}\n"
    with pytest.raises(ContainerError, match="a file whose name cannot be told"):
        look(container)


@pytest.mark.parametrize(
    ("outcome", "message"),
    [
        ({"started": False, "code": 127}, "not all of sh, find, stat, cat and rm"),
        ({"code": 90}, "not all of sh, find, stat, cat and rm"),
        ({"code": 91}, "cannot be looked at as a whole"),
        ({"code": None}, "cannot be looked at as a whole"),
    ],
)
def test_what_cannot_be_told(outcome: dict[str, Any], message: str) -> None:
    """A container that cannot be looked at is an error, never a clean one."""
    container = Container()
    vars(container).update(outcome)
    with pytest.raises(ContainerError, match=message):
        look(container)


def test_a_script_that_was_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """Half of what is to be seen is not all of it."""
    container = Container()
    monkeypatch.setattr(container, "told", lambda user: "\0scratch\n")
    with pytest.raises(ContainerError, match="cannot be looked at as a whole"):
        look(container)
