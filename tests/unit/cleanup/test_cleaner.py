"""Who is swept and who is not: over an engine in memory and a real ledger."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from pytest_clnrm.cleanup import cleaner as cleaning
from pytest_clnrm.cleanup import run_folder, run_records
from pytest_clnrm.cleanup.cleaner import (
    Cleaner,
    caretaker,
    describe_foreign,
    describe_swept,
    found_in,
    sweep_dead,
)
from pytest_clnrm.cleanup.labels import LEDGER, OWNER, SESSION, WORKER, limit_labels, relay_stem
from pytest_clnrm.cleanup.run_records import RunRecord
from pytest_clnrm.engine.api import Engine, OwnedObject
from pytest_clnrm.errors import EngineError
from pytest_clnrm.ledger.budget import Budget
from pytest_clnrm.ledger.folder import Folder, open_folder
from pytest_clnrm.ledger.ledger import Ledger
from pytest_clnrm.ledger.state import EngineLoad, Evicted, Lease
from pytest_clnrm.model.demand import Demand
from pytest_clnrm.util.processes import Process, this_process

BUDGET = Budget(containers=10, memory_bytes=1 << 40)
DEAD = Process(1 << 30, "1")


class MemoryEngine:
    """An engine that holds names; the first *busy* removals fail."""

    facts = SimpleNamespace(identity="memory")

    def __init__(self) -> None:
        self.objects: list[OwnedObject] = []
        self.busy = 0
        self.removed: list[str] = []

    def add(self, kind: Any, name: str, *, ended: bool = False, **labels: str) -> None:
        """Create something."""
        full = {f"pytest-clnrm.{key}": value for key, value in labels.items()}
        shown = f"clnrm-{labels.get('session', 's')}-{labels.get('worker', 'w')}-{name}"
        full = {SESSION: "s", WORKER: "w", **full}
        self.objects.append(OwnedObject(kind=kind, id=name, name=shown, labels=full, ended=ended))

    def list_owned(self, labels: Mapping[str, str]) -> tuple[OwnedObject, ...]:
        """Return what has these labels."""
        return tuple(
            each
            for each in self.objects
            if all(key in each.labels and value in {"", each.labels[key]} for key, value in labels.items())
        )

    def remove(self, containers: Sequence[str]) -> None:
        """Remove containers by their ids."""
        self.removed += containers

    def remove_owned(self, objects: Sequence[OwnedObject]) -> None:
        """Remove them."""
        if self.busy:
            self.busy -= 1
            raise EngineError("busy")
        self.removed += [each.id for each in objects]
        self.objects = [each for each in self.objects if each not in objects]


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    """Return a ledger's folder."""
    return open_folder(tmp_path / "ledger", {})


@pytest.fixture
def engine() -> MemoryEngine:
    """Return an empty engine."""
    return MemoryEngine()


@pytest.fixture
def cleaner(folder: Folder, engine: MemoryEngine, monkeypatch: pytest.MonkeyPatch) -> Cleaner:
    """Return a cleaner that does not wait between two tries."""
    monkeypatch.setattr(cleaning, "_ROUND_S", 0)
    return Cleaner(folder, cast("Engine", engine))


def as_engine(engine: MemoryEngine) -> Engine:
    """Return it as what the package calls an engine."""
    return cast("Engine", engine)


def test_counts_in_words() -> None:
    """What was removed is told with its number and noun."""
    assert describe_swept(Counter()) == "nothing"
    assert describe_swept(Counter(volume=1, network=1, container=2)) == "2 containers, 1 network, 1 volume"


def test_foreign_containers_in_words() -> None:
    """The warning says how many of how many, and what is done about them."""
    assert describe_foreign(0, 0) == ""
    assert describe_foreign(1, 1) == (
        "1 container of another ledger (another user, host or CI job) ran on this engine: counted as load, "
        "never removed"
    )
    assert describe_foreign(3, 2).startswith("3 containers of 2 other ledgers ")


def test_load_is_summed_by_owner() -> None:
    """Each owner's containers, those that were kept apart; others' that have ended are no load."""

    def made(name: str, ledger: str, owner: str, *, ended: bool = False) -> OwnedObject:
        labels = {LEDGER: ledger, OWNER: owner, **limit_labels(memory_bytes=10, cpus=0.5, gpus=1)}
        return OwnedObject(kind="container", id=name, name=name, labels=labels, ended=ended)

    listed = [
        made("a", "ours", "one"),
        made("b", "ours", "one"),
        made("c", "ours", "one"),
        made("d", "ours", "two", ended=True),
        made("e", "theirs", "x"),
        made("f", "theirs", "x", ended=True),
    ]
    single = Demand(containers=1, memory_bytes=10, cpus=0.5, gpus=1)
    assert found_in(listed, "ours", {"c"}) == [
        EngineLoad(ledger="ours", owner="one", demand=single + single),
        EngineLoad(ledger="ours", owner="one", demand=single, kept=True),
        EngineLoad(ledger="ours", owner="two", demand=single),
        EngineLoad(ledger="theirs", owner="x", demand=single),
    ]


def test_relays_are_no_load(cleaner: Cleaner, engine: MemoryEngine, folder: Folder) -> None:
    """A relay is none of the containers that runs may have, and is swept as they are."""
    engine.add("container", "relay1", ledger=folder.ledger_id, owner="o")
    engine.add("container", "1-relay", ledger=folder.ledger_id, owner="p")
    assert engine.objects[0].name == f"{relay_stem('s', 'w')}1"
    assert [each.owner for each in cleaner.load()] == ["p"]
    cleaner.sweep({OWNER: "o"})
    assert [each.id for each in engine.objects] == ["1-relay"]


def test_load_tells_of_foreign_containers(cleaner: Cleaner, engine: MemoryEngine, folder: Folder) -> None:
    """Networks hold nothing; another ledger's living containers are noted."""
    engine.add("container", "a", ledger=folder.ledger_id, owner="o")
    engine.add("network", "n", ledger=folder.ledger_id, owner="o")
    engine.add("container", "x", ledger="other", owner="p")
    engine.add("container", "y", ledger="other", owner="p", ended=True)
    assert {each.owner for each in cleaner.load()} == {"o", "p"}
    assert cleaner.foreign == describe_foreign(1, 1)


def test_sessions_and_workers_are_swept(cleaner: Cleaner, engine: MemoryEngine, folder: Folder) -> None:
    """A worker's objects, then its run's; never those of others, nor of another ledger, nor kept ones."""
    mine = folder.ledger_id
    engine.add("container", "a", ledger=mine, session="s", worker="gw0", owner="o")
    engine.add("network", "b", ledger=mine, session="s", worker="gw1", owner="o")
    engine.add("volume", "kept", ledger=mine, session="s", worker="gw0", owner="o")
    engine.add("container", "c", ledger=mine, session="t", worker="gw0", owner="o")
    engine.add("container", "d", ledger="other", session="s", worker="gw0", owner="o")
    cleaner.keep(["kept"])
    cleaner.sweep_session("s", "gw0")
    assert engine.removed == ["a"]
    cleaner.sweep_session("s")
    assert engine.removed == ["a", "b"]
    assert cleaner.swept == Counter(container=1, network=1)
    assert SESSION != WORKER


def test_busy_objects_are_tried_again(cleaner: Cleaner, engine: MemoryEngine, folder: Folder) -> None:
    """What another process removes just now fails for a moment; what stays is an error."""
    engine.add("network", "n", ledger=folder.ledger_id, session="s", owner="o")
    engine.busy = 2
    cleaner.sweep_session("s")
    assert engine.objects == []
    engine.add("network", "n", ledger=folder.ledger_id, session="s", owner="o")
    engine.busy = 99
    with pytest.raises(EngineError, match="busy"):
        cleaner.sweep_session("s")


def dead_lease(**changes: Any) -> Lease:
    """Return a lease of the owner "dead"."""
    return replace(Lease(id="l", owner="dead", run="r", demand=Demand(), granted_s=0), **changes)


def test_a_dead_owner_is_removed(cleaner: Cleaner, engine: MemoryEngine, folder: Folder) -> None:
    """Its containers go, and the ledger is told whether they have."""
    engine.add("container", "a", ledger=folder.ledger_id, owner="dead")
    engine.add("container", "b", ledger=folder.ledger_id, owner="alive")
    assert cleaner.remove(dead_lease())
    assert engine.removed == ["a"]
    engine.add("container", "a", ledger=folder.ledger_id, owner="dead")
    engine.busy = 99
    assert not cleaner.remove(dead_lease())


def test_what_a_dead_owner_had_taken_over_is_removed(
    cleaner: Cleaner, engine: MemoryEngine, folder: Folder
) -> None:
    """It may have died before it removed containers whose room it took, and whose owner lives."""
    engine.add("container", "a", ledger=folder.ledger_id, owner="alive")
    taken = Evicted(id="m", owner="alive", run="r", demand=Demand(containers=2), containers=("a", "b"))
    assert cleaner.remove(dead_lease(evicted=(taken,)))
    assert engine.removed == ["a", "b"]


def test_a_dead_owner_counts_while_its_workers_live(
    cleaner: Cleaner, engine: MemoryEngine, folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Orphans that cannot be ended might create more: nothing is given back before."""
    record = RunRecord("r", DEAD, str(folder.path / "own"), "auto", "memory", "u")
    run_records.write(folder.runs, record)
    monkeypatch.setattr(run_records, "end_orphans", lambda run, wait_s: False)
    assert not cleaner.remove(dead_lease())
    monkeypatch.setattr(run_records, "end_orphans", lambda run, wait_s: True)
    assert cleaner.remove(dead_lease())


def test_only_dead_owners_are_swept(engine: MemoryEngine, folder: Folder, tmp_path: Path) -> None:
    """The ledger alone decides who lives; records of dead runs go with what they left, others stay."""
    mine = folder.ledger_id
    own = run_folder.make("gone", tmp_path)
    dead = RunRecord("gone", DEAD, str(own), "auto", "memory", "u")
    run_records.write(folder.runs, dead)
    run_records.write(
        folder.runs, replace(dead, session="elsewhere", identity="another engine", folder="/nowhere")
    )
    run_records.write(folder.runs, replace(dead, session="lives", folder="/nowhere"))
    run_records.write(
        folder.runs, replace(dead, session="here", controller=this_process(Path("unused")), folder="/nowhere")
    )
    with Ledger(folder, "memory", BUDGET) as ledger:
        ledger.open_run("lives")
        engine.add("container", "living", ledger=mine, owner=ledger.owner_id)
        engine.add("network", "dead", ledger=mine, owner="dead")
        engine.add("volume", "data", ledger=mine, owner="dead")
        engine.add("container", "nobody's", ledger=mine)
        engine.add("network", "foreign", ledger="other", owner="dead")
        swept = sweep_dead(folder, as_engine(engine))
    assert sorted(engine.removed) == ["data", "dead"]
    assert swept == Counter(network=1, volume=1)
    assert not own.exists()
    assert {each.session for each in run_records.records(folder.runs)} == {"elsewhere", "lives", "here"}


def test_containers_of_unknown_owners_are_purged(engine: MemoryEngine, folder: Folder) -> None:
    """They are counted as a stray lease first, and freed once they are gone."""
    engine.add("container", "stray", ledger=folder.ledger_id, owner="dead")
    with caretaker(folder, as_engine(engine)) as (ledger, _):
        assert engine.removed == ["stray"]
        snapshot = ledger.snapshot()
        assert snapshot is not None
        assert snapshot.leases == ()


def test_kept_containers_leave_when_asked_for(engine: MemoryEngine, folder: Folder, cleaner: Cleaner) -> None:
    """They outlive sweeps, are counted as a kept lease, and go with their files when they are asked for."""
    engine.add("container", "kept", ledger=folder.ledger_id, owner="dead")
    cleaner.keep(["kept", "gone already"])
    assert not sweep_dead(folder, as_engine(engine))
    with caretaker(folder, as_engine(engine)) as (ledger, _):
        snapshot = ledger.snapshot()
        assert snapshot is not None
        assert [each.kept for each in snapshot.leases] == [True]
    assert sweep_dead(folder, as_engine(engine), kept=True) == Counter(container=1)
    assert os.listdir(folder.kept("memory")) == []  # noqa: PTH208 (names are enough)
    with caretaker(folder, as_engine(engine)) as (ledger, _):
        snapshot = ledger.snapshot()
        assert snapshot is not None
        assert snapshot.leases == ()


def test_kept_files_stay_with_what_cannot_be_removed(
    engine: MemoryEngine, folder: Folder, cleaner: Cleaner
) -> None:
    """What the engine does not let go stays written down."""
    engine.add("container", "kept", ledger=folder.ledger_id, owner="dead")
    cleaner.keep(["kept"])
    engine.busy = 99
    with pytest.raises(EngineError):
        cleaner.sweep_kept()
    assert (folder.kept("memory") / "kept").exists()
