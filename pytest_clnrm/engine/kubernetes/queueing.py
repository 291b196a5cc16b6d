"""How our pods wait for room among those of others: PriorityClasses, slots, and Kueue's queues.

``priorities.yaml`` beside this module holds the PriorityClasses for ``kubectl apply``. They are used where
the cluster has them. Whether it has them is told by what it refuses: we need no right to look at them.
"""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from typing import TYPE_CHECKING, Any

from pytest_clnrm.engine.kubernetes.rest import FORBIDDEN, RefusedError
from pytest_clnrm.model.priority import Priority

if TYPE_CHECKING:
    from pytest_clnrm.engine.admission_api import Admission
    from pytest_clnrm.engine.kubernetes.rest import Rest

SLOT_RESOURCE = "CLNRM_SLOT_RESOURCE"
KUEUE_QUEUE = "CLNRM_KUEUE_QUEUE"
_KUEUE = "kueue.x-k8s.io"
_LABEL_CHARS = 63


def class_of(priority: Priority) -> str:
    """Return the name of the PriorityClass of a priority."""
    return f"clnrm-{priority.label}"


class Queueing:
    """How the pods of one cluster wait.

    :param slot: an extended resource, one of which each pod takes; "" for none.
    :param queue: name of Kueue's queue; "" for none.
    """

    def __init__(self, slot: str = "", queue: str = "") -> None:
        self.slot = slot
        self.queue = queue
        self._missing: set[str] = set()

    @classmethod
    def of(cls, environ: Mapping[str, str]) -> Queueing:
        """Return what the environment says."""
        return cls(environ.get(SLOT_RESOURCE, "").strip(), environ.get(KUEUE_QUEUE, "").strip())

    def add_to(self, pod: MutableMapping[str, Any], admission: Admission | None, *, in_group: bool) -> None:
        """Let a pod wait as it should.

        :param admission: of the scenario for which it is made.
        :param in_group: it is one of the scenario's own.
        """
        if admission is None:
            return
        spec, about = pod["spec"], pod["metadata"]
        name = class_of(admission.priority)
        if name not in self._missing:
            spec["priorityClassName"] = name
        if self.slot:
            for amounts in spec["containers"][0]["resources"].values():
                amounts[self.slot] = "1"
        if self.queue:
            about["labels"][f"{_KUEUE}/queue-name"] = self.queue
        if self.queue and in_group:
            about["labels"][f"{_KUEUE}/pod-group-name"] = admission.name[-_LABEL_CHARS:].strip("-")
            about["annotations"] |= {
                f"{_KUEUE}/pod-group-total-count": str(admission.containers),
                # A pod is made once those that it depends on are ready. The first one asks for them all.
                f"{_KUEUE}/pod-group-fast-admission": "true",
                f"{_KUEUE}/role-hash": "scenario",
            }

    def is_of_class(self, error: RefusedError, pod: Mapping[str, Any]) -> bool:
        """Tell whether a pod was refused for its PriorityClass alone; no other one gets that from now on."""
        name = pod["spec"].get("priorityClassName")
        if not name or not _lacks_class(error):
            return False
        self._missing.add(name)
        return True


def missing_classes(rest: Rest) -> list[str]:
    """Return the PriorityClasses that the cluster lacks, by asking whether it would take a pod of each.

    :raises EngineError: if it does not tell.
    """
    return [name for name in map(class_of, Priority) if not _has_class(rest, name)]


def _has_class(rest: Rest, name: str) -> bool:
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"generateName": "clnrm-doctor-"},
        "spec": {"priorityClassName": name, "containers": [{"name": "none", "image": "none"}]},
    }
    try:
        rest.call("ask for priorities", "POST", rest.path("pods"), body=pod, query={"dryRun": "All"})
    except RefusedError as error:
        # Whatever else it does not like about it, such as limits that lack, comes after the class.
        return not _lacks_class(error)
    return True


def _lacks_class(error: RefusedError) -> bool:
    return error.status == FORBIDDEN and "no PriorityClass with name" in error.message
