"""How a scenario waits for room that others want too."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pytest_clnrm.errors import EngineFullError, LostContainerError, NoRoomError, SlotTimeoutError
from pytest_clnrm.model.priority import Priority
from pytest_clnrm.runner import launch
from pytest_clnrm.runner.room import Room
from pytest_clnrm.runner.sharing.record import SharedRecord
from pytest_clnrm.util.use_lock import in_use

removed: list[str] = []
"""Ids of the shared containers that were ended."""


def room(
    folder: Path | None,
    index: int = 0,
    priority: Priority = Priority.NORMAL,
    *,
    held: int = 0,
    of_fixtures: Sequence[str] = (),
    check: Callable[[], None] = lambda: None,
    **settings: Any,
) -> Room:
    """Return the room of a scenario of three containers, in a process that holds others already."""
    board = SimpleNamespace(
        at=lambda *_: None, during=lambda *_: nullcontext(), status=SimpleNamespace(containers=held)
    )
    runtime: Any = SimpleNamespace(
        holdings=SimpleNamespace(
            current=lambda: SimpleNamespace(index=index), fixtures_containers=lambda: of_fixtures
        ),
        run_folder=None if folder is None else lambda: folder,
        board=board,
        settings=SimpleNamespace(**{"slot_timeout_s": None, "timeout_s": 300.0, **settings}),
        next_name=lambda: "next",
        remove=removed.extend,
    )
    return Room(runtime, priority, 3, check)


def test_who_has_nothing_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However long: it is in nobody's way. That is no time of the scenario."""
    monkeypatch.setattr("pytest_clnrm.runner.room.PART_S", -1.0)
    with room(tmp_path) as mine:
        mine.begin("clnrm-s-gw0-1")
        assert (mine.name, mine.containers, mine.waited_s) == ("clnrm-s-gw0-1", 3, 0)
        began_s = time.monotonic()
        for container in ("a", "b", "c") * 2:
            mine.lacks(container, "full", is_made=True)
        for container in ("a", "b", "c"):
            mine.has_room(container)
        assert 0 < mine.waited_s <= time.monotonic() - began_s


@pytest.mark.parametrize("is_made", [True, False])
def test_a_part_is_given_up(*, is_made: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After some time: another run may hold the rest, and wait for this part."""
    with room(tmp_path) as mine:
        mine.begin("one")
        if is_made:
            mine.has_room("a")
        else:
            # It is there, waits for a node, and counts for the quota by which the other one is refused.
            mine.lacks("a", "full", is_made=True)
        mine.lacks("b", "full", is_made=is_made)
        monkeypatch.setattr("pytest_clnrm.runner.room.PART_S", 0.0)
        with pytest.raises(NoRoomError, match="b has no room: only a part of it was had: full"):
            mine.lacks("b", "full", is_made=is_made)
        # Those of its threads that wait too hear of it.
        with pytest.raises(NoRoomError):
            mine.lacks("c", "full", is_made=is_made)
        mine.give_up()
        assert mine.waited_s > 0
        mine.begin("two")
        mine.lacks("b", "full", is_made=True)
    assert issubclass(NoRoomError, EngineFullError)


def test_of_a_run_the_first_one_waits(tmp_path: Path) -> None:
    """By priority, then by place; all others give up what they have, and begin when it is their turn."""
    with room(tmp_path, 1) as late:
        late.begin("late")
        late.has_room("x")
        late.lacks("y", "full", is_made=True)
        with room(tmp_path, 2, Priority.HIGH) as early:
            early.lacks("a", "full", is_made=False)
            with pytest.raises(NoRoomError, match="others of this run, which come first, need it"):
                late.lacks("y", "full", is_made=True)
            late.give_up()
            with room(tmp_path, 3, slot_timeout_s=0.0) as last, pytest.raises(SlotTimeoutError):
                last.begin("last")
        began_s = time.monotonic()
        late.begin("again")
        assert time.monotonic() - began_s < 5
    with room(tmp_path, 3) as last:
        last.begin("last")


def test_who_holds_something_comes_first(tmp_path: Path) -> None:
    """It cannot give that up, and others may wait for it; but two of those may wait for one another."""
    with room(tmp_path, 1, Priority.HIGH) as high, room(tmp_path, 2, Priority.LOW, held=1) as holder:
        high.begin("high")
        high.lacks("a", "full", is_made=True)
        holder.lacks("b", "full", is_made=False)
        with pytest.raises(NoRoomError, match="others of this run, which come first, need it"):
            high.lacks("a", "full", is_made=True)
        holder.has_room("b")
    with room(tmp_path, 1) as other, room(tmp_path, 2, of_fixtures=["store"]) as holder:
        other.lacks("a", "full", is_made=True)
        holder.lacks("b", "full", is_made=False)
    with room(tmp_path, held=1, timeout_s=0.0) as holder:
        said = r"full \(--clnrm-timeout, as this worker holds containers meanwhile\)"
        with pytest.raises(SlotTimeoutError, match=f"no room on the cluster: {said}"):
            holder.lacks("b", "full", is_made=False)


def test_starting_until_there_is_room(tmp_path: Path) -> None:
    """What was started in vain is undone, and started anew under another name."""
    done: list[str] = []

    def start(name: str) -> None:
        done.append(name)
        if len(done) == 1:
            raise NoRoomError("full")

    with room(tmp_path) as mine:
        mine.start("one", start, lambda: done.append("undone"))
    assert done == ["one", "undone", "next"]


def test_who_is_not_waited_for_any_more(tmp_path: Path) -> None:
    """It waits no longer, whatever room there is."""

    def check() -> None:
        raise LostContainerError("nobody waits")

    with room(tmp_path, check=check) as mine:
        mine.begin("one")
        with pytest.raises(LostContainerError, match="nobody waits"):
            mine.lacks("a", "full", is_made=True)


def share(folder: Path, lease: str, container: str) -> Path:
    """Note a shared container, and return the file by which its users keep it."""
    shared = folder / "shared"
    shared.mkdir(exist_ok=True)
    SharedRecord(id=container).write(shared / f"{lease}.json")
    SharedRecord(failed="no such image").write(shared / "k1.failed.json")
    return shared / f"{lease}.users"


def test_what_nobody_uses_is_ended_for_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who is first, and waits for some time, ends the shared containers that nobody uses at the moment."""
    removed.clear()
    idle, used = share(tmp_path, "l1", "idle"), share(tmp_path, "l2", "used")
    with room(tmp_path, 1) as mine:
        mine.begin("one")
        with in_use(used):
            mine.lacks("a", "full", is_made=True)
            assert removed == [], "it may be needed in a moment"
            monkeypatch.setattr("pytest_clnrm.runner.room.PART_S", -1.0)
            with room(tmp_path, 2) as late, pytest.raises(NoRoomError):
                late.lacks("x", "full", is_made=True)
            assert removed == [], "others come first"
            mine.lacks("a", "full", is_made=True)
            assert removed == ["idle"]
        mine.lacks("a", "full", is_made=True)
        assert removed == ["idle", "used"]
        mine.lacks("a", "full", is_made=True)
    assert removed == ["idle", "used"], "once"
    assert SharedRecord.read(idle.with_suffix(".json")) is None, "the next user starts it anew"


def test_another_run_gets_what_was_shared_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A scenario that has nothing but shared containers has a part, which may be in another run's way."""
    removed.clear()
    users = share(tmp_path, "l1", "store")
    monkeypatch.setattr("pytest_clnrm.runner.room.PART_S", 0.0)
    with room(tmp_path) as mine:
        mine.begin("one")
        with in_use(users):
            mine.has_room("store")
            mine.lacks("a", "full", is_made=False)
            with pytest.raises(NoRoomError, match="only a part of it was had"):
                mine.lacks("a", "full", is_made=False)
            assert removed == []
        mine.give_up()
    assert removed == ["store"]


def test_who_waits_for_what_another_starts_makes_way(tmp_path: Path) -> None:
    """That one may wait for the room of this one."""
    with room(tmp_path, 1) as mine, room(tmp_path, 2) as starter:
        mine.begin("one")
        mine.make_way("store")
        starter.begin("two")
        starter.lacks("store", "full", is_made=True)
        with pytest.raises(NoRoomError, match="'store' waits for room: others of this run, which come first"):
            mine.make_way("store")
        starter.make_way("store")


def test_what_takes_too_long(tmp_path: Path) -> None:
    """It is told with what the cluster says."""
    with room(tmp_path, slot_timeout_s=0.0) as mine:
        mine.begin("one")
        with pytest.raises(SlotTimeoutError, match=r"no room on the cluster: full \(--clnrm-slot-timeout\)"):
            mine.lacks("a", "full", is_made=True)


def test_without_a_folder_of_the_run(tmp_path: Path) -> None:
    """Where nothing else of the run knows of it, it is the first."""
    with room(None) as mine:
        mine.begin("one")
        mine.lacks("a", "full", is_made=True)
        mine.has_room("a")
    assert list(tmp_path.iterdir()) == []


def test_the_time_of_a_start() -> None:
    """Waiting for room is none of it, and what the cluster takes away meanwhile is the cluster's fault."""
    admission = SimpleNamespace(waited_s=2.0)
    running: Any = SimpleNamespace(
        id="c", attributes={}, service=SimpleNamespace(name="db"), spec=SimpleNamespace(admission=admission)
    )
    trace: Any = SimpleNamespace(span=lambda *_: nullcontext())
    asked: list[float] = []

    def start(_: str, *, deadline_s: float) -> None:
        asked.append(deadline_s)
        admission.waited_s += 3

    engine: Any = SimpleNamespace(start=start)
    assert launch._start(engine, running, trace, 100.0) == 105
    assert asked == [102]

    def lose(_: str, *, deadline_s: float) -> None:
        raise LostContainerError("its node is lost")

    engine.start = lose
    with pytest.raises(LostContainerError, match="service 'db': its node is lost"):
        launch._start(engine, running, trace, 100.0)
