"""The queue: order, levels, chunks, taking from others' chunks."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_clnrm.scheduling.facts import ItemFacts
from pytest_clnrm.scheduling.work_queue import WorkQueue

DEMAND = {"slots": 1}


def queue(spec: str, workers: int = 2, **options: int) -> WorkQueue[str]:
    """Return a queue of "file priority [!]" words, for example ``a1 a1! b2``; workers are w0, w1, ..."""
    words = spec.split()
    facts = [ItemFacts(int(word[1]), DEMAND if word.endswith("!") else None) for word in words]
    work: WorkQueue[str] = WorkQueue([word[0] for word in words], facts, workers=workers, **options)
    for number in range(workers):
        work.join(f"w{number}")
    return work


def next_plain(work: WorkQueue[str], worker: str) -> list[int]:
    """Hand the best plain item out to *worker*."""
    pick = work.best_plain(worker)
    assert pick is not None
    return work.hand_out_plain(worker, pick, alone=True)


def test_chunks_are_of_one_file_and_level() -> None:
    """Workers get chunks of their own file, one item at a time."""
    work = queue("a1 a1 b1 b1 b2")
    assert [next_plain(work, "w0"), next_plain(work, "w1")] == [[0], [2]]
    work.ended("w0", 0, 1.0)
    assert next_plain(work, "w0") == [1]
    assert list(work.holding("w1").reserve) == [3]


def test_chunk_has_the_size_of_load() -> None:
    """A chunk is a fourth of a worker's share, at least two, at most --maxschedchunk."""
    for options, size in (({}, 10), ({"max_chunk": 3}, 3)):
        work = queue("a1 " * 80, **options)
        next_plain(work, "w0")
        assert len(work.holding("w0").reserve) == size - 1


def test_idle_worker_takes_half_of_the_longest_chunk() -> None:
    """Nothing of a lower level starts while another worker's chunk has something of a higher one."""
    work = queue("a1 " * 20 + "b2", workers=2, max_chunk=20)
    next_plain(work, "w0")
    next_plain(work, "w1")
    assert work.holding("w0").reserve[0] == 1
    while work.holding("w1").reserve:
        work.ended("w1", work.holding("w1").sent[0], 1.0)
        next_plain(work, "w1")
    work.ended("w1", work.holding("w1").sent[0], 1.0)
    pick = work.best_plain("w1")
    assert pick is not None
    assert pick.level == 0


def test_head_comes_in_its_place() -> None:
    """An item with a demand comes before later plain ones, and after earlier ones."""
    work = queue("a1 a1! a1 b2")
    assert work.before(work.head("w0"), work.best_plain("w0")) is None
    next_plain(work, "w0")
    assert work.before(work.head("w0"), None) == 1
    work.put_back(0)
    other = work.best_plain("w1")
    assert work.before(work.head("w1"), other) is None
    assert queue("a1! a1").before(0, queue("a1! a1").best_plain("w0")) == 0
    assert queue("a1").before(None, None) is None


def test_head_before_anothers_chunk_of_its_level_only() -> None:
    """Another's chunk is left alone for a head of the same level, and comes before one of a lower level."""
    for head, expected in (("a1!", 4), ("a2!", None)):
        work = queue(f"a1 a1 a1 a1 {head}", max_chunk=4)
        next_plain(work, "w0")
        # The chunk of two is w0's; w1 would take the rest of the queue first.
        while (pick := work.best_plain("w1")) is not None and pick.source == "queue":
            work.hand_out_plain("w1", pick, alone=True)
        while work.holding("w1").reserve:
            next_plain(work, "w1")
        assert pick is not None
        assert work.before(work.head("w1"), work.best_plain("w1")) == expected


def test_quick_items_go_together_but_not_at_a_levels_end() -> None:
    """Items that take far less than an exchange are handed out together while there are plenty."""
    work = queue("a1 " * 200)
    next_plain(work, "w0")
    work.ended("w0", 0, 0.001)
    pick = work.best_plain("w0")
    assert pick is not None
    assert work.hand_out_plain("w0", pick, alone=False) == list(range(1, 11))
    short = queue("a1 " * 8)
    next_plain(short, "w0")
    short.ended("w0", 0, 0.001)
    pick = short.best_plain("w0")
    assert pick is not None
    assert short.hand_out_plain("w0", pick, alone=False) == [1]


def test_leaving_worker_gives_back_what_it_had_not_started() -> None:
    """All but the first of what a worker was handed goes back to its place; levels stay apart in a chunk."""
    work = queue("a0 a0 a1 a1 b1!", workers=2)
    next_plain(work, "w0")
    assert work.leave("w0") == [0]
    assert "w0" not in work
    assert (work.waiting, work.running) == (4, 0)
    assert next_plain(work, "w1") == [1]


def test_half_is_taken_of_the_highest_level_only() -> None:
    """What was put back before the rest of a chunk is taken before that rest."""
    work = queue("a0 a1 a1 a1 a1 b1", workers=2, max_chunk=5)
    next_plain(work, "w0")
    while (pick := work.best_plain("w0")) is not None and pick.source == "queue":
        work.hand_out_plain("w0", pick, alone=True)
    work.holding("w0").reserve.appendleft(0)
    pick = work.best_plain("w1")
    assert pick is not None
    assert pick.source == "other"
    rest = list(work.holding("w0").reserve)[1:]
    assert work.hand_out_plain("w1", pick, alone=True) == [0]
    assert list(work.holding("w0").reserve) == rest
    assert rest


def test_item_waits_until_higher_ones_have_started() -> None:
    """What was handed out holds lower levels back until it has started, has ended, or its worker is gone."""
    for end in ("started", "ended", "left"):
        work = queue("a0 b1 c0!")
        next_plain(work, "w0")
        assert (work.must_wait(1), work.must_wait(0)) == (True, False)
        if end == "started":
            work.started(0)
        elif end == "ended":
            work.ended("w0", 0, 1.0)
        else:
            work.leave("w0")
        assert not work.must_wait(1)


def test_ending_an_item_that_was_not_handed_out() -> None:
    """A worker cannot end what it does not have."""
    with pytest.raises(ValueError, match="not in deque"):
        queue("a1").ended("w0", 0, 1.0)


@settings(deadline=None)
@given(
    words=st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 2), st.booleans()), max_size=40),
    choices=st.lists(st.integers(0, 3), max_size=200),
    workers=st.integers(1, 4),
)
def test_every_item_once_and_no_inversion(
    words: list[tuple[str, int, bool]], choices: list[int], workers: int
) -> None:
    """Whatever ends when: all items are handed out once, and none while a higher one waits."""
    words.sort(key=lambda word: word[1])
    work = queue(" ".join(f"{file}{prio}{'!' * demands}" for file, prio, demands in words), workers=workers)
    order: list[int] = []
    for choice in [*choices, *range(4 * len(words) + 4)]:
        worker = f"w{choice % workers}"
        holding = work.holding(worker)
        if holding.sent:
            work.ended(worker, holding.sent[0], 1.0)
            continue
        pick = work.best_plain(worker)
        head = work.before(work.head(worker), pick)
        if head is not None:
            work.hand_out_demanding(worker, head)
            order.append(head)
        elif pick is not None:
            order += work.hand_out_plain(worker, pick, alone=False)
    assert sorted(order) == list(range(len(words)))
    priorities = [words[index][1] for index in order]
    assert priorities == sorted(priorities)


def test_a_full_group_is_passed_over() -> None:
    """On its own worker the next of the group comes when the last one ends; elsewhere others come first."""
    db: dict[str, Any] = {"containers": 1, "groups": [{"name": "db", "limit": 1}]}
    facts = [ItemFacts(demand=each) for each in (db, db, {"containers": 1}, db)]
    work: WorkQueue[str] = WorkQueue(["a"] * len(facts), facts, workers=2)
    work.join("w0")
    work.join("w1")
    assert work.head("w1") == 0
    work.hand_out_demanding("w0", 0)
    assert (work.head("w0"), work.head("w1")) == (1, 2)
    assert work.foresee("w1", passing=False) == 2
    work.hand_out_demanding("w1", 2)
    # Nothing else is left: it waits for its group as others wait for room.
    assert work.head("w1") == 1
    work.bind_demanding("w0", 1)
    work.ended("w0", 0, 1.0)
    assert work.head("w1") == 3
