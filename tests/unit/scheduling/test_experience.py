"""The order by what is expected of items, with groups kept together."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from pytest_clnrm.scheduling.experience import arranged

PATHS = st.lists(st.sampled_from(["m1", "m2", "c1", "c2"]).map(lambda name: (name,)), max_size=2).map(tuple)


def test_slowest_first() -> None:
    """Single items go by their own time, groups by the sum of theirs; what is not known comes first."""
    module = (("module", "a"),)
    paths = [(), module, (), module, ()]
    assert arranged(paths, [3.0, 1.0, 5.0, 3.0, math.inf], highest=False) == [4, 2, 3, 1, 0]


def test_likely_to_fail_first() -> None:
    """A group goes by the likeliest failure in it; equals keep their order."""
    module, in_class = (("module", "a"),), (("module", "a"), ("class", "C"))
    paths = [(), module, in_class, module, in_class, ()]
    assert arranged(paths, [0.1, 0.1, 0.2, 0.3, 0.9, 0.1], highest=True) == [4, 2, 3, 1, 0, 5]


@given(st.lists(st.tuples(PATHS, st.sampled_from([0.0, 1.0, 2.0, math.inf])), max_size=12), st.booleans())
def test_groups_stay_together(
    items: list[tuple[tuple[tuple[str], ...], float]],
    highest: bool,  # noqa: FBT001 (Hypothesis gives it)
) -> None:
    """Each item comes once, the members of a group one after the other, and sorting again changes nothing."""
    paths, values = [path for path, _ in items], [value for _, value in items]
    order = arranged(paths, values, highest=highest)
    assert sorted(order) == list(range(len(items)))
    for depth in (1, 2):
        groups = [paths[index][:depth] for index in order if len(paths[index]) >= depth]
        starts = [
            paths[index][:depth]
            for at, index in enumerate(order)
            if len(paths[index]) >= depth
            and (at == 0 or paths[order[at - 1]][:depth] != paths[index][:depth])
        ]
        assert len(starts) == len(set(groups))
    again = arranged([paths[index] for index in order], [values[index] for index in order], highest=highest)
    assert again == list(range(len(items)))
