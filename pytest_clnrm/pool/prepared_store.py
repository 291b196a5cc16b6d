"""What is known of the images of prepared services: one small file each, in the ledger's folder.

Only images that stand here are used, so nobody else can plant one: the folder is this user's alone, and an
image is named by its id, which says all that is in it. A file's time of change is when it was last used.
"""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_clnrm.cleanup.labels import prepared_labels
from pytest_clnrm.errors import EngineError
from pytest_clnrm.util.files import write_whole

if TYPE_CHECKING:
    from pytest_clnrm.engine.api import Engine
    from pytest_clnrm.ledger.folder import Folder

LOCK = "prepared services"
"""The lock that is held by whoever prepares a service, or removes images of prepared ones."""

IN_USE_S = 600.0
"""How long an image that was used is left alone: a container of it may be about to be created."""

RETRY_S = 600.0
"""After which what went wrong is tried again."""

_KEY = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """What came of preparing a service.

    :param key: hash of all that makes it.
    :param about: image and name of the service, for people.
    :param image: id of the image; "" if none is kept.
    :param why_not: why none is kept.
    :param size_bytes: what it takes beyond the image before.
    :param made_s: seconds since 1970.
    :param plain_s: seconds till the first start was ready, its command included.
    :param prepared_s: seconds till the start from the image was ready.
    """

    key: str
    about: str
    image: str = ""
    why_not: str = ""
    size_bytes: int = 0
    made_s: float = 0.0
    plain_s: float = 0.0
    prepared_s: float = 0.0


class PreparedStore:
    """The records of one engine.

    :param engine: its identity.
    """

    def __init__(self, folder: Folder, engine: str) -> None:
        self._folder = folder.prepared(engine)
        self._labels = prepared_labels(folder.ledger_id)

    def look(self, key: str, *, max_age_s: float) -> Prepared | None:
        """Return what is known of a key, and note that it was used; None if it is to be prepared."""
        found = read_record(self._file(key))
        if found is None:
            return None
        if not time.time() - found.made_s < (max_age_s if found.image else min(RETRY_S, max_age_s)):
            return None
        with suppress(OSError):
            os.utime(self._file(key))
        return found

    def keep(self, record: Prepared) -> None:
        """Write a record.

        :raises OSError: if it cannot be written.
        """
        self._folder.mkdir(mode=0o700, exist_ok=True)
        write_whole(self._file(record.key), json.dumps(asdict(record)), mode=0o600)

    def forget(self, key: str) -> None:
        """Remove a record."""
        self._file(key).unlink(missing_ok=True)

    def sweep_unknown(self, engine: Engine) -> int:
        """Remove the images of this ledger of which there is no record; return how many that were.

        Whoever made one has died over it. To be called with the lock held.

        :raises EngineError: if the engine does not tell what it has.
        """
        known = {each.image for each, _ in records(self._folder)}
        unknown = [each for each in engine.list_images(self._labels) if each not in known]
        return sum(map(engine.remove_image, unknown))

    def evict(self, engine: Engine, *, max_bytes: int, max_age_s: float, spared: str = "") -> int:
        """Remove images that are too old, then those not used for longest until the rest is small enough.

        To be called with the lock held.

        :param spared: a key that was just made.
        :return: how many were removed.
        """
        now_s = time.time()
        found = sorted(records(self._folder), key=lambda each: each[1])
        left = sum(each.size_bytes for each, _ in found)
        removed = 0
        for each, used_s in found:
            is_old = now_s - each.made_s >= (max_age_s if each.image else RETRY_S)
            if each.key == spared or not (is_old or left > max_bytes) or now_s - used_s < IN_USE_S:
                continue
            with suppress(EngineError):
                if not each.image or engine.remove_image(each.image):
                    self.forget(each.key)
                    left -= each.size_bytes
                    removed += bool(each.image)
        return removed

    def remove_all(self, engine: Engine) -> int:
        """Remove all images that no container is made of; return how many. To be called with the lock held.

        :raises EngineError: if one stays.
        """
        removed = 0
        for each, _ in list(records(self._folder)):
            if not each.image or engine.remove_image(each.image):
                self.forget(each.key)
                removed += bool(each.image)
        return removed + self.sweep_unknown(engine)

    def _file(self, key: str) -> Path:
        return self._folder / f"{key}.json"


def records(folder: Path) -> Iterator[tuple[Prepared, float]]:
    """Yield the records in a folder, each with the time of its last use."""
    for file in sorted(folder.glob("*.json")):
        found = read_record(file)
        with suppress(OSError):
            if found is not None:
                yield found, file.stat().st_mtime


def read_record(file: Path) -> Prepared | None:
    """Return the record in a file, None if there is none that can be read."""
    try:
        data = json.loads(file.read_bytes())
        record = Prepared(**data)
        # What another version wrote has other fields, or others of their types.
        kinds = {name: type(getattr(Prepared(key="", about=""), name)) for name in data}
        is_ours = all(isinstance(value, kinds[name]) for name, value in data.items())
    except (OSError, ValueError, TypeError, KeyError):
        return None
    return record if is_ours and _KEY.fullmatch(record.key) else None


def describe(found: Iterable[tuple[Prepared, float]], clean: Callable[[str], str] = str) -> list[str]:
    """Return a line for each image of a prepared service, those used last first."""
    lines = []
    for each, used_s in sorted(found, key=lambda pair: -pair[1]):
        ago_s = max(0, round(time.time() - used_s))
        what = f"none: {each.why_not}"
        if each.image:
            times = f"ready after {each.prepared_s:.1f} s instead of {each.plain_s:.1f} s"
            what = f"{each.size_bytes / 1e6:.0f} MB, {times}"
        lines.append(clean(f"prepared {each.about}: {what}; used {ago_s} s ago"))
    return lines
