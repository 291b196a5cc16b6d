"""What can be seen of a container at rest: if it is the same twice, nothing was left behind in between.

A script in the container tells of its processes, mounts, sockets, shared memory and folders, and of the
content of what is mounted. What differs from the image's files the engine tells. Folders are told with the
time of their last change, as the engine does not tell of one whose owner alone, or whose content for a
while, was another.

What runs on is no state: counters (of processes, of network and memory use), and ports of connections that
were closed a moment ago.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
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

# Arguments: scratch folders, which are emptied first. Builtins where possible: each program costs a
# millisecond. Sections begin with NUL and their name. Of the processes that are listed our own script is one.
_SCRIPT = r"""
cd / || exit 91
for tool in find stat cat rm; do command -v $tool >/dev/null || exit 90; done
form='%n|%F %u:%g %a %t:%T %s %z'
for folder do rm -rf -- "$folder"/* "$folder"/.[!.]* "$folder"/..?* 2>/dev/null; done
printf '\0scratch\n'
scratch=:
for folder do
  stat -c '%n|%u:%g %a' "$folder" || exit 91
  for left in "$folder"/* "$folder"/.[!.]* "$folder"/..?*; do
    if [ -e "$left" ] || [ -L "$left" ]; then echo "$left|left"; fi
  done
  scratch=$scratch$folder:
done
printf '\0processes\n'
set --
for process in /proc/[0-9]*; do
  read -r line <"$process/stat" || continue
  printf '%s\n' "$line"
  set -- "$@" "$process/status" "$process/limits" "$process/oom_score_adj"
done 2>/dev/null
printf '\0self\n%s\n' $$
printf '\0attributes\n'
cat "$@" 2>/dev/null
printf '\0ipc\n'
cat /proc/sysvipc/msg /proc/sysvipc/sem /proc/sysvipc/shm 2>/dev/null
printf '\0ports\n'
read -r range </proc/sys/net/ipv4/ip_local_port_range && printf '%s\n' "$range"
printf '\0sockets\n'
for file in tcp tcp6 udp udp6 udplite udplite6 raw raw6 icmp icmp6 packet unix; do
  [ -r /proc/net/$file ] || continue
  while read -r line; do printf '%s %s\n' $file "$line"; done </proc/net/$file
done
printf '\0mounts\n'
cat /proc/mounts || exit 91
printf '\0folders\n'
find / -xdev -type d -exec stat -c "$form" {} + || exit 91
printf '\0mounted\n'
set --
files=
while read -r device point type options rest; do
  case $type in proc|sysfs|cgroup|cgroup2|devpts) continue ;; esac
  case ,$options, in *,ro,*) continue ;; esac
  case $scratch in *:$point:*) continue ;; esac
  case $point in /|/proc/*|/sys/*) continue ;; *[\\\ ]*) exit 91 ;; esac
  if [ -d "$point" ]; then set -- "$@" "$point"
  elif [ -f "$point" ]; then files="$files $point"
  fi
done </proc/mounts
[ $# = 0 ] || find "$@" -xdev -exec stat -c "$form" {} + || exit 91
if [ -n "$files" ]; then
  stat -c "$form" $files || exit 91
  for file in $files; do
    printf '\0content %s\n' "$file"
    while IFS= read -r line || [ -n "$line" ]; do printf '%s\n' "$line"; done <"$file" || exit 91
  done
fi
printf '\0end\n'
"""


def observe(
    client: APIClient, container: str, run: Run, *, scratch: Iterable[str] = (), thorough: bool
) -> dict[str, str]:
    """Return what can be seen of a container at rest: the name of each thing, and what it is like.

    :param run: runs a command in the container, as ``Engine.exec`` does.
    :param scratch: absolute paths of tmpfs mounts, which are emptied first.
    :param thorough: with what the container's files differ in from its image's, and what it has printed:
        each of these is something that was left. It costs two calls of the engine.
    :raises ContainerError: if it cannot be told, as in an image without a shell.
    """
    seen = _inside(container, run, tuple(scratch))
    if thorough:
        seen |= _of_engine(client, container, seen)
    return seen


def _inside(container: str, run: Run, scratch: tuple[str, ...]) -> dict[str, str]:
    sections = _sections(container, run, scratch, None)
    if _user(sections) != "0":
        # Who is not root may not look everywhere.
        sections = _sections(container, run, scratch, "0")
    return {
        **_processes(sections),
        **dict(_named("scratch folder", sections["scratch"])),
        **_lines("shared memory, semaphores or message queues", sections["ipc"]),
        **_sockets(sections["sockets"], sections["ports"]),
        **_lines("mounts", sections["mounts"]),
        **_folders(sections["folders"], sections["mounts"]),
        **dict(_named("", sections["mounted"])),
        **{name: text for name, text in sections.items() if name.startswith("content ")},
    }


def _sections(container: str, run: Run, scratch: tuple[str, ...], user: str | None) -> dict[str, str]:
    """Return what the script tells, by section."""
    told = bytearray()

    def on_output(stream: Literal["stdout", "stderr"], data: bytes) -> None:
        if stream == "stdout" and len(told) <= _OUTPUT_BYTES:
            told.extend(data)

    outcome = run(
        container,
        ExecSpec(argv=("sh", "-c", _SCRIPT, "sh", *scratch), workdir="/", user=user),
        on_output,
        time.monotonic() + OBSERVING_S,
    )
    if outcome.exit_code == _NO_TOOLS or not outcome.started:
        raise ContainerError("its image has not all of sh, find, stat, cat and rm, with which to look at it")
    text = told.decode("utf-8", "surrogateescape")
    sections = dict(part.split("\n", 1) for part in text.split("\0")[1:] if "\n" in part)
    if outcome.exit_code != 0 or "end" not in sections:
        raise ContainerError("it cannot be looked at as a whole")
    return sections


def _user(sections: Mapping[str, str]) -> str:
    """Return the user id under which the script ran."""
    own = _attributes(sections["attributes"]).get(sections["self"].strip(), {})
    return own.get("Uid", "?").split()[0]


def _processes(sections: Mapping[str, str]) -> dict[str, str]:
    """Return the processes but for our script, which its ancestors belong to, and what they were given.

    Those without a parent in the container, but for the first one, are shells of our exec sessions: what they
    were given is what the next step inherits.
    """
    stats = {fields[0]: fields for fields in map(_stat_fields, sections["processes"].splitlines()) if fields}
    attributes = _attributes(sections["attributes"])
    script, pid = set(), sections["self"].strip()
    while pid in stats and stats[pid][3] != "0":
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
_STATUS = re.compile(
    r"^(Umask|Uid|Gid|Groups|SigBlk|SigIgn|SigCgt|SigPnd|ShdPnd|Cap\w+|NoNewPrivs|Seccomp):\s*(.*)$"
)


def _attributes(text: str) -> dict[str, dict[str, str]]:
    """Return what each process was given and hands down, by its pid: status, limits, oom_score_adj."""
    found: dict[str, dict[str, str]] = {}
    own: dict[str, str] = {}
    for line in text.splitlines():
        if line.startswith("Name:"):
            own = {}
        elif line.startswith("Pid:"):
            found[line.split()[1]] = own
        elif match := _STATUS.match(line):
            own[match[1]] = match[2].strip()
        elif line.startswith("Max "):
            own[line[:26].strip().replace(" ", "-")] = " ".join(line[26:].split())
        elif re.fullmatch(r"-?\d+", line):
            own["oom_score_adj"] = line
    return found


def _named(kind: str, text: str) -> Iterator[tuple[str, str]]:
    for line in text.splitlines():
        name, _, value = line.rpartition("|")
        yield f"{kind} {name}".strip(), value


def _lines(kind: str, text: str) -> dict[str, str]:
    return {kind: text}


def _sockets(text: str, ports: str) -> dict[str, str]:
    """Return the sockets, but for closed connections whose port was one of those that the kernel chooses.

    The engine's own name server has two in each container.
    """
    low, high = (int(each) for each in (ports.split() or ["0", "-1"])[:2])
    seen: dict[str, str] = {}
    for line in text.splitlines():
        family, *fields = line.split()
        if not fields or not re.match(r"\d+:|[0-9a-f]{8,}", fields[0], re.IGNORECASE):
            continue
        if family in {"unix", "packet"}:
            seen[f"{family} socket {' '.join(fields[-2:])}"] = ""
            continue
        state, port = fields[3], int(fields[1].rpartition(":")[2], 16)
        closed = family.startswith("tcp") and state == "06"
        if not (closed and low <= port <= high):
            seen[f"{family} socket on port {port}"] = f"{fields[1]} {state}"
    return seen


def _folders(text: str, mounts: str) -> dict[str, str]:
    """Return the folders of the container's own file system; what is mounted on one is told on its own."""
    points = _mount_points(mounts)
    folders = {name: value for name, value in _named("", text) if name not in points}
    return {f"folder {name}": value for name, value in folders.items()}


def _mount_points(mounts: str) -> set[str]:
    return {fields[1] for fields in map(str.split, mounts.splitlines()) if len(fields) > 1} - {"/"}


def _of_engine(client: APIClient, container: str, seen: Mapping[str, str]) -> dict[str, str]:
    """Return which files differ from the image's, and whether the container has printed something."""
    with plain_errors("look at what a container has changed", ContainerError):
        changes = client.diff(container) or ()
        printed = client.logs(container, tail=1)
    points = _mount_points(seen["mounts"])
    left = {
        f"file {change['Path']}": _KINDS.get(change["Kind"], "changed")
        for change in changes
        # Folders are told with their times.
        if change["Path"] not in points and f"folder {change['Path']}" not in seen
    }
    if printed:
        left["output of the container's main process"] = "added"
    return left
