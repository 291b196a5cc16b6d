"""Starting pods: they are made, get room on a node, and run.

Room is the cluster's. A ResourceQuota that is used up refuses a pod, and a cluster whose nodes are full lets
it wait: either is told to the scenario's admission, which may have us wait or give up.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from pytest_clnrm.engine.kubernetes import pods
from pytest_clnrm.engine.kubernetes.rest import FORBIDDEN, GONE, NOT_FOUND, RefusedError
from pytest_clnrm.engine.plain_errors import pull_error
from pytest_clnrm.errors import ContainerError, EngineFullError, LostContainerError

if TYPE_CHECKING:
    from pytest_clnrm.engine.admission_api import Admission
    from pytest_clnrm.engine.kubernetes.queueing import Queueing
    from pytest_clnrm.engine.kubernetes.rest import Rest

START_S = 300.0
"""How long a pod may take to run where nobody says how long: an image is pulled meanwhile."""
ROOM_PAUSE_S = 0.25
"""Between two looks at a pod that has no room, and two attempts to make one that a quota refuses."""
_EARLY_S = 5.0
"""How long a pod is asked whether it runs: what takes longer pulls an image, and a second is nothing then."""
_NEVER_YET_S = 0.4
_EARLY_PAUSE_S = 0.1
_WATCH_S = 10
_INTERNAL = 500


def create_pod(
    rest: Rest,
    name: str,
    make: Callable[[], Mapping[str, Any]],
    *,
    give_up_s: float,
    queueing: Queueing,
    admission: Admission | None,
) -> float:
    """Make a pod; a quota that is used up is waited for. Return when the time is over now.

    :param make: returns what it is to be; asked again after each wait.
    :raises EngineFullError: if there is no room for it in time; NoRoomError if others come first.
    """
    while True:
        try:
            rest.create(f"create the pod {name}", "pods", made := make())
        except RefusedError as error:  # noqa: PERF203 (until there is room)
            if queueing.is_of_class(error, made):
                continue
            if error.status != FORBIDDEN or "exceeded quota" not in error.message:
                raise ContainerError(str(error)) from None
            if admission is not None:
                admission.lacks(name, error.message, is_made=False)
                give_up_s += ROOM_PAUSE_S
            elif time.monotonic() + ROOM_PAUSE_S > give_up_s:
                raise EngineFullError(f"{error} (waited for it till the time was over)") from None
            time.sleep(ROOM_PAUSE_S)
        else:
            return give_up_s


def wait_answering(
    rest: Rest, pod: str, give_up_s: float, admission: Admission | None, answers: Callable[[], bool]
) -> Mapping[str, Any]:
    """Return a pod as :func:`wait_started` does, or earlier, once it answers.

    Nodes look once a second at what has become of their containers, and then tell it: those that run answer
    before that. It is returned as it was told last, which may be that it is being created.

    :param answers: tells whether the agent in it does.
    """
    began_s = time.monotonic()
    while time.monotonic() < min(began_s + _EARLY_S, give_up_s):
        try:
            found = rest.call("look at a pod", "GET", rest.path("pods", pod))
        except RefusedError as error:
            if error.status != NOT_FOUND:
                raise
            raise LostContainerError(f"the pod {pod} was removed before it ran") from None
        if pods.unscheduled(found):
            break
        up = _is_started(pod, found)
        if up or (time.monotonic() > began_s + _NEVER_YET_S and found["spec"].get("nodeName") and answers()):
            if admission is not None:
                admission.has_room(pod)
            return found
        time.sleep(_EARLY_PAUSE_S)
    return wait_started(rest, pod, give_up_s, admission)


def wait_started(
    rest: Rest, pod: str, give_up_s: float, admission: Admission | None = None
) -> Mapping[str, Any]:
    """Return a pod once its container runs, or has run.

    :raises EngineFullError: if there is no room for it in time; NoRoomError if others come first.
    :raises ImageError: if its image cannot be had.
    :raises ContainerError: if it cannot be started.
    """
    last: Mapping[str, Any] = {}
    has_room = admission is None
    lacks_room = True
    while lacks_room:
        lacks_room = False
        for found in watch(rest, pod, give_up_s):
            if found is None:
                raise LostContainerError(f"the pod {pod} was removed before it ran")
            last = found
            if _is_started(pod, found):
                if not has_room and admission is not None:
                    admission.has_room(pod)
                return found
            if not has_room and admission is not None:
                why = pods.unscheduled(found)
                if why:
                    # Nothing may change for long, and yet it may have to give up.
                    admission.lacks(pod, why, is_made=True)
                    lacks_room = True
                    break
                if found["spec"].get("nodeName"):
                    admission.has_room(pod)
                    has_room = True
        if lacks_room:
            time.sleep(ROOM_PAUSE_S)
            give_up_s += ROOM_PAUSE_S
    why = pods.unscheduled(last)
    if why:
        raise EngineFullError(f"the cluster had no room for the pod {pod} in time: {why}")
    waiting = pods.main_status(last).get("waiting") or {}
    told = waiting.get("message") or waiting.get("reason") or "its node says nothing of it"
    raise ContainerError(f"the pod {pod} did not run in time: {told}")


def _is_started(pod: str, found: Mapping[str, Any]) -> bool:
    """Tell whether a pod's container runs, or has run; raises what is wrong with it."""
    problem = pods.problem_of(found)
    if problem is not None:
        what, why = problem
        if what == "image":
            raise pull_error(f"the image of {pod} cannot be had: {why}", why)
        raise ContainerError(f"the container cannot be started: {why}")
    pods.check_taken(found)
    if pods.is_told(found):
        return True
    if found.get("status", {}).get("phase") == "Failed":
        raise ContainerError(f"the pod {pod} has failed: {found['status'].get('message')}")
    return False


def watch(
    rest: Rest, pod: str, give_up_s: float, since: Mapping[str, Any] | None = None
) -> Iterator[Mapping[str, Any] | None]:
    """Yield a pod each time that it has changed, None once it is gone; end at a moment.

    :param since: as it was seen before: what has happened since then is yielded too.
    """
    found = since
    while True:
        if found is None:
            try:
                found = rest.call("look at a pod", "GET", rest.path("pods", pod))
            except RefusedError as error:
                if error.status != NOT_FOUND:
                    raise
                yield None
                return
            yield found
        left_s = math.ceil(min(_WATCH_S, give_up_s - time.monotonic()))
        if left_s <= 0:
            return
        query = {
            "watch": "1",
            "fieldSelector": f"metadata.name={pod}",
            "resourceVersion": str(found["metadata"]["resourceVersion"]),
            "timeoutSeconds": str(left_s),
        }
        found = None
        try:
            yield from rest.watch("watch a pod", rest.path("pods"), query)
        except RefusedError as error:
            if error.status not in {GONE, _INTERNAL}:
                raise
