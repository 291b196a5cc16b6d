"""Processes of a container, looked at from outside: everything that the kernel tells of them is read.

What may differ is listed here, all else is compared: see docs/design/proof.md. Everything is read as bytes,
and lines end at a newline alone: the name of a process may hold any other letter.
"""

from __future__ import annotations

import array
import ctypes
import fcntl
import os
import platform
import re
import signal
import stat
import termios
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass

from pytest_clnrm.engine.docker.observed_files import shown
from pytest_clnrm.errors import ContainerError
from pytest_clnrm.util.beneath import held

# Of /proc/PID. Counters of time, memory and calls, and where in the kernel it waits; what is only written to;
# addresses, which the kernel chooses by chance for each process; an old name of another one. Folders and
# links are looked at by themselves.
_MAY_DIFFER = frozenset(
    b"arch_status auxv autogroup clear_refs cwd exe fd fdinfo io ksm_merging_pages ksm_stat latency "
    b"map_files maps mem mountinfo mounts mountstats net ns numa_maps oom_adj oom_score pagemap root sched "
    b"schedstat seccomp_cache smaps smaps_rollup stack stat statm status syscall task wchan".split()
)
# Of its status: counters, and what names it.
_STATUS_MAY_DIFFER = frozenset(
    b"FDSize HugetlbPages Mems_allowed NSpgid NSpid NSsid NStgid Ngid PPid Pid SigQ State Tgid "
    b"nonvoluntary_ctxt_switches voluntary_ctxt_switches".split()
)
_MEMORY = (b"Rss", b"Vm")
# Of its stat, counted behind the name: state, terminal and its foreground group, nice, threads, the signal
# that tells of its end, real-time priority, policy.
_STAT = {b"state": 0, b"tty": 4, b"tpgid": 5, b"nice": 16, b"threads": 17, b"signal": 35}
_STAT |= {b"rt_priority": 37, b"policy": 38}
_START = 19
_LINKS = (b"cwd", b"root", b"exe")
_WAITS = frozenset({b"S", b"R", b"D"})

# Numbers of system calls without a name in Python: those of x86-64, and of all younger architectures.
_SCHED_GETATTR, _IOPRIO_GET = (315, 252) if platform.machine() == "x86_64" else (275, 31)
_SCHED_ATTR_BYTES = 56
_WHO_PROCESS = 1
_NEWIPC = 0x08000000
_GETPIPE_SZ = 1032
_PIECE_BYTES = 1 << 16
_READING = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC
_STOP_S = 1.0
_REST_S = 1.0
_POLL_S = 0.0005
_STOP_POLL_S = 0.0001
_ZOMBIES_S = 0.1

# Of /proc/PID/smaps: the first line of a mapping, and one of those that follow it.
_EXECUTABLE = re.compile(
    rb"^[0-9a-f]+-[0-9a-f]+ (\S*x\S*) \S+ \S+ \S+(.*)\n(?:[A-Z].*\n)*?Anonymous: +(\d+) ", re.MULTILINE
)

_kinds: dict[str, int] = {}

_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(slots=True)
class Process:
    """A process of a container.

    :param pid: this host's.
    :param inside: the container's own number of it.
    """

    pid: int
    inside: int
    name: str


def read(path: bytes) -> bytes:
    """Return the content of a file of the kernel's.

    :raises OSError: if it cannot be read.
    """
    # Called a hundred times for each look: no more around it than is needed.
    file = os.open(path, _READING)
    try:
        found = os.read(file, _PIECE_BYTES)
        if not found:
            return found
        while piece := os.read(file, _PIECE_BYTES):
            found += piece
        return found
    finally:
        os.close(file)


def name_of(stat_line: bytes) -> bytes:
    """Return the name in a /proc/PID/stat; see proc(5). It is in brackets, and may hold brackets too."""
    return stat_line[stat_line.index(b"(") + 1 : stat_line.rindex(b")")]


def stat_fields(stat_line: bytes) -> list[bytes]:
    """Return the fields behind the name in a /proc/PID/stat."""
    return stat_line[stat_line.rindex(b")") + 1 :].split()


def status_fields(status: bytes) -> dict[bytes, bytes]:
    """Return the lines of a /proc/PID/status, where a newline of the name is written as two letters."""
    pairs = [line.partition(b":") for line in status.split(b"\n") if line]
    return {key: value.strip() for key, _, value in pairs}


def processes_of(first: int, proc: int) -> tuple[Process, Process | None]:
    """Return a container's first process, and the one that this has started, if there is one.

    :param first: the first one's number on this host.
    :param proc: the container's own /proc, open.
    :raises ContainerError: if there are more.
    """
    give_up_s = time.monotonic() + _ZOMBIES_S
    while True:
        inside = sorted(int(each) for each in os.listdir(proc) if each.isdigit())
        children = [int(each) for each in read(b"/proc/%d/task/%d/children" % (first, first)).split()]
        expected = 1 + len(children)
        if len(inside) == expected <= 2:  # noqa: PLR2004 -- the first one, and its child
            found = [_process(pid) for pid in (first, *children)]
            if [each.inside for each in found] == inside:
                return found[0], found[1] if children else None
        extra = _last(proc, inside)
        if extra is None or not extra[1]:
            what = f"process {extra[0]}" if extra else "processes that come and go"
            raise ContainerError(f"left behind: {what}")
        if time.monotonic() >= give_up_s:
            raise ContainerError(f"left behind: process {extra[0]}, which has ended")


def _process(pid: int) -> Process:
    # No line before it begins so: a newline in the name is written as two letters.
    numbers = read(b"/proc/%d/status" % pid).partition(b"\nNSpid:")[2].partition(b"\n")[0]
    return Process(pid, int(numbers.split()[-1]), shown(name_of(read(b"/proc/%d/stat" % pid))))


def _last(proc: int, inside: list[int]) -> tuple[str, bool] | None:
    """Return the youngest process in words, and whether it has ended but is still listed."""
    for pid in reversed(inside[1:]):
        with suppress(OSError):
            line = read(b"/proc/self/fd/%d/%d/stat" % (proc, pid))
            return f"{shown(name_of(line))}, pid {pid}", stat_fields(line)[0] in {b"Z", b"X"}
    return None


def facts_of(process: Process, *, is_new: bool) -> Iterator[tuple[str, str]]:
    """Yield all that is told of a process at rest: the name of each thing, and its value.

    :param is_new: it is another one than the last time, in its place: its numbers may differ.
    :raises OSError: if it has gone, or this process may not look at it.
    """
    folder = b"/proc/%d/" % process.pid
    for key, value in status_fields(read(folder + b"status")).items():
        if key not in _STATUS_MAY_DIFFER and not key.startswith(_MEMORY):
            yield shown(key), _text(value)
    fields = stat_fields(read(folder + b"stat"))
    for key, at in _STAT.items():
        value = fields[at]
        yield key.decode(), _text(b"S" if key == b"state" and value in _WAITS else value)
    if not is_new:
        yield "pid", f"{process.pid} {fields[_START].decode()}"
    for each in sorted(os.listdir(folder)):
        if each not in _MAY_DIFFER:
            yield from _tree(folder + each, shown(each))
    yield "autogroup", _text(_autogroup(folder))
    for each in _LINKS:
        yield shown(each), _text(_link(folder + each))
    for each in sorted(os.listdir(folder + b"ns")):
        yield f"namespace {shown(each)}", _text(_link(folder + b"ns/" + each))
    yield from _open_files(folder)
    yield from _mappings(read(folder + b"smaps"))
    yield "processors", str(sorted(os.sched_getaffinity(process.pid)))
    yield "scheduling", _scheduling(process.pid)
    yield "priority of input and output", str(_call(_IOPRIO_GET, _WHO_PROCESS, process.pid))


def _text(value: bytes) -> str:
    """Return a value, which is compared and not shown, as a text of its own."""
    return value.decode("latin-1")


def _content(path: bytes) -> str:
    try:
        return _text(read(path))
    except OSError as error:
        # Of what the kernel was built without, it says so.
        return f"cannot be read: {os.strerror(error.errno or 0)}"


def _tree(path: bytes, name: str) -> Iterator[tuple[str, str]]:
    """Yield what is at a path below /proc/PID: a file's content, all that is in a folder, or a link."""
    kind = _kind(path, name)
    if kind == stat.S_IFREG:
        yield name, _content(path)
    elif kind == stat.S_IFDIR:
        for each in sorted(os.listdir(path)):
            yield from _tree(path + b"/" + each, f"{name}/{shown(each)}")
    else:
        yield name, _text(_link(path))


def _kind(path: bytes, name: str) -> int:
    """Return whether something below /proc/PID is a file, folder or link, which goes by its name there."""
    kind = _kinds.get(name)
    if kind is None:
        kind = _kinds[name] = stat.S_IFMT(os.lstat(path).st_mode)
    return kind


def _link(path: bytes) -> bytes:
    try:
        return os.readlink(path)
    except FileNotFoundError:
        return b""


def _autogroup(folder: bytes) -> bytes:
    """Return the nice value of its autogroup, whose number is another one for each session."""
    try:
        return read(folder + b"autogroup").partition(b" ")[2]
    except FileNotFoundError:
        return b""


def _open_files(folder: bytes) -> Iterator[tuple[str, str]]:
    """Yield what is open, how it was opened, who may open it, and the size of pipes."""
    for each in sorted(os.listdir(folder + b"fd"), key=int):
        path = folder + b"fd/" + each
        target, found = os.readlink(path), os.stat(path)
        told = [_text(target), _text(read(folder + b"fdinfo/" + each))]
        told.append(f"{found.st_mode:o} {found.st_uid}:{found.st_gid}")
        if stat.S_ISFIFO(found.st_mode):
            with _opened(path) as pipe:
                told.append(str(fcntl.fcntl(pipe, _GETPIPE_SZ)))
        yield f"open file {each.decode()}", " ".join(told)


def _opened(path: bytes) -> AbstractContextManager[int]:
    """Open a file for reading, a pipe without waiting for a writer."""
    return held(os.open(path, _READING))


def _mappings(smaps: bytes) -> Iterator[tuple[str, str]]:
    """Yield what is mapped and may be executed, and whether somebody has written to it.

    Written code has pages of its own in place of the file's. What else a process has in its memory differs
    from one moment to the next, and is not compared.
    """
    mapped = {
        f"{_text(b' '.join((mode, *name.split())))} {_text(written)} kB written"
        for mode, name, written in _EXECUTABLE.findall(smaps)
    }
    yield "code", "\n".join(sorted(mapped))


def _scheduling(pid: int) -> str:
    """Return all that sched_getattr(2) tells."""
    told = ctypes.create_string_buffer(_SCHED_ATTR_BYTES)
    _call(_SCHED_GETATTR, pid, told, _SCHED_ATTR_BYTES, 0)
    return told.raw.hex()


def _call(number: int, *arguments: object) -> int:
    return _checked(_libc.syscall(number, *arguments))


def _checked(result: int) -> int:
    """Return what a function of the C library has returned.

    :raises OSError: if it has failed.
    """
    if result < 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
    return result


def wait_for_rest(process: Process, *, reads: bool) -> None:
    """Wait until a process waits.

    :param reads: for its standard input, in which nothing is to be read.
    :raises ContainerError: if that is not soon.
    """
    give_up_s = time.monotonic() + _REST_S
    while True:
        # The number of the call, and its arguments, of which the first is a file's number; or "running".
        call = read(b"/proc/%d/syscall" % process.pid).split()
        waits = call[1:2] == [b"0x0"] if reads else len(call) > 1
        if waits and stat_fields(read(b"/proc/%d/stat" % process.pid))[0] == b"S":
            return
        if time.monotonic() >= give_up_s:
            raise ContainerError(
                f"left behind: process {process.name}, pid {process.inside}, which does not wait"
            )
        time.sleep(_POLL_S)


def in_ipc_namespace(pid: int, look: Callable[[], str]) -> str:
    """Return what *look* returns in the namespace of a process's System V objects.

    :raises OSError: if this process may not enter it.
    """
    import threading

    found: list[str | OSError] = []

    def enter() -> None:
        # A thread of its own, which ends with that: it alone is in another namespace.
        try:
            with _opened(b"/proc/%d/ns/ipc" % pid) as namespace:
                _checked(_libc.setns(namespace, _NEWIPC))
            found.append(look())
        except OSError as error:
            found.append(error)

    thread = threading.Thread(target=enter, name="clnrm-observe", daemon=True)
    thread.start()
    thread.join()
    if isinstance(found[0], OSError):
        raise found[0]
    return found[0]


def kill_at_rest(process: Process, parent: Process) -> None:
    """Kill a process that waits for its standard input, if nothing is there that it would read next.

    It is stopped first: whatever it is about, it cannot write there itself any more.

    :raises ContainerError: if something is there.
    :raises OSError: if this process may not do that.
    """
    with held(os.pidfd_open(process.pid)) as handle:
        children = read(b"/proc/%d/task/%d/children" % (parent.pid, parent.pid)).split()
        if str(process.pid).encode() not in children:
            raise ContainerError("its shell has ended")
        wait_for_rest(process, reads=True)
        signal.pidfd_send_signal(handle, signal.SIGSTOP)
        give_up_s = time.monotonic() + _STOP_S
        while stat_fields(read(b"/proc/%d/stat" % process.pid))[0] != b"T":
            if time.monotonic() >= give_up_s:
                raise ContainerError("its shell cannot be stopped")
            # It stops once it has a processor, of which there may be no other than this one.
            time.sleep(_STOP_POLL_S)
        waiting = array.array("i", [0])
        with _opened(b"/proc/%d/fd/0" % parent.pid) as pipe:
            fcntl.ioctl(pipe, termios.FIONREAD, waiting)
        signal.pidfd_send_signal(handle, signal.SIGKILL)
        if waiting[0]:
            raise ContainerError("left behind: commands for the shell that runs its steps")
