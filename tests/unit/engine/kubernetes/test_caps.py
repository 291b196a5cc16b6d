"""What a cluster ever lets run at the same time, by its quotas and its slots."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from clnrm_testing.cluster import Cluster

from pytest_clnrm.engine.kubernetes.caps import amount, cap_of
from pytest_clnrm.engine.kubernetes.connect import connect_cluster
from pytest_clnrm.engine.kubernetes.queueing import SLOT_RESOURCE

SLOT = "clnrm.dev/slot"
ALL = ["clnrm-high", "clnrm-normal", "clnrm-low", "other"]


def test_quantities() -> None:
    """As the API writes them."""
    assert [amount(each) for each in ("500m", "2", "64Mi", "1k", "1e3", "3Gi")] == [
        0.5,
        2,
        64 << 20,
        1000,
        1000,
        3 << 30,
    ]


def by_class(operator: str, *values: str) -> dict[str, Any]:
    """Return what makes a quota be about the pods of some PriorityClasses."""
    found = {"scopeName": "PriorityClass", "operator": operator, **({"values": values} if values else {})}
    return {"scopeSelector": {"matchExpressions": [found]}}


@pytest.mark.parametrize(
    ("spec", "most"),
    [
        # Beside the pod of the process itself.
        ({"hard": {"pods": "6"}}, 5),
        ({"hard": {"count/pods": "6"}, "scopes": ["Terminating"]}, 5),
        ({"hard": {"pods": "0"}}, 0),
        ({"hard": {"pods": "6"}, **by_class("In", *ALL)}, 6),
        ({"hard": {"pods": "6"}, **by_class("Exists")}, 6),
        ({"hard": {"pods": "6"}, **by_class("NotIn", "other")}, 6),
        # Those are not about each of ours.
        ({"hard": {"pods": "6"}, **by_class("In", *ALL[:2])}, None),
        ({"hard": {"pods": "6"}, **by_class("NotIn", ALL[0])}, None),
        ({"hard": {"pods": "6"}, **by_class("DoesNotExist")}, None),
        ({"hard": {"pods": "6"}, "scopes": ["BestEffort"]}, None),
        ({"hard": {"cpu": "6"}}, None),
        ({}, None),
    ],
)
def test_quotas(spec: dict[str, Any], most: int | None) -> None:
    """Only one that is about all pods of scenarios says how many there are at most."""
    found = cap_of([{"metadata": {"name": "q"}, "spec": spec}], [], "")
    assert (None if found is None else found.containers) == most


def test_slots() -> None:
    """All nodes together have so many; the least of all that limits counts, and says what to do."""
    quotas = [{"metadata": {"name": "q"}, "spec": {"hard": {"pods": "9"}}}]
    found = cap_of(quotas, [{SLOT: "2"}, {SLOT: "3"}, {}], SLOT)
    assert found is not None
    assert found.containers == 5
    assert found.why == (
        f"the cluster's nodes have no more {SLOT} (CLNRM_SLOT_RESOURCE): add some, or ask for less"
    )
    # Where nodes may not be seen nothing is known of them.
    unseen = cap_of(quotas, [], SLOT)
    assert unseen is not None
    assert unseen.why == (
        "the ResourceQuota q of the namespace allows no more pods: raise it, or ask for less"
    )


def test_what_an_engine_tells(tmp_path: Path) -> None:
    """Quotas and nodes are looked at when it is connected."""
    cluster = Cluster(tmp_path)
    node = {"status": {"allocatable": {"cpu": "4", "memory": "8Gi", SLOT: "3"}}}
    node["status"]["nodeInfo"] = {"architecture": "amd64"}
    cluster.add("nodes", {"metadata": {"name": "node1"}, **node})
    quota = {"hard": {"requests.cpu": "2", "memory": "1Gi"}}
    cluster.add("resourcequotas", {"metadata": {"name": "q"}, "spec": quota})
    other = {"hard": {"limits.cpu": "1"}, "scopes": ["BestEffort"]}
    cluster.add("resourcequotas", {"metadata": {"name": "other"}, "spec": other})
    environ = {"KUBECONFIG": str(cluster.kubeconfig()), SLOT_RESOURCE: SLOT}
    engine = connect_cluster("kubernetes", environ)
    facts = engine.facts
    engine.close()
    cluster.close()
    assert (facts.cpus, facts.memory_bytes) == (2, 1 << 30)
    assert facts.cap is not None
    assert facts.cap.containers == 3
