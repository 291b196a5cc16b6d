"""The main process of a container that runs no service, and only waits for commands."""

from __future__ import annotations

from pytest_clnrm.engine.exec.shell_script import SHELL
from pytest_clnrm.engine.tool.program import PAUSE

KEEP_ALIVE = ("sleep", "2147483647")
"""Sleeps for 68 years; `sleep infinity` is not understood by every busybox."""

ENDS_CONTAINER = 33
"""The exit code with which the shell ends its container too."""

_KILLED = 137
"""The exit code of a killed shell. Another one is started if the next line of input asks for it."""

KEEP_SHELL = (
    "sh",
    "-c",
    "; ".join(
        (
            "exec 3>&2 2>/dev/null",
            f"while :; do (exec {' '.join(SHELL)} 2>&3 3>&-)",
            "code=$?",
            f"[ $code = {ENDS_CONTAINER} ] && exit",
            "printf '\\034%s %s\\n' \"$0\" $code",
            f'[ $code = {_KILLED} ] && read -r line && [ "$line" = "again $0" ] || break',
            "done",
            # While it waits for the program it takes in orphans; where it cannot start it, it becomes that
            # itself.
            f"trap 'exec {' '.join(KEEP_ALIVE)}' EXIT",
            " ".join(KEEP_ALIVE),
        )
    ),
)
"""A shell that takes commands on its standard input (:mod:`pytest_clnrm.engine.exec.main_shell`), and its
parent.

The parent prints nothing of its own ("Killed") on the streams, and takes in orphans as an init process would.
For the next scenario it starts another shell, as nobody can tell what is in the memory of one that has run
steps (docs/design/exec-shells.md).
"""

SLEEP_PATHS = ("/bin/sleep", "/usr/bin/sleep")
"""Where an image has the program of :data:`KEEP_ALIVE`, if it has it."""

TOOL_FOLDER = "/.clnrm"
"""Where our program lies in containers whose images have no shell."""

KEEP_TOOL = (f"{TOOL_FOLDER}/clnrm", *PAUSE)
"""Our program, which needs nothing of the image; it is copied in before the container starts."""

WAITING = frozenset({KEEP_ALIVE, KEEP_SHELL, KEEP_TOOL})
"""Commands of containers that run no service, and only wait for steps."""
