"""What a container tells of itself at rest, where it cannot be looked at from outside.

It is asked by programs of its own, so this is for scenarios that are trusted not to deceive on purpose:
:mod:`~pytest_clnrm.engine.docker.observe` is for all. A script tells of its processes, mounts, sockets,
shared memory and folders, and of the content of what is mounted. Which files differ from the image's the
engine tells, and first, as the script's programs are among them. Folders are told with the time of their
last change, as the engine does not tell of one whose owner alone, or whose content for a while, was another.

What runs on is no state: counters (of processes, of network and memory use), and ports of connections that
were closed a moment ago.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING

from pytest_clnrm.engine.api import ExecSpec
from pytest_clnrm.engine.docker.observed_sockets import sockets
from pytest_clnrm.engine.plain_errors import plain_errors
from pytest_clnrm.errors import ContainerError

if TYPE_CHECKING:
    from docker import APIClient

    from pytest_clnrm.engine.api import ExecOutcome, StreamName

Run = Callable[..., "ExecOutcome"]

OBSERVING_S = 10.0
_NO_TOOLS = 90
_OUTPUT_BYTES = 16 << 20
_KINDS = {0: "changed", 1: "added", 2: "removed"}

# Arguments: how many scratch folders, these, how many mounted files, these, and find's own. Builtins where
# possible, and few looks at /proc: each program, and each line of some of its files, costs a millisecond.
# Scratch folders are emptied first. Each line of a mounted file begins with the file's number, and of a
# process (whose name may have several) with the process's. All is said at once, as each piece of output costs
# the engine and us; sections begin with NUL and their name.
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
  told=
  while IFS= read -r line || [ -n "$line" ]; do
    told=$told${process#/proc/}'|'$line$newline
  done <"$process/stat"
  [ -n "$told" ] || continue
  processes=$processes$told
  set -- "$@" "$process/status" "$process/limits" "$process/oom_score_adj"
done 2>/dev/null
ipc=/proc/sysvipc
set -- "$@" $ipc/msg $ipc/sem $ipc/shm /proc/net/sockstat /proc/net/sockstat6 /proc/net/packet /proc/mounts
kernel=$(cat "$@" 2>/dev/null)
printf '\0%s\n%s\n' scratch "$scratch" content "$content" seen "$seen" processes "$processes" self $$ \
  kernel "$kernel" end .
"""
_TCP = ("cat", "/proc/net/tcp", "/proc/net/tcp6", "/proc/sys/net/ipv4/ip_local_port_range")
# Rows of /proc/mounts, /proc/sysvipc (a head for each kind, and many numbers for each object) and sockstat.
_MOUNT = re.compile(r"^\S+ /\S* \S+ \S+ \d+ \d+$", re.MULTILINE)
_SHARED = re.compile(r"^[ \t]+(?:key\s|-?\d+[ \t]+\d+[ \t]).*$", re.MULTILINE)
# File systems of the kernel's, in which nothing can be left, or only something that is looked at elsewhere.
_KERNELS = frozenset({"proc", "sysfs", "cgroup", "cgroup2", "devpts"})


def ask_inside(
    client: APIClient,
    container: str,
    run: Run,
    *,
    scratch: Iterable[str] = (),
    before: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """Return what a container at rest tells of itself: the name of each thing, and what it is like.

    :param run: runs a command in the container: ``Engine.exec``.
    :param scratch: absolute paths of tmpfs mounts, which are emptied first.
    :param before: what this returned when the container was new. With it, it is also told which files differ
        from the image's: each of these was left. If there is one, no more is told.
    :raises ContainerError: if it cannot be told, as in an image without a shell.
    """
    command = partial(_output, run, container)
    if before is None:
        return _inside(command, tuple(scratch), command(("cat", "/proc/mounts"), None))
    changed = _files_of_engine(client, container, before)
    return {**before, **changed} if changed else _inside(command, tuple(scratch), before["mounts"])


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
        "shared memory, semaphores or message queues": "\n".join(_SHARED.findall(sections["kernel"])),
        **sockets(sections["kernel"], lambda: command(_TCP, None)),
        **_files(sections["seen"], scratch),
    }


def _output(run: Run, container: str, argv: tuple[str, ...], user: str | None) -> str:
    """Return what a command prints.

    :raises ContainerError: if it fails.
    """
    told = bytearray()

    def on_output(stream: StreamName, data: bytes) -> None:
        if stream == "stdout" and len(told) <= _OUTPUT_BYTES:
            told.extend(data)

    spec = ExecSpec(argv=argv, workdir="/", user=user)
    outcome = run(container, spec, on_output=on_output, deadline_s=time.monotonic() + OBSERVING_S)
    if outcome.exit_code == _NO_TOOLS or not outcome.started:
        raise ContainerError("its image has not all of sh, find, stat, cat and rm, with which to look at it")
    if outcome.exit_code != 0:
        raise ContainerError("it cannot be looked at as a whole")
    return told.decode("utf-8", "surrogateescape")


def _lines(text: str) -> list[str]:
    """Return the lines that are not empty; a newline alone ends one, as names may hold anything else."""
    return [line for line in text.split("\n") if line]


def _mounts(text: str) -> list[tuple[str, str, set[str]]]:
    """Return mount point, type and options of each mount; see fstab(5)."""
    mounts = []
    for line in _lines(text):
        _, point, kind, options, *_ = line.split()
        plain = re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), point)
        mounts.append((plain, kind, set(options.split(","))))
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

    Those without a parent in the container, but for the first one, are shells that run commands: what they
    were given is what the next step inherits. So is that of a shell which is the main process.
    """
    texts: dict[str, str] = {}
    for line in _lines(sections["processes"]):
        pid, _, text = line.partition("|")
        texts[pid] = f"{texts[pid]}\n{text}" if pid in texts else text
    stats = {fields[0]: fields for fields in map(_stat_fields, texts.values())}
    script, own = set(), sections["self"].strip()
    pid = own
    # Up to our shell, which leads its process session, as our script does.
    while pid in stats and stats[pid][3] != "0" and (pid == own or stats[pid][5] != pid):
        script.add(pid)
        pid = stats[pid][3]
    seen: dict[str, str] = {}
    for pid, fields in stats.items():
        given, nice = attributes.get(pid, {}), fields[18]
        if pid != "1" and fields[3] == "0":
            handed_down = {key: value for key, value in given.items() if not _NOT_HANDED_DOWN.match(key)}
            seen[f"shell of ours with nice {nice}, {handed_down}"] = ""
        elif pid not in script:
            state = fields[2] if fields[2] in "TtZX" else "S"
            seen[f"process {fields[1]}, pid {pid}"] = f"{state} {nice} {fields[21]} {given}"
    return seen


def _stat_fields(line: str) -> list[str]:
    """Return the fields of /proc/PID/stat; see proc(5). Its name, in brackets, may hold anything."""
    head, _, rest = line.rpartition(") ")
    pid, _, name = head.partition(" (")
    return [pid, name, *rest.split()]


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
    for line in _lines(text):
        name, bar, value = line.rpartition("|")
        if not (bar and name.startswith("/")):
            raise ContainerError("it has a file whose name cannot be told")
        yield f"{kind} {name}".strip(), value


def _files(text: str, scratch: tuple[str, ...]) -> dict[str, str]:
    """Return the folders of the container's own file system, and all that is in memory or mounted."""
    # Of the first two there is nothing to be seen but the kernel's own times.
    apart = {"/proc", "/sys", *scratch}
    return {
        f"{'folder' if value.startswith('directory') else 'file'} {name}": value
        for name, value in _named("", text)
        if name not in apart
    }


def _files_of_engine(client: APIClient, container: str, before: Mapping[str, str]) -> dict[str, str]:
    """Return which files differ from the image's."""
    with plain_errors("look at what a container has changed", ContainerError):
        changes = client.diff(container) or ()
    points = {point for point, _, _ in _mounts(before["mounts"])}
    return {
        f"file {change['Path']}": _KINDS.get(change["Kind"], "changed")
        for change in changes
        # Folders are told with their times.
        if change["Path"] not in points and f"folder {change['Path']}" not in before
    }
