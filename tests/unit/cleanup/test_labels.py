"""The labels of what we create: made and read."""

from __future__ import annotations

import pytest

from pytest_clnrm.cleanup import labels


def test_labels_of_an_object() -> None:
    """They name ledger, run, owner, worker, and the scenario where it is one's alone."""
    made = labels.object_labels(ledger="l", session="s", owner="o", worker="gw0", scenario="a::b")
    assert made == {
        "pytest-clnrm.ledger": "l",
        "pytest-clnrm.session": "s",
        "pytest-clnrm.owner": "o",
        "pytest-clnrm.worker": "gw0",
        "pytest-clnrm.scenario": "a::b",
    }
    assert labels.SCENARIO not in labels.object_labels(ledger="l", session="s", owner="o", worker="gw0")


def test_limits_survive_the_way_through_labels() -> None:
    """What a container may use is read as it was written."""
    made = labels.limit_labels(memory_bytes=512 << 20, cpus=0.25, gpus=2)
    assert all(isinstance(value, str) for value in made.values())
    load = labels.load_of(made)
    assert (load.memory_bytes, load.cpus, load.gpus) == (512 << 20, 0.25, 2)


@pytest.mark.parametrize("text", ["", "much", "-1", "1e9", "²", "1.2.3", ".", "9" * 400])
def test_limits_of_another_form_count_as_nothing(text: str) -> None:
    """A label that is no plain number is not trusted, and breaks nothing."""
    load = labels.load_of({"pytest-clnrm.memory_bytes": text, "pytest-clnrm.cpus": text})
    assert (load.memory_bytes, load.cpus, load.gpus) == (0, 0.0, 0)


def test_labels_of_an_image_are_the_same_in_each_run() -> None:
    """They name the ledger alone, under a key that makes no container of somebody else one of ours."""
    made = labels.image_labels("l")
    assert list(made.values()) == ["l"]
    assert not set(made) & set(labels.object_labels(ledger="l", session="s", owner="o", worker="w"))


def test_owner_of_a_lease() -> None:
    """A lease's id begins with its owner's."""
    assert labels.owner_of("17-abc-def") == "17-abc"
    assert labels.owner_of("") == ""
