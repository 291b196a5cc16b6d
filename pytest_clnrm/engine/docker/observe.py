"""What can be seen of a container at rest from outside: if it is the same twice, nothing was left in between.

Nothing of the container's is run, as it may lie: processes are read in this host's /proc, files through the
first one's root folder. What may differ is listed, all else is compared; docs/design/proof.md has the whole.
"""

from __future__ import annotations

import array
import fcntl
import os
import re
import stat
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import lru_cache

from pytest_clnrm.engine.docker.cgroups import is_process_of
from pytest_clnrm.engine.docker.observed_files import (
    Budget,
    attributes,
    empty_folder,
    entries_below,
    modes_below,
    shown,
)
from pytest_clnrm.engine.docker.observed_processes import (
    facts_of,
    in_ipc_namespace,
    kill_at_rest,
    processes_of,
    read,
    wait_for_rest,
)
from pytest_clnrm.engine.docker.observed_sockets import sockets
from pytest_clnrm.engine.exec.shell_script import SHELL
from pytest_clnrm.engine.exec.waiting import KEEP_ALIVE, KEEP_TOOL
from pytest_clnrm.errors import ContainerError, UnobservableError
from pytest_clnrm.util.beneath import Opened, held, open_beneath

SHARED_MEMORY = "shared memory, semaphores or message queues"
INTERFACES = "network interfaces"

# File systems of the kernel's in which nothing can be left where they are read-only.
_KERNELS = frozenset({b"sysfs", b"cgroup", b"cgroup2"})
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_GETFLAGS = 0x80086601 if array.array("l").itemsize == 8 else 0x80046601  # noqa: PLR2004
_GONE_S = 0.5
# The range of ports that the kernel chooses from in a new network namespace.
_LOCAL_PORTS = "32768\t60999\n"
_OCTAL = re.compile(rb"\\([0-7]{3})")

Renew = Callable[[Callable[[], None], Callable[[], None]], None]


@dataclass(frozen=True, slots=True)
class Mount:
    """A line of /proc/PID/mountinfo; see proc(5).

    :param options: those of the mount, and those of its file system.
    """

    point: bytes
    kind: bytes
    device: bytes
    options: frozenset[bytes]

    @property
    def writable(self) -> bool:
        """Tell whether something can be written there."""
        return b"ro" not in self.options

    def option(self, name: bytes) -> bytes:
        """Return the value of an option of its file system, b"" if it has none."""
        found = (each for each in self.options if each.startswith(name + b"="))
        return _unescaped(next(found, b"").partition(b"=")[2])


# What is mounted in a container hardly ever changes.
@lru_cache(maxsize=16)
def mounts_of(mountinfo: bytes) -> tuple[Mount, ...]:
    """Return the mounts that a /proc/PID/mountinfo lists, the later ones above the earlier."""
    mounts = []
    for line in mountinfo.split(b"\n"):
        if line:
            _, _, device, _, point, options, *rest = line.split(b" ")
            kind, _, of_files, *_ = rest[rest.index(b"-") + 1 :]
            together = frozenset((*options.split(b","), *of_files.split(b",")))
            mounts.append(Mount(_unescaped(point), kind, device, together))
    return tuple(mounts)


def _ending(command: Sequence[str]) -> bytes:
    """Return the arguments of a command as they end its /proc/PID/cmdline."""
    return b"".join(b"\0" + each.encode() for each in command[1:]) + b"\0"


def _unescaped(text: bytes) -> bytes:
    return _OCTAL.sub(lambda octal: bytes([int(octal[1], 8) & 0xFF]), text)


def observe(
    pid: int,
    container: str,
    *,
    scratch: Sequence[str],
    renewed: bool,
    renew: Renew = lambda _, look: look(),
) -> dict[str, str]:
    """Return what can be seen of a container at rest: the name of each thing, and what it is like.

    :param pid: of its first process, as its engine says.
    :param scratch: absolute paths of tmpfs mounts, which are emptied first.
    :param renewed: the process that waits beside the first one is replaced each time.
    :param renew: gets what kills the shell that has run steps, and what looks at the rest, which it calls
        once that has gone; returns when there is a new one.
    :raises UnobservableError: if this process may not look at it.
    :raises ContainerError: if it cannot be told whether something is left, or a process is.
    """
    check_is_here(pid, container)
    try:
        with ExitStack() as opened:
            view = _View(pid, opened)
            seen = {"mounts": view.mountinfo.decode("latin-1"), INTERFACES: _interfaces(pid)}

            def look() -> None:
                if not renewed:
                    # Where a shell was killed, it was checked then that nothing else runs.
                    view.check_alone()
                seen.update(view.scratch_folders(scratch))
                seen.update(view.memory())
                seen.update(view.sockets())
                seen.update(view.kernel_files())
                seen.update(view.files(scratch))

            renew(view.kill_shell, look)
            # Last, as a process that comes while the rest is looked at must not be missed.
            return seen | view.processes(renewed=renewed)
    except PermissionError as error:
        raise UnobservableError("this process may not look at its processes, as it is not root") from error
    except (OSError, ValueError, KeyError, IndexError) as error:
        # A file that is not there, or is not as proc(5) says: something is seen less well than it should be.
        raise ContainerError(
            f"it cannot be looked at as a whole ({type(error).__name__}: {error})"
        ) from error


def has_interfaces(pid: int, container: str, seen: Mapping[str, str]) -> bool:
    """Tell whether a container has the network interfaces with which it was seen.

    It loses that of a network when it is taken off it, and an engine removes no network before.

    :param pid: of its first process.
    :param seen: what :func:`observe` returned.
    """
    try:
        return is_process_of(pid, container) and seen.get(INTERFACES) == _interfaces(pid)
    except OSError:
        return False


def _interfaces(pid: int) -> str:
    lines = read(b"/proc/%d/net/dev" % pid).decode("latin-1").split("\n")
    return " ".join(sorted(line.partition(":")[0].strip() for line in lines if ":" in line))


def check_is_here(pid: int, container: str) -> None:
    """Check that a process of this host is a container's.

    :raises UnobservableError: if not: the engine is on another host, or in a virtual machine.
    """
    if not is_process_of(pid, container):
        raise UnobservableError("its processes are not on this host, or cannot be seen from here")


class _View:
    """A container as it is seen from outside, while its folders are open."""

    def __init__(self, pid: int, opened: ExitStack) -> None:
        self._pid = pid
        self.mountinfo = read(b"/proc/%d/mountinfo" % pid)
        self._mounts = mounts_of(self.mountinfo)
        self._points = {each.point: each for each in self._mounts}
        self._root = opened.enter_context(held(os.open(b"/proc/%d/root" % pid, _FOLDER)))
        if (proc := self._points.get(b"/proc")) is None or proc.kind != b"proc":
            raise ContainerError("it has no /proc of its own")
        proc_folder = os.open(b"proc", _FOLDER | os.O_NOFOLLOW, dir_fd=self._root)
        self.proc = opened.enter_context(held(proc_folder))
        self._budget = Budget()

    def check_alone(self) -> None:
        """Check that nothing runs but the first process, and what waits beside it.

        :raises ContainerError: if something does.
        """
        processes_of(self._pid, self.proc)

    def kill_shell(self) -> None:
        """Kill the shell that the first process has started, which waits for commands.

        :raises ContainerError: if it does not only wait for them, or others run too.
        """
        try:
            first, shell = processes_of(self._pid, self.proc)
            if shell is None:
                raise ContainerError("its shell has ended")
            kill_at_rest(shell, first)
        except (OSError, ValueError, KeyError, IndexError) as error:
            raise ContainerError(f"its shell cannot be ended ({type(error).__name__}: {error})") from error

    def processes(self, *, renewed: bool) -> dict[str, str]:
        """Return all that is told of the first process, and of what waits beside it."""
        give_up_s = time.monotonic() + _GONE_S
        while True:
            try:
                return self._processes(renewed=renewed)
            except (FileNotFoundError, ProcessLookupError):  # noqa: PERF203 -- it is tried again
                # What waits may just be about to start, as where the image cannot run the shell.
                if time.monotonic() >= give_up_s:
                    raise

    def _processes(self, *, renewed: bool) -> dict[str, str]:
        first, second = processes_of(self._pid, self.proc)
        of_first = facts_of(first, is_new=False)
        told = {f"{name} of process {first.inside}": value for name, value in of_first}
        # A shell or program that is a script has another one's name before its own.
        waiting = (SHELL,) if renewed else (KEEP_ALIVE, KEEP_TOOL)
        if second is None or not read(b"/proc/%d/cmdline" % second.pid).endswith(
            tuple(map(_ending, waiting))
        ):
            raise ProcessLookupError("none waits")
        wait_for_rest(second, reads=renewed)
        of_second = facts_of(second, is_new=renewed)
        return told | {f"{name} of the process that waits": value for name, value in of_second}

    def scratch_folders(self, paths: Sequence[str]) -> Iterator[tuple[str, str]]:
        """Empty the scratch folders, and yield what can be seen of themselves."""
        for path in paths:
            place = os.fsencode(os.path.normpath(path))
            with self._open(place) as opened:
                self._check_is_tmpfs(opened.status.st_dev, place)
                with held(opened.readable()) as folder:
                    empty_folder(folder, self._budget)
                    touch(folder)
                    found = os.fstat(folder)
                    told = [
                        f"{found.st_mode:o} {found.st_uid}:{found.st_gid} {found.st_nlink}",
                        *attributes(folder, b"."),
                        _flags(folder),
                    ]
            yield f"scratch folder {shown(place)}", " ".join(told)

    def _open(self, place: bytes) -> Opened:
        return open_beneath(f"/proc/{self._pid}/root", os.fsdecode(place.lstrip(b"/")))

    def _check_is_tmpfs(self, device: int, place: bytes) -> None:
        here = b"%d:%d" % (os.major(device), os.minor(device))
        mount = self._points.get(place)
        if mount is None or (mount.kind, mount.device) != (b"tmpfs", here):
            raise ContainerError(f"its scratch folder {shown(place)} is another one than it was")

    def memory(self) -> Iterator[tuple[str, str]]:
        """Yield the System V objects; message queues of the other kind are files."""
        if not any(each.kind == b"mqueue" for each in self._mounts):
            raise ContainerError("its message queues cannot be seen")

        def look() -> str:
            return b"".join(read(b"/proc/sysvipc/" + each) for each in (b"msg", b"sem", b"shm")).decode()

        yield SHARED_MEMORY, in_ipc_namespace(self._pid, look)

    def sockets(self) -> dict[str, str]:
        net = b"/proc/%d/net/" % self._pid
        # A kernel may be without the younger protocol.
        there = os.listdir(net)

        def text(*names: bytes) -> str:
            return b"".join(map(read, names)).decode("ascii")

        def tcp() -> str:
            return text(*(net + each for each in (b"tcp", b"tcp6") if each in there)) + _LOCAL_PORTS

        names = (b"sockstat", b"sockstat6", b"packet")
        return sockets(text(*(net + each for each in names if each in there)), tcp)

    def kernel_files(self) -> Iterator[tuple[str, str]]:
        """Yield mode and owner of the kernel's files that can be changed: all of /proc but for processes.

        /proc/net is the network's, told for each process.
        """

        def is_told_elsewhere(path: bytes) -> bool:
            # What waits may just be starting anew: a process is known by its name, not by an earlier list.
            return path in self._points or path.removeprefix(b"/proc/").isdigit()

        for path, value in modes_below(self.proc, b"/proc", is_told_elsewhere):
            yield f"mode and owner of {shown(path)}", value
        with self._open(b"/proc/1/net") as net, held(net.readable()) as folder:
            for path, value in modes_below(folder, b"/proc/net"):
                yield f"mode and owner of {shown(path)}", value

    def files(self, scratch: Sequence[str]) -> Iterator[tuple[str, str]]:
        """Yield the files that differ from the image's, and all that is on mounts that can be written."""
        yield from self._own_files()
        apart = {b"/", b"/proc", *(os.fsencode(os.path.normpath(each)) for each in scratch)}
        for point in sorted(self._points):
            mount = self._points[point]
            if not mount.writable or point in apart:
                continue
            if mount.kind in _KERNELS:
                raise ContainerError(f"it can write to {shown(point)}")
            folder, _, name = point.rpartition(b"/")
            with self._open(folder) as parent:
                for path, found, told in entries_below(
                    parent.fd, name, point, self._budget, mounts=self._points
                ):
                    yield f"{_word(found)} {shown(path)}", told

    def _own_files(self) -> Iterator[tuple[str, str]]:
        """Yield what is in the container's own layer; without one, all of its files."""
        mount = self._points[b"/"]
        upper = mount.option(b"upperdir") if mount.kind == b"overlay" else b""
        lowers = [each for each in mount.option(b"lowerdir").split(b":") if each.startswith(b"/")]
        if upper.startswith(b"/") and self._is_upper(upper):
            with held(os.open(upper, _FOLDER | os.O_NOFOLLOW)) as layer:
                for path, found, told in entries_below(layer, b".", b"/", self._budget):
                    in_image = any(os.path.lexists(each + path) for each in lowers)
                    how = "removed" if _is_whiteout(found) else "changed" if in_image else "added"
                    yield f"{_word(found)} {shown(path)}", f"{how}|{told}"
            return
        for path, found, told in entries_below(
            self._root, b".", b"/", self._budget, mounts=self._points, closely=False
        ):
            yield f"{_word(found)} {shown(path)}", told

    def _is_upper(self, upper: bytes) -> bool:
        """Tell whether a folder of this host is the container's own layer: its root folder has its times."""
        try:
            there = os.lstat(upper)
        except OSError:
            return False
        here = os.fstat(self._root)
        return _identity(here) == _identity(there)


def touch(folder: int) -> None:
    """Set the times of an open folder, as somebody may have done; a new one has those of its creation."""
    os.utime(folder)


def _identity(found: os.stat_result) -> tuple[int, ...]:
    return (found.st_mode, found.st_uid, found.st_gid, found.st_mtime_ns, found.st_ctime_ns)


def _is_whiteout(found: os.stat_result) -> bool:
    return stat.S_ISCHR(found.st_mode) and found.st_rdev == 0


def _word(found: os.stat_result) -> str:
    return "folder" if stat.S_ISDIR(found.st_mode) else "file"


def _flags(folder: int) -> str:
    """Return the flags of a folder that chattr(1) sets."""
    told = array.array("l", [0])
    try:
        fcntl.ioctl(folder, _GETFLAGS, told)
    except OSError:
        return ""
    return f"{told[0]:x}"
