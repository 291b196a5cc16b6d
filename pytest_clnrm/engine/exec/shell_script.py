"""What is said to a shell that runs steps, and what it tells of itself.

The shell (any POSIX one: dash, ash, bash) reads its commands from its standard input. Everything of a
step is quoted in them. The shell runs a step in a process session of its own, between two marks.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from pytest_clnrm.engine.api import ExecSpec
from pytest_clnrm.engine.exec.shell_marks import Marks

# The last word is for who lists the container's processes.
SHELL = ("sh", "-s", "pytest-clnrm")

AGAIN = b"pids=-; clnrm_rest\n"
"""Said before a step if the container's processes may be others than after the last one."""

# Of commands and input that go through the shell. More goes faster by a plain exec, as some shells read byte
# by byte; and input has to fit into a pipe, for nobody takes it back if the step does not read it.
STEP_BYTES = 64 * 1024
STDIN_BYTES = 4 * 1024

# Exit codes of a subshell that has not run its step; they count where no begin mark was printed.
_REFUSED = 1
STALE = 2

# Functions of the shell. It keeps the streams as 3 and 4, and has no stderr itself, as it must not print
# anything of its own there ("Killed"). Builtins alone, as starting a program takes a millisecond.
#
# clnrm_begin: the streams are opened anew for each step. What one sets on them, such as O_NONBLOCK, would
# else be set for the shell and all later steps, as what is inherited is the same open file.
# clnrm_accounts: users and groups, as an exec of now would find them.
# clnrm_kills: how many processes of the container were killed for memory.
# clnrm_holds: the process $1 has a stream of ours open, or does not let us look; a zombie has nothing open.
# clnrm_left: such processes came since clnrm_rest. Processes may come and go while we look, and one that has
# just been made may be about to turn its output elsewhere.
# clnrm_rest: what is looked at between steps, when nobody waits; where clnrm_left has just seen the same
# processes as before, not again.
# clnrm_current: the shell's user has the groups and the home that an exec of now would have. Files older
# than the container's devices are the image's; shells read byte by byte, so others take a millisecond.
_FUNCTIONS = r"""
exec 3>&1 4>&2 2>/dev/null
pids=-
clnrm_accounts() {
  accounts=
  for file in /etc/passwd /etc/group; do
    [ -r "$file" ] || continue
    while IFS= read -r line || [ -n "$line" ]; do accounts="$accounts$line/"; done <"$file"
    accounts="$accounts//"
  done
}
clnrm_kills() {
  kills=
  for file in /sys/fs/cgroup/memory.events /sys/fs/cgroup/memory/memory.oom_control; do
    [ -r "$file" ] || continue
    while read -r name value; do
      case $name in oom_kill) kills=$value ;; esac
    done <"$file"
    return
  done
}
clnrm_program() {
  for path; do
    [ -f "$path" ] && [ -x "$path" ] && return
  done
  return 1
}
clnrm_format() {
  IFS= read -r line <"$path" || [ -n "$line" ]
  case $line in '#!'*|?ELF*) return 0 ;; esac
  return 1
}
clnrm_holds() {
  seen=
  for fd in "$1"/fd/*; do
    [ "$fd" -ef "/proc/$$/fd/3" ] && return 0
    [ "$fd" -ef "/proc/$$/fd/4" ] && return 0
    [ -e "$fd" ] && seen=1
  done
  [ -n "$seen" ] && return 1
  read -r stat <"$1/stat" || return 1
  case ${stat##*) } in Z*|X*) return 1 ;; esac
  return 0
}
clnrm_left() {
  for round in 1 2 3 4 5; do
    set -- /proc/[0-9]*
    pids=" $* "; new=; holds=
    [ "$pids" = "$before" ] && return 1
    for process; do
      case $before in *" $process "*) continue ;; esac
      new=1
      clnrm_holds "$process" && holds=1 && break
    done
    [ -z "$new" ] && return 1
    [ -n "$holds" ] && continue
    set -- /proc/[0-9]*
    [ "$pids" = " $* " ] && return 1
  done
  return 0
}
clnrm_rest() {
  [ "$pids" = "$before" ] || { set -- /proc/[0-9]*; before=" $* "; }
  clnrm_kills; kills_before=$kills
}
clnrm_current() {
  [ /dev/null -nt /etc/passwd ] && [ /dev/null -nt /etc/group ] && return
  clnrm_accounts; [ "$accounts" = "$known_accounts" ]
}
clnrm_begin() {
  exec >/proc/self/fd/3 2>/proc/self/fd/4 3>&- 4>&-
  printf '\035%s\n' "$1"; printf '\035%s\n' "$1" >&2
}
clnrm_after() {
  oom=0; left=0
  case $1 in 137) clnrm_kills; [ "$kills" = "$kills_before" ] || oom=1 ;; esac
  clnrm_left && { left=1; clnrm_linger; }
  printf '\036%s %s %s %s\n' "$2" "$1" "$oom" "$left" >&3
  printf '\036%s\n' "$2" >&4
  [ $left = 0 ] || exit 0
  clnrm_rest
}
clnrm_linger() { :; }
"""

# Where the shell is a container's main process its end does not end the streams. So it waits itself, as long
# as an engine does after an exec, for what may still be said.
_LINGERING = r"""
clnrm_linger() {
  tenths=0
  while [ $tenths -lt 20 ]; do
    if sleep 0.1; then tenths=$((tenths + 1)); else sleep 1; tenths=$((tenths + 10)); fi
    clnrm_left || { left=0; return; }
  done
  left=2
}
"""

# The first thing said. Some busyboxes prefer their own programs to those in PATH, both in the shell and in
# env. The environment is that of an exec, before the shell added its own to it; then come the arguments of
# the program that tells it, and its own environment, without what shells add.
_SETUP = r"""
clnrm_accounts; known_accounts=$accounts; clnrm_rest
IFS=:; set -f
for name in setsid env; do
  set --
  for folder in $PATH; do set -- "$@" "$folder/$name"; done
  clnrm_program "$@" || path=
  case $name in setsid) setsid=$path ;; *) env=$path ;; esac
done
unset IFS; set +f
prefers=0
"$env" -i PATH=/dev/null/none true && prefers=1
[ "$setsid" -ef "/proc/$$/exe" ] && prefers=1
opens=0
(: >/proc/self/fd/3 2>/proc/self/fd/4) && opens=1
printf '\035%s\n' {begin} >&3
pwd -P >&3
printf '\000%s\000%s\000%s\000%s\000%s\000%s\000' "$setsid" "$env" "$prefers" "$kills" "$opens" "$$" >&3
(
unset PWD OLDPWD SHLVL
exec ${setsid:+"$setsid"} cat "/proc/{first}/environ" /proc/self/cmdline /proc/self/environ >&3
)
printf '\036%s 0 0 0\n' {end} >&3
printf '\035%s\n\036%s\n' {begin} {end} >&4
"""

# Said to another shell in the same container, of which all but its number is known.
_SETUP_AGAIN = r"""
clnrm_accounts; known_accounts=$accounts; clnrm_rest
printf '\035%s\n%s\036%s 0 0 0\n' {begin} "$$" {end} >&3
printf '\035%s\n\036%s\n' {begin} {end} >&4
"""

# What is the same for each step is said once, as shells read their commands byte by byte too.
_COMMON = r"""
clnrm_tools() {{ clnrm_program {setsid} && clnrm_program {env}; }}
clnrm_find() {{
  for path in {folders}; do
    path=$path/$1
    [ -f "$path" ] && [ -x "$path" ] && return
  done
  return 1
}}
clnrm_own() {{ [ "$path" -ef "/proc/$$/exe" ]; }}
clnrm_run() {{ exec {setsid} {env} -i {environment} "$@"; }}
clnrm_run_as_it_is() {{ unset PWD OLDPWD SHLVL; exec {setsid} "$@"; }}
"""

_STEP = r"""{{ {feed}(
clnrm_current || exit {stale}
{checks} || exit {refused}
export {exported}; clnrm_begin {begin}
{run} {argv}
){input}
clnrm_after $? {end}
}}
"""

_VARIABLE = re.compile(r"[^-=\0][^=\0]*")
# Names that no shell gives a meaning of its own.
_PLAIN_VARIABLE = re.compile(
    r"(?!BASH|COMP_|EPOCH|HIST|INSIDE_|KSH|LC_|POSIX|PROMPT_|READLINE_)[A-Z]+_[A-Z0-9_]+|TRACEPARENT"
)
# What stands for itself in a format of printf. No "-", which could begin an option.
_PLAIN = frozenset(b'abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 .,:;/_+=@\n{}[]()<>"')

# Names as the functions' own variables have: the step would get what the functions have left in them.
_LIKE_OURS = re.compile(r"(?!\w+_proxy=)[a-z_]+=")

_PERCENT = ord("%")
_BETWEEN = "/proc/self/cmdline"


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What a shell tells of itself.

    :param setsid: path of the program, "" if there is none.
    :param env: likewise.
    :param prefers_own: that ``env`` is a busybox which runs a program of its own rather than one in PATH.
    :param kills: how many processes of the container were killed for memory; None if it cannot be seen.
    :param opens: that a step may open the shell's streams anew.
    :param pid: the shell's, in the container.
    :param workdir: where an exec begins.
    :param environment: what an exec has; None if it cannot be told.
    :param is_exact: that what the shell starts has that environment too.
    """

    setsid: str
    env: str
    prefers_own: bool
    kills: int | None
    opens: bool
    pid: int
    workdir: str
    environment: Mapping[str, str] | None
    is_exact: bool = False

    @property
    def has_programs(self) -> bool:
        """Return whether the image has what such a shell needs."""
        return self.setsid.startswith("/") and self.env.startswith("/")

    @property
    def usable(self) -> bool:
        """Return whether steps may run in the shell."""
        return (
            self.has_programs
            and self.opens
            and self.kills is not None
            and bool(self.environment)
            and all(_VARIABLE.fullmatch(name) for name in self.environment or ())
            and self.workdir.startswith("/")
        )


def quote(text: str) -> str:
    """Return *text* as one word of a shell."""
    return "'" + text.replace("'", "'\\''") + "'"


def setup_text(marks: Marks, *, is_main: bool = False) -> str:
    """Return the first commands; what they print is for :func:`read_facts`.

    :param is_main: its shell belongs to the container's main process.
    """
    functions = _FUNCTIONS + _LINGERING if is_main else _FUNCTIONS
    setup = _SETUP.replace("{begin}", marks.begin).replace("{end}", marks.end)
    # What is between it and the first process may be a shell, which adds variables of its own.
    return functions + setup.replace("{first}", "1" if is_main else "$$")


def read_facts(printed: bytes) -> Facts | None:
    """Return what a shell said of itself, None if that is no answer."""
    fields = printed.decode("utf-8", "surrogateescape").split("\0")
    try:
        workdir, setsid, env, prefers, kills, opens, pid, *entries = fields
        number = int(pid)
        # The arguments of who tells it are between the two.
        at = entries.index(_BETWEEN) - 2
    except ValueError:
        return None
    theirs = entries[: max(at, 0)]
    pairs = [entry.partition("=") for entry in theirs]
    sound = at >= 0 and all(name and equals for name, equals, _ in pairs) and not entries[-1]
    return Facts(
        setsid=setsid,
        env=env,
        prefers_own=prefers == "1",
        kills=int(kills) if kills.isdigit() else None,
        opens=opens == "1",
        pid=number,
        workdir=workdir.removesuffix("\n"),
        environment={name: value for name, _, value in pairs} if sound else None,
        is_exact=sorted(theirs) == sorted(entries[at + 4 : -1]) and not any(map(_LIKE_OURS.match, theirs)),
    )


def setup_again_text(marks: Marks) -> str:
    """Return the first commands for another shell of a main process; it prints its number."""
    return _FUNCTIONS + _LINGERING + _SETUP_AGAIN.format(begin=marks.begin, end=marks.end)


def common_text(facts: Facts) -> bytes:
    """Return what is to be said once before the first step."""
    environment = facts.environment or {}
    return _COMMON.format(
        setsid=quote(facts.setsid),
        env=quote(facts.env),
        folders=" ".join(map(quote, environment.get("PATH", "").split(":"))),
        environment=_assignments(environment),
    ).encode("utf-8", "surrogateescape")


def step_text(
    facts: Facts, spec: ExecSpec, marks: Marks, variable: tuple[str, str], *, known: Collection[str] = ()
) -> bytes | None:
    """Return the commands that run a step, None if it is a plain exec's.

    :param variable: name and value of one more variable of the step's, by which its processes are found.
    :param known: programs, as argv names them, whose format needs no look.
    """
    environment = {**(facts.environment or {}), **spec.env}
    workdir = facts.workdir if spec.workdir is None else spec.workdir
    program = spec.argv[0] if spec.argv else ""
    folders = environment.get("PATH", "").split(":")
    told = (*spec.argv, *spec.env, *spec.env.values(), workdir)
    if (
        not program
        or "=" in program
        # A relative folder is searched by an exec too, but what is found there is refused.
        or ("/" not in program and not all(folder.startswith("/") for folder in folders))
        or not workdir.startswith("/")
        or not all(_VARIABLE.fullmatch(name) for name in spec.env)
        # An engine takes it for one that is not set.
        or environment.get("HOME") == ""
        or any("\0" in text or not _encodable(text) for text in told)
        or len(spec.stdin or b"") > STDIN_BYTES
    ):
        return None
    checks = [f"cd -P -- {quote(workdir)}", "clnrm_tools"]
    if "/" in program:
        checks.append(f"clnrm_program {quote(program)}")
    elif "PATH" in spec.env:
        checks.append(f"clnrm_program {' '.join(quote(f'{folder}/{program}') for folder in folders)}")
    else:
        checks.append(f"clnrm_find {quote(program)}")
    if facts.prefers_own and "/" not in program:
        # Only where its own is what an exec finds.
        checks.append("clnrm_own")
    if program not in known:
        checks.append("clnrm_format")
    mark = dict([variable])
    own = {**spec.env, **mark}
    as_it_is = facts.is_exact and all(map(_PLAIN_VARIABLE.fullmatch, own))
    text = _STEP.format(
        feed="" if spec.stdin is None else f"printf {_format(spec.stdin)} | ",
        input=" </dev/null" if spec.stdin is None else "",
        checks=" && ".join(checks),
        refused=_REFUSED,
        stale=STALE,
        exported=_assignments(own if as_it_is else mark),
        begin=marks.begin,
        end=marks.end,
        run="clnrm_run_as_it_is" if as_it_is else f"clnrm_run {_assignments(own)}",
        argv=" ".join(map(quote, spec.argv)),
    ).encode("utf-8", "surrogateescape")
    return text if len(text) <= STEP_BYTES else None


def _assignments(variables: Mapping[str, str]) -> str:
    """Return them as words of a command."""
    return " ".join(
        f"{name}={quote(value)}" if name.isidentifier() and name.isascii() else quote(f"{name}={value}")
        for name, value in variables.items()
    )


def _encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _format(data: bytes) -> str:
    """Return *data* as a format of the shell's printf."""
    # Some shells resolve escapes first: an escaped percent sign would begin a conversion.
    return (
        "'" + "".join(chr(b) if b in _PLAIN else "%%" if b == _PERCENT else f"\\{b:03o}" for b in data) + "'"
    )
