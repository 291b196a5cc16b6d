"""A cluster as the engine, against an API server of the tests' own (clnrm_testing/cluster.py)."""

from __future__ import annotations

import base64
import re
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any, Literal

import pytest
import yaml
from clnrm_testing.agent import OWN
from clnrm_testing.cluster import PRINTED_S, Cluster, ended, running, waiting

from pytest_clnrm.engine.api import BuildSpec, ContainerSpec, CopiedFile, ExecOutcome, ExecSpec, Mount
from pytest_clnrm.engine.exec.waiting import KEEP_ALIVE
from pytest_clnrm.engine.kubernetes import logs as cluster_logs
from pytest_clnrm.engine.kubernetes import policy_probe, queueing, starts
from pytest_clnrm.engine.kubernetes.connect import connect_cluster
from pytest_clnrm.engine.kubernetes.engine import KubernetesEngine
from pytest_clnrm.engine.kubernetes.pods import DEADLINE_S
from pytest_clnrm.engine.kubernetes.rest import RefusedError
from pytest_clnrm.errors import (
    ContainerError,
    EngineError,
    EngineFullError,
    EngineUnavailableError,
    ImageError,
    LostContainerError,
    NoRoomError,
    PullError,
)
from pytest_clnrm.model.priority import Priority

pytestmark = pytest.mark.skipif(
    OWN is None or sys.platform != "linux", reason="there is no agent for this machine"
)
SOON_S = 20.0
LABELS = {"o.ledger": "l1", "o.session": "s1", "o.scenario": "tests/a.clnrm.toml::x y"}


@pytest.fixture
def engine(cluster: Cluster) -> Iterator[KubernetesEngine]:
    """Return the cluster as an engine that knows an image."""
    engine = connect_cluster("kubernetes", {"KUBECONFIG": str(cluster.kubeconfig())})
    engine.ensure_image("img:1", "missing")
    yield engine
    engine.close()


def spec(name: str = "clnrm-s1-gw0-1-db", **facts: Any) -> ContainerSpec:
    """Return what is asked for a container."""
    made = ContainerSpec(
        name=name,
        image="img:1",
        memory_bytes=64 << 20,
        cpus=0.5,
        pids=10,
        command=KEEP_ALIVE,
        labels=LABELS,
        aliases=("db",),
    )
    return replace(made, **facts)


def soon() -> float:
    """Return a moment till which anything here has happened."""
    return time.monotonic() + SOON_S


def start(engine: KubernetesEngine, asked: ContainerSpec | None = None) -> str:
    """Start a container and return its id."""
    container = engine.create_container(asked or spec())
    engine.start(container, deadline_s=soon())
    return container


def run(engine: KubernetesEngine, container: str, text: str) -> tuple[ExecOutcome, str]:
    """Run a step; return its outcome and output."""
    said = bytearray()
    outcome = engine.exec(
        container,
        ExecSpec(argv=("sh", "-c", text)),
        on_output=lambda _, data: said.extend(data),
        deadline_s=soon(),
    )
    return outcome, said.decode()


def test_what_a_pod_is_asked_to_be(cluster: Cluster, engine: KubernetesEngine) -> None:
    """Its limits are what it requests, it belongs to the run, and all that it needs of us is mounted."""
    network = engine.create_network("clnrm-s1-gw0-n1", internal=True, labels=LABELS)
    asked = spec(
        networks=(network,),
        env={"A": "$(B)"},
        tmpfs=("/scratch",),
        files=(CopiedFile(target="/etc/x.conf", content=b"x\0y", mode=0o600),),
        user="1000:5",
        cap_drop=("ALL",),
        gpus=1,
        extra_hosts={"other": "10.1.1.1"},
    )
    container = start(engine, asked)
    pod = cluster.of("pods")[container]
    (job,) = cluster.of("jobs").values()
    assert [each["uid"] for each in pod["metadata"]["ownerReferences"]] == [job["metadata"]["uid"]]
    assert pod["metadata"]["labels"] == {
        "o.ledger": "l1",
        "o.session": "s1",
        "clnrm.dev/network": network,
        "clnrm.dev/way-out": "no",
    }
    main = pod["spec"]["containers"][0]
    amounts = {"memory": "67108864", "cpu": "500m", "nvidia.com/gpu": "1"}
    assert main["resources"] == {"requests": amounts, "limits": amounts}
    assert main["env"] == [{"name": "A", "value": "$$(B)"}]
    assert main["command"] == ["/.clnrm-tools/clnrm", "pause"]
    assert main["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": False,
        "capabilities": {"drop": ["ALL"]},
        "runAsUser": 1000,
        "runAsGroup": 5,
    }
    (secret,) = cluster.of("secrets").values()
    assert base64.b64decode(secret["data"]["f0"]) == b"x\0y"
    assert {"name": "files", "mountPath": "/etc/x.conf", "subPath": "f0", "readOnly": True} in main[
        "volumeMounts"
    ]
    assert pod["spec"]["hostAliases"] == [{"ip": "10.1.1.1", "hostnames": ["other"]}]
    assert (pod["spec"]["hostname"], pod["spec"]["subdomain"]) == ("db", network)
    assert pod["spec"]["restartPolicy"] == "Never"
    # The network's own pods and the run's get in, and nothing gets out but to them, and to ask for names.
    inside, out = cluster.of("networkpolicies").values()
    assert len(inside["spec"]["ingress"][0]["from"]) == 2
    assert out["spec"]["podSelector"]["matchLabels"]["clnrm.dev/way-out"] == "no"
    engine.remove([container])
    deadline_s = soon()
    while cluster.of("secrets") and time.monotonic() < deadline_s:
        pass
    assert cluster.of("secrets") == {}


def test_steps_outlive_the_api_server(cluster: Cluster, engine: KubernetesEngine, tmp_path: Path) -> None:
    """Its connections break in the middle of a step, whose output and exit code come all the same, once."""
    container = start(engine)
    assert run(engine, container, "echo one; exit 3") == (ExecOutcome(exit_code=3), "one\n")
    mark = tmp_path / "mark"
    said = bytearray()

    def hear(_: str, data: bytes) -> None:
        said.extend(data)
        if not mark.exists():
            cluster.cut()
            mark.touch()

    text = f"echo begun; while [ ! -e {mark} ]; do :; done; echo over; exit 9"
    outcome = engine.exec(container, ExecSpec(argv=("sh", "-c", text)), on_output=hear, deadline_s=soon())
    assert (outcome, said.decode()) == (ExecOutcome(exit_code=9), "begun\nover\n")


def test_state_as_the_cluster_tells(cluster: Cluster, engine: KubernetesEngine) -> None:
    """Runs, has ended, was killed for memory, was taken away, is gone: each is told apart."""
    container = engine.create_container(spec())
    assert engine.state(container).describe_end() == "never started"
    engine.start(container, deadline_s=soon())
    assert engine.state(container).running
    cluster.set_status(container, ended(3, "Error"))
    state = engine.state(container)
    assert (state.exit_code, state.oom_killed, state.lived_s) == (3, False, 2.0)
    cluster.set_status(container, ended(137, "OOMKilled"))
    assert engine.state(container).describe_end() == "exit code 137 (killed by SIGKILL), out of memory"
    outcome, _ = run(engine, container, "true")
    assert outcome == ExecOutcome(exit_code=None, container_lost=True, oom=True)
    cluster.set_status(container, {"phase": "Failed", "reason": "Evicted", "message": "low on memory"})
    with pytest.raises(LostContainerError, match=r"has taken the pod .* away: Evicted \(low on memory\)"):
        engine.state(container)
    condition = {"type": "DisruptionTarget", "status": "True", "reason": "PreemptionByScheduler"}
    cluster.set_status(container, {**ended(143), "conditions": [condition]})
    with pytest.raises(LostContainerError, match="PreemptionByScheduler"):
        engine.state(container)
    cluster.set_status(container, running())
    cluster.of("pods")[container]["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    with pytest.raises(LostContainerError, match="is being removed: its node is lost, or somebody did it"):
        engine.state(container)
    cluster.drop("pods", container)
    with pytest.raises(LostContainerError, match="is gone: removed, or with the node that it was on"):
        engine.state(container)
    assert LostContainerError.is_infrastructure


@pytest.mark.parametrize(
    ("status", "error", "said"),
    [
        (
            waiting("ErrImageNeverPull", "not present"),
            ImageError,
            "the image of .* cannot be had: not present",
        ),
        (waiting("ErrImagePull", "dial tcp: i/o timeout"), PullError, "i/o timeout"),
        (
            waiting("CreateContainerConfigError", "no such secret"),
            ContainerError,
            "cannot be started: no such",
        ),
        (ended(128, "ContainerCannotRun", "bad"), ContainerError, "cannot be started: bad"),
        ({"phase": "Failed", "reason": "OutOfcpu", "message": "m"}, LostContainerError, "away: OutOfcpu"),
        ({"phase": "Failed", "message": "odd"}, ContainerError, "has failed: odd"),
    ],
)
def test_what_cannot_be_started(
    cluster: Cluster, engine: KubernetesEngine, status: dict[str, Any], error: type[Exception], said: str
) -> None:
    """It is told at once, as what it is."""
    container = engine.create_container(spec())
    cluster.behave = lambda pod: status
    with pytest.raises(error, match=said):
        engine.start(container, deadline_s=soon())


def test_no_room(cluster: Cluster, engine: KubernetesEngine) -> None:
    """It is waited for; what comes too late is told with the scheduler's reason, as the cluster's fault."""
    container = engine.create_container(spec())
    condition = {"type": "PodScheduled", "status": "False", "message": "0/2 nodes: Insufficient cpu"}
    cluster.behave = lambda pod: {"phase": "Pending", "conditions": [condition]}
    with pytest.raises(EngineFullError, match=r"no room for the pod .* in time: 0/2 nodes: Insufficient cpu"):
        engine.start(container, deadline_s=time.monotonic() + 0.5)
    assert EngineFullError.is_infrastructure
    other = engine.create_container(spec("clnrm-s1-gw0-1-web"))
    threading.Timer(0.3, lambda: cluster.set_status(other, running())).start()
    engine.start(other, deadline_s=soon())
    assert engine.state(other).running


def test_quota(cluster: Cluster, engine: KubernetesEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that is used up is waited for; any other refusal is an error at once."""
    monkeypatch.setattr("pytest_clnrm.engine.kubernetes.starts.ROOM_PAUSE_S", 0.01)
    container = engine.create_container(spec())
    cluster.failures["POST", "pods"] = [(403, "Forbidden", "exceeded quota: clnrm")] * 3
    engine.start(container, deadline_s=soon())
    other = engine.create_container(spec("clnrm-s1-gw0-1-web"))
    cluster.failures["POST", "pods"] = [(403, "Forbidden", "exceeded quota: clnrm")] * 1000
    with pytest.raises(EngineFullError, match=r"exceeded quota: clnrm \(waited for it"):
        engine.start(other, deadline_s=time.monotonic() + 0.2)
    cluster.failures["POST", "pods"] = [(403, "Forbidden", "pods is forbidden")]
    with pytest.raises(
        ContainerError, match=r"pods is forbidden \(the smallest Role .* docs/kubernetes.md\)"
    ):
        engine.start(other, deadline_s=soon())


class Waiting:
    """The scenario of a container; its room comes after it has lacked it *lacks* times."""

    def __init__(self, free: Callable[[], None] = lambda: None, lacks: int = 2) -> None:
        self.name, self.containers, self.priority, self.waited_s = "clnrm-s1-gw0-1", 3, Priority.HIGH, 0.0
        self.told: list[tuple[str, str, bool]] = []
        self.placed: list[str] = []
        self._free, self._lacks = free, lacks

    def lacks(self, container: str, why: str, *, is_made: bool) -> None:
        self.told.append((container, why, is_made))
        if len(self.told) == self._lacks:
            self._free()

    def has_room(self, container: str) -> None:
        self.placed.append(container)


def test_a_scenario_waits_for_room(
    cluster: Cluster, engine: KubernetesEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is asked as long as a quota refuses its pod, or no node has room, whatever the deadline says."""
    monkeypatch.setattr("pytest_clnrm.engine.kubernetes.starts.ROOM_PAUSE_S", 0.01)
    refused = Waiting()
    cluster.failures["POST", "pods"] = [(403, "Forbidden", "exceeded quota: clnrm")] * 2
    container = engine.create_container(spec(admission=refused))
    engine.start(container, deadline_s=soon())
    assert [(each, is_made) for each, _, is_made in refused.told] == [(container, False)] * 2
    assert refused.placed == [container]
    condition = {"type": "PodScheduled", "status": "False", "message": "0/2 nodes: Insufficient cpu"}
    cluster.behave = lambda pod: {"phase": "Pending", "conditions": [condition]}
    other = engine.create_container(
        spec("clnrm-s1-gw0-1-web", admission=(full := Waiting(lambda: cluster.set_status(other, running()))))
    )
    engine.start(other, deadline_s=soon())
    assert full.told == [(other, "0/2 nodes: Insufficient cpu", True)] * 2
    assert full.placed == [other]

    def give_up() -> None:
        raise NoRoomError("others come first")

    last = engine.create_container(spec("clnrm-s1-gw0-1-x", admission=Waiting(give_up, lacks=1)))
    with pytest.raises(NoRoomError, match="others come first"):
        engine.start(last, deadline_s=soon())


def test_a_pod_that_answers_before_its_node_tells(
    cluster: Cluster, engine: KubernetesEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is started, and runs, for its scenario; its address and output wait for what the cluster tells."""
    monkeypatch.setattr(starts, "_NEVER_YET_S", 0.0)
    network = engine.create_network("clnrm-s1-gw0-n1", internal=True, labels=LABELS)

    def create(pod: dict[str, Any]) -> dict[str, Any]:
        pod["spec"]["nodeName"] = "node1"
        return waiting("ContainerCreating")

    cluster.behave = create
    cluster.answers = True
    alone = Waiting()
    alone.containers = 1
    container = start(engine, spec(networks=(network,), admission=alone))
    assert (alone.placed, alone.told) == ([container], [])
    assert run(engine, container, "echo one") == (ExecOutcome(exit_code=0), "one\n")
    state = engine.state(container)
    assert (state.running, list(state.addresses), state.error) == (True, [network], "")
    cluster.logs[container] = "served\n"
    threading.Timer(0.3, lambda: cluster.set_status(container, running("10.0.0.7"))).start()
    assert state.addresses[network] == "10.0.0.7"
    assert state.addresses.get("other", "") == ""
    assert engine.logs(container, tail_bytes=100) == "served\n"
    assert engine.state(container).addresses == {network: "10.0.0.7"}
    # Another one, as of a step with an image of its own, knows its name.
    cluster.behave = lambda pod: running("10.0.0.8")
    other = start(engine, spec("clnrm-s1-gw0-1-x", networks=(network,), aliases=("x",)))
    assert cluster.of("pods")[other]["spec"]["hostAliases"] == [{"ip": "10.0.0.7", "hostnames": ["db"]}]


def test_a_pod_that_answers_and_is_gone(
    cluster: Cluster, engine: KubernetesEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What ends before its node has told that it ran has ended, and was lost where it was taken away."""
    monkeypatch.setattr(starts, "_NEVER_YET_S", 0.0)
    cluster.answers = True
    alone = Waiting()
    alone.containers = 1
    engine.create_network("clnrm-s1-gw0-n1", internal=True, labels=LABELS)

    def create(pod: dict[str, Any]) -> dict[str, Any]:
        pod["spec"]["nodeName"] = "node1"
        return waiting("ContainerCreating")

    cluster.behave = create
    container = start(engine, spec(admission=alone))
    cluster.set_status(container, ended(3, "Error"))
    assert engine.state(container).exit_code == 3
    other = start(engine, spec("clnrm-s1-gw0-2-db", admission=alone))
    cluster.drop("pods", other)
    with pytest.raises(LostContainerError, match="is gone"):
        engine.state(other)
    with pytest.raises(LostContainerError, match="was removed before it ran"):
        engine.logs(other, tail_bytes=1)


def test_a_quota_that_others_use_at_the_same_moment(cluster: Cluster, engine: KubernetesEngine) -> None:
    """Its conflict says nothing of the pod, which is made at the next attempt."""
    cluster.failures["POST", "pods"] = [(409, "Conflict", "the object has been modified")]
    assert start(engine) in cluster.of("pods")


def test_priorities_slots_and_queues(cluster: Cluster) -> None:
    """A pod says how it waits among those of others; a PriorityClass that the cluster lacks is left out."""
    environ = {
        "KUBECONFIG": str(cluster.kubeconfig()),
        "CLNRM_SLOT_RESOURCE": "clnrm.dev/slot",
        "CLNRM_KUEUE_QUEUE": "tests",
    }
    engine = connect_cluster("kubernetes", environ)
    engine.ensure_image("img:1", "missing")
    container = start(engine, spec(admission=Waiting()))
    first = cluster.of("pods")[container]
    assert first["spec"]["priorityClassName"] == "clnrm-high"
    assert first["spec"]["containers"][0]["resources"]["requests"]["clnrm.dev/slot"] == "1"
    labels, notes = first["metadata"]["labels"], first["metadata"]["annotations"]
    assert labels["kueue.x-k8s.io/queue-name"] == "tests"
    assert labels["kueue.x-k8s.io/pod-group-name"] == "clnrm-s1-gw0-1"
    assert notes["kueue.x-k8s.io/pod-group-total-count"] == "3"
    # Of no scenario: one of a fixture, and the run's own.
    container = start(engine, spec("clnrm-s1-gw0-f"))
    assert "priorityClassName" not in cluster.of("pods")[container]["spec"]
    cluster.classes.clear()
    for name in ("clnrm-s1-gw0-2-db", "clnrm-s1-gw0-3-db"):
        container = start(engine, spec(name, admission=Waiting()))
        assert "priorityClassName" not in cluster.of("pods")[container]["spec"]
    # The first one was refused and made; the second one was made without the class at once.
    made = [each for each in cluster.asked if each == ("POST", "/api/v1/namespaces/tests/pods")]
    assert len(made) == 2 + 2 + 1
    engine.close()


def test_the_priorities_that_are_shipped() -> None:
    """One for each priority, in its order; none takes the place of a pod that runs."""
    file = Path(queueing.__file__).parent / "priorities.yaml"
    found = list(yaml.safe_load_all(file.read_text(encoding="utf-8")))
    ordered = sorted(found, key=lambda each: -each["value"])
    assert [each["metadata"]["name"] for each in ordered] == [queueing.class_of(each) for each in Priority]
    assert {each["preemptionPolicy"] for each in found} == {"Never"}


def test_stop(cluster: Cluster, engine: KubernetesEngine) -> None:
    """Its end and its output are known when its pod is no more; it cannot be started again."""
    container = start(engine)
    cluster.logs[container] = "served 3\n"
    engine.stop(container, grace_s=2)
    deadline_s = soon()
    while container in cluster.of("pods") and time.monotonic() < deadline_s:
        pass
    assert engine.state(container).exit_code == 143
    assert engine.logs(container, tail_bytes=3) == " 3\n"
    log = engine.follow_log(container)
    assert log.receive(soon()) == [("stdout", b"served 3\n")]
    assert (log.receive(soon()), log.may_lack()) == ([], "")
    engine.stop(container, grace_s=2)
    with pytest.raises(ContainerError, match="cannot start a container again"):
        engine.start(container)


def test_stop_of_one_that_is_gone_at_once(
    cluster: Cluster, engine: KubernetesEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """How it has ended is told all the same: what happened since it ran is heard from then on."""
    container = start(engine)
    asked = engine._rest.delete

    def delete(doing: str, kind: str, name: str, **options: Any) -> None:
        asked(doing, kind, name, **options)
        deadline_s = soon()
        while name in cluster.of(kind) and time.monotonic() < deadline_s:
            pass

    monkeypatch.setattr(engine._rest, "delete", delete)
    engine.stop(container, grace_s=2)
    assert engine.state(container).exit_code == 143


@pytest.mark.parametrize(
    "said",
    [
        'failed to try resolving symlinks in path "/var/log/pods/n_p_1/main/0.log": no such file',
        "unable to retrieve container logs for containerd://0123",
    ],
)
def test_output_that_a_node_has_lost(cluster: Cluster, engine: KubernetesEngine, said: str) -> None:
    """What the node says in place of it is not taken for it."""
    container = start(engine, spec())
    cluster.logs[container] = said
    lost = f"^the node has lost the output of the pod {container}: {re.escape(said)}$"
    with pytest.raises(LostContainerError, match=lost):
        engine.logs(container, tail_bytes=1000)
    log = engine.follow_log(container, until_now=True)
    with pytest.raises(LostContainerError, match=lost):
        log.receive(soon())
    log.close()
    cluster.logs[container] = f"it said: {said}"
    assert engine.logs(container, tail_bytes=1000) == f"it said: {said}"


def test_logs(cluster: Cluster, engine: KubernetesEngine) -> None:
    """Both streams are one there."""
    container = start(engine)
    cluster.logs[container] = "a\nb\n"
    assert engine.logs(container, tail_bytes=2) == "b\n"
    log = engine.follow_log(container, until_now=True, since_s=1.5)
    assert log.receive(soon()) == [("stdout", b"a\nb\n")]
    assert (log.receive(soon()), log.may_lack()) == ([], "")
    log.close()


@pytest.mark.parametrize("breaks", ["early", "within", "reset"])
def test_logs_whose_connection_breaks(
    cluster: Cluster, engine: KubernetesEngine, breaks: Literal["early", "within", "reset"]
) -> None:
    """What has come is not taken for all of it."""
    container = start(engine)
    cluster.logs[container] = "a\nb\n"
    cluster.breaks[container] = breaks
    log = engine.follow_log(container, until_now=True)
    broken = "^cannot follow the pod's output: the connection to the cluster ended before the answer: "
    with pytest.raises(EngineUnavailableError, match=broken):
        list(iter(lambda: log.receive(soon()), []))
    with pytest.raises(EngineUnavailableError, match=broken):
        log.receive(soon())
    log.close()


CUT = "only the end of what its pod had printed was kept when that was stopped"


@pytest.mark.parametrize(
    ("count", "since", "first"),
    [
        (5, None, 0),
        (5, 2.5, 3),
        (5, 3.0, 3),
        (5, 9.0, 5),
        (60_000, 59_990.5, 59_991),
        (60_000, 0.0, None),
        (60_000, None, None),
    ],
)
def test_what_a_stopped_pod_has_printed(
    cluster: Cluster, engine: KubernetesEngine, count: int, since: float | None, first: int | None
) -> None:
    """Since a moment too; where only the end of that was kept it is told."""
    container = start(engine)
    lines = [f"2 {number:0100}\n" for number in range(count)]
    cluster.logs[container] = "".join(lines)
    engine.stop(container, grace_s=2)
    log = engine.follow_log(container, until_now=True, since_s=None if since is None else PRINTED_S + since)
    pieces = list(iter(lambda: log.receive(soon()), []))
    told = b"".join(data for each in pieces for _, data in each or ()).decode().splitlines(keepends=True)
    assert told == lines[count - len(told) if first is None else first :]
    assert log.may_lack() == (CUT if first is None else "")
    assert len(told) > 30_000 or first is not None


@pytest.mark.parametrize("failure", ["early", "refused", "silent"])
def test_a_stopped_pod_whose_output_was_not_read(
    cluster: Cluster, engine: KubernetesEngine, monkeypatch: pytest.MonkeyPatch, failure: str
) -> None:
    """It is not taken for a pod that has printed nothing, or only that."""
    container = start(engine)
    cluster.logs[container] = "served 3\n"
    why = "cannot follow the pod's output: "
    if failure == "early":
        cluster.breaks[container] = "early"
        why += "the connection to the cluster ended before the answer: .*"
    elif failure == "refused":
        monkeypatch.setattr(cluster_logs, "follow_log", refuse)
        why += "busy"
    else:
        monkeypatch.setattr(cluster_logs.FollowedLog, "receive", lambda _, deadline_s: None)
        why = "5 s after the pod's end its own had not come"
    engine.stop(container, grace_s=2)
    assert engine.state(container).exit_code == 143
    told = f"^the output of a pod that was stopped could not be kept: {why}$"
    with pytest.raises(ContainerError, match=told):
        engine.follow_log(container, until_now=True)
    with pytest.raises(ContainerError, match=told):
        engine.logs(container, tail_bytes=100)


def refuse(*_: object, **__: object) -> None:
    """Fail as a request does that the cluster refuses."""
    raise RefusedError("follow the pod's output", 503, "Busy", "busy")


def test_all_belongs_to_the_run(cluster: Cluster, engine: KubernetesEngine) -> None:
    """Once nobody beats the Job ends and takes all with it; until then it is found by its labels."""
    engine.create_network("clnrm-s1-gw0-n1", internal=True, labels=LABELS)
    container = start(engine)
    (job,) = cluster.of("jobs").values()
    assert job["spec"]["ttlSecondsAfterFinished"] == 0
    assert job["spec"]["template"]["spec"]["containers"][0]["command"][1:] == [
        "watch",
        "/.clnrm-journal",
        "15",
    ]
    assert job["spec"]["activeDeadlineSeconds"] >= DEADLINE_S
    found = engine.list_owned({"o.ledger": "l1", "o.session": ""})
    assert {(each.kind, each.name) for each in found} == {
        ("container", "clnrm-s1-gw0-1-db"),
        ("network", "clnrm-s1-gw0-n1"),
        ("network", "clnrm-s1-gw0-n1-run"),
    }
    assert all(each.labels.items() >= LABELS.items() for each in found)
    assert engine.list_owned({"o.ledger": "other"}) == ()
    engine.remove_owned(found)
    deadline_s = soon()
    while cluster.objects and time.monotonic() < deadline_s:
        pass
    assert cluster.objects == {}
    engine.remove_owned(found)
    with pytest.raises(LostContainerError):
        engine.state(container)


@pytest.mark.parametrize(("version", "grace_s"), [("v1.21.14", 0), ("v1.22.0-gke.1", 1), ("unknown", 1)])
def test_how_long_a_pod_has_to_end(*, version: str, grace_s: int, cluster: Cluster) -> None:
    """Old nodes list one that has ended for up to a minute, unless it had no time to end."""
    cluster.version = version
    engine = connect_cluster("kubernetes", {"KUBECONFIG": str(cluster.kubeconfig())})
    engine.ensure_image("img:1", "missing")
    container = start(engine)
    made = cluster.of("pods")[container]
    engine.close()
    assert made["spec"]["terminationGracePeriodSeconds"] == grace_s


def test_pods_of_a_node_that_is_lost(cluster: Cluster, engine: KubernetesEngine) -> None:
    """Nobody tells the cluster that they have ended: a minute after they should have they are swept."""
    container = start(engine)
    about = cluster.of("pods")[container]["metadata"]

    def listed() -> list[bool]:
        return [each.ended for each in engine.list_owned({"o.ledger": "l1"}) if each.id == container]

    assert listed() == [False]
    now = datetime.now(timezone.utc)
    about["deletionTimestamp"] = (now - timedelta(seconds=50)).isoformat()
    assert listed() == []
    about["deletionTimestamp"] = (now - timedelta(seconds=70)).isoformat()
    assert listed() == [True]


def deadlines(cluster: Cluster) -> list[int]:
    """Return after how many seconds the cluster ends the runs that are there."""
    return [each["spec"]["activeDeadlineSeconds"] for each in cluster.of("jobs").values()]


def begin_once(is_enough: Callable[[], bool], cluster: Cluster, engine: KubernetesEngine) -> None:
    """Begin a run whose pod does not run before *is_enough*, which is asked again and again."""

    def watch() -> None:
        deadline_s = soon()
        while not is_enough() and time.monotonic() < deadline_s:
            pass
        (pod,) = cluster.of("pods")
        cluster.set_status(pod, running())

    watching = threading.Thread(target=watch)
    watching.start()
    engine.create_network("clnrm-s1-gw0-n1", internal=True, labels=LABELS)
    watching.join()


def test_a_run_whose_process_is_killed_as_it_begins(
    cluster: Cluster, engine: KubernetesEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before its pod runs the Job ends by itself, soon; who lives puts that off, however long it takes."""
    monkeypatch.setattr("pytest_clnrm.engine.kubernetes.run_object.BEAT_S", 0.02)
    at_first: list[int] = []
    ends: set[int] = set()

    def behave(pod: dict[str, Any]) -> dict[str, Any]:
        at_first.extend(deadlines(cluster))
        return waiting("ContainerCreating")

    def is_enough() -> bool:
        # The first may be put off before the cluster is asked for it here.
        ends.update(at_first, deadlines(cluster))
        return len(ends) >= 3

    cluster.behave = behave
    begin_once(is_enough, cluster, engine)
    assert at_first == [15]
    assert {15, 16, 17} <= ends


def test_a_run_that_somebody_else_has_given_a_day(
    cluster: Cluster, engine: KubernetesEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever has made it, and still waits for its pod, takes nothing of that back."""
    monkeypatch.setattr("pytest_clnrm.engine.kubernetes.run_object.BEAT_S", 0.01)
    seen: list[int] = []

    def behave(pod: dict[str, Any]) -> dict[str, Any]:
        (job,) = cluster.of("jobs").values()
        job["spec"]["activeDeadlineSeconds"] = 24 * 3600
        return waiting("ContainerCreating")

    def looks() -> int:
        return sum(method == "GET" and path.endswith("/jobs") for method, path in cluster.asked)

    def is_enough() -> bool:
        seen.extend(deadlines(cluster))
        return looks() >= 3

    cluster.behave = behave
    begin_once(is_enough, cluster, engine)
    assert 24 * 3600 in seen
    assert min(seen[seen.index(24 * 3600) :]) == 24 * 3600


def test_a_run_that_may_not_be_put_off(cluster: Cluster, engine: KubernetesEngine) -> None:
    """It is told with where the rights stand, and nothing stays."""
    cluster.failures["PATCH", "jobs"] = [(403, "Forbidden", "jobs is forbidden")]
    with pytest.raises(EngineError, match=r"cannot keep the run on the cluster: .*docs/kubernetes\.md"):
        engine.create_network("clnrm-s1-gw0-n1", internal=True, labels=LABELS)
    deadline_s = soon()
    while cluster.objects and time.monotonic() < deadline_s:
        pass
    assert cluster.objects == {}


def test_a_run_that_was_ended_begins_anew(
    cluster: Cluster, engine: KubernetesEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after an API server that was away for too long."""
    monkeypatch.setattr("pytest_clnrm.engine.kubernetes.beats.BEAT_S", 0.02)
    network = engine.create_network("clnrm-s1-gw0-n1", internal=True, labels=LABELS)
    (first,) = cluster.of("jobs")
    cluster.drop("jobs", first)
    cluster.cut()
    deadline_s = soon()
    while engine.has_network(network) and time.monotonic() < deadline_s:
        pass
    while not (engine._owners.own and engine._owners.own.lost) and time.monotonic() < deadline_s:
        pass
    engine.create_network("clnrm-s1-gw0-n2", internal=True, labels=LABELS)
    assert set(cluster.of("jobs")) == {"clnrm-s1-gw0-n2-run"}


def test_a_run_that_is_not_reached_begins_anew(
    cluster: Cluster, engine: KubernetesEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As one whose node is lost: its pod is still there, but runs nothing any more."""
    monkeypatch.setattr("pytest_clnrm.engine.kubernetes.beats.BEAT_S", 0.02)
    monkeypatch.setattr("pytest_clnrm.engine.kubernetes.beats.QUIET_S", 0.3)
    network = engine.create_network("clnrm-s1-gw0-n1", internal=True, labels=LABELS)
    (pod,) = cluster.of("pods")
    cluster.set_status(pod, waiting("NodeLost"))
    cluster.cut()
    deadline_s = soon()
    while not (engine._owners.own and engine._owners.own.lost) and time.monotonic() < deadline_s:
        pass
    assert engine._owners.own is not None
    assert engine._owners.own.lost == f"the run's pod {pod} was not reached for 0.3 s"
    assert not engine.has_network(network)
    engine.create_network("clnrm-s1-gw0-n2", internal=True, labels=LABELS)
    while len(cluster.of("jobs")) > 1 and time.monotonic() < deadline_s:
        pass
    assert set(cluster.of("jobs")) == {"clnrm-s1-gw0-n2-run"}


def test_an_image_that_cannot_be_had(cluster: Cluster, engine: KubernetesEngine) -> None:
    """Its pod is of the first image; nothing of it stays."""
    cluster.behave = lambda pod: waiting("ImagePullBackOff", "manifest unknown")
    with pytest.raises(ImageError, match="manifest unknown"):
        engine.create_container(spec())
    deadline_s = soon()
    while cluster.objects and time.monotonic() < deadline_s:
        pass
    assert cluster.objects == {}


def test_relay(cluster: Cluster, engine: KubernetesEngine) -> None:
    """It runs in the run's own pod, and connects to what that reaches."""
    network = engine.create_network("clnrm-s1-gw0-n1", internal=True, labels=LABELS)
    relay = engine.open_relay(
        "clnrm-s1-gw0-relay1", network, labels=LABELS, accept=lambda: None, on_end=lambda why: None
    )
    assert relay.join(network) == "10.0.0.9"
    port = int(cluster.url.rsplit(":", 1)[1])
    with relay.dial("127.0.0.1", port, timeout_s=SOON_S) as connection:
        connection.sendall(b"GET /version HTTP/1.0\r\nAuthorization: Bearer sesame\r\n\r\n")
        answer = b""
        while data := connection.recv(4096):
            answer += data
    assert b"v1.20.2" in answer
    relay.close()
    assert relay.ended


@pytest.mark.parametrize("heeded", [True, False])
def test_network_policies(
    *, heeded: bool, cluster: Cluster, engine: KubernetesEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pod is reached over the relay, until a policy lets nobody in; many networks do not heed it."""
    monkeypatch.setattr(policy_probe, "SETTLE_S", 1.0)
    with pytest.raises(EngineError, match="nothing of the run is there"):
        engine.find_unenforced()
    network = engine.create_network("clnrm-s1-gw0-n1", internal=True, labels=LABELS)
    relay = engine.open_relay(
        "clnrm-s1-gw0-relay1", network, labels=LABELS, accept=lambda: None, on_end=lambda why: None
    )
    before = set(cluster.of("networkpolicies"))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        monkeypatch.setattr(policy_probe, "RELAY_PORT", listener.getsockname()[1])
        cluster.behave = lambda pod: running("127.0.0.1")
        made: list[dict[str, Any]] = []

        def watch() -> None:
            deadline_s = soon()
            while not made and time.monotonic() < deadline_s:
                new = cluster.of("networkpolicies")
                made.extend(each for name, each in new.items() if name not in before)
            if heeded:
                listener.close()

        watching = threading.Thread(target=watch)
        watching.start()
        assert engine.find_unenforced() == (() if heeded else (policy_probe.IGNORED,))
        watching.join()
    assert made[0]["spec"]["policyTypes"] == ["Ingress"]
    assert "ingress" not in made[0]["spec"]
    deadline_s = soon()
    while set(cluster.of("networkpolicies")) != before and time.monotonic() < deadline_s:
        pass
    assert set(cluster.of("networkpolicies")) == before
    relay.close()


def test_network_policies_that_cannot_be_tried(
    cluster: Cluster, engine: KubernetesEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pod that is not reached without a policy tells nothing of policies."""
    monkeypatch.setattr(policy_probe, "SETTLE_S", 0.0)
    network = engine.create_network("clnrm-s1-gw0-n1", internal=True, labels=LABELS)
    relay = engine.open_relay(
        "clnrm-s1-gw0-relay1", network, labels=LABELS, accept=lambda: None, on_end=lambda why: None
    )
    with socket.create_server(("127.0.0.1", 0)) as listener:
        monkeypatch.setattr(policy_probe, "RELAY_PORT", listener.getsockname()[1])
    cluster.behave = lambda pod: running("127.0.0.1")
    with pytest.raises(EngineError, match="is not reached without one"):
        engine.find_unenforced()
    relay.close()


REFUSED = [
    (
        {"mounts": (Mount(source="/a", target="/b", read_only=False),)},
        "the volume /b is writable, and pods get copies of this host's files",
    ),
    (
        {"volumes": (Mount(source="v", target="/v", read_only=False),)},
        "the volume /v is shared between services",
    ),
    ({"udp_ports": (53,)}, "the UDP port 53 cannot be published"),
    ({"ulimits": {"nofile": (1, 1)}}, r"the limit nofile \(ulimits\) is the node's"),
    ({"stop_signal": "SIGINT"}, "write STOPSIGNAL SIGINT in its Dockerfile"),
    ({"user": "postgres"}, "the user 'postgres' is a name, which only the image knows: write its number"),
]


@pytest.mark.parametrize(("facts", "said"), REFUSED)
def test_what_a_pod_cannot_be(engine: KubernetesEngine, facts: dict[str, Any], said: str) -> None:
    """It is refused with what to do."""
    with pytest.raises(ContainerError, match=f"a cluster cannot run this: .*{said}"):
        engine.create_container(spec(**facts))


def test_what_a_cluster_cannot_do(engine: KubernetesEngine) -> None:
    """Each is refused by one sentence; nothing is left out silently."""
    build = BuildSpec(context="/c", memory_bytes=1, cpus=1, pids=1, timeout_s=1, max_context_bytes=1)
    with pytest.raises(ImageError, match=r"a cluster builds none; .* push it to a registry"):
        engine.build_image(build)
    with pytest.raises(ImageError, match="platform linux/s390x: this cluster's nodes are linux/"):
        engine.ensure_image("img:1", "missing", platform="linux/s390x")
    with pytest.raises(ImageError, match="does not tell what img:1 is like"):
        engine.look_at_image("img:1")
    with pytest.raises(EngineError, match="cannot have the volume v: pods share none"):
        engine.create_volume("v", labels={})
    with pytest.raises(ContainerError, match="cannot take a pod off its network"):
        engine.disconnect("n", "c")
    with pytest.raises(ContainerError, match="cannot pause a container"):
        engine.control("c", "pause")
    with pytest.raises(ContainerError, match="processes of a pod are not told"):
        engine.processes("c")
    with pytest.raises(ContainerError, match="sockets of a pod are not told"):
        engine.listeners("c", deadline_s=soon())
    with pytest.raises(ContainerError, match="does not list the files of an image"):
        next(engine.list_files("c", deadline_s=soon()))
    with pytest.raises(ContainerError, match="makes no images of its pods"):
        engine.take_image(None)  # type: ignore[arg-type]
    with pytest.raises(ContainerError, match="does not tell how much a pod has written"):
        engine.written_bytes("c")


def test_files_by_the_images_own_programs(engine: KubernetesEngine, tmp_path: Path) -> None:
    """What lies at a path, its content, and all below a folder, while the container runs."""
    top = tmp_path / "top"
    (top / "sub").mkdir(parents=True)
    (top / "sub" / "a.txt").write_bytes(b"x" * 100_000)
    (top / "link").symlink_to("sub/a.txt")
    container = start(engine)
    assert engine.look_at_file(container, f"{top}/none", deadline_s=soon()) is None
    link = engine.look_at_file(container, f"{top}/link", deadline_s=soon())
    assert link is not None
    assert (link.kind, link.target, link.leads_to) == ("symlink", "sub/a.txt", f"{top}/sub/a.txt")
    (tmp_path / "astray").symlink_to("none/../none/b")
    astray = engine.look_at_file(container, f"{tmp_path}/astray", deadline_s=soon())
    assert astray is not None
    assert astray.leads_to == f"{tmp_path}/none/b"
    content = bytearray()
    seen = engine.look_at_file(container, f"{top}/sub/a.txt", deadline_s=soon(), feed=content.extend)
    assert seen is not None
    assert (seen.kind, seen.size_bytes, len(content)) == ("file", 100_000, 100_000)
    facts = engine.look_at_path(container, str(top))
    assert facts is not None
    assert facts.kind == "folder"
    found = {
        path: (each.kind, len(b"".join(pieces)))
        for path, each, pieces in engine.read_files(container, str(top), deadline_s=soon())
    }
    assert found == {
        "": ("directory", 0),
        "sub": ("directory", 0),
        "sub/a.txt": ("file", 100_000),
        "link": ("symlink", 0),
    }
    (one,) = engine.read_files(container, f"{top}/sub/a.txt", deadline_s=soon())
    assert one[0] == ""
    assert list(engine.read_files(container, f"{top}/none", deadline_s=soon())) == []
    engine.copy_in(container, [CopiedFile(target=f"{tmp_path}/copied", content=b"c", mode=0o640)])
    assert (tmp_path / "copied").read_bytes() == b"c"


@pytest.mark.parametrize("waits_alone", [False, True])
def test_names_come_to_those_that_were_there_before(
    *, waits_alone: bool, cluster: Cluster, engine: KubernetesEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pod is made with the names that are known, and hears of later ones, which may wait for room alone."""
    alone = Waiting() if waits_alone else None
    if alone:
        alone.containers = 1
    added: list[tuple[str, dict[str, str]]] = []
    monkeypatch.setattr(engine, "_add_hosts", lambda container, names: added.append((container, dict(names))))
    network = engine.create_network("clnrm-s1-gw0-n1", internal=True, labels=LABELS)
    cluster.behave = lambda pod: running("10.0.0.1")
    first = start(engine, spec(networks=(network,)))
    cluster.behave = lambda pod: running("10.0.0.2")
    names = ("web",) if waits_alone else ("web", "www")
    second = start(engine, spec("clnrm-s1-gw0-1-web", networks=(network,), aliases=names, admission=alone))
    assert cluster.of("pods")[second]["spec"]["hostAliases"] == [{"ip": "10.0.0.1", "hostnames": ["db"]}]
    addresses = dict.fromkeys(names, "10.0.0.2")
    assert added == [(first, {"db": "10.0.0.1"}), (first, addresses), (second, addresses)]


def test_names_where_the_cluster_has_a_dns(cluster: Cluster, engine: KubernetesEngine) -> None:
    """There a headless Service gives each pod of the network a name, as soon as it has an address."""
    network = engine.create_network("clnrm-s1-gw0-n1", internal=True, labels=LABELS)
    container = start(engine, spec(networks=(network,), aliases=("db", "store")))
    pod = cluster.of("pods")[container]
    service = cluster.of("services")[network]
    assert service["spec"] == {
        "clusterIP": "None",
        "publishNotReadyAddresses": True,
        "selector": {"clnrm.dev/network": pod["metadata"]["labels"]["clnrm.dev/network"]},
    }
    # HOSTNAME.SUBDOMAIN.NAMESPACE.svc.cluster.local is what its DNS knows a pod by.
    assert (pod["spec"]["hostname"], pod["spec"]["subdomain"]) == ("db", service["metadata"]["name"])
    assert pod["spec"]["dnsConfig"] == {"searches": [f"{network}.tests.svc.cluster.local"]}


def test_busy_and_unknown(cluster: Cluster, engine: KubernetesEngine) -> None:
    """A server that is busy is asked again; one that knows us no more is told as that."""
    container = start(engine)
    cluster.failures["GET", "pods"] = [(503, "ServiceUnavailable", "wait"), (429, "TooManyRequests", "wait")]
    assert engine.state(container).running
    cluster.failures["GET", "pods"] = [(401, "Unauthorized", "expired")]
    with pytest.raises(EngineUnavailableError, match=r"does not know who we are \(expired\)"):
        engine.state(container)
