"""Values of settings: what each function accepts, and what it says of the rest."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pytest_clnrm.model.priority import Priority
from pytest_clnrm.settings import values

PULL = values.Choice("a pull policy", "always", "missing", "never")


@pytest.mark.parametrize(
    ("parse", "given", "expected"),
    [
        (values.container_memory, "512", 512 * 1024**2),
        (values.container_memory, 6, 6 * 1024**2),
        (values.container_memory, "1g", 1024**3),
        (values.cpus, "2", 2.0),
        (values.cpus, ".5", 0.5),
        (values.cpus, 3, 3.0),
        (values.cpus, 0.01, 0.01),
        (values.cpus, 10**400, float(values.MAX_COUNT)),
        (values.count, " 7 ", 7),
        (values.count, 1, 1),
        (values.shard, " 2/3 ", (2, 3)),
        (values.duration, "0", 0.0),
        (values.positive_duration, "1.5m", 90.0),
        (values.text, " a b ", "a b"),
        (values.path, "a/b", Path("a/b")),
        (values.path, "~/x", Path.home() / "x"),
        (values.switch, True, True),
        (values.switch, "Yes", True),
        (values.switch, "0", False),
        (PULL, " never ", "never"),
        (values.priority, "low", Priority.LOW),
        (values.engine, "auto", "auto"),
        (values.engine, "embedded", "embedded"),
        (values.engine, "unix:///run/docker.sock", "unix:///run/docker.sock"),
        (values.group_limit, " data-base=12", ("data-base", 12)),
        (values.image_mapping, "postgres:*=mirror/postgres:16", ("postgres:*", "mirror/postgres:16")),
        (values.image_mapping, "*=mirror/*", ("*", "mirror/*")),
        (values.items, ["a b", 1], ["a b", 1]),
        (values.items, "a 'b c'\n d", ["a", "b c", "d"]),
        (values.items, "", []),
    ],
)
def test_accepted(parse: Callable[[object], Any], given: object, expected: object) -> None:
    """Text and native values mean the same."""
    assert parse(given) == expected


@pytest.mark.parametrize(
    ("parse", "given", "message"),
    [
        (values.container_memory, "12x", "'12x' is not a size: a whole number of MB such as 512"),
        (values.container_memory, "5m", "'5m' is too little for a container: at least 6m"),
        (values.shard, "4/3", "'4/3' is not a shard: K/N with 1 <= K <= N <= 9999, such as 2/3"),
        (values.shard, 2, "2 is not a shard: K/N with 1 <= K <= N <= 9999, such as 2/3"),
        (values.cpus, "many", "'many' is not a number of CPUs: at least 0.01, such as 0.5 or 2"),
        (values.cpus, 0, "0 is not a number of CPUs: at least 0.01"),
        (values.cpus, -1.0, "-1.0 is not a number of CPUs: at least 0.01"),
        (values.cpus, float("nan"), "nan is not a number of CPUs: at least 0.01"),
        (values.cpus, float("inf"), "inf is not a number of CPUs: at least 0.01"),
        (values.cpus, True, "True is not a number of CPUs: at least 0.01"),
        (values.cpus, [], "[] is not a number of CPUs: at least 0.01"),
        (values.count, "0", "'0' is not a count: a whole number of at least 1"),
        (values.count, "1.5", "'1.5' is not a count: a whole number of at least 1"),
        (values.count, "1_0", "'1_0' is not a count: a whole number of at least 1"),
        (values.count, True, "True is not a count: a whole number of at least 1"),
        (values.count, 10**9, "1000000000 is not a count: a whole number of at least 1"),
        (values.duration, "soon", "'soon' is not a time: a number of seconds such as 90"),
        (values.positive_duration, "0s", "'0s' leaves no time: a number of seconds such as 90"),
        (values.text, " ", "' ' is not a text: at least one character"),
        (values.text, 3, "3 is not a text: at least one character"),
        (values.path, "", "'' is not a path: a folder or file, ~ for your home"),
        (values.path, "~nobody-of-that-name/x", "'~nobody-of-that-name/x' is not a path: a folder or file"),
        (values.switch, "maybe", "'maybe' is not a switch: true or false"),
        (values.switch, 1, "1 is not a switch: true or false"),
        (PULL, "sometimes", "'sometimes' is not a pull policy: always, missing or never"),
        (PULL, 1, "1 is not a pull policy: always, missing or never"),
        (values.priority, "urgent", "'urgent' is not a priority: high, normal or low"),
        (
            values.engine,
            "podman",
            "'podman' is not an engine: auto, embedded, kubernetes or a URL such as unix:///",
        ),
        (values.engine, 1, "1 is not an engine: auto, embedded, kubernetes or a URL"),
        (values.group_limit, "a=0", "'a=0' is not a limit of a group: NAME=N with N of at least 1, such as"),
        (values.group_limit, "a b=1", "'a b=1' is not a limit of a group: NAME=N"),
        (values.group_limit, 3, "3 is not a limit of a group: NAME=N"),
        (values.image_mapping, "postgres", "'postgres' is not a mapping of images: OLD=NEW, such as"),
        (values.image_mapping, "a=b c", "'a=b c' is not a mapping of images: OLD=NEW, such as"),
        (values.image_mapping, "a=b/*", "'a=b/*' does not tell what the * in b/* stands for: write one * in"),
        (values.image_mapping, "*/*=b/*", "'*/*=b/*' does not tell what the * in b/* stands for"),
        (values.image_mapping, "a?*=b/*", "'a?*=b/*' does not tell what the * in b/* stands for"),
        (values.image_mapping, "*=b/*:*", "'*=b/*:*' does not tell what the * in b/*:* stands for"),
        (values.image_mapping, 1, "1 is not a mapping of images: OLD=NEW, such as"),
        (values.items, 'a "b', "'a \"b' is not a list: no closing quotation"),
        (values.items, 5, "5 is not a list: a list of texts, or one text with blanks between them"),
    ],
)
def test_refused(parse: Callable[[object], Any], given: object, message: str) -> None:
    """The message names the value and says what is allowed."""
    with pytest.raises(ValueError) as caught:  # noqa: PT011  # the message is compared below
        parse(given)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(("value", "expected"), [("0", 0), (0, 0), ("3", 3), (3, 3)])
def test_a_count_may_be_zero(value: object, expected: int) -> None:
    """A number of GPUs may be 0."""
    assert values.count_or_zero(value) == expected


@pytest.mark.parametrize("value", ["-1", "x", 1.5, ""])
def test_a_wrong_count_or_zero(value: object) -> None:
    """Anything else names what is allowed."""
    with pytest.raises(ValueError, match="is not a count: a whole number of at least 0"):
        values.count_or_zero(value)


@pytest.mark.parametrize(
    ("value", "told"), [("101", "'101' is too often: from 0 to 100"), (-1, "at least 0")]
)
def test_a_wrong_number_of_retries(value: object, told: str) -> None:
    """It is from 0 to 100, as in files."""
    assert (values.retries(0), values.retries("100")) == (0, 100)
    with pytest.raises(ValueError, match=told):
        values.retries(value)


def test_a_range_of_workers() -> None:
    """MIN:MAX names the least and the most workers."""
    assert values.worker_range("4:32") == (4, 32)
    assert values.worker_range("2:2") == (2, 2)


@pytest.mark.parametrize(
    "value", ["", "4", "4:", ":4", "0:3", "5:4", "a:b", ":", 3, "-1:4", "1:2:3", "\u0664:8"]
)
def test_a_wrong_range_of_workers(value: object) -> None:
    """Anything else names what is allowed."""
    with pytest.raises(ValueError, match=r"MIN:MAX with 1 <= MIN <= MAX, such as 4:32"):
        values.worker_range(value)
