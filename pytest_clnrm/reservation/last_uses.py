"""Shared containers end with their last user: when no item of the rest of the run needs them any more.

All processes of a run have collected the same items, so each knows how many use a shared service. Whichever
process runs one of them writes down that it has ended; who writes the last line stops the container and gives
its room back. An item whose worker dies is never written down: what it used ends with the run then.
"""

from __future__ import annotations

import os
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING

from pytest_clnrm.errors import ClnrmError
from pytest_clnrm.names import FIXTURES
from pytest_clnrm.reservation import item_demand

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import pytest

    from pytest_clnrm.runtime.runtime import Runtime

_FILE = "ended-users"
_ANY = "any"
"""Stands for the service that a Python test uses: which one is not known before it asks."""


class LastUses:
    """Notes in one process which users of shared containers have ended."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._users: Counter[str] | None = None

    def ended(self, item: pytest.Item, lease: str) -> None:
        """Note that an item has ended, and stop the shared containers of which it was the last user.

        :param lease: that it had, "" for none.
        """
        if self._runtime.keeps_warm:
            # The last user may be of the next run.
            return
        keys = list(_uses(item))
        if not keys or self._runtime.run_folder is None or item.config.getoption("dist", "no") == "each":
            return
        if self._users is None:
            self._users = Counter(key for each in item.session.items for key in _uses(each))
        path = self._runtime.run_folder() / _FILE
        # What cannot be stopped now is when the run ends.
        with suppress(OSError, ClnrmError):
            _append(path, "".join(f"{key} {lease or '-'}\n" for key in keys))
            lines = [line.split() for line in path.read_text("ascii").splitlines()]
            left = self._users - Counter(key for key, _ in lines)
            if not left[_ANY]:
                self._stop([] if _ANY in keys else keys, left, {lease for _, lease in lines})

    def _stop(self, keys: list[str], left: Counter[str], ended: set[str]) -> None:
        """Stop the shared containers of *keys*, or all, that nobody needs any more.

        :param left: how many items are left that use each.
        :param ended: ids of the leases of items that have ended.
        """
        if not self._runtime.has_ledger:
            return
        ledger = self._runtime.ledger()
        for key in keys or ledger.shared_keys():
            lease = None if left[key] else ledger.take_shared(key, ended)
            if lease is not None:
                self._runtime.remove(lease.containers)
                ledger.release(lease.id)


def _uses(item: pytest.Item) -> Iterator[str]:
    """Yield the keys of the shared containers that an item may use."""
    if item_demand.is_scenario(item):
        demand = None if item.is_skipped else item.demand()  # type: ignore[attr-defined]
        yield from (each.key for each in (demand.shares if demand else ()))
    elif not FIXTURES.isdisjoint(getattr(item, "fixturenames", ())):
        yield _ANY


def _append(path: Path, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        os.write(descriptor, text.encode("ascii"))
    finally:
        os.close(descriptor)
