"""The process that keeps shared services for the next run, without an engine and in this process."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pytest_clnrm.cleanup import detached, keeper
from pytest_clnrm.cleanup.keeper import Keeper, Told
from pytest_clnrm.cleanup.keeping import end_all_kept, kept_ids
from pytest_clnrm.cleanup.labels import LEDGER, OWNER, SESSION, WORKER
from pytest_clnrm.engine.api import OwnedObject
from pytest_clnrm.errors import EngineUnavailableError
from pytest_clnrm.ledger.budget import Budget
from pytest_clnrm.ledger.folder import Folder, open_folder
from pytest_clnrm.ledger.ledger import Ledger
from pytest_clnrm.ledger.shared import run_owner
from pytest_clnrm.ledger.warm import record_file
from pytest_clnrm.model.demand import Demand, Share

USER = Demand(containers=1, shares=(Share(key="db1", name="db"),))


class OneServiceEngine:
    """An engine on which there are one shared container and its network."""

    facts = SimpleNamespace(identity="i")

    def __init__(self, ledger: str) -> None:
        labels = {LEDGER: ledger, OWNER: run_owner("a"), SESSION: "a", WORKER: "shared"}
        self.objects = {
            "n": OwnedObject(kind="network", id="n", name="clnrm-a-shared-db1-net", labels=labels)
        }
        self.containers: set[str] = set()

    def remove(self, containers: Sequence[str]) -> None:
        self.containers -= set(containers)

    def list_owned(self, labels: dict[str, str]) -> tuple[OwnedObject, ...]:
        return tuple(
            each
            for each in self.objects.values()
            if all(each.labels.get(name) == value or not value for name, value in labels.items())
        )

    def remove_owned(self, objects: Sequence[OwnedObject]) -> None:
        for each in objects:
            del self.objects[each.id]

    def close(self) -> None:
        """Nothing is open."""


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    """Return the folder of a ledger."""
    return open_folder(tmp_path / "ledger", {})


@pytest.fixture
def engine(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> OneServiceEngine:
    """Return the engine to which keepers connect."""
    made = OneServiceEngine(folder.ledger_id)
    monkeypatch.setattr(detached, "connect", lambda *args: made)
    return made


@pytest.fixture
def lease(folder: Folder, engine: OneServiceEngine) -> Iterator[str]:
    """Return the id of the lease of what a run has left, which is about to be kept."""
    with Ledger(folder, "i", Budget(containers=2, memory_bytes=9, cpus=None, gpus=0)) as run:
        run.open_run("a")
        user = run.try_reserve(USER, priority=1, index=0)
        assert user is not None
        (db,) = run.shared(user.id).values()
        run.release(user.id)
        engine.containers |= set(db.containers)
        folder.warm("i").mkdir()
        record_file(folder.warm("i"), db.id).write_text('{"id": "c", "network": ["n", "net"]}', "utf-8")
        yield db.id


def told(folder: Folder, keeps_s: float) -> Told:
    """Return what the keeper of the run is told."""
    return Told(
        folder=str(folder.path), choice="u", identity="i", url="u", run="a", origins=(), project="p",
        keeps_s=keeps_s,
    )  # fmt: skip


@pytest.fixture
def asked() -> Iterator[tuple[int, int]]:
    """Return a pipe: what can be written to its second end asks a keeper to end."""
    ends = os.pipe()
    yield ends
    for each in ends:
        os.close(each)


def test_its_time_is_over(
    folder: Folder, engine: OneServiceEngine, lease: str, asked: tuple[int, int]
) -> None:
    """The container goes, with its record; then the network; then the keeper ends."""
    with Keeper(told(folder, 0.0), folder) as one:
        assert kept_ids(folder, "i", "a") == {"c", "n"}
        assert kept_ids(folder, "i", "b") == set()
        one.keep(asked[0])
    assert (engine.containers, engine.objects) == (set(), {})
    assert not record_file(folder.warm("i"), lease).exists()
    assert kept_ids(folder, "i", "a") == set()


@pytest.mark.usefixtures("lease")
def test_it_is_asked_to_end(folder: Folder, engine: OneServiceEngine, asked: tuple[int, int]) -> None:
    """SIGTERM, as at a shutdown: nothing is kept any longer."""
    os.write(asked[1], b"!")
    with Keeper(told(folder, 600.0), folder) as one:
        one.keep(asked[0])
    assert (engine.containers, engine.objects) == (set(), {})


@pytest.mark.usefixtures("lease")
def test_the_engine_comes_back(
    folder: Folder, engine: OneServiceEngine, asked: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What could not be removed is tried again."""
    answers = [EngineUnavailableError("gone", ())]

    def connect(*args: object) -> Any:
        if answers:
            raise answers.pop()
        return engine

    monkeypatch.setattr(detached, "connect", connect)
    monkeypatch.setattr(keeper, "_LOOK_S", 0.0)
    with Keeper(told(folder, 0.0), folder) as one:
        one.keep(asked[0])
    assert engine.containers == set()


@pytest.mark.usefixtures("lease", "engine")
def test_the_engine_stays_away(
    folder: Folder, asked: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is given up: what is kept is counted until somebody finds it to be a dead owner's."""

    def connect(*args: object) -> Any:
        raise EngineUnavailableError("gone", ())

    monkeypatch.setattr(detached, "connect", connect)
    monkeypatch.setattr(keeper, "_GIVE_UP_S", -1.0)
    with Keeper(told(folder, 0.0), folder) as one:
        one.keep(asked[0])
        assert one._own.has_shared()


def test_sweep_ends_it(folder: Folder, engine: OneServiceEngine, lease: str, asked: tuple[int, int]) -> None:
    """The container is counted as removed, with the network; the keeper finds nothing left, and ends."""
    with Keeper(told(folder, 600.0), folder) as one:
        assert end_all_kept(folder, engine) == {"container": 1, "network": 1}  # type: ignore[arg-type]
        assert engine.containers == set()
        one.keep(asked[0])
    assert not record_file(folder.warm("i"), lease).exists()
    assert end_all_kept(folder, engine) == {}  # type: ignore[arg-type]


def test_one_that_does_not_begin(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    """A keeper that ends at once, or is none, keeps nothing, and the run is told."""
    assert not keeper.start(Told(**{**asdict(told(folder, 1.0)), "folder": "/proc/none", "origins": ()}))

    def start(*args: object, **options: object) -> Any:
        raise OSError

    monkeypatch.setattr(detached, "start", start)
    assert not keeper.start(told(folder, 1.0))
