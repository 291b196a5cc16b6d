"""Whether the cluster's network heeds NetworkPolicies: many take them in, and do nothing of what they say.

A pod of ours in which something listens is dialled from the run's own pod, over the relay. Then a policy
comes that lets nobody in: where it is heeded, the pod answers no more.
"""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING

from pytest_clnrm.engine.api import RELAY_PORT
from pytest_clnrm.engine.kubernetes.pods import MAIN, NETWORK, TOOLS, metadata
from pytest_clnrm.engine.kubernetes.sockets import open_exec
from pytest_clnrm.engine.kubernetes.starts import wait_started
from pytest_clnrm.engine.tool.program import relay_arguments
from pytest_clnrm.errors import EngineError

if TYPE_CHECKING:
    from pytest_clnrm.engine.kubernetes.relays import ClusterRelay
    from pytest_clnrm.engine.kubernetes.rest import Rest
    from pytest_clnrm.engine.kubernetes.run_object import RunObject

IGNORED = (
    "the cluster's network ignores NetworkPolicies: pods of one scenario reach those of all others by their "
    "addresses, and have a way out"
)
SETTLE_S = 8.0
"""How long a network may take to do what a new policy says."""
_START_S = 60.0
_LIVES_S = 60
_DIAL_S = 2.0
_PAUSE_S = 0.3


def ignores_policies(rest: Rest, run: RunObject, relay: ClusterRelay) -> bool:
    """Tell whether a policy that lets nobody in keeps nobody out.

    :raises EngineError: if that cannot be tried.
    """
    name = str(metadata(f"{run.name}-probe", {}, None)["name"])
    listening = None
    try:
        rest.create("try a NetworkPolicy", "pods", run.another_pod(name, _LIVES_S))
        found = wait_started(rest, name, time.monotonic() + _START_S)
        # It takes connections in, and nobody on this side does anything with them.
        listening = open_exec(rest, name, MAIN, [f"{TOOLS}/clnrm", *relay_arguments(RELAY_PORT)])
        address = str(found["status"]["podIP"])
        deadline_s = time.monotonic() + SETTLE_S
        while not _answers(relay, address):
            if time.monotonic() > deadline_s:
                raise EngineError(f"cannot try a NetworkPolicy: the pod {name} is not reached without one")
            time.sleep(_PAUSE_S)
        rest.create(
            "try a NetworkPolicy",
            "networkpolicies",
            {
                "apiVersion": "networking.k8s.io/v1",
                "kind": "NetworkPolicy",
                "metadata": metadata(name, run.labels, run.job),
                "spec": {"podSelector": {"matchLabels": {NETWORK: name}}, "policyTypes": ["Ingress"]},
            },
        )
        deadline_s = time.monotonic() + SETTLE_S
        while _answers(relay, address):
            if time.monotonic() > deadline_s:
                return True
            time.sleep(_PAUSE_S)
        return False
    finally:
        if listening is not None:
            listening.close()
        # What stays goes with the run.
        with suppress(EngineError):
            rest.delete("remove a pod that was tried", "pods", name)
            rest.delete("remove a policy that was tried", "networkpolicies", name)


def _answers(relay: ClusterRelay, address: str) -> bool:
    try:
        relay.dial(address, RELAY_PORT, timeout_s=_DIAL_S).close()
    except OSError:
        return False
    return True
