"""Services start in the order of depends_on, and what keeps a container alive."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any
from unittest.mock import MagicMock, Mock

import pytest

from pytest_clnrm.engine.api import ImageFacts
from pytest_clnrm.engine.exec.waiting import KEEP_ALIVE, KEEP_SHELL
from pytest_clnrm.errors import NotReadyError
from pytest_clnrm.model.service import Ready, Service
from pytest_clnrm.runner import launch
from pytest_clnrm.runner.services import (
    Timeline,
    effective_command,
    given_to_entry_point,
    start_in_order,
    with_commands,
)


def service(name: str, *depends_on: str) -> Service:
    """Return a service that depends on others."""
    return Service(name=name, image="i", depends_on=depends_on)


def image(command: Sequence[str], entrypoint: Sequence[str] = ()) -> ImageFacts:
    """Return an image; its command is its entry point's too."""
    return ImageFacts(id="i", reference="i", command=tuple(command), entrypoint=tuple(entrypoint))


def test_dependencies_come_first() -> None:
    """A service starts after all it depends on, whatever the file's order."""
    started: list[str] = []
    services = [service("app", "db", "cache"), service("db", "disk"), service("cache"), service("disk")]
    start_in_order(services, lambda each, _cancelled: started.append(each.name))
    assert sorted(started) == ["app", "cache", "db", "disk"]
    assert started.index("disk") < started.index("db") < started.index("app")
    assert started[-1] == "app"


def test_shared_ones_come_first_where_that_is_asked_for() -> None:
    """Also those that none of the others depends on, in the order of their own dependencies."""
    started: list[str] = []
    shared = [replace(each, scope="run") for each in (service("db", "disk"), service("disk"))]
    services = [service("app", "job"), service("job"), *shared]
    start_in_order(services, lambda each, _cancelled: started.append(each.name), shared_first=True)
    assert started == ["disk", "db", "job", "app"]


def test_independent_services_start_side_by_side() -> None:
    """Two services that wait for each other's start both start: they run at the same time."""
    barrier = threading.Barrier(2, timeout=10)

    def start(_each: Service, _cancelled: Callable[[], bool]) -> None:
        barrier.wait()

    start_in_order([service("a"), service("b")], start)
    assert barrier.broken is False


def test_the_first_error_counts_and_stops_the_rest() -> None:
    """The error that came first is raised; dependants do not start; others are told to give up."""
    started: list[str] = []
    waiting = threading.Event()

    def start(each: Service, cancelled: Callable[[], bool]) -> None:
        started.append(each.name)
        if each.name == "bad":
            assert waiting.wait(10)
            raise RuntimeError("bad failed")
        if each.name == "slow":
            waiting.set()
            while not cancelled():
                threading.Event().wait(0.001)
            raise RuntimeError("slow was given up")

    with pytest.raises(RuntimeError, match="bad failed"):
        start_in_order([service("slow"), service("bad"), service("after", "bad")], start)
    assert sorted(started) == ["bad", "slow"]


def test_one_service_starts_in_the_callers_thread() -> None:
    """No thread is started where nothing can run side by side."""
    seen: list[str] = []
    start_in_order([service("a")], lambda _each, _cancelled: seen.append(threading.current_thread().name))
    assert seen == [threading.current_thread().name]


@pytest.mark.parametrize(
    ("image_command", "entrypoint", "expected"),
    [
        (["sh"], [], (KEEP_SHELL, False)),
        (["/bin/bash"], [], (KEEP_SHELL, False)),
        (["python3"], [], (KEEP_SHELL, False)),
        ([], [], (KEEP_SHELL, True)),
        (["docker-entrypoint.sh", "node"], ["docker-entrypoint.sh"], (KEEP_ALIVE, False)),
        (["docker-entrypoint.sh", "postgres"], ["docker-entrypoint.sh"], (None, False)),
        (["nginx", "-g", "daemon off;"], [], (None, False)),
        (["sh", "-c", "serve"], [], (None, False)),
        (["/bin/sh"], ["/bin/sh"], (KEEP_SHELL, True)),
        (["/app"], ["/app"], (None, False)),
    ],
)
def test_effective_command(
    image_command: list[str], entrypoint: list[str], expected: tuple[tuple[str, ...] | None, bool]
) -> None:
    """A bare shell or interpreter is kept alive; an image with a service of its own runs it."""
    assert effective_command(service("a"), image(image_command, entrypoint)) == expected


def test_a_command_of_the_file_wins() -> None:
    """A command in the file is used as it is, with the image's entrypoint."""
    given = Service(name="a", image="i", command=("serve", "--port", "1"))
    assert effective_command(given, image(["sh"])) == (("serve", "--port", "1"), False)


@pytest.mark.parametrize(
    ("entrypoint", "command", "expected"),
    [
        (("serve",), None, (("serve",), True)),
        (("serve",), ("--port", "1"), (("serve", "--port", "1"), True)),
        ((), ("serve",), (("serve",), True)),
        ((), None, (KEEP_SHELL, True)),
    ],
)
def test_an_entrypoint_of_the_file_wins(
    entrypoint: tuple[str, ...],
    command: tuple[str, ...] | None,
    expected: tuple[tuple[str, ...], bool],
) -> None:
    """It replaces the image's with its command; an empty one leaves nothing of both."""
    given = Service(name="a", image="i", entrypoint=entrypoint, command=command)
    assert effective_command(given, image(["/entry", "own"], ["/entry"])) == expected


TOOL = image(["/usr/bin/git"], ["/usr/bin/git"])


def test_an_entry_point_without_a_service_waits_for_steps() -> None:
    """An image whose entry point is a tool is not run where only steps are to run in it."""
    given = Service(name="a", image="i", only_steps=True)
    assert effective_command(given, TOOL) == (KEEP_SHELL, True)
    assert effective_command(given, replace(TOOL, command=("/usr/bin/git", "--help"))) == (KEEP_SHELL, True)


@pytest.mark.parametrize(
    ("of_service", "of_image"),
    [
        ({"only_steps": False}, {}),
        ({}, {"exposes": True}),
        ({}, {"healthcheck_s": 1.0}),
        ({}, {"command": ("/usr/bin/git", "serve")}),
        ({}, {"entrypoint": ()}),
    ],
)
def test_whatever_says_that_it_is_a_service_lets_it_run(
    of_service: dict[str, Any], of_image: dict[str, Any]
) -> None:
    """An image that listens, has a health check, or is given a program to run is one, as it always was."""
    given = Service(name="a", image="i", **{"only_steps": True, **of_service})
    assert effective_command(given, replace(TOOL, **of_image)) == (None, False)


def test_an_image_of_which_nobody_tells_what_it_runs() -> None:
    """On a cluster a container of a Python test waits for commands, unless it is to serve."""
    told = image(["serve"])
    untold = replace(told, knows_command=False)
    box = service("box")
    assert effective_command(with_commands(box, untold), untold) == (KEEP_SHELL, True)
    assert effective_command(with_commands(box, told), told) == (None, False)
    for says in ({"ports": (80,)}, {"udp_ports": (53,)}, {"may_end": (0,)}, {"ready": (Ready(port=80),)}):
        serves: Service = replace(box, **says)
        assert effective_command(with_commands(serves, untold), untold) == (None, False)
    own = replace(box, command=("serve",))
    assert effective_command(with_commands(own, untold), untold) == (("serve",), False)


def test_the_default_container_is_always_kept_alive() -> None:
    """The container of steps without a service runs no service, whatever its image would run."""
    given = Service(name="default", image="i", implicit=True)
    assert effective_command(given, image(["nginx"])) == (KEEP_SHELL, True)


@pytest.mark.parametrize("entrypoint", [[], ["/entry"]])
def test_a_job_runs_what_its_image_has(entrypoint: list[str]) -> None:
    """It is not kept alive, whatever that is: it is waited for until it ends."""
    given = Service(name="a", image="i", ready=(Ready(exit=(0,)),))
    assert effective_command(given, image([*entrypoint, "sh"], entrypoint)) == (None, False)


@pytest.mark.parametrize(("ready", "command"), [({"log": "up"}, KEEP_ALIVE), ({"port": 80}, KEEP_SHELL)])
def test_output_that_is_waited_for_is_nobody_elses(ready: dict[str, Any], command: tuple[str, ...]) -> None:
    """A container whose log is to say something has no commands' output there."""
    given = Service(name="a", image="i", ready=(Ready(**ready),))
    assert effective_command(given, image(["sh"])) == (command, False)


@pytest.mark.parametrize(
    ("keys", "entrypoint", "told"),
    [
        (
            {"command": ("sh", "-c", "x")},
            ("/app",),
            '; the image\'s entry point ["/app"] got ["sh", "-c", "x"] as',
        ),
        ({"command": ("sh",), "entrypoint": ()}, ("/app",), ""),
        ({"command": ("sh",)}, (), ""),
        ({}, ("/app",), ""),
    ],
)
def test_commands_that_an_entry_point_got(
    keys: dict[str, Any], entrypoint: tuple[str, ...], told: str
) -> None:
    """A container that ended may have done so as its entry point did not know what to do with them."""
    made = Mock(service=replace(service("box"), **keys), image=image(entrypoint, entrypoint))
    said = given_to_entry_point(made)
    assert said.startswith(told)
    assert bool(said) == bool(told)
    assert said == "" or said.endswith("write entrypoint = [] too")


@pytest.mark.parametrize(
    ("ready", "told"),
    [
        ((Ready(port=5432),), r"ready after 0\.\d s by its open port, which does not say that it answers"),
        ((Ready(port=5432), Ready(command=("psql",))), r"ready after 0\.\d s"),
    ],
)
def test_the_timeline_says_what_a_port_is_worth(ready: tuple[Ready, ...], told: str) -> None:
    """A database accepts connections before it answers."""
    db = replace(service("db"), ready=ready)
    timeline = Timeline(time.monotonic())
    container = Mock(service=db, keeps_alive=False)
    assert timeline.of(container) == "never ready"
    timeline.note(db, "started")
    timeline.note(db, "ready")
    assert re.fullmatch(rf"started after 0\.\d s, {told}", timeline.of(container))


@pytest.mark.parametrize(("running", "told"), [(False, True), (True, False)])
def test_a_service_that_its_entry_point_has_ended(
    running: bool,  # noqa: FBT001
    told: bool,  # noqa: FBT001
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Where it ended before it was ready, the error says so; where it only takes long, it does not."""
    made = Mock(service=replace(service("box"), command=("sh",), ready=(Ready(port=1),)))
    made.image = image(("/app",), ("/app",))
    runtime = Mock()
    runtime.engine().state.return_value.running = running

    def not_ready(*_arguments: Any, **_keys: Any) -> None:
        raise NotReadyError("service 'box' is not ready", "box", "its logs")

    monkeypatch.setattr(launch, "wait_ready", not_ready)
    with pytest.raises(NotReadyError) as caught:
        launch.await_ready(runtime, made, network=None, trace=MagicMock(), deadline_s=1.0)
    assert ("entry point" in caught.value.message) == told
    assert caught.value.logs == "its logs"
