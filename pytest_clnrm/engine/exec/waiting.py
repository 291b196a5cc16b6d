"""What the main process of a container is that only waits for commands, as it runs no service."""

from __future__ import annotations

from pytest_clnrm.engine.exec.shell_script import SHELL

KEEP_ALIVE = ("sleep", "2147483647")
"""Sleeps for 68 years; `sleep infinity` is not understood by every busybox."""

ENDS_CONTAINER = 33
"""The exit code of the shell by which its container ends too."""

KILLED = 137
"""The exit code of a killed shell: there may be another one, if the next line of input asks for it."""

KEEP_SHELL = (
    "sh",
    "-c",
    "; ".join(
        (
            "exec 3>&2 2>/dev/null",
            f"while :; do (exec setsid {' '.join(SHELL)} 2>&3 3>&-)",
            "code=$?",
            f"[ $code = {ENDS_CONTAINER} ] && exit",
            "printf '\\034%s %s\\n' \"$0\" $code",
            f'[ $code = {KILLED} ] && read -r line && [ "$line" = "again $0" ] || break',
            "done",
            # It takes in orphans that have ended, and where it cannot start the program, it becomes that.
            f"trap 'exec {' '.join(KEEP_ALIVE)}' EXIT",
            " ".join(KEEP_ALIVE),
        )
    ),
)
"""Takes commands on its standard input: :mod:`pytest_clnrm.engine.exec.main_shell`.

The shell leads a process session of its own, as it does in an exec. Its parent says nothing of its own on
the streams ("Killed"), and takes in orphans as an init process would. It starts another one for the next
scenario, as nobody can tell what is in the memory of one that has run steps.
"""

WAITING = frozenset({KEEP_ALIVE, KEEP_SHELL})
"""Commands of containers that run no service, and only wait for steps."""
