"""The object on a cluster that all of a process's others belong to, and that ends when the process does.

It is a Job whose pod ends once nobody has beaten for :data:`QUIET_S`; the cluster then removes the Job, and
with it whatever it owns. Until the pod beats the Job's own deadline is as short, and put off as long as this
process lives. Nobody of ours has to live for the end: neither this process nor anything on its host.
"""

from __future__ import annotations

import base64
import math
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from pytest_clnrm.engine.kubernetes.pods import DEADLINE_S, JOURNAL, MAIN, NETWORK, PULLS, TOOLS, metadata
from pytest_clnrm.engine.kubernetes.rest import NOT_FOUND, RefusedError
from pytest_clnrm.engine.kubernetes.sockets import open_exec
from pytest_clnrm.engine.tool.program import agent, program
from pytest_clnrm.errors import ContainerError, EngineError, EngineUnavailableError

if TYPE_CHECKING:
    from pytest_clnrm.engine.api import PullPolicy
    from pytest_clnrm.engine.kubernetes.rest import Rest
    from pytest_clnrm.engine.kubernetes.sockets import ExecStream

QUIET_S = 15
"""Without a beat for so long the run is over. What it had is gone half a minute after its end: the cluster
takes the rest of that."""
_BEAT_S = 3.0
_ANSWER_S = 6.0
_AGAIN_S = 0.3
_MEMORY, _CPU = "24Mi", "10m"


class RunObject:
    """A Job, with what this process needs besides: our programs, and a pod from which others are reached.

    :param wait: waits until a pod of ours runs, and returns it; raises ImageError or ContainerError.
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
    ) -> None:
        self._rest = rest
        self._closing = threading.Event()
        self._stream: ExecStream | None = None
        self.lost = ""
        self._heard_s = time.monotonic()
        programs = {"clnrm": program(architecture), "agent": agent(architecture)}
        if None in programs.values():
            raise EngineUnavailableError(
                f"there is no program of ours for the cluster's nodes ({architecture})", ()
            )
        self.tools = str(metadata(f"{name}-tools", labels, None)["name"])
        self.labels = labels
        self._make_pod = partial(own_pod, image=image, pull=pull, pull_secrets=pull_secrets, tools=self.tools)
        job = _job(name, labels, self._make_pod(watching(QUIET_S)))
        self._began_s = time.monotonic()
        self.job = rest.call("begin the run on the cluster", "POST", rest.path("jobs"), body=job)
        try:
            about = metadata(f"{name}-tools", labels, self.job)
            tools = {
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": about,
                "binaryData": {key: base64.b64encode(each or b"").decode() for key, each in programs.items()},
            }
            with self._put_off_end():
                rest.call("put our programs on the cluster", "POST", rest.path("configmaps"), body=tools)
                self.pod = str(wait(self._find_pod())["metadata"]["name"])
                self._stream = self._open()
                self._beat()
            self._end_in(DEADLINE_S)
        except BaseException:
            self.remove()
            raise
        self._thread = threading.Thread(target=self._keep_beating, name="clnrm-beat", daemon=True)
        self._thread.start()

    @property
    def name(self) -> str:
        """Return the Job's name."""
        return str(self.job["metadata"]["name"])

    def another_pod(self, name: str, lives_s: int) -> dict[str, Any]:
        """Return a pod of the run that does nothing for some time.

        No policy of a scenario or of the run is about it.
        """
        about = metadata(name, self.labels, self.job, **{NETWORK: name})
        spec = self._make_pod(watching(lives_s))
        return {"apiVersion": "v1", "kind": "Pod", "metadata": about, "spec": spec}

    def close(self) -> None:
        """End it, with all that it owns."""
        self._closing.set()
        self.remove()

    def remove(self) -> None:
        """Remove it; one that is gone is no error."""
        self._closing.set()
        if self._stream is not None:
            self._stream.close()
        remove_job(self._rest, self.name)

    @contextmanager
    def _put_off_end(self) -> Iterator[None]:
        """Put the Job's end off again and again: whoever is killed meanwhile leaves one that ends soon.

        Its pod may wait for room, or for its image; before it runs nothing in it can tell that nobody beats.
        """
        over = threading.Event()

        def put_off() -> None:
            while not over.wait(_BEAT_S):
                # What is wrong is found by whoever waits.
                with suppress(EngineError):
                    self._end_in(QUIET_S)

        thread = threading.Thread(target=put_off, name="clnrm-begin", daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def _end_in(self, left_s: float) -> None:
        """Let the cluster end the Job in so many seconds."""
        spec = {"activeDeadlineSeconds": math.ceil(time.monotonic() - self._began_s + left_s)}
        self._rest.call(
            "keep the run on the cluster",
            "PATCH",
            self._rest.path("jobs", self.name),
            body={"spec": spec},
            content_type="application/merge-patch+json",
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

    def _open(self) -> ExecStream:
        return open_exec(self._rest, self.pod, MAIN, [f"{TOOLS}/agent", "beat", JOURNAL])

    def _beat(self) -> None:
        """Beat once; raises OSError if it was not heard."""
        stream = self._stream
        if stream is None:
            raise OSError("no connection")
        stream.send(b".")
        if not stream.receive(time.monotonic() + _ANSWER_S):
            raise OSError(stream.said or "no answer")

    def _keep_beating(self) -> None:
        while not self._closing.wait(_BEAT_S):
            if self._is_heard():
                continue
            self._drop_stream()
            while not self.lost and not self._closing.wait(_AGAIN_S) and not self._is_heard():
                self._drop_stream()
            if self.lost:
                return

    def _is_heard(self) -> bool:
        """Beat, connecting first if need be; :attr:`lost` says why that makes no sense any more."""
        try:
            if self._stream is None:
                self._stream = self._open()
            self._beat()
        except RefusedError as error:
            if error.status == NOT_FOUND:
                self.lost = str(error)
        except (OSError, EngineError):
            pass
        else:
            self._heard_s = time.monotonic()
            return True
        if time.monotonic() > self._heard_s + QUIET_S:
            # It has ended by itself, or its node is lost: what belongs to it goes.
            self.lost = f"the run's pod {self.pod} was not reached for {QUIET_S} s"
        return False

    def _drop_stream(self) -> None:
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.close()


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


def _job(name: str, labels: Mapping[str, str], pod: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": metadata(name, labels, None),
        "spec": {
            "backoffLimit": 0,
            "activeDeadlineSeconds": QUIET_S,
            "ttlSecondsAfterFinished": 0,
            "template": {"metadata": {"labels": {NETWORK: "run"}}, "spec": pod},
        },
    }
