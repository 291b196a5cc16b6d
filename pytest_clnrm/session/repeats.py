"""Notes on reports what tells runs of equal name apart: reports themselves have node ids alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator

import pytest

_copy_key: pytest.StashKey[int] = pytest.StashKey()
"""Where an item holds how many of its name come before it."""

_runs_key: pytest.StashKey[int] = pytest.StashKey()
"""Where an item holds how often it was set up."""


class Repeats:
    """Notes how often an item was run, and with ``--keep-duplicates`` which of those of its name it is.

    Plugins that run items again do so in ways of their own: all of them set them up again. It is on the
    reports as ``clnrm_runs`` if it is more than 1, and as ``clnrm_copy`` if it is more than 0.
    """

    @pytest.hookimpl(trylast=True)
    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Count the items of each name."""
        seen: Counter[str] = Counter()
        for item in session.items:
            if seen[item.nodeid]:
                item.stash[_copy_key] = seen[item.nodeid]
            seen[item.nodeid] += 1

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        """Count a run."""
        item.stash[_runs_key] = item.stash.get(_runs_key, 0) + 1

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Note it."""
        report = yield
        if item.stash.get(_runs_key, 1) > 1:
            report.clnrm_runs = item.stash[_runs_key]  # type: ignore[attr-defined]
        if _copy_key in item.stash:
            report.clnrm_copy = item.stash[_copy_key]  # type: ignore[attr-defined]
        return report
