"""What a process keeps of its containers, and what it removes while it goes on."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from pytest_clnrm.errors import EngineError
from pytest_clnrm.pool.idle_leases import Leftover
from pytest_clnrm.pool.shelf import Shelf


class Engine:
    """Removes containers once it may; one named "stuck" never goes."""

    def __init__(self) -> None:
        self.may = threading.Event()
        self.may.set()
        self.removed: list[str] = []

    def remove(self, containers: Sequence[str]) -> None:
        assert self.may.wait(10)
        if "stuck" in containers:
            raise EngineError("cannot remove")
        self.removed += containers


@pytest.fixture
def engine() -> Engine:
    """Return an engine that removes."""
    return Engine()


@pytest.fixture
def released() -> list[str]:
    """Return the leases that were given back."""
    return []


@pytest.fixture
def make(engine: Engine, released: list[str]) -> Iterator[Callable[[int], Shelf]]:
    """Return what makes a shelf of a size."""
    shelves: list[Shelf] = []

    def make(size: int) -> Shelf:
        shelves.append(Shelf(engine.remove, released.append, size=size))
        return shelves[-1]

    yield make
    engine.may.set()
    for shelf in shelves:
        shelf.close()


def box(name: str) -> Any:
    """Return a container."""
    return SimpleNamespace(id=name)


def test_what_is_kept_is_used_once(make: Callable[[int], Shelf], released: list[str]) -> None:
    """A set is taken by its lease, and then no longer there."""
    shelf = make(1)
    shelf.put("l1", {"web": box("c1")}, [])
    assert shelf.take(["l1"]) == ({"web": box("c1")}, ())
    assert shelf.take(["l1"]) == ({}, ())
    assert released == []


def test_the_longest_unused_goes(make: Callable[[int], Shelf], engine: Engine, released: list[str]) -> None:
    """Beyond its size the shelf removes a set and gives its lease back, without keeping anyone waiting."""
    shelf = make(2)
    engine.may.clear()
    for number in range(3):
        shelf.put(f"l{number}", {"box": box(f"c{number}")}, [])
    engine.may.set()
    shelf.close()
    assert engine.removed == ["c0", "c1", "c2"]
    assert released == ["l0"]


def test_what_is_not_kept_is_removed_aside(
    make: Callable[[int], Shelf], engine: Engine, released: list[str]
) -> None:
    """Removal does not hold up who puts; the lease is given back when all of it is gone."""
    shelf = make(1)
    engine.may.clear()
    shelf.put("l1", {}, ["c1", "c2"])
    assert (engine.removed, released) == ([], [])
    engine.may.set()
    shelf.close()
    assert (engine.removed, released) == (["c1", "c2"], ["l1"])


def test_who_takes_waits_for_the_rest_to_go(
    make: Callable[[int], Shelf], engine: Engine, released: list[str]
) -> None:
    """Of a set that is kept in part the other containers are gone before it is used."""
    shelf = make(1)
    engine.may.clear()
    shelf.put("l1", {"box": box("c1")}, ["db"])
    threading.Timer(0.05, engine.may.set).start()
    assert shelf.take(["l1"]) == ({"box": box("c1")}, ())
    assert engine.removed == ["db"]
    shelf.close()
    assert released == []


def test_room_that_was_taken(make: Callable[[int], Shelf], engine: Engine, released: list[str]) -> None:
    """Containers whose room was taken are removed, of whatever process, and are not used any more."""
    shelf = make(2)
    shelf.put("l1", {"box": box("c1")}, [])
    shelf.put("l2", {"box": box("c2")}, [])
    shelf.remove(["c1", "of another process"])
    assert engine.removed == ["c1", "of another process"]
    assert shelf.take(["l1", "l2"]) == ({"box": box("c2")}, ())
    assert released == []


def test_room_that_cannot_be_had_is_an_error(make: Callable[[int], Shelf]) -> None:
    """Whoever took the room is told that it is not free."""
    with pytest.raises(EngineError, match="cannot remove"):
        make(1).remove(["stuck"])


def test_what_cannot_be_removed_goes_on_counting(make: Callable[[int], Shelf], released: list[str]) -> None:
    """Its lease is not given back; closing does not fail either."""
    shelf = make(1)
    shelf.put("l1", {}, ["stuck"])
    shelf.put("l2", {"box": box("stuck")}, [])
    shelf.close()
    assert released == []


def test_who_takes_is_told_what_could_not_be_removed(make: Callable[[int], Shelf]) -> None:
    """What is still there of a set that is kept in part is not passed over in silence."""
    shelf = make(1)
    shelf.put("l1", {"box": box("c1")}, ["stuck"])
    assert shelf.take(["l1"]) == ({"box": box("c1")}, ("stuck",))


def test_a_leftover_crosses_processes() -> None:
    """Its data is exact builtins, from which the same comes back."""
    leftover = Leftover(lease="l", worker="gw0", specification="s", containers=("a", "b"))
    data = leftover.to_data()
    assert {type(value) for value in data.values()} == {str, list}
    assert Leftover.from_data(data) == leftover


def test_what_stays_for_the_next_run(make: Callable[[int], Shelf], engine: Engine) -> None:
    """It is asked for each container that is all there is under its lease; the others are removed."""
    shelf = make(9)
    asked: list[str] = []

    def stays(container: Any) -> bool:
        asked.append(container.id)
        return bool(container.id == "stays")

    shelf.put("l1", {"box": box("stays")}, [], stays=stays)
    shelf.put("l2", {"box": box("goes")}, [], stays=stays)
    shelf.put("l3", {"box": box("two"), "other": box("of them")}, [], stays=stays)
    shelf.put("l4", {"box": box("not alone")}, ["removed before"], stays=stays)
    shelf.put("l5", {"box": box("not asked")}, [])
    shelf.close()
    assert asked == ["stays", "goes"]
    assert sorted(engine.removed) == sorted(
        ["removed before", "goes", "two", "of them", "not alone", "not asked"]
    )
