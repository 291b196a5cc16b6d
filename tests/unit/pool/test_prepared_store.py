"""The records of images of prepared services."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pytest_clnrm.ledger.folder import Folder
from pytest_clnrm.pool.prepared_store import IN_USE_S, RETRY_S, Prepared, PreparedStore, describe, records

AGE_S = 1000.0


class Images:
    """An engine that has images, of which some have containers."""

    def __init__(self, *images: str, used: tuple[str, ...] = ()) -> None:
        self.images = list(images)
        self.used = used

    def list_images(self, labels: dict[str, str]) -> tuple[str, ...]:
        assert labels == {"pytest-clnrm.prepared-by": "me"}
        return tuple(self.images)

    def remove_image(self, image: str) -> bool:
        if image in self.used:
            return False
        self.images.remove(image)
        return True


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    """Return the folder of a ledger."""
    return Folder(path=tmp_path, ledger_id="me")


@pytest.fixture
def store(folder: Folder) -> PreparedStore:
    """Return the records of an engine."""
    return PreparedStore(folder, "engine")


def record(number: int, image: str = "", *, size: int = 10, old_s: float = 0.0) -> Prepared:
    """Return a record that was made some seconds ago."""
    return Prepared(
        key=f"{number:032x}",
        about=f"image:{number} (db)",
        image=image,
        why_not="" if image else "it was not faster",
        size_bytes=size if image else 0,
        made_s=time.time() - old_s,
        plain_s=2.0,
        prepared_s=0.5,
    )


def keep(store: PreparedStore, folder: Folder, each: Prepared, unused_s: float) -> None:
    """Keep a record that was last used some seconds ago."""
    store.keep(each)
    moment = time.time() - unused_s
    os.utime(folder.prepared("engine") / f"{each.key}.json", (moment, moment))


def test_a_record_holds_for_its_time(store: PreparedStore, folder: Folder) -> None:
    """What is kept till it is too old, what went wrong for ten minutes; what is no record is none."""
    kept, old, wrong, long_ago = (
        record(1, "a"),
        record(2, "b", old_s=AGE_S),
        record(3),
        record(4, old_s=RETRY_S),
    )
    for each in (kept, old, wrong, long_ago):
        store.keep(each)
    found = [store.look(each.key, max_age_s=AGE_S) for each in (kept, old, wrong, long_ago)]
    assert found == [kept, None, wrong, None]
    assert store.look(record(5).key, max_age_s=AGE_S) is None
    file = folder.prepared("engine") / f"{kept.key}.json"
    for text in ("", "[]", "{}", '{"key": "x", "about": ""}', file.read_text().replace('"a"', "1")):
        file.write_text(text)
        assert store.look(kept.key, max_age_s=AGE_S) is None


def test_what_was_not_used_for_longest_goes_first(store: PreparedStore, folder: Folder) -> None:
    """Until the rest is small enough; not what is in use, was just used, or just made."""
    long_s = IN_USE_S + 100
    keep(store, folder, record(1, "held"), long_s + 9)
    keep(store, folder, record(2, "b"), long_s + 8)
    keep(store, folder, record(3, "c"), long_s)
    keep(store, folder, record(4, "d"), 0.0)
    keep(store, folder, record(5, "new", old_s=AGE_S), long_s + 20)
    engine: Any = Images("held", "b", "c", "d", "new", used=("held",))
    spared = record(5).key
    assert store.evict(engine, max_bytes=40, max_age_s=AGE_S, spared=spared) == 1
    assert engine.images == ["held", "c", "d", "new"]
    assert store.evict(engine, max_bytes=1, max_age_s=AGE_S, spared=spared) == 1
    assert engine.images == ["held", "d", "new"]
    assert store.evict(engine, max_bytes=1000, max_age_s=AGE_S) == 1
    assert engine.images == ["held", "d"]
    assert {each.image for each, _ in records(folder.prepared("engine"))} == {"held", "d"}


def test_an_image_without_a_record_goes(store: PreparedStore, folder: Folder) -> None:
    """Whoever made it has died over it; asked to, all go but those that have a container."""
    engine: Any = Images("a", "half", "held", used=("held",))
    for each in (record(1, "a"), record(2, "held"), record(3)):
        store.keep(each)
    assert store.sweep_unknown(engine) == 1
    assert store.remove_all(engine) == 1
    assert engine.images == ["held"]
    assert [each.image for each, _ in records(folder.prepared("engine"))] == ["held"]


def test_records_are_told() -> None:
    """A line each, those used last first."""
    now_s = time.time()
    pairs = [(record(1), now_s - 20), (replace(record(2, "b"), size_bytes=40_000_000), now_s)]
    assert describe(pairs) == [
        "prepared image:2 (db): 40 MB, ready after 0.5 s instead of 2.0 s; used 0 s ago",
        "prepared image:1 (db): none: it was not faster; used 20 s ago",
    ]
