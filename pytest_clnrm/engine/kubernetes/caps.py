"""How many pods of scenarios a cluster ever lets be there at the same time, by its quotas and its slots."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pytest_clnrm.engine.kubernetes.queueing import class_of
from pytest_clnrm.model.demand import Cap
from pytest_clnrm.model.priority import Priority

# Of a ResourceQuota: pods that have a deadline, or requests, as all of ours.
_OURS = frozenset({"Terminating", "NotBestEffort"})
_BY_CLASS = "PriorityClass"
_UNITS = {"": 1.0, "m": 0.001, **{f"{unit}i": 1024.0**power for power, unit in enumerate("KMGTPE", 1)}}
_UNITS |= {unit: 1000.0**power for power, unit in enumerate("kMGTPE", 1)}


def amount(text: str) -> float:
    """Return a quantity such as ``500m``, ``2`` or ``64Mi`` as a number.

    Source: https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/
    """
    number = text.rstrip("kKMGTPEim")
    return float(number) * _UNITS[text[len(number) :]]


def limits_of(
    quotas: Sequence[Mapping[str, Any]], *resources: str
) -> Iterator[tuple[Mapping[str, Any], float]]:
    """Yield what quotas allow all pods of scenarios to have of a resource, each with its quota.

    :param resources: by which names quotas know it.
    """
    for each in quotas:
        hard = each["spec"].get("hard") or {}
        for key in resources:
            if key in hard and _is_about_ours(each["spec"]):
                yield each, amount(hard[key])


def cap_of(
    quotas: Sequence[Mapping[str, Any]], allocatable: Sequence[Mapping[str, str]], slot: str
) -> Cap | None:
    """Return how many pods of scenarios there are at most, None if nothing says that.

    :param allocatable: what each node has.
    :param slot: the resource of which each pod takes one; "" for none.
    """
    found = []
    for quota, most in limits_of(quotas, "pods", "count/pods"):
        name = quota["metadata"]["name"]
        why = f"the ResourceQuota {name} of the namespace allows no more pods: raise it, or ask for less"
        # One that is not by class counts the pod of the process itself too.
        own = not any(each["scopeName"] == _BY_CLASS for each in _expressions(quota["spec"]))
        found.append(Cap(max(0, int(most) - own), why))
    if slot and allocatable:
        why = f"the cluster's nodes have no more {slot} (CLNRM_SLOT_RESOURCE): add some, or ask for less"
        found.append(Cap(int(sum(amount(each.get(slot, "0")) for each in allocatable)), why))
    return min(found, key=lambda each: each.containers, default=None)


def _is_about_ours(spec: Mapping[str, Any]) -> bool:
    """Tell whether a quota is about each pod of a scenario, of whatever priority."""
    classes = set(map(class_of, Priority))
    for each in _expressions(spec):
        name, operator, values = each["scopeName"], each["operator"], set(each.get("values") or ())
        if name == _BY_CLASS:
            is_met = {"In": classes <= values, "NotIn": not classes & values, "Exists": True}
            if not is_met.get(operator, False):
                return False
        elif name not in _OURS:
            return False
    return True


def _expressions(spec: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    plain = [{"scopeName": each, "operator": "Exists"} for each in spec.get("scopes") or ()]
    return [*plain, *((spec.get("scopeSelector") or {}).get("matchExpressions") or ())]
