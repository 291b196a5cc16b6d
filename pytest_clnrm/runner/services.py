"""What the services of a scenario run, the order in which they start, and when that was."""

from __future__ import annotations

import json
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

from pytest_clnrm.engine.exec.waiting import KEEP_ALIVE, KEEP_SHELL

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from pytest_clnrm.engine.api import ImageFacts
    from pytest_clnrm.model.service import Service
    from pytest_clnrm.pool.running import RunningContainer

# Programs that end at once when they are started without arguments and without a terminal: an image whose
# command is one of them has no service to run, so its container is kept alive for the steps.
_SHELLS = frozenset({"ash", "bash", "busybox", "dash", "fish", "ksh", "sh", "zsh"})
_INTERPRETERS = frozenset(
    {"irb", "jshell", "julia", "lua", "node", "perl", "php", "python", "python3", "ruby"}
)


def effective_command(service: Service, image: ImageFacts) -> tuple[tuple[str, ...] | None, bool]:
    """Return the command of a service's container, and whether it replaces the image's entrypoint.

    The file's own entrypoint and command win, and a job runs its image's. Otherwise an image that runs no
    service (a bare shell or interpreter, a tool, or nothing) gets a command that waits for steps; any other
    runs its own (None).
    """
    if service.entrypoint:
        return (*service.entrypoint, *(service.command or ())), True
    cleared = service.entrypoint is not None
    if service.command is not None or service.is_job:
        return service.command, cleared
    if not image.knows_command:
        waits = service.implicit or cleared or service.only_steps
        return (KEEP_SHELL, True) if waits else (None, False)
    entrypoint = image.entrypoint
    arguments = image.command[len(entrypoint) :]
    program = arguments or entrypoint
    bare = not program or (len(program) == 1 and program[0].rsplit("/", 1)[-1] in _SHELLS | _INTERPRETERS)
    if service.implicit or cleared or bare or stands_for_tool(service, image):
        # An entrypoint with a command behind it may be a script that prepares the container (users, folders):
        # it stays. One that is all there is would end at once.
        replaced = service.implicit or cleared or not bare or not arguments
        # What such a script prints, and what is awaited in the log, is output of the container: it needs a
        # main process that is not our shell, whose output is its steps'.
        own_output = bool(entrypoint) and not replaced
        awaited = any(each.log is not None for each in service.ready)
        return KEEP_ALIVE if own_output or awaited else KEEP_SHELL, replaced
    return None, False


def with_commands(service: Service, image: ImageFacts) -> Service:
    """Return a service of a Python test, which runs commands in it: it waits for them, as for steps.

    Where the engine tells what its image runs, that decides.
    """
    says = service.ready or service.may_end or service.ports or service.udp_ports
    return service if image.knows_command or says else replace(service, only_steps=True)


def given_to_entry_point(container: RunningContainer) -> str:
    """Return ``; the image's entry point got the file's command as its arguments, ...``, "" if it did not."""
    service, entrypoint = container.service, container.image.entrypoint
    if service.command is None or service.entrypoint is not None or not entrypoint:
        return ""
    program, arguments = json.dumps(entrypoint), json.dumps(service.command)
    return (
        f"; the image's entry point {program} got {arguments} as its arguments: to run these in its place, "
        "write entrypoint = [] too"
    )


def stands_for_tool(service: Service, image: ImageFacts) -> bool:
    """Tell whether an image is a program to be called by steps, not a service.

    Its entry point is all that it runs, at most with options, and neither it nor the file says that anything
    is to be waited for or reached.
    """
    arguments = image.command[len(image.entrypoint) :]
    return (
        service.only_steps
        and service.command is None
        and service.entrypoint is None
        and bool(image.entrypoint)
        and not (image.exposes or image.healthcheck_s)
        and (not arguments or arguments[0].startswith("-"))
    )


def entry_points_replaced(containers: Iterable[RunningContainer]) -> Iterator[str]:
    """Yield which images' programs were not run, as only steps seem to need them."""
    for container in containers:
        if stands_for_tool(container.service, container.image):
            program = json.dumps(container.image.command)
            yield (
                f"service {container.service.name!r} waited for steps instead of running its image's "
                f"entry point; to run that, write entrypoint = {program}"
            )


def start_in_order(
    services: Sequence[Service],
    start: Callable[[Service, Callable[[], bool]], None],
    *,
    shared_first: bool = False,
) -> None:
    """Call *start* for each service once it has returned for all that it depends on, side by side in threads.

    :param start: starts a service and waits until it is ready; its second argument tells whether another
        service has failed meanwhile, so that waiting makes no sense any more.
    :param shared_first: all others wait for those that scenarios share.
    :raises BaseException: what *start* raised first; services that depend on a failed one are not started.
    """
    if len(services) == 1:
        start(services[0], lambda: False)
        return
    failed = threading.Event()
    errors: list[BaseException] = []
    futures: dict[str, Future[bool]] = {}
    # What is shared depends on nothing else.
    ordered = sorted(services, key=lambda each: not each.is_shared) if shared_first else services
    first = {each.name for each in services if each.is_shared} if shared_first else set()

    def after_dependencies(service: Service) -> bool:
        before = service.depends_on if service.is_shared else {*service.depends_on, *first}
        if not all(futures[name].result() for name in before):
            return False
        try:
            start(service, failed.is_set)
        except BaseException as error:  # noqa: BLE001 (raised below, in the thread that asked)
            errors.append(error)
            failed.set()
            return False
        return True

    # As many threads as services: none waits for a thread that another one occupies by waiting.
    with ThreadPoolExecutor(max_workers=max(1, len(services)), thread_name_prefix="clnrm-start") as pool:
        for service in _topological(ordered):
            futures[service.name] = pool.submit(after_dependencies, service)
    if errors:
        raise errors[0]


def _topological(services: Sequence[Service]) -> list[Service]:
    """Return *services*, each behind those that it depends on; the loader has refused circles."""
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


class Timeline:
    """Notes when the services of a scenario were created, started, ready and ended, and tells it in words.

    :param began_s: ``time.monotonic()`` of the scenario's start.
    """

    def __init__(self, began_s: float) -> None:
        self._began_s = began_s
        self._moments: dict[str, dict[str, float]] = {}

    def note(self, service: Service, what: Literal["created", "started", "ready"]) -> None:
        """Note that *service* is *what* now; the first time counts."""
        moments = self._moments.setdefault(service.name, {})
        moments.setdefault(what, time.monotonic() - self._began_s)

    def note_end(self, service: Service, lived_s: float | None) -> str:
        """Note that *service* ended, and return when; "" if that is not known.

        :param lived_s: seconds since its start: the engine's clock need not be ours.
        """
        moments = self._moments.setdefault(service.name, {})
        if lived_s is None or not {"started", "created"} & moments.keys():
            return ""
        # "created" where it ended before the call that started it returned.
        moments["ended"] = moments.get("started", moments.get("created", 0.0)) + lived_s
        return f"{moments['ended']:.1f} s after the scenario's start"

    def of(self, container: RunningContainer) -> str:
        """Return the moments of a container in words, "" if it only waits for commands."""
        ready = container.service.ready
        if container.keeps_alive and not ready:
            return ""
        moments = self._moments.get(container.service.name, {})
        told = {what: f"{what} after {moment_s:.1f} s" for what, moment_s in moments.items()}
        if ready and "ready" not in told:
            told["ready"] = "never ready"
        elif ready and all(each.port is not None for each in ready):
            told["ready"] += " by its open port, which does not say that it answers"
        return ", ".join(told.values())
