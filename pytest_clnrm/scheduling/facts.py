"""What the controller has to know of items, and only workers do: the controller sees their node ids alone.

Each worker writes its facts into the run's folder before it reports its ids; the first one wins, the
controller reads them when all have collected. The form is JSON: ``{"format": 2, "items": [[priority, demand,
specification, together], ...]}``. The file is empty if nothing is out of the ordinary: a worker that has
collected nothing of ours makes it without this module.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from pytest_clnrm.model.priority import Priority
from pytest_clnrm.names import FACTS_FILE
from pytest_clnrm.util.files import write_whole

_FORMAT = 2


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


def write_facts(folder: Path, facts: Sequence[ItemFacts]) -> None:
    """Write the facts of a session, in the order of its items, unless another worker has already.

    :raises OSError: if the folder cannot be written.
    """
    target = folder / FACTS_FILE
    if target.exists():
        return
    if is_ordinary(facts):
        target.touch()
        return
    write_whole(target, json.dumps({"format": _FORMAT, "items": facts}))


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
    return [ItemFacts(*row) for row in data["items"]]
