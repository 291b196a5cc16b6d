"""What the reports of a run show of its items, until it is written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from pytest_clnrm.history.records import History, ItemOutcome, Observed


@dataclass(slots=True)
class _Running:
    duration_s: float = 0.0
    outcome: ItemOutcome = "passed"
    peaks: dict[str, int] = field(default_factory=dict)


class Recorder:
    """Gathers what one run shows; an item counts once its teardown was reported, or its worker has died."""

    def __init__(self) -> None:
        self._running: dict[str, _Running] = {}
        self._ended: dict[str, Observed] = {}
        self._needy: set[str] = set()

    def phase(self, nodeid: str, when: str, outcome: ItemOutcome, duration_s: float) -> None:
        """Take a phase of an item: "setup", "call" or "teardown"."""
        if when == "setup":
            self._running[nodeid] = _Running()
        running = self._running.setdefault(nodeid, _Running())
        running.duration_s += max(duration_s, 0.0)
        if outcome != "passed" and running.outcome != "failed":
            running.outcome = outcome
        if when == "teardown":
            del self._running[nodeid]
            self._end(nodeid, Observed(running.outcome, running.duration_s, running.peaks))

    def crashed(self, nodeid: str) -> None:
        """Note that the worker died that ran an item."""
        self._running.pop(nodeid, None)
        self._end(nodeid, Observed("failed"))

    def peaks(self, nodeid: str, peaks: Mapping[str, int]) -> None:
        """Take the peaks of memory of an item that runs."""
        if peaks:
            self._running.setdefault(nodeid, _Running()).peaks.update(peaks)

    def needs_all(self, nodeid: str) -> None:
        """Note that an item was out of memory under a lowered limit."""
        self._needy.add(nodeid)

    def _end(self, nodeid: str, observed: Observed) -> None:
        known = self._ended.get(nodeid)
        self._ended[nodeid] = observed if known is None else known.join(observed)

    def history(self, run: str) -> History:
        """Return what has ended so far, as the history of one run; empty if nothing has."""
        if not self._ended:
            return History()
        items = {nodeid: {run: observed} for nodeid, observed in self._ended.items()}
        return History.of(items, dict.fromkeys(self._needy, run))
