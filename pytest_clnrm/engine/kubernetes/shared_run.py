"""The object on a cluster that all processes of a run share: what belongs to the run belongs to it.

Whoever needs it first makes it, and all processes that know of it beat: it lives as long as one of them does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from pytest_clnrm.engine.kubernetes.beats import Beats
from pytest_clnrm.engine.kubernetes.pods import object_name, selector_of
from pytest_clnrm.engine.kubernetes.run_object import SHARED_AS, RunObject, find_job, is_over

if TYPE_CHECKING:
    from pytest_clnrm.engine.kubernetes.rest import Rest

Make = Callable[[str, str], RunObject]


class SharedRun:
    """What one process knows of it.

    :param name: with which the names of what belongs to the run begin, the same in all its processes.
    :param labels: its own; what has all of them belongs to the run.
    """

    def __init__(self, rest: Rest, name: str, labels: Mapping[str, str]) -> None:
        self._rest = rest
        self._name = object_name(name)
        self.labels = labels
        self._found: RunObject | None = None
        self._beats = Beats(rest, self._pod, may_come_again=True)
        self._beats.begin()

    def has(self, labels: Mapping[str, str]) -> bool:
        """Tell whether what has these labels belongs to the run."""
        return self.labels.items() <= labels.items()

    def object(self, make: Make) -> RunObject:
        """Return it, as it is there now.

        :param make: makes it, or finds the one of another process, by its name and by what its pod is found.
        """
        if self._found is None or find_job(self._rest, self._found.name) is None:
            query = {"labelSelector": selector_of(self.labels)}
            jobs = self._rest.call("look for the run's Job", "GET", self._rest.path("jobs"), query=query)
            there = [str(each["metadata"]["name"]) for each in jobs["items"] if not is_over(each)]
            # What is over has its name for some time.
            self._found = make(next(iter(there), f"{self._name}-run{len(jobs['items']) + 1}"), self._name)
        return self._found

    def close(self) -> None:
        """Beat no more."""
        self._beats.close()

    def _pod(self) -> str:
        query = {"labelSelector": f"{SHARED_AS}={self._name}"}
        found = self._rest.call("find the run's pod", "GET", self._rest.path("pods"), query=query)
        for each in found["items"]:
            if each["status"].get("phase") == "Running" and not each["metadata"].get("deletionTimestamp"):
                return str(each["metadata"]["name"])
        return ""
