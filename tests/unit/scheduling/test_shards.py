"""Dividing a collection: what stays together, balance, and that order changes nothing."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_clnrm.scheduling.shards import divide, parts_of

ITEMS = [(f"a.py::t{number}", f"a.py::t{number}") for number in range(7)]


def test_files_stay_together_and_scenarios_do_not() -> None:
    """A file is a part; a scenario is one by itself, unless any of its file shares a container there."""
    assert parts_of(
        [
            ("a.py::x", "a.py", False),
            ("a.py::y", "a.py", False),
            ("b.toml::one", "b.toml", True),
            ("b.toml::two", "b.toml", True),
            ("c.toml::one", "c.toml", True),
            ("c.toml::two", "c.toml", False),
        ]
    ) == [
        ("a.py::x", "a.py"),
        ("a.py::y", "a.py"),
        ("b.toml::one", "b.toml::one"),
        ("b.toml::two", "b.toml::two"),
        ("c.toml::one", "c.toml"),
        ("c.toml::two", "c.toml"),
    ]


def test_without_times_shards_are_balanced_by_count() -> None:
    """The first shards have one more; nothing is said of their times."""
    found = divide(ITEMS, {}, 3)
    assert found.shards == (1, 2, 3, 1, 2, 3, 1)
    assert found.parts == 7
    assert found.known == 0
    assert found.expected_s == ()


def test_the_longest_goes_first_to_who_has_least() -> None:
    """Parts of 5, 4, 3, 3 and 3 seconds: the last one goes to the second of two with the same."""
    times = dict(zip((name for name, _ in ITEMS), (3.0, 5.0, 3.0, 4.0, 3.0), strict=False))
    found = divide(ITEMS[:5], times, 2)
    assert found.shards == (2, 1, 1, 2, 2)
    assert found.expected_s == (8.0, 10.0)
    assert found.known == 5


def test_what_is_not_known_takes_as_long_as_the_others() -> None:
    """One new test among known ones counts as their average."""
    found = divide(ITEMS[:3], {ITEMS[0][0]: 2.0, ITEMS[1][0]: 4.0}, 3)
    assert found.shards == (3, 1, 2)
    assert found.expected_s == (4.0, 3.0, 2.0)
    assert found.known == 2


def test_what_takes_no_time_is_divided_by_count() -> None:
    """Zeros do not pile up on the first shard."""
    times = dict.fromkeys((name for name, _ in ITEMS), 0.0)
    assert sorted(divide(ITEMS, times, 7).shards) == [1, 2, 3, 4, 5, 6, 7]


def test_more_shards_than_parts() -> None:
    """Those that are left over are empty."""
    assert divide(ITEMS[:2], {}, 4).shards == (1, 2)
    assert divide([], {}, 4).shards == ()


def test_digests_tell_the_collection_and_how_it_is_divided() -> None:
    """Order changes neither; another item changes both, another history the division alone."""
    known = {ITEMS[6][0]: 9.0}
    one, mixed = divide(ITEMS, known, 2), divide(ITEMS[::-1], known, 2)
    assert (one.collection, one.division) == (mixed.collection, mixed.division)
    fewer, otherwise = divide(ITEMS[:6], known, 2), divide(ITEMS, {ITEMS[0][0]: 9.0, ITEMS[1][0]: 1.0}, 2)
    assert fewer.collection != one.collection
    assert otherwise.collection == one.collection
    assert otherwise.division != one.division


@given(
    st.lists(st.tuples(st.integers(0, 30), st.sampled_from("abcdefg")), max_size=40),
    st.dictionaries(st.integers(0, 30), st.floats(0, 1e4)),
    st.integers(1, 9),
    st.randoms(use_true_random=False),
)
def test_every_item_is_in_one_shard_with_its_part_in_any_order(
    drawn: list[tuple[int, str]], times: dict[int, float], shards: int, chance: random.Random
) -> None:
    """Items of a part are together, and another order of the collection gives each item the same shard."""
    items = [(f"{part}::{number}", part) for number, part in drawn]
    durations = {f"{part}::{number}": seconds for number, seconds in times.items() for part in "abc"}
    placed = dict(zip(items, divide(items, durations, shards).shards, strict=True))
    assert set(placed.values()) <= set(range(1, shards + 1))
    assert len({(part, number) for (_, part), number in placed.items()}) == len({part for _, part in items})
    mixed = chance.sample(items, len(items))
    assert dict(zip(mixed, divide(mixed, durations, shards).shards, strict=True)) == placed


@pytest.mark.parametrize("shards", [2, 3, 5])
def test_balance(shards: int) -> None:
    """No shard has more than another one by more than the longest part: what the rule promises."""
    chance = random.Random(7)  # noqa: S311 (test data)
    items = [(f"m{number}.py::t", f"m{number}.py") for number in range(60)]
    times = {name: chance.expovariate(1 / 20) for name, _ in items}
    expected = divide(items, times, shards).expected_s
    assert max(expected) - min(expected) <= max(times.values())
