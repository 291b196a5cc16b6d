"""Ending an exec's processes at its deadline, and telling why an exec ended with 137.

Neither Docker nor Podman can end an exec: closing its stream leaves the command running. So each command
carries a mark in its environment, by which a second exec finds it from inside the container.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from pytest_clnrm.engine.api import ExecSpec
from pytest_clnrm.engine.exec.calls import GoneError, run_quietly, says_not_found
from pytest_clnrm.engine.exec.streams import streaming
from pytest_clnrm.engine.plain_errors import plain_errors
from pytest_clnrm.errors import ContainerError

if TYPE_CHECKING:
    from docker import APIClient

MARK = "CLNRM_EXEC_ID"

# Ending processes is a matter of milliseconds, starting the exec that does it of a tenth of a second.
_END_S = 10.0
_TRIES = 20
_PAUSE_S = 0.05
# How long the engine's events are waited for after an exit code of 137: they come some milliseconds after it.
_WATCH_S = 0.3
_ENDED = frozenset({"die", "died", "destroy", "remove"})
_LEFT = 3

# $1 is the mark; more arguments are shells, and process sessions found before. Kills each process that
# carries the mark or belongs to the session of one that does (also those that cleared their environment),
# shells and their children, again while new ones appear. Prints the sessions of what is left and exits with 3
# where it may not kill: then root tries with these. A zombie needs no kill. Nothing but builtins, as images
# may have nothing but a shell; every shell's `read` leaves out the zero bytes between variables.
_END_SCRIPT = r"""
mark=$1; shift; shells=" $* "; sessions=$shells; round=0
fields() { # sets state, parent and session of the process $1
  read -r stat 2>/dev/null < "/proc/$1/stat" || return 1
  set -- ${stat##*) }; state=$1; parent=$2; session=$4
}
is_of_shell() { # the process $1, of which the fields are set
  case "$shells" in *" $1 "*|*" $parent "*) return 0 ;; esac
  return 1
}
fields 1 && own=" 0 $session " || own=" 0 "
carries_mark() { # the process $1
  while IFS= read -r line || [ -n "$line" ]; do
    case "$line" in *"$mark"*) return 0 ;; esac
  done 2>/dev/null < "/proc/$1/environ"
  return 1
}
while [ $round -lt 20 ]; do
  round=$((round + 1)); left=
  for folder in /proc/[0-9]*; do
    carries_mark "${folder#/proc/}" || continue
    fields "${folder#/proc/}" || continue
    case "$own$sessions" in *" $session "*) ;; *) sessions="$sessions$session " ;; esac
    [ "$state" = Z ] || left="$left ${folder#/proc/}"
  done
  for folder in /proc/[0-9]*; do
    fields "${folder#/proc/}" || continue
    [ "$state" = Z ] && continue
    case "$sessions" in
      *" $session "*) left="$left ${folder#/proc/}" ;;
      *) is_of_shell "${folder#/proc/}" && left="$left ${folder#/proc/}" ;;
    esac
  done
  [ -z "$left" ] && exit 0
  kill -9 $left 2>/dev/null
done
echo $sessions
exit 3
"""


def end_processes(
    client: APIClient, container: str, user: str | None, mark: str, shells: Sequence[int] = ()
) -> bool:
    """End all processes of the exec that carries *mark*; return False if some may be left.

    :param shells: processes to be ended with it, their children and what is in their process sessions.

    The environment of a process can only be read by its own user, so the search runs as that one; processes
    that changed their user can only be ended by root, by the session that they were found in.
    """
    found = [str(each) for each in shells]
    deadline_s = time.monotonic() + _END_S
    for who in (user, "0"):
        spec = ExecSpec(argv=("sh", "-c", _END_SCRIPT, "sh", mark, *found), user=who)
        try:
            exit_code, printed = _run_though_full(client, container, spec, deadline_s)
        except GoneError:
            return True
        if exit_code == 0:
            return True
        found = printed.split()
        if exit_code != _LEFT or not all(each.isdigit() for each in found):
            return False
    return False


def _run_though_full(
    client: APIClient, container: str, spec: ExecSpec, deadline_s: float
) -> tuple[int | None, str]:
    """Run our script; again where it could not start, as in a container with all processes it may have."""
    for _ in range(_TRIES):
        exit_code, printed = run_quietly(client, container, spec, deadline_s=deadline_s)
        if exit_code in {0, _LEFT, None} or says_not_found(printed):
            break
        time.sleep(_PAUSE_S)
    return exit_code, printed


def watch_ending(client: APIClient, container: str, exec_id: str) -> tuple[bool, bool]:
    """Tell what happened to the container since an exec began.

    Read from the engine's events, which it keeps for a while (Docker: the last 256), without any clock of
    ours: that of the engine's host may differ.

    :return: (a process of it was killed for memory, the container itself ended).
    """
    oom = ended = False
    with (
        plain_errors("read the engine's events", ContainerError),
        streaming(client.events(since=1, filters={"container": container}, decode=True)) as events,
    ):
        timer = threading.Timer(_WATCH_S, events.close)
        timer.daemon = True
        timer.start()
        try:
            for event in events:
                action = str(event.get("Action", ""))
                attributes = (event.get("Actor") or {}).get("Attributes") or {}
                if action.startswith("exec_create") and attributes.get("execID") == exec_id:
                    oom = False
                oom = oom or action == "oom"
                ended = ended or action in _ENDED
                if ended:
                    break
        finally:
            timer.cancel()
    return oom, ended


def oom_kills(client: APIClient, container: str) -> int:
    """Return how many processes of the container were killed for memory, as its cgroup counts.

    For engines that have no events of it. 0 where the container has no ``cat``.

    :raises GoneError: if the container is not there, or does not run.
    """
    argv = ("cat", "/sys/fs/cgroup/memory.events", "/sys/fs/cgroup/memory/memory.oom_control")
    deadline_s = time.monotonic() + _END_S
    _, text = run_quietly(client, container, ExecSpec(argv=argv), deadline_s=deadline_s)
    counts = re.findall(r"^oom_kill (\d+)$", text, re.MULTILINE)
    return int(counts[0]) if counts else 0
