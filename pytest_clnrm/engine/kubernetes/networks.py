"""The networks of scenarios: a name space of a headless Service, and a policy that nothing else gets in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pytest_clnrm.engine.kubernetes.pods import NETWORK, WAY_OUT, metadata, object_name
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
    own = {"podSelector": {"matchLabels": {NETWORK: name}}}
    run = {"podSelector": {"matchLabels": {NETWORK: RUN}}}
    inside = {
        "podSelector": {"matchLabels": {NETWORK: name}},
        "policyTypes": ["Ingress"],
        "ingress": [{"from": [own, run]}],
    }
    no_way_out = {
        "podSelector": {"matchLabels": {NETWORK: name, WAY_OUT: "no"}},
        "policyTypes": ["Egress"],
        "egress": [
            {"to": [own, run]},
            # Names are asked for there.
            {"ports": [{"port": 53, "protocol": "UDP"}, {"port": 53, "protocol": "TCP"}]},
        ],
    }
    return (
        {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "NetworkPolicy",
            "metadata": metadata(name, labels, owner),
            "spec": inside,
        },
        {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "NetworkPolicy",
            "metadata": metadata(f"{name}-out", labels, owner),
            "spec": no_way_out,
        },
    )


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
