"""A scenario's containers are stopped once one has written too much."""

from __future__ import annotations

import threading
import time
from types import SimpleNamespace
from typing import Any

import pytest

from pytest_clnrm.errors import ContainerError
from pytest_clnrm.runner import disk_watch
from pytest_clnrm.runner.disk_watch import DiskWatch
from pytest_clnrm.settings.settings import Settings

MIB = 1024**2


class Engine:
    """Tells sizes, each time the next one; a container without one is gone."""

    def __init__(self, **sizes: list[int]) -> None:
        self.sizes = sizes
        self.stopped: list[str] = []
        self.seen = threading.Event()

    def written_bytes(self, container: str) -> int:
        """Return the next size."""
        if container not in self.sizes:
            raise ContainerError("gone")
        sizes = self.sizes[container]
        if len(sizes) > 1:
            return sizes.pop(0)
        if container == "a":
            self.seen.set()
        return sizes[0]

    def stop(self, container: str, *, grace_s: float) -> None:
        """Note it."""
        self.stopped.append(f"{container} {grace_s:g}")
        if container == "gone":
            raise ContainerError("gone")


def watch(engine: Engine, *containers: str, shared: str = "") -> DiskWatch:
    """Return what watches *containers*, of which each may write 10 MB."""
    runtime: Any = SimpleNamespace(
        engine=lambda: engine, settings=Settings(max_disk_bytes=10 * MIB, origins={"max_disk_bytes": "here"})
    )
    running: Any = {f"of {each}": SimpleNamespace(id=each) for each in containers}
    others: Any = {"of all": SimpleNamespace(id=shared)} if shared else {}
    return DiskWatch(runtime, running, shared=others)


@pytest.mark.parametrize(("a", "s", "stopped"), [(11, 0, ["a 0"]), (0, 11, ["a 0", "s 0"])])
def test_what_others_use(monkeypatch: pytest.MonkeyPatch, a: int, s: int, stopped: list[str]) -> None:
    """A shared container is stopped only for what it has written itself."""
    monkeypatch.setattr(disk_watch, "EVERY_S", 0.001)
    engine = Engine(a=[0, a * MIB], s=[0, s * MIB])
    looking = watch(engine, "a", shared="s")
    with looking:
        give_up_s = time.monotonic() + 60
        while not looking.problem and time.monotonic() < give_up_s:
            time.sleep(0.001)
    assert looking.problem.startswith(f"service {'of a' if a else 'of all'!r} has written 11 MB")
    assert engine.stopped == stopped


def test_too_much(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is named with both sizes and what has set the cap; all containers are stopped at once."""
    monkeypatch.setattr(disk_watch, "EVERY_S", 0.001)
    engine = Engine(a=[0, 10 * MIB, 11 * MIB], b=[0])
    looking = watch(engine, "gone", "a", "b")
    with looking:
        assert engine.seen.wait(60)
    assert looking.problem == (
        "service 'of a' has written 11 MB into its container: at most 10 MB (clnrm_max_disk: here)"
    )
    assert engine.stopped == ["gone 0", "a 0", "b 0"]


def test_not_too_much(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is allowed stops nothing, and a short scenario is not looked at."""
    engine = Engine(a=[11 * MIB])
    with watch(engine, "a") as looking:
        pass
    assert (looking.problem, engine.seen.is_set()) == ("", False)
    monkeypatch.setattr(disk_watch, "EVERY_S", 0.001)
    engine = Engine(a=[0, 10 * MIB])
    with watch(engine, "a") as looking:
        assert engine.seen.wait(60)
    assert (looking.problem, engine.stopped) == ("", [])
