"""What the controller has to know of items, and only workers do: the controller sees their node ids alone.

The first worker that has collected finds the facts, and writes them into the run's folder before it reports
its ids; the controller reads them when all have collected. The form is JSON: ``{"format": 3, "demands":
[demand, ...], "items": [[priority, place of its demand or null, specification, together], ...]}``. The file
is empty if nothing is out of the ordinary: a worker that has collected nothing of ours makes it without this
module.
"""

from __future__ import annotations

import fcntl
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from pytest_clnrm.model.priority import Priority
from pytest_clnrm.names import FACTS_FILE
from pytest_clnrm.util.files import write_whole

_FORMAT = 3
_LOCK = "facts.lock"


class FactsError(Exception):
    """The facts cannot be read; the message says why."""


class ItemFacts(NamedTuple):
    """What the controller has to know of one item.

    :param priority: smaller runs first.
    :param demand: what must be reserved before it may start, plain builtins; None if nothing.
    :param specification: a hash that is equal where containers may be shared, None if there are none.
    :param together: neighbours of the same go to one worker; None stands for those of its file.
    """

    priority: int = int(Priority.NORMAL)
    demand: Mapping[str, Any] | None = None
    specification: str | None = None
    together: str | None = None


_ORDINARY = ItemFacts()


def is_ordinary(facts: Sequence[ItemFacts]) -> bool:
    """Tell whether no item has a priority, a demand or a specification of its own."""
    return all(each == _ORDINARY for each in facts)


def write_facts(folder: Path, find: Callable[[], Sequence[ItemFacts]]) -> None:
    """Write the facts of a session, unless another worker has already, or does so now.

    Finding them takes time for each item, which one worker alone is to spend.

    :param find: returns them, in the order of its items.
    :raises OSError: if the folder cannot be written.
    """
    target = folder / FACTS_FILE
    # A lock goes with its process: of one that dies over it the next worker takes the work over.
    with (folder / _LOCK).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if target.exists():
            return
        facts = find()
        if is_ordinary(facts):
            target.touch()
        else:
            write_whole(target, _text_of(facts))


def _text_of(facts: Sequence[ItemFacts]) -> str:
    """Return the facts as their file has them: thousands of scenarios have a handful of demands."""
    places: dict[str, int] = {}
    items: list[tuple[int, int | None, str | None, str | None]] = []
    for each in facts:
        at = None if each.demand is None else places.setdefault(json.dumps(each.demand), len(places))
        items.append((each.priority, at, each.specification, each.together))
    return f'{{"format": {_FORMAT}, "demands": [{", ".join(places)}], "items": {json.dumps(items)}}}'


def read_facts(folder: Path, count: int) -> list[ItemFacts]:
    """Return the facts of a session, in the order of its items.

    :param count: how many items it has.
    :raises FactsError: if there are none, or they have another form.
    """
    path = folder / FACTS_FILE
    try:
        text = path.read_text(encoding="utf-8")
        if not text:
            return [_ORDINARY] * count
        data = json.loads(text)
    except OSError as error:
        raise FactsError(
            f"no worker could leave the facts of its items in {path}: {error.strerror}; "
            "where the disk is full, make room or set TMPDIR to another folder"
        ) from error
    except ValueError as error:
        raise FactsError(f"{path} is no JSON: {error}") from error
    if not isinstance(data, dict) or data.get("format") != _FORMAT:
        raise FactsError(f"{path} has another form than {_FORMAT}: controller and workers differ in version")
    demands = data["demands"]
    return [
        ItemFacts(priority, None if at is None else demands[at], _same(specification), _same(together))
        for priority, at, specification, together in data["items"]
    ]


def _same(text: str | None) -> str | None:
    """Return equal texts as one object."""
    return None if text is None else sys.intern(text)
