"""``--clnrm-repeat N``: each scenario as N items; once one has failed, those that have not begun are skipped.

They are items like others, so that all workers hunt at once. That one has failed is a file of the run's
folder: whoever begins another looks there.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Generator, Iterator
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

import pytest

from pytest_clnrm.items.scenario_item import ScenarioItem
from pytest_clnrm.session.summary import Note, tell_at_end, wrong

_number_key: pytest.StashKey[tuple[str, int]] = pytest.StashKey()
"""Where a repetition has the node id of its scenario, and its number from 1."""


class Repetitions:
    """Makes, ends and sums up the repetitions of scenarios, in every process.

    :param number: how many there are of each scenario, 2 or more.
    :param folder: returns the run's own folder.
    """

    def __init__(self, config: pytest.Config, number: int, folder: Callable[[], Path]) -> None:
        self._number = number
        self._folder = folder
        self._passed: Counter[str] = Counter()
        self._skipped: Counter[str] = Counter()
        self._failed: defaultdict[str, list[int]] = defaultdict(list)
        tell_at_end(config, self._notes)

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Put the repetitions in the place of each scenario, before others select, order and mark items."""
        items[:] = [each for item in items for each in self._repeated(item)]

    def _repeated(self, item: pytest.Item) -> Iterator[pytest.Item]:
        if not isinstance(item, ScenarioItem):
            yield item
            return
        for number in range(1, self._number + 1):
            made = item.repetition(number)
            made.stash[_number_key] = (item.nodeid, number)
            item.ihook.pytest_itemcollected(item=made)
            yield made

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        """Skip what need not run any more."""
        nodeid, _ = item.stash.get(_number_key, ("", 0))
        if nodeid and self._file(nodeid).exists():
            raise pytest.skip.Exception("another repetition of it has failed", _use_item_location=True)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Tell all processes that a repetition has failed, and the report which one it is of."""
        report = yield
        if _number_key in item.stash:
            nodeid, number = item.stash[_number_key]
            report.clnrm_repetition = [nodeid, number]  # type: ignore[attr-defined]
            if report.failed:
                # Without a folder the other workers go on.
                with suppress(OSError):
                    self._file(nodeid).touch()
        return report

    def _file(self, nodeid: str) -> Path:
        return self._folder() / f"failed-{sha256(nodeid.encode('utf-8', 'surrogatepass')).hexdigest()[:16]}"

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Count what became of them."""
        nodeid, number = getattr(report, "clnrm_repetition", ("", 0))
        if not nodeid:
            return
        if report.failed:
            if number not in self._failed[nodeid]:
                self._failed[nodeid].append(number)
        elif report.skipped and not hasattr(report, "wasxfail"):
            self._skipped[nodeid] += 1
        elif report.when == "call":
            self._passed[nodeid] += 1

    def _notes(self) -> Iterator[Note]:
        """Yield of each scenario that failed in which repetition it did, and of the others that none has."""
        for nodeid, failed in self._failed.items():
            yield wrong(
                f"{nodeid}: failed in repetition {' and '.join(map(str, failed))} of {self._number}; "
                f"{self._passed[nodeid]} passed, {self._skipped[nodeid]} did not run any more",
                colour="red",
            )
        firm = {nodeid: times for nodeid, times in self._passed.items() if nodeid not in self._failed}
        lines = [f"{nodeid}: {times} repetitions, none has failed" for nodeid, times in firm.items()]
        if len(lines) == 1:
            yield Note(lines[0])
        elif lines:
            times = sum(firm.values())
            yield Note(f"{len(firm)} scenarios: {times} repetitions, none has failed", details=lines)
