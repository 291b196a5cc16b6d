"""Starting the services of one scenario: in the order of depends_on, independent ones side by side."""

from __future__ import annotations

import threading
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING

from pytest_clnrm.engine.exec.shell_script import SHELL

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pytest_clnrm.model.scenario import Service

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

# Programs that end at once when they are started without arguments and without a terminal: an image whose
# command is one of them has no service to run, so its container is kept alive for the steps.
_SHELLS = frozenset({"ash", "bash", "busybox", "dash", "fish", "ksh", "sh", "zsh"})
_INTERPRETERS = frozenset(
    {"irb", "jshell", "julia", "lua", "node", "perl", "php", "python", "python3", "ruby"}
)


def effective_command(
    service: Service, *, image_command: Sequence[str], entrypoint: Sequence[str]
) -> tuple[tuple[str, ...] | None, bool]:
    """Return the command that the container of *service* gets, and whether it replaces the entrypoint.

    A command of the file wins, and a job runs what its image has. Another image without a service of its own
    (a bare shell or interpreter, or no command at all) is kept alive; any other runs its own (None).

    :param image_command: entrypoint and command of the image together.
    """
    if service.command is not None or service.is_job:
        return service.command, False
    arguments = list(image_command[len(entrypoint) :])
    program = arguments or list(entrypoint)
    bare = not program or (len(program) == 1 and program[0].rsplit("/", 1)[-1] in _SHELLS | _INTERPRETERS)
    if service.implicit or bare:
        # An entrypoint script may prepare the container (users, folders): it is kept where the image has
        # one beside its command, and replaced where it is all there is.
        replaced = service.implicit or not arguments
        # What such a script says is the container's output, which may be waited for.
        own_output = bool(entrypoint) and not replaced
        awaited = any(each.log is not None for each in service.ready)
        return KEEP_ALIVE if own_output or awaited else KEEP_SHELL, replaced
    return None, False


def start_in_order(services: Sequence[Service], start: Callable[[Service, Callable[[], bool]], None]) -> None:
    """Call *start* for each service, after those it depends on have returned; independent ones in threads.

    :param start: starts one service and waits until it is ready; its second argument tells whether another
        service has failed meanwhile, so that waiting is in vain.
    :raises BaseException: what *start* raised first; services that depend on a failed one are not started.
    """
    if len(services) == 1:
        start(services[0], lambda: False)
        return
    failed = threading.Event()
    errors: list[BaseException] = []
    futures: dict[str, Future[bool]] = {}

    def after_dependencies(service: Service) -> bool:
        if not all(futures[name].result() for name in service.depends_on):
            return False
        try:
            start(service, failed.is_set)
        except BaseException as error:  # noqa: BLE001 (raised below, in the thread that asked)
            errors.append(error)
            failed.set()
            return False
        return True

    # Each service has a thread and is submitted after those it waits for, so no wait can starve another.
    with ThreadPoolExecutor(max_workers=max(1, len(services)), thread_name_prefix="clnrm-start") as pool:
        for service in _topological(services):
            futures[service.name] = pool.submit(after_dependencies, service)
    if errors:
        raise errors[0]


def _topological(services: Sequence[Service]) -> list[Service]:
    """Return *services* so that each comes after those it depends on; the loader has refused circles."""
    by_name = {service.name: service for service in services}
    ordered: dict[str, Service] = {}

    def visit(service: Service) -> None:
        if service.name not in ordered:
            for name in service.depends_on:
                visit(by_name[name])
            ordered[service.name] = service

    for service in services:
        visit(service)
    return list(ordered.values())
