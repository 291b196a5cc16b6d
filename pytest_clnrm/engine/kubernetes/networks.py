"""The networks of scenarios: a name space of a headless Service, and a policy that nothing else gets in."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pytest_clnrm.engine.kubernetes.pods import LABELS, NETWORK, WAY_OUT, metadata, object_name
from pytest_clnrm.engine.kubernetes.rest import NOT_FOUND, RefusedError

if TYPE_CHECKING:
    from pytest_clnrm.engine.kubernetes.rest import Rest

RUN = "run"
"""The network of the pods that belong to the runs themselves, over which containers are reached."""


def create(rest: Rest, name: str, labels: Mapping[str, str], owner: Mapping[str, Any]) -> str:
    """Create a network and return its name."""
    plain = object_name(name)
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata(name, labels, owner),
        "spec": {
            "clusterIP": "None",
            "publishNotReadyAddresses": True,
            "selector": {NETWORK: plain},
        },
    }
    doing = f"create the network {name}"
    rest.create(doing, "services", service)
    for each in policies(plain, labels, owner):
        rest.create(doing, "networkpolicies", each)
    return plain


def policies(
    name: str, labels: Mapping[str, str], owner: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what lets in a network's own pods and the run's alone, and what lets nothing out unasked."""
    own, run = _pods_of(name), _pods_of(RUN)
    inside = {
        "podSelector": own["podSelector"],
        "policyTypes": ["Ingress"],
        "ingress": [{"from": [own, run]}],
    }
    no_way_out = {
        "podSelector": _kept_in(name),
        "policyTypes": ["Egress"],
        "egress": [
            {"to": [own, run]},
            # Names are asked for there.
            {"ports": [{"port": 53, "protocol": "UDP"}, {"port": 53, "protocol": "TCP"}]},
        ],
    }
    return _policy(name, labels, owner, inside), _policy(f"{name}-out", labels, owner, no_way_out)


def admit(rest: Rest, network: str, guests: str) -> None:
    """Let the pods of a network reach those that were made on another one, till the network is removed."""
    doing = f"let pods of the network {network} reach those of {guests}"
    owner = rest.call(doing, "GET", rest.path("services", network))
    labels = json.loads(owner["metadata"]["annotations"][LABELS])
    own, to = _pods_of(network), _pods_of(guests)
    into, out = _guest_policies(network, guests)
    # Those of the network and of the guests stay: whatever one policy allows is allowed.
    for name, spec in (
        (into, {"podSelector": to["podSelector"], "policyTypes": ["Ingress"], "ingress": [{"from": [own]}]}),
        (out, {"podSelector": _kept_in(network), "policyTypes": ["Egress"], "egress": [{"to": [to]}]}),
    ):
        rest.create(doing, "networkpolicies", _policy(name, labels, owner, spec))


def refuse(rest: Rest, network: str, guests: str) -> None:
    """Undo :func:`admit`."""
    for name in _guest_policies(network, guests):
        rest.delete("take a pod off a network", "networkpolicies", object_name(name))


def _guest_policies(network: str, guests: str) -> tuple[str, str]:
    return f"{network}-{guests}-in", f"{network}-{guests}-out"


def _pods_of(network: str) -> dict[str, Any]:
    return {"podSelector": {"matchLabels": {NETWORK: network}}}


def _kept_in(network: str) -> dict[str, Any]:
    return {"matchLabels": {NETWORK: network, WAY_OUT: "no"}}


def _policy(
    name: str, labels: Mapping[str, str], owner: Mapping[str, Any], spec: Mapping[str, Any]
) -> dict[str, Any]:
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": metadata(name, labels, owner),
        "spec": spec,
    }


def exists(rest: Rest, name: str) -> bool:
    """Tell whether a network is there."""
    try:
        rest.call("look at a network", "GET", rest.path("services", name))
    except RefusedError as error:
        if error.status != NOT_FOUND:
            raise
        return False
    return True


def remove(rest: Rest, name: str) -> None:
    """Remove a network; one that is gone is no error."""
    doing = f"remove the network {name}"
    for policy in (name, object_name(f"{name}-out")):
        rest.delete(doing, "networkpolicies", policy)
    rest.delete(doing, "services", name)
