"""The object on a cluster that others belong to: those of one process, or those that a whole run shares.

It is a Job whose pod ends once nobody has beaten for :data:`~pytest_clnrm.engine.kubernetes.beats.QUIET_S`;
the cluster then removes the Job, and with it whatever it owns. Until the pod runs the Job's own deadline is
as short, and put off as long as the process lives that has made it. Nobody of ours has to live for the end:
neither a process of the run nor anything on its host.
"""

from __future__ import annotations

import base64
import math
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from pytest_clnrm.engine.kubernetes.beats import BEAT_S, QUIET_S, Beats
from pytest_clnrm.engine.kubernetes.pods import DEADLINE_S, JOURNAL, MAIN, NETWORK, PULLS, TOOLS, metadata
from pytest_clnrm.engine.kubernetes.rest import ALREADY_EXISTS, RefusedError
from pytest_clnrm.engine.tool.program import agent, program
from pytest_clnrm.errors import ContainerError, EngineError, EngineUnavailableError, LostContainerError

if TYPE_CHECKING:
    from pytest_clnrm.engine.api import PullPolicy
    from pytest_clnrm.engine.kubernetes.rest import Rest

SHARED_AS = "clnrm.dev/shared-run"
"""The label by which the pod of the object of a whole run is found."""
_MEMORY, _CPU = "24Mi", "10m"


class RunObject:
    """A Job, with what is needed besides: our programs, and a pod from which others are reached.

    :param shared_as: by which its pod is found, if it is that of a whole run: another process may have made
        it, whoever knows of it beats (:mod:`pytest_clnrm.engine.kubernetes.shared_run`), and it stays when
        this process goes.
    :param wait: waits until a pod of ours runs, and returns it; raises ImageError or ContainerError.
    :ivar is_shared: it is that of a whole run.
    """

    def __init__(
        self,
        rest: Rest,
        name: str,
        labels: Mapping[str, str],
        *,
        image: str,
        pull: PullPolicy,
        pull_secrets: tuple[str, ...],
        architecture: str,
        wait: Callable[[str], Mapping[str, Any]],
        shared_as: str = "",
    ) -> None:
        self._rest = rest
        self.is_shared = bool(shared_as)
        self._beats: Beats | None = None
        programs = {"clnrm": program(architecture), "agent": agent(architecture)}
        if None in programs.values():
            raise EngineUnavailableError(
                f"there is no program of ours for the cluster's nodes ({architecture})", ()
            )
        self.tools = str(metadata(f"{name}-tools", labels, None)["name"])
        self.labels = labels
        self._make_pod = partial(own_pod, image=image, pull=pull, pull_secrets=pull_secrets, tools=self.tools)
        self._began_s = time.monotonic()
        self.job, is_new = self._begin(_job(name, labels, self._make_pod(watching(QUIET_S)), shared_as))
        try:
            about = metadata(f"{name}-tools", labels, self.job)
            tools = {
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": about,
                "binaryData": {key: base64.b64encode(each or b"").decode() for key, each in programs.items()},
            }
            # Only who has made it knows when it began.
            with self._put_off_end() if is_new else nullcontext():
                rest.create("put our programs on the cluster", "configmaps", tools)
                self.pod = str(wait(self._find_pod())["metadata"]["name"])
                if not self.is_shared:
                    self._beats = Beats(rest, lambda: self.pod)
                    self._beats.beat()
            self._end_in(DEADLINE_S)
        except BaseException:
            self.close()
            raise
        if self._beats is not None:
            self._beats.begin()

    @property
    def name(self) -> str:
        """Return the Job's name."""
        return str(self.job["metadata"]["name"])

    @property
    def lost(self) -> str:
        """Return why what belongs to it is gone, "" as far as that is known."""
        return "" if self._beats is None else self._beats.lost

    def another_pod(self, name: str, lives_s: int) -> dict[str, Any]:
        """Return a pod of the run that does nothing for some time.

        No policy of a scenario or of the run is about it.
        """
        about = metadata(name, self.labels, self.job, **{NETWORK: name})
        spec = self._make_pod(watching(lives_s))
        return {"apiVersion": "v1", "kind": "Pod", "metadata": about, "spec": spec}

    def close(self) -> None:
        """End it with all that it owns, if that is this process's alone; one that is gone is no error."""
        if self._beats is not None:
            self._beats.close()
        if not self.is_shared:
            remove_job(self._rest, self.name)

    def _begin(self, job: Mapping[str, Any]) -> tuple[dict[str, Any], bool]:
        """Return the Job, and whether it is new."""
        doing = "begin the run on the cluster"
        try:
            return self._rest.call(doing, "POST", self._rest.path("jobs"), body=job), True
        except RefusedError as error:
            if not self.is_shared or error.reason != ALREADY_EXISTS:
                raise
        found = find_job(self._rest, str(job["metadata"]["name"]))
        if found is None:
            raise LostContainerError(f"cannot {doing}: its Job was removed, or its node is lost")
        return found, False

    @contextmanager
    def _put_off_end(self) -> Iterator[None]:
        """Put the Job's end off again and again: whoever is killed meanwhile leaves one that ends soon.

        Its pod may wait for room, or for its image; before it runs nothing in it can tell that nobody beats.
        """
        over = threading.Event()

        def put_off() -> None:
            while not over.wait(BEAT_S):
                # What is wrong is found by whoever waits.
                with suppress(EngineError):
                    found = find_job(self._rest, self.name)
                    # Whoever shares the Job may have seen sooner that its pod runs, and given it a day.
                    if found is not None and (ends_s := found["spec"]["activeDeadlineSeconds"]) < DEADLINE_S:
                        self._end_in(QUIET_S, unless_changed_s=ends_s)

        thread = threading.Thread(target=put_off, name="clnrm-begin", daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def _end_in(self, left_s: float, *, unless_changed_s: int | None = None) -> None:
        """Let the cluster end the Job in so many seconds.

        :param unless_changed_s: only if the Job was to end so many seconds after its beginning till now.
        :raises RefusedError: if somebody has changed that.
        """
        at = "/spec/activeDeadlineSeconds"
        ends_s = math.ceil(time.monotonic() - self._began_s + left_s)
        patch: list[dict[str, Any]] = [{"op": "replace", "path": at, "value": ends_s}]
        if unless_changed_s is not None:
            patch.insert(0, {"op": "test", "path": at, "value": unless_changed_s})
        self._rest.call(
            "keep the run on the cluster",
            "PATCH",
            self._rest.path("jobs", self.name),
            body=patch,
            content_type="application/json-patch+json",
        )

    def _find_pod(self) -> str:
        deadline_s = time.monotonic() + 30
        query = {"labelSelector": f"job-name={self.name}"}
        while time.monotonic() < deadline_s:
            found = self._rest.call("find the run's pod", "GET", self._rest.path("pods"), query=query)
            if found["items"]:
                return str(found["items"][0]["metadata"]["name"])
            time.sleep(0.05)
        raise ContainerError("the cluster makes no pod for the run's Job: see `kubectl describe job`")


def find_job(rest: Rest, name: str) -> dict[str, Any] | None:
    """Return a Job that has not ended and is not being removed, None if there is none of that name."""
    query = {"fieldSelector": f"metadata.name={name}"}
    found = rest.call("look for the run's Job", "GET", rest.path("jobs"), query=query)
    return next((dict(each) for each in found["items"] if not is_over(each)), None)


def is_over(job: Mapping[str, Any]) -> bool:
    """Tell whether a Job has ended, or is being removed."""
    ended = {"succeeded", "failed"} & (job.get("status") or {}).keys()
    return bool(ended or job["metadata"].get("deletionTimestamp"))


def remove_job(rest: Rest, name: str) -> None:
    """Remove a Job with all that it owns; one that is gone is no error."""
    rest.delete("end the run on the cluster", "jobs", name, propagationPolicy="Background")


def watching(quiet_s: int) -> tuple[str, ...]:
    """Return the command of a pod that ends once nothing in it has beaten for so long."""
    return (f"{TOOLS}/agent", "watch", JOURNAL, str(quiet_s))


def own_pod(
    command: Sequence[str],
    *,
    image: str,
    pull: PullPolicy,
    pull_secrets: tuple[str, ...],
    tools: str,
) -> dict[str, Any]:
    """Return what a small pod of ours is to be, as a ``spec``.

    :param command: a program of ours, with its arguments.
    :param tools: name of the ConfigMap with our programs.
    """
    amounts = {"memory": _MEMORY, "cpu": _CPU}
    pod: dict[str, Any] = {
        "restartPolicy": "Never",
        "activeDeadlineSeconds": DEADLINE_S,
        # It has nothing to end, and nobody waits for the room that it has.
        "terminationGracePeriodSeconds": 0,
        "enableServiceLinks": False,
        "automountServiceAccountToken": False,
        "containers": [
            {
                "name": MAIN,
                "image": image,
                "imagePullPolicy": PULLS[pull],
                "command": list(command),
                "resources": {"requests": amounts, "limits": amounts},
                "securityContext": {
                    "runAsUser": 65534,
                    "runAsGroup": 65534,
                    "runAsNonRoot": True,
                    "allowPrivilegeEscalation": False,
                    "readOnlyRootFilesystem": True,
                    "capabilities": {"drop": ["ALL"]},
                },
                "volumeMounts": [
                    {"name": "tools", "mountPath": TOOLS, "readOnly": True},
                    {"name": "journal", "mountPath": JOURNAL},
                ],
            }
        ],
        "volumes": [
            {"name": "tools", "configMap": {"name": tools, "defaultMode": 0o755}},
            {"name": "journal", "emptyDir": {}},
        ],
    }
    if pull_secrets:
        pod["imagePullSecrets"] = [{"name": each} for each in pull_secrets]
    return pod


def _job(name: str, labels: Mapping[str, str], pod: Mapping[str, Any], shared_as: str) -> dict[str, Any]:
    of_pod = {NETWORK: "run", **({SHARED_AS: shared_as} if shared_as else {})}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": metadata(name, labels, None),
        "spec": {
            "backoffLimit": 0,
            "activeDeadlineSeconds": QUIET_S,
            "ttlSecondsAfterFinished": 0,
            "template": {"metadata": {"labels": of_pod}, "spec": pod},
        },
    }
