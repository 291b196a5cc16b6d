"""A container of an earlier run is used only if everything that is found out anew speaks for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pytest_clnrm.engine.api import ContainerSpec, ImageFacts, OwnedObject
from pytest_clnrm.errors import ContainerError
from pytest_clnrm.model.service import Service
from pytest_clnrm.pool.idle_record import FOLDER, IdleRecord
from pytest_clnrm.pool.running import RunningContainer
from pytest_clnrm.runner import idle_warm
from pytest_clnrm.runner.idle_warm import Leaving, take_up

BOX = Service(name="box", image="x")
IMAGE = ImageFacts(reference="x", id="sha256:1")
OWNED = OwnedObject(kind="container", id="c1", labels={}, name="clnrm-a-gw0-1-box")
SPEC = ContainerSpec(name="n", image="x", memory_bytes=1, cpus=1.0, pids=1)
LEASE = "shared-a-1"


class Engine:
    """What is told of the container; ``lacks`` is what is wrong with it."""

    def __init__(self) -> None:
        self.lacks = ""
        self.taken: list[str] = []

    def list_owned(self, labels: Mapping[str, str]) -> Sequence[OwnedObject]:
        assert labels == {
            "pytest-clnrm.ledger": "l",
            "pytest-clnrm.owner": "shared-a",
            "pytest-clnrm.session": "a",
        }
        return [] if self.lacks == "label" else [OWNED]

    def is_connected_as(self, container: str, seen: Mapping[str, str]) -> bool:
        assert (container, seen) == ("c1", {"new": "yes"})
        return self.lacks != "network"

    def let_go(self, container: str) -> dict[str, Any]:
        return {"of": container}

    def take_up(self, container: str, told: Mapping[str, Any]) -> None:
        assert told == {"of": "c1"}
        if self.lacks == "shell":
            raise ContainerError("its main process cannot be reached")
        self.taken.append(container)


class World:
    """A process with an engine, and folders."""

    def __init__(self, path: Path) -> None:
        self.engine = Engine()
        self.warm = path / "warm"
        self.warm.mkdir()
        networks = SimpleNamespace(
            hand_over=lambda _: ("n1", "net"), take_up=lambda *given: self.networks.append(given)
        )
        self.networks: list[Any] = []
        self.runtime: Any = SimpleNamespace(
            engine=lambda: self.engine,
            folder=lambda: SimpleNamespace(ledger_id="l"),
            networks=lambda: networks,
            run_folder=lambda: path,
        )
        self.trace: Any = SimpleNamespace(span=self.span)

    @contextmanager
    def span(self, *_: object) -> Any:
        yield SimpleNamespace(set=lambda *_: None)

    def take(self, lease: str = LEASE, *services: Service) -> tuple[Any, tuple[str, ...]]:
        """Take up what is left under a lease."""
        return take_up(self.runtime, [lease], services or (BOX,), {"box": IMAGE}, trace=self.trace)


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """Return a process in which nothing speaks against the container."""
    world = World(tmp_path)

    def made(*_: object, **__: object) -> str:
        return "" if world.engine.lacks == "secret" else "changed" if world.engine.lacks == "made" else "m"

    monkeypatch.setattr(idle_warm, "made_without_secrets", made)
    monkeypatch.setattr(idle_warm, "warm_folder", lambda _: world.warm)
    monkeypatch.setattr(idle_warm, "planned", lambda *_, **__: (SPEC, {}))
    monkeypatch.setattr(
        idle_warm, "why_changed", lambda *_: "left behind" if world.engine.lacks == "proof" else ""
    )
    return world


def container(**changes: Any) -> RunningContainer:
    """Return an idle container."""
    labels = {"pytest-clnrm.owner": "shared-a"}
    made = RunningContainer(
        id="c1",
        name=OWNED.name,
        service=BOX,
        image=IMAGE,
        spec=replace(SPEC, labels=labels),
        env={},
        created_s=1.0,
        fingerprint={"new": "yes"},
    )
    return replace(made, **changes)


def left(world: World) -> IdleRecord:
    """Leave the container for the next run, under a lease of its own."""
    leaving = Leaving(runtime=world.runtime, lease="lease", specification="s", trace=world.trace)
    assert leaving(container())
    (file,) = (world.warm.parent / FOLDER).iterdir()
    assert file.name == "lease.json"
    record = IdleRecord.read(file)
    assert record is not None
    record = replace(record, lease=LEASE)
    record.write(world.warm / f"{LEASE}.json")
    return record


def test_it_is_used_again(world: World) -> None:
    """Its network is this process's then, and it is taken up once."""
    record = left(world)
    assert (record.network, record.specification, record.made_of) == (("n1", "net"), "s", "m")
    found, unusable = world.take()
    assert (found["box"].id, found["box"].fingerprint, unusable) == ("c1", {"new": "yes"}, ())
    assert world.networks == [("n1", "net", "c1", "box")]
    assert world.take() == ({}, ())


@pytest.mark.parametrize("lacks", ["made", "secret", "label", "network", "shell", "proof"])
def test_what_speaks_against_it(world: World, lacks: str) -> None:
    """It is to be removed, whatever that is."""
    left(world)
    world.engine.lacks = lacks
    assert world.take() == ({}, ("c1",))
    assert world.engine.taken == (["c1"] if lacks == "proof" else [])
    assert list(world.warm.iterdir()) == []


def test_it_is_of_another_service_or_lease(world: World) -> None:
    """What a record says of itself has to be what the ledger and the scenario say."""
    left(world)
    assert world.take(LEASE, replace(BOX, name="other")) == ({}, ("c1",))
    record = left(world)
    replace(record, lease="another").write(world.warm / f"{LEASE}.json")
    assert world.take() == ({}, ("c1",))


@pytest.mark.parametrize(
    ("lacks", "changes"),
    [
        ("network", {}),
        ("secret", {}),
        ("", {"had_secrets": True}),
        ("", {"spec": replace(SPEC, labels={"pytest-clnrm.owner": "a-process"})}),
    ],
)
def test_what_does_not_stay(world: World, lacks: str, changes: dict[str, Any]) -> None:
    """What cannot be seen from outside, has or had secrets, or belongs to one process."""
    world.engine.lacks = lacks
    leaving = Leaving(runtime=world.runtime, lease="lease", specification="s", trace=world.trace)
    assert not leaving(container(**changes))
    assert not (world.warm.parent / FOLDER).exists()
