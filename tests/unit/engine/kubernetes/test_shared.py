"""What a whole run shares on a cluster, against an API server of the tests' own: it is no process's."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from clnrm_testing.agent import OWN
from clnrm_testing.cluster import Cluster

from pytest_clnrm.engine.api import ContainerSpec, CopiedFile, ExecSpec
from pytest_clnrm.engine.exec.waiting import KEEP_ALIVE
from pytest_clnrm.engine.kubernetes.connect import connect_cluster
from pytest_clnrm.engine.kubernetes.engine import KubernetesEngine
from pytest_clnrm.errors import ContainerError, LostContainerError

pytestmark = pytest.mark.skipif(
    OWN is None or sys.platform != "linux", reason="there is no agent for this machine"
)
SOON_S = 20.0
NAME = "clnrm-s1-shared"
OF_RUN = {"o.ledger": "l1", "o.session": "s1", "o.worker": "shared"}
OF_WORKER = {"o.ledger": "l1", "o.session": "s1", "o.worker": "gw0"}
STORE = "clnrm-s1-shared-1-store"


@pytest.fixture
def process(cluster: Cluster) -> Iterator[Callable[[], KubernetesEngine]]:
    """Return a function that connects one more process of a run to the cluster."""
    with ExitStack() as opened:

        def connect() -> KubernetesEngine:
            engine = connect_cluster("kubernetes", {"KUBECONFIG": str(cluster.kubeconfig())})
            opened.callback(engine.close)
            engine.ensure_image("img:1", "missing")
            engine.keep_run(NAME, OF_RUN)
            return engine

        yield connect


def until(holds: Callable[[], bool]) -> None:
    """Return once something holds."""
    deadline_s = time.monotonic() + SOON_S
    while not holds():
        assert time.monotonic() < deadline_s
        time.sleep(0.01)


def started(engine: KubernetesEngine, name: str, labels: dict[str, str], **facts: Any) -> str:
    """Start a container, and return its id."""
    spec = ContainerSpec(
        name=name,
        image="img:1",
        memory_bytes=64 << 20,
        cpus=0.5,
        pids=10,
        command=KEEP_ALIVE,
        labels=labels,
        aliases=(name.rpartition("-")[2],),
        **facts,
    )
    container = engine.create_container(spec)
    engine.start(container)
    return container


def start_store(engine: KubernetesEngine, **facts: Any) -> str:
    """Start a container that belongs to the run, on a network of its own."""
    home = engine.create_network("clnrm-s1-shared-1-net", internal=True, labels=OF_RUN)
    return started(engine, STORE, OF_RUN, networks=(home,), **facts)


def test_it_outlives_who_has_started_it(cluster: Cluster, process: Callable[[], KubernetesEngine]) -> None:
    """It belongs to a Job of the run, of which there is one; any process uses it as its own."""
    first, second = process(), process()
    store = start_store(first)
    first.create_network("clnrm-s1-gw0-n1", internal=True, labels=OF_WORKER)
    first.close()
    until(lambda: set(cluster.of("jobs")) == {"clnrm-s1-shared-run1"})
    (job,) = cluster.of("jobs").values()
    pod, network = cluster.of("pods")[store], cluster.of("services")["clnrm-s1-shared-1-net"]
    for each in (pod, network):
        assert [owner["uid"] for owner in each["metadata"]["ownerReferences"]] == [job["metadata"]["uid"]]
    assert second.state(store).running
    said = bytearray()
    outcome = second.exec(
        store,
        ExecSpec(argv=("echo", "here")),
        on_output=lambda _, data: said.extend(data),
        deadline_s=time.monotonic() + SOON_S,
    )
    assert (outcome.exit_code, bytes(said)) == (0, b"here\n")
    started(second, "clnrm-s1-shared-2-cache", OF_RUN)
    assert set(cluster.of("jobs")) == {"clnrm-s1-shared-run1"}
    assert {each.name for each in second.list_owned(OF_RUN)} == {
        STORE,
        "clnrm-s1-shared-2-cache",
        "clnrm-s1-shared-1-net",
        "clnrm-s1-shared-run1",
    }


def test_all_who_know_of_it_beat(
    cluster: Cluster, process: Callable[[], KubernetesEngine], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also who makes nothing there, as the controller, from before there is anything; and to another Job."""
    monkeypatch.setattr("pytest_clnrm.engine.kubernetes.beats.BEAT_S", 0.02)
    controller = process()
    starter = process()
    start_store(starter)
    starter.close()

    def execs(pod: str) -> int:
        return sum(path.endswith(f"/{pod}/exec") for _, path in cluster.asked)

    until(lambda: execs("clnrm-s1-shared-run1-x1") > 1)
    assert controller._owners.own is None
    with cluster.changed:
        cluster.of("jobs")["clnrm-s1-shared-run1"]["status"] = {"failed": 1}
        cluster.objects["pods", "clnrm-s1-shared-run1-x1"]["status"] = {"phase": "Failed"}
    cluster.cut()
    start_store(process())
    assert set(cluster.of("jobs")) == {"clnrm-s1-shared-run1", "clnrm-s1-shared-run2"}
    until(lambda: execs("clnrm-s1-shared-run2-x1") > 1)


def test_who_finds_a_job_that_is_gone_says_so(
    cluster: Cluster, process: Callable[[], KubernetesEngine]
) -> None:
    """Another process has made it at the same moment, and it was removed then: no fault of the scenario."""
    cluster.failures["POST", "jobs"] = [(409, "AlreadyExists", "it is there already")]
    with pytest.raises(LostContainerError, match="cannot begin the run on the cluster: its Job was removed"):
        start_store(process())


def test_it_is_on_the_networks_of_its_users(
    cluster: Cluster, process: Callable[[], KubernetesEngine]
) -> None:
    """Their pods know its names, and policies that go with the network let them, and no others, reach it."""
    starter, user = process(), process()
    store = start_store(starter)
    network = user.create_network("clnrm-s1-gw0-n1", internal=True, labels=OF_WORKER)
    before = set(cluster.of("networkpolicies"))
    user.connect(network, store, ("store", "kv"))
    box = started(user, "clnrm-s1-gw0-1-box", OF_WORKER, networks=(network,))
    assert {"ip": "10.0.0.9", "hostnames": ["store", "kv"]} in cluster.of("pods")[box]["spec"]["hostAliases"]
    assert user.state(store).addresses == {network: "10.0.0.9", "clnrm-s1-shared-1-net": "10.0.0.9"}
    assert set(starter.state(store).addresses) == {"clnrm-s1-shared-1-net"}
    added = {name: each for name, each in cluster.of("networkpolicies").items() if name not in before}
    service = cluster.of("services")[network]["metadata"]["uid"]
    assert [each["metadata"]["ownerReferences"][0]["uid"] for each in added.values()] == [service] * 2
    members = {"clnrm.dev/network": network}
    guests = {"podSelector": {"matchLabels": {"clnrm.dev/network": "clnrm-s1-shared-1-net"}}}
    assert {each["spec"]["policyTypes"][0]: each["spec"] for each in added.values()} == {
        "Ingress": {
            **guests,
            "policyTypes": ["Ingress"],
            "ingress": [{"from": [{"podSelector": {"matchLabels": members}}]}],
        },
        # Who has a way out needs no leave, and a policy of this kind would take all others from it.
        "Egress": {
            "podSelector": {"matchLabels": {**members, "clnrm.dev/way-out": "no"}},
            "policyTypes": ["Egress"],
            "egress": [{"to": [guests]}],
        },
    }
    user.disconnect(network, store)
    until(lambda: set(cluster.of("networkpolicies")) == before)
    assert network not in user.state(store).addresses
    with pytest.raises(ContainerError, match="cannot take a pod off its network"):
        user.disconnect(network, box)


def test_who_comes_later_is_told_to_those_that_run(
    cluster: Cluster, process: Callable[[], KubernetesEngine], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As to a container of a fixture that runs before a test asks for what is shared."""
    told: list[tuple[str, dict[str, str]]] = []
    user = process()
    monkeypatch.setattr(user, "_add_hosts", lambda container, names: told.append((container, dict(names))))
    network = user.create_network("clnrm-s1-gw0-n1", internal=True, labels=OF_WORKER)
    box = started(user, "clnrm-s1-gw0-1-box", OF_WORKER, networks=(network,))
    user.connect(network, start_store(process()), ("store",))
    assert told[-1] == (box, {"store": "10.0.0.9"})


def test_it_is_removed_by_its_name(cluster: Cluster, process: Callable[[], KubernetesEngine]) -> None:
    """Of each start there is another pod; whoever knows the name alone removes them all, with their files."""
    files = (CopiedFile(target="/etc/seed", content=b"seed"),)
    starter, other = process(), process()
    one, two = start_store(starter, files=files), start_store(starter, files=files)
    assert one != two
    assert len(cluster.of("secrets")) == 2
    other.remove([STORE])
    until(lambda: not {one, two} & set(cluster.of("pods")) and not cluster.of("secrets"))
    with pytest.raises(LostContainerError):
        other.state(one)
