"""What can be seen of a container at rest: if it is the same twice, nothing was left behind in between.

A script in the container tells of its processes, mounts, sockets, shared memory and folders, and of the
content of what is mounted. What differs from the image's files the engine tells. Folders are told with the
time of their last change, as the engine does not tell of one whose owner alone, or whose content for a
while, was another.

In an overlay file system each change of a file that is still the image's puts a copy of it into a folder,
and so changes that. Where the engine has once told that all files are the image's, folders that have not
changed since tell that they still are. It is asked only once then: it takes it as long as all the rest.

What runs on is no state: counters (of processes, of network and memory use), and ports of connections that
were closed a moment ago.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Literal

from pytest_clnrm.engine.api import ExecSpec
from pytest_clnrm.engine.problems import plain_errors
from pytest_clnrm.errors import ContainerError

if TYPE_CHECKING:
    from docker import APIClient

    from pytest_clnrm.engine.api import ExecOutcome, OnOutput

__all__ = ["observe"]

Run = Callable[[str, ExecSpec, "OnOutput", float], "ExecOutcome"]

OBSERVING_S = 10.0
_NO_TOOLS = 90
_OUTPUT_BYTES = 16 << 20
_KINDS = {0: "changed", 1: "added", 2: "removed"}

# Arguments: how many scratch folders, these, how many mounted files, these, and find's own. Builtins where
# possible, and few looks at /proc: each program, and each line of some of its files, costs a millisecond.
# Scratch folders are emptied first. Each line of a mounted file begins with the file's number. All is said at
# once, as each piece of output costs the engine and us; sections begin with NUL and their name.
_SCRIPT = r"""
cd / || exit 91
for tool in find stat cat rm; do command -v $tool >/dev/null || exit 90; done
newline='
'
scratch=
left=$1; shift
while [ "$left" -gt 0 ]; do
  rm -rf -- "$1"/* "$1"/.[!.]* "$1"/..?* 2>/dev/null
  scratch=$scratch$(stat -c '%n|%u:%g %a' "$1")$newline || exit 91
  for file in "$1"/* "$1"/.[!.]* "$1"/..?*; do
    if [ -e "$file" ] || [ -L "$file" ]; then scratch="$scratch$file|left$newline"; fi
  done
  left=$((left - 1)); shift
done
content=
left=$1; shift
while [ "$left" -gt 0 ]; do
  while IFS= read -r line || [ -n "$line" ]; do content="$content$left|$line$newline"; done <"$1" || exit 91
  left=$((left - 1)); shift
done
seen=$(find "$@" -exec stat -c '%n|%F %u:%g %a %t:%T %s %z' {} +) || exit 91
set --
processes=
for process in /proc/[0-9]*; do
  read -r line <"$process/stat" || continue
  processes=$processes$line$newline
  set -- "$@" "$process/status" "$process/limits" "$process/oom_score_adj"
done 2>/dev/null
ipc=/proc/sysvipc
kernel=$(cat "$@" $ipc/msg $ipc/sem $ipc/shm /proc/net/sockstat /proc/net/sockstat6 /proc/mounts 2>/dev/null)
printf '\0%s\n%s\n' scratch "$scratch" content "$content" seen "$seen" processes "$processes" self $$ \
  kernel "$kernel" end .
"""
_TCP = ("cat", "/proc/net/tcp", "/proc/net/tcp6", "/proc/sys/net/ipv4/ip_local_port_range")
_TIME_WAIT = "06"
# Rows of /proc/mounts, /proc/sysvipc (a head for each kind, and many numbers for each object) and sockstat.
_MOUNT = re.compile(r"^\S+ /\S* \S+ \S+ \d+ \d+$", re.MULTILINE)
_SHARED = re.compile(r"^[ \t]+(?:key\s|-?\d+[ \t]+\d+[ \t]).*$", re.MULTILINE)
_SOCKETS = re.compile(r"^(sockets|(?:TCP|UDP|UDPLITE|RAW|FRAG)6?): (.*)$", re.MULTILINE)
_OVERLAY = "overlay / overlay "
# File systems of the kernel's, in which nothing can be left, or only something that is looked at elsewhere.
_KERNELS = frozenset({"proc", "sysfs", "cgroup", "cgroup2", "devpts"})


def observe(
    client: APIClient,
    container: str,
    run: Run,
    *,
    scratch: Iterable[str] = (),
    before: Mapping[str, str] | None = None,
    again: bool = False,
) -> dict[str, str]:
    """Return what can be seen of a container at rest: the name of each thing, and what it is like.

    :param run: runs a command in the container, as ``Engine.exec`` does.
    :param scratch: absolute paths of tmpfs mounts, which are emptied first.
    :param before: what this returned when the container was new. With it, it is also told which files differ
        from the image's: each of these was left.
    :param again: the container has been looked at before in that way, and has not changed till then.
    :raises ContainerError: if it cannot be told, as in an image without a shell.
    """
    command = partial(_output, run, container)
    mounts = before["mounts"] if before else command(("cat", "/proc/mounts"), None)
    seen = _inside(command, tuple(scratch), mounts)
    if before and not (again and seen["mounts"].startswith(_OVERLAY)):
        seen |= _files_of_engine(client, container, seen)
    return seen


def _inside(
    command: Callable[[tuple[str, ...], str | None], str], scratch: tuple[str, ...], mounts: str
) -> dict[str, str]:
    script = ("sh", "-c", _SCRIPT, "sh", *_arguments(_mounts(mounts), scratch))
    sections = _sections(command(script, None))
    given = _attributes(sections["kernel"])
    if _user(sections, given) != "0":
        # Who is not root may not look everywhere.
        sections = _sections(command(script, "0"))
        given = _attributes(sections["kernel"])
    return {
        "mounts": sections["mounts"],
        "content of mounted files": sections["content"],
        **_processes(sections, given),
        **dict(_named("scratch folder", sections["scratch"])),
        **_shared_memory(sections["kernel"]),
        **_sockets(sections["kernel"], lambda: command(_TCP, None)),
        **_files(sections["seen"], scratch),
    }


def _output(run: Run, container: str, argv: tuple[str, ...], user: str | None) -> str:
    """Return what a command prints.

    :raises ContainerError: if it fails.
    """
    told = bytearray()

    def on_output(stream: Literal["stdout", "stderr"], data: bytes) -> None:
        if stream == "stdout" and len(told) <= _OUTPUT_BYTES:
            told.extend(data)

    spec = ExecSpec(argv=argv, workdir="/", user=user)
    outcome = run(container, spec, on_output, time.monotonic() + OBSERVING_S)
    if outcome.exit_code == _NO_TOOLS or not outcome.started:
        raise ContainerError("its image has not all of sh, find, stat, cat and rm, with which to look at it")
    if outcome.exit_code != 0:
        raise ContainerError("it cannot be looked at as a whole")
    return told.decode("utf-8", "surrogateescape")


def _mounts(text: str) -> list[tuple[str, str, set[str]]]:
    """Return mount point, type and options of each mount; see fstab(5)."""
    mounts = []
    for line in text.splitlines():
        _, point, kind, options, *_ = line.split()
        mounts.append(
            (
                re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), point),
                kind,
                set(options.split(",")),
            )
        )
    return mounts


def _arguments(mounts: list[tuple[str, str, set[str]]], scratch: tuple[str, ...]) -> Iterator[str]:
    """Yield the script's arguments: scratch folders, mounted files, and what find looks at.

    Of the container's own file system that is folders; of what is mounted and can be written, everything.
    """
    writable = [
        (point, kind)
        for point, kind, options in mounts
        if kind not in _KERNELS
        and "ro" not in options
        and point not in {"/", *scratch}
        and not point.startswith(("/proc/", "/sys/"))
    ]
    # What is bound to one of these is a file.
    files = [point for point, _ in writable if point.startswith(("/etc/", "/run/."))]
    yield from (str(len(scratch)), *scratch, str(len(files)), *files)
    yield from ("/", *(point for point, _ in writable), "-xdev", "(", "-type", "d")
    for point, _ in writable:
        yield from ("-o", "-path", point, "-o", "-path", f"{point}/*")
    yield ")"


def _sections(text: str) -> dict[str, str]:
    """Return what the script tells, by section; the list of mounts is the last of what the kernel tells."""
    sections = dict(part.split("\n", 1) for part in text.split("\0")[1:] if "\n" in part)
    if "end" not in sections:
        raise ContainerError("it cannot be looked at as a whole")
    return {**sections, "mounts": "\n".join(_MOUNT.findall(sections["kernel"]))}


def _user(sections: Mapping[str, str], given: Mapping[str, Mapping[str, str]]) -> str:
    """Return the user id under which the script ran."""
    return given.get(sections["self"].strip(), {}).get("Uid", "?").split()[0]


def _processes(sections: Mapping[str, str], attributes: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    """Return the processes but for our script, which its ancestors belong to, and what they were given.

    Those without a parent in the container, but for the first one, are shells of our exec sessions: what they
    were given is what the next step inherits. So is that of a session which is the main process.
    """
    stats = {fields[0]: fields for fields in map(_stat_fields, sections["processes"].splitlines()) if fields}
    script, own = set(), sections["self"].strip()
    pid = own
    # Up to the session's shell, which leads its process session, as our script does.
    while pid in stats and stats[pid][3] != "0" and (pid == own or stats[pid][5] != pid):
        script.add(pid)
        pid = stats[pid][3]
    seen: dict[str, str] = {}
    for pid, fields in stats.items():
        given, nice = attributes.get(pid, {}), fields[18]
        if pid != "1" and fields[3] == "0":
            handed_down = {key: value for key, value in given.items() if not _NOT_HANDED_DOWN.match(key)}
            seen[f"exec session with nice {nice}, {handed_down}"] = ""
        elif pid not in script:
            state = fields[2] if fields[2] in "TtZX" else "S"
            seen[f"process {fields[1]}, pid {pid}"] = f"{state} {nice} {fields[21]} {given}"
    return seen


def _stat_fields(line: str) -> list[str]:
    """Return the fields of /proc/PID/stat; see proc(5). Its name, in brackets, may hold anything."""
    head, _, rest = line.rpartition(") ")
    pid, _, name = head.partition(" (")
    return [pid, name, *rest.split()] if rest else []


_NOT_HANDED_DOWN = re.compile("Uid|Gid|Groups|Cap|SigCgt|SigPnd|ShdPnd")
_ATTRIBUTE = re.compile(
    r"^(?:(Name|Pid|Umask|Uid|Gid|Groups|Sig(?:Blk|Ign|Cgt|Pnd)|ShdPnd|Cap\w+|NoNewPrivs|Seccomp):\s*(.*)"
    r"|(Max .{22})(.*)|(-?\d+))$",
    re.MULTILINE,
)


def _attributes(text: str) -> dict[str, dict[str, str]]:
    """Return what each process was given and hands down, by its pid: status, limits, oom_score_adj."""
    found: dict[str, dict[str, str]] = {}
    own: dict[str, str] = {}
    for name, value, limit, amounts, score in _ATTRIBUTE.findall(text):
        if name == "Name":
            own = {}
        elif name == "Pid":
            found[value] = own
        elif name:
            own[name] = value.rstrip()
        elif limit:
            own[limit.rstrip().replace(" ", "-")] = " ".join(amounts.split())
        else:
            own["oom_score_adj"] = score
    return found


def _named(kind: str, text: str) -> Iterator[tuple[str, str]]:
    for line in text.splitlines():
        name, _, value = line.rpartition("|")
        yield f"{kind} {name}".strip(), value


def _shared_memory(text: str) -> dict[str, str]:
    return {"shared memory, semaphores or message queues": "\n".join(_SHARED.findall(text))}


def _sockets(text: str, tcp: Callable[[], str]) -> dict[str, str]:
    """Return how many sockets of each kind there are, and closed connections that keep a port.

    The engine's own name server has some in each container. A closed connection of a client keeps a port that
    the kernel chose and does not choose again: that keeps nobody from anything.

    :param tcp: returns the tables of TCP sockets, which take the kernel longer than all the rest.
    """
    seen: dict[str, str] = {}
    closed = 0
    for kind, told in _SOCKETS.findall(text):
        pairs = told.split()
        numbers = dict(zip(pairs[::2], pairs[1::2], strict=True))
        closed += int(numbers.get("tw", 0))
        # The other numbers are of the whole host.
        seen[f"{kind} in use"] = numbers.get("inuse") or numbers.get("used", "")
    return {**seen, **(_closed(tcp()) if closed else {})}


def _closed(text: str) -> dict[str, str]:
    *rows, ports = text.splitlines() or ["0 0"]
    low, high = (int(each) for each in ports.split())
    found = (line.split() for line in rows)
    local = (int(fields[1].rpartition(":")[2], 16) for fields in found if fields[3] == _TIME_WAIT)
    return {f"closed connection that keeps port {port}": "" for port in local if not low <= port <= high}


def _files(text: str, scratch: tuple[str, ...]) -> dict[str, str]:
    """Return the folders of the container's own file system, and all that is in memory or mounted."""
    # Of the first two there is nothing to be seen but the kernel's own times.
    apart = {"/proc", "/sys", *scratch}
    return {
        f"{'folder' if value.startswith('directory') else 'file'} {name}": value
        for name, value in _named("", text)
        if name not in apart
    }


def _files_of_engine(client: APIClient, container: str, seen: Mapping[str, str]) -> dict[str, str]:
    """Return which files differ from the image's."""
    with plain_errors("look at what a container has changed", ContainerError):
        changes = client.diff(container) or ()
    points = {point for point, _, _ in _mounts(seen["mounts"])}
    return {
        f"file {change['Path']}": _KINDS.get(change["Kind"], "changed")
        for change in changes
        # Folders are told with their times.
        if change["Path"] not in points and f"folder {change['Path']}" not in seen
    }
