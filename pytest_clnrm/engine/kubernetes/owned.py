"""What of ours is on a cluster, by its labels."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Literal

from pytest_clnrm.engine.api import OwnedObject
from pytest_clnrm.engine.kubernetes import networks
from pytest_clnrm.engine.kubernetes.pods import (
    LABELS,
    MADE_FOR,
    NAME,
    moment_s,
    name_of,
    object_name,
    selector_of,
)
from pytest_clnrm.engine.kubernetes.run_object import remove_job

if TYPE_CHECKING:
    from pytest_clnrm.engine.kubernetes.rest import Rest

OVERDUE_S = 60.0
"""A pod that has not gone for so long after it should have is on a node that is lost."""
_JOB = "job/"
_ENDED = frozenset({"Succeeded", "Failed"})
# A run's own object is no container of anybody's; it goes as networks do, after the containers.
_KINDS: tuple[tuple[str, Literal["container", "network"], str], ...] = (
    ("pods", "container", ""),
    ("services", "network", ""),
    ("jobs", "network", _JOB),
)


def list_owned(rest: Rest, labels: Mapping[str, str]) -> tuple[OwnedObject, ...]:
    """Return all pods, networks and objects of runs with these labels; an empty value means any value."""
    selector = selector_of(labels)
    found = []
    for kind, what, prefix in _KINDS:
        answer = rest.call("list what is ours", "GET", rest.path(kind), query={"labelSelector": selector})
        there = [each for each in answer.get("items") or () if _stays(rest, each)]
        found += [_owned(what, prefix, each) for each in there]
    return tuple(found)


def _stays(rest: Rest, found: Mapping[str, Any]) -> bool:
    """Tell whether an object does not go without us, as all do that are being removed.

    But for those whose node is lost: nobody tells the cluster that they have ended.
    """
    ends = found["metadata"].get("deletionTimestamp")
    return not ends or rest.clock_s() > moment_s(ends) + OVERDUE_S


def remove_owned(rest: Rest, objects: Sequence[OwnedObject]) -> None:
    """Remove containers first, then the others; those that are gone are no error.

    No pod gets time to end: whoever could wait for it is dead, and its node may be lost.
    """
    with ExitStack() as rest_of_it:
        # Run in the opposite order of their mention, each of them whatever became of the others.
        for each in sorted(objects, key=lambda each: (each.kind, each.id.startswith(_JOB)), reverse=True):
            rest_of_it.callback(_remove, rest, each)


def pods_made_for(rest: Rest, container: str) -> list[str]:
    """Return the pods of a container, by the name that was given to it."""
    query = {"labelSelector": f"{MADE_FOR}={object_name(container)}"}
    found = rest.call("look for pods", "GET", rest.path("pods"), query=query)
    return [name_of(each) for each in found["items"]]


def _remove(rest: Rest, subject: OwnedObject) -> None:
    if subject.id.startswith(_JOB):
        remove_job(rest, subject.id.removeprefix(_JOB))
    elif subject.kind == "container":
        rest.delete(f"remove the pod {subject.name}", "pods", subject.id, gracePeriodSeconds=0)
    else:
        networks.remove(rest, subject.id)


def _owned(kind: Literal["container", "network"], prefix: str, found: Mapping[str, Any]) -> OwnedObject:
    about = found["metadata"]
    notes = about.get("annotations") or {}
    try:
        labels = {str(key): str(value) for key, value in json.loads(notes.get(LABELS) or "{}").items()}
    except (ValueError, AttributeError):
        labels = {}
    # What can be searched for is what counts; the others are told by the note.
    own = {str(key): str(value) for key, value in (about.get("labels") or {}).items()}
    return OwnedObject(
        kind=kind,
        id=f"{prefix}{about['name']}",
        name=str(notes.get(NAME) or about["name"]),
        labels={**labels, **own},
        ended=found.get("status", {}).get("phase") in _ENDED or "deletionTimestamp" in about,
    )
