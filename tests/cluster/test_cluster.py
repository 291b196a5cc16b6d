"""Scenarios on a real cluster: where CLNRM_KUBECONFIG names a kubeconfig whose cluster answers.

Its nodes must have, or be able to pull, CLNRM_CLUSTER_IMAGE: any image with busybox's programs.
"""

from __future__ import annotations

import json
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import yaml

from pytest_clnrm.cleanup.labels import LEDGER
from pytest_clnrm.engine.kubernetes import queueing
from pytest_clnrm.engine.kubernetes.access import find_access
from pytest_clnrm.engine.kubernetes.connect import connect_cluster
from pytest_clnrm.engine.kubernetes.rest import RefusedError, Rest
from pytest_clnrm.ledger.folder import open_folder
from pytest_clnrm.model.priority import Priority

KUBECONFIG = os.environ.get("CLNRM_KUBECONFIG", "")
IMAGE = os.environ.get("CLNRM_CLUSTER_IMAGE", "busybox:1.36")
GONE_S = 60.0
KILLED_GONE_S = 30.0

if not KUBECONFIG:
    pytest.skip(
        "no cluster: set CLNRM_KUBECONFIG to its kubeconfig, CLNRM_CLUSTER_IMAGE to an image of its nodes; "
        "or CLNRM_CLUSTER_BINARIES for tests/run.sh, which makes one then (two_nodes.sh)",
        allow_module_level=True,
    )

CAP = 6
SLOT = "clnrm.dev/tests-slot"
LEVELS = [each.label for each in Priority]
SERVES = 'command = ["sh", "-c", "trap exit TERM; while :; do sleep 100 & wait; done"]'
SERVICES = f"""
[service.first]
image = "{IMAGE}"
{SERVES}

[service.second]
image = "{IMAGE}"
{SERVES}

[service.last]
image = "{IMAGE}"
depends_on = ["first", "second"]
"""

SCENARIOS = """
[service.web]
image = "IMAGE"
command = ["sh", "-c", "mkdir /w; echo page > /w/index.html; exec httpd -f -p 8080 -h /w"]
ready = { http = ":8080/index.html" }

[service.box]
image = "IMAGE"
limits = { memory = "32m" }
depends_on = ["web"]

[[scenario]]
name = "names and streams"

[[scenario.step]]
name = "by name"
service = "box"
run = "wget -q -O - http://web:8080/; echo err >&2; exit 3"
expect = { exit = 3, stdout = { contains = "page" }, stderr = { contains = "err" } }

[[scenario.step]]
name = "from here"
http = "GET http://web:8080/index.html"
expect = { status = 200 }

[[scenario]]
name = "out of memory"

[[scenario.step]]
name = "eat"
service = "box"
run = "x=a; while :; do x=$x$x; done"

[[scenario]]
name = "time over"

[[scenario.step]]
name = "long"
service = "box"
run = "sleep 1000"
timeout = "1s"
"""
COMMAND = (
    sys.executable,
    "-m",
    "pytest",
    "-p",
    "no:randomly",
    "-p",
    "no:cacheprovider",
    "--clnrm-engine=kubernetes",
    "--clnrm-cpu=0.1",
    "--clnrm-memory=64m",
)


def environ(folder: Path) -> dict[str, str]:
    """Return the environment of a run with a ledger of its own."""
    return {**os.environ, "KUBECONFIG": KUBECONFIG, "XDG_RUNTIME_DIR": str(folder)}


def run(folder: Path, *arguments: str, timeout_s: int) -> str:
    """Run pytest in a folder, and return what it has printed."""
    done = subprocess.run(
        [*COMMAND, *arguments],
        cwd=folder,
        env=environ(folder),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=timeout_s,
    )
    return done.stdout


def left(folder: Path) -> set[str]:
    """Return what runs of this test's ledger have on the cluster."""
    ledger = open_folder(None, environ(folder)).ledger_id
    engine = connect_cluster("kubernetes", environ(folder))
    try:
        return {each.name for each in engine.list_owned({LEDGER: ledger})}
    finally:
        engine.close()


def wait_till_gone(folder: Path) -> None:
    """Return once nothing of this test's ledger is on the cluster."""
    deadline_s = time.monotonic() + GONE_S
    while found := left(folder):
        assert time.monotonic() < deadline_s, found
        time.sleep(0.5)


def test_scenarios(tmp_path: Path) -> None:
    """Names, streams, exit codes, HTTP over the relay, out of memory and timeouts are as elsewhere."""
    (tmp_path / "all.clnrm.toml").write_text(SCENARIOS.replace("IMAGE", IMAGE), encoding="utf-8")
    printed = run(tmp_path, timeout_s=300)
    assert "1 passed" in printed, printed
    assert "2 failed" in printed
    assert "step 'eat' ran out of memory: the container of service 'box' is limited to 32 MB" in printed
    assert "step 'long' timed out after 1 s" in printed
    wait_till_gone(tmp_path)


class Leavings:
    """What runs have on the cluster, looked at all the time; what is being removed is there too.

    :ivar last: by the run's ledger: when something of it was there last (monotonic, in seconds), and what.
    :ivar seen: when the last look began, and of which ledgers it saw something.
    """

    KINDS = ("jobs", "pods", "services", "configmaps", "secrets", "networkpolicies")

    def __init__(self) -> None:
        self.last: dict[str, tuple[float, list[str]]] = {}
        self.seen: tuple[float, set[str]] = (0.0, set())
        self._rest = Rest(find_access("kubernetes", {"KUBECONFIG": KUBECONFIG}))
        self._owners: dict[str, str] = {}
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._keep_looking)

    def __enter__(self) -> Leavings:  # noqa: PYI034 (typing.Self needs Python 3.11)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        self._rest.close()

    def _keep_looking(self) -> None:
        while not self._over.wait(0.5):
            self._look()

    def _look(self) -> None:
        found: dict[str, list[str]] = {}
        began_s = time.monotonic()
        for kind in self.KINDS:
            for each in self._rest.call("look", "GET", self._rest.path(kind))["items"]:
                about = each["metadata"]
                ours = about.get("labels") or {}
                if kind == "jobs" and LEDGER in ours:
                    self._owners[about["name"]] = ours[LEDGER]
                ledger = ours.get(LEDGER) or self._owners.get(ours.get("job-name", ""))
                if ledger:
                    found.setdefault(ledger, []).append(f"{kind}/{about['name']}")
        self.last.update({ledger: (time.monotonic(), names) for ledger, names in found.items()})
        self.seen = (began_s, set(found))


def kill_all(folder: Path) -> None:
    """Kill each process of a run with this folder of ledgers, and those that they have started meanwhile."""
    found = True
    while found:
        found = False
        for file in Path("/proc").glob("[0-9]*/environ"):
            with suppress(OSError):
                if f"XDG_RUNTIME_DIR={folder}".encode() in file.read_bytes():
                    os.kill(int(file.parent.name), signal.SIGKILL)
                    found = True


def test_killed(tmp_path: Path) -> None:
    """Runs of which no process is alive, killed whenever it was, leave nothing for longer than half a minute.

    CLNRM_KILLS says how many. The first run is not killed, and tells how long the others may live.
    """
    count = int(os.environ.get("CLNRM_KILLS", "3"))
    longest_s = 0.0
    killed: dict[str, tuple[float, float]] = {}
    with Leavings() as leavings:
        for at in range(-1, count):
            folder = tmp_path / f"run{at}"
            folder.mkdir(mode=0o700)
            text = of_three_services(4).replace("sleep 0.3", "sleep 1")
            # One of them is shared by all workers, and belongs to none.
            text = text.replace("[service.first]", '[service.first]\nscope = "run"')
            (folder / "all.clnrm.toml").write_text(text, encoding="utf-8")
            # Evenly over what a whole one takes here.
            part = (at + random.random()) / count  # noqa: S311 (no secret)
            lives_s = longest_s * part if at >= 0 else 300.0
            began_s = time.monotonic()
            with (
                (folder / "said").open("w", encoding="utf-8") as said,
                subprocess.Popen(
                    [*COMMAND, "-n2"], cwd=folder, env=environ(folder), stdout=said, stderr=said
                ) as run,
            ):
                with suppress(subprocess.TimeoutExpired):
                    run.wait(timeout=lives_s)
                kill_all(folder)
            if at < 0:
                assert run.returncode == 0, (folder / "said").read_text(encoding="utf-8")
                longest_s = time.monotonic() - began_s
            killed[open_folder(None, environ(folder)).ledger_id] = (time.monotonic(), lives_s)
        over_s = time.monotonic()
        while time.monotonic() < over_s + 2 * GONE_S:
            began_s, there = leavings.seen
            # What was asked for last may come a moment later.
            if began_s > over_s + 2 and not there & killed.keys():
                break
            time.sleep(0.5)
    told = {
        f"killed after {lives_s:.1f} s": (round(leavings.last[name][0] - when_s, 1), leavings.last[name][1])
        for name, (when_s, lives_s) in killed.items()
        if name in leavings.last
    }
    assert told
    assert not [each for each in told.values() if each[0] > KILLED_GONE_S], json.dumps(told, indent=1)


@pytest.fixture
def rest(monkeypatch: pytest.MonkeyPatch) -> Iterator[Rest]:
    """Return the cluster, with our PriorityClasses, a quota of six of their pods, and slots for as many.

    A quota lets in one too many at times, as it is counted anew beside what is asked for. Slots are exact.
    """
    rest = Rest(find_access("kubernetes", {"KUBECONFIG": KUBECONFIG}))
    shipped = (Path(queueing.__file__).parent / "priorities.yaml").read_text(encoding="utf-8")
    names = [queueing.class_of(each) for each in Priority]
    quotas = f"/api/v1/namespaces/{rest.access.namespace}/resourcequotas"
    scope = {"scopeName": "PriorityClass", "operator": "In", "values": names}
    quota = {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": "clnrm-tests"},
        "spec": {"hard": {"pods": str(CAP)}, "scopeSelector": {"matchExpressions": [scope]}},
    }
    try:
        for each in yaml.safe_load_all(shipped):
            _make(rest, "/apis/scheduling.k8s.io/v1/priorityclasses", each)
        _make(rest, quotas, quota)
        nodes = [str(each["metadata"]["name"]) for each in rest.call("look", "GET", "/api/v1/nodes")["items"]]
        for at, node in enumerate(nodes):
            _set_slots(rest, node, str(CAP // len(nodes) + (at < CAP % len(nodes))))
    except RefusedError as error:
        rest.close()
        pytest.skip(f"it takes an administrator of the cluster: {error}")
    monkeypatch.setenv(queueing.SLOT_RESOURCE, SLOT)
    yield rest
    for node in nodes:
        _set_slots(rest, node, None)
    rest.call("remove the quota", "DELETE", f"{quotas}/clnrm-tests")
    rest.close()


def _set_slots(rest: Rest, node: str, count: str | None) -> None:
    """Give a node slots, or none, and wait until it has them."""
    path = f"/api/v1/nodes/{node}"
    patch = {"status": {"capacity": {SLOT: count}}}
    kind = "application/merge-patch+json"
    rest.call("set slots", "PATCH", f"{path}/status", body=patch, content_type=kind)
    deadline_s = time.monotonic() + GONE_S
    while rest.call("look", "GET", path)["status"]["allocatable"].get(SLOT) != count:
        assert time.monotonic() < deadline_s
        time.sleep(0.5)


def _make(rest: Rest, path: str, body: dict[str, Any]) -> None:
    try:
        rest.call("prepare the test", "POST", path, body=body)
    except RefusedError as error:
        if error.reason != "AlreadyExists":
            raise


def of_three_services(number: int) -> str:
    """Return as many scenarios of three services, of all priorities in turn, the lowest one first."""
    return SERVICES + "".join(
        f'[[scenario]]\nname = "{LEVELS[-1 - at % 3]} {at}"\npriority = "{LEVELS[-1 - at % 3]}"\n'
        f'[[scenario.step]]\nservice = "last"\nrun = "sleep 0.3"\n'
        for at in range(number)
    )


def test_three_runs_under_one_cap(rest: Rest, tmp_path: Path) -> None:
    """Never more than six run, each run keeps its order, and nobody waits for ever.

    CLNRM_CAPPED says how many scenarios each run has.
    """
    count = int(os.environ.get("CLNRM_CAPPED", "3"))
    runs = []
    for at in range(3):
        folder = tmp_path / f"run{at}"
        folder.mkdir(mode=0o700)
        (folder / "all.clnrm.toml").write_text(of_three_services(count), encoding="utf-8")
        with (folder / "said").open("w", encoding="utf-8") as said:
            runs.append(
                subprocess.Popen(
                    [*COMMAND, "-n2", "-v", "--clnrm-report=out"],
                    cwd=folder,
                    env=environ(folder),
                    stdout=said,
                    stderr=said,
                )
            )
    with counting(rest) as seen:
        try:
            codes = [each.wait(timeout=300 * count) for each in runs]
        finally:
            for each in runs:
                each.kill()
                each.wait()
    told = [(tmp_path / f"run{at}" / "said").read_text(encoding="utf-8") for at in range(3)]
    assert codes == [0, 0, 0], "\n".join(told)
    assert max(seen) <= CAP
    assert max(seen) >= CAP / 2
    waits = []
    for at in range(3):
        report = json.loads((tmp_path / f"run{at}/out/report.json").read_text("utf-8"))
        rows = sorted(report["scenarios"], key=lambda each: str(each["started"]))
        order = [str(each["priority"]) for each in rows]
        assert sorted(order, key=LEVELS.index) == order
        assert len(order) == count
        waits += [each["slot_wait_s"] for each in rows]
    if count < len(LEVELS) + 1:
        # No two at the same time: who comes first ends first.
        for text in told:
            ended = re.findall(r"PASSED .*::(\w+) \d", text)
            assert sorted(ended, key=LEVELS.index) == ended
    assert sum(wait > 0 for wait in waits) >= 3


@contextmanager
def counting(rest: Rest) -> Iterator[list[int]]:
    """Note again and again, as long as the block runs, how many pods of scenarios run."""
    seen: list[int] = []
    over = threading.Event()

    def count() -> None:
        while not over.wait(0.3):
            with suppress(Exception):
                found = rest.call("count the pods", "GET", rest.path("pods"))["items"]
                seen.append(sum(_runs(each) for each in found))

    thread = threading.Thread(target=count)
    thread.start()
    try:
        yield seen
    finally:
        over.set()
        thread.join()


def _runs(pod: dict[str, Any]) -> bool:
    """Tell whether a pod of a scenario runs; a quota counts none whose time to end is over."""
    ours = str(pod["spec"].get("priorityClassName", "")).startswith("clnrm-")
    return ours and pod["status"].get("phase") == "Running" and "deletionTimestamp" not in pod["metadata"]


SHARES = """
import os, pathlib, signal, time

STARTED = pathlib.Path("started")

def store(clnrm):
    return clnrm.shared(
        "store",
        "IMAGE",
        command=["sh", "-c", "cat /proc/sys/kernel/random/uuid > /born; exec httpd -f -p 8080 -h /"],
        ready={"port": 8080},
    )

def test_starts_it_and_dies(clnrm):
    born = store(clnrm).run(["cat", "/born"]).stdout
    STARTED.with_suffix(".new").write_text(born)
    STARTED.with_suffix(".new").rename(STARTED)
    os.kill(os.getpid(), signal.SIGKILL)

def test_uses_it_later(clnrm):
    while not STARTED.exists():
        time.sleep(0.1)
    # Longer than what nobody keeps stays.
    time.sleep(30)
    with clnrm.container("IMAGE", name="box") as box:
        assert store(clnrm).run(["cat", "/born"]).stdout == STARTED.read_text()
        assert box.run(["wget", "-q", "-O", "-", "http://store:8080/born"]).stdout == STARTED.read_text()
"""


def test_a_shared_service_whose_starter_is_killed(tmp_path: Path) -> None:
    """It stays as long as the run, though no worker that lives uses it for a while; nothing is left then."""
    (tmp_path / "test_shares.py").write_text(SHARES.replace("IMAGE", IMAGE), encoding="utf-8")
    printed = run(tmp_path, "-n2", "-v", timeout_s=400)
    assert "1 failed, 1 passed" in printed, printed
    assert re.search(r"worker 'gw\d' crashed while running '.*test_starts_it_and_dies'", printed)
    wait_till_gone(tmp_path)


def test_shared_services_under_a_cap(rest: Rest, tmp_path: Path) -> None:
    """More of them than there is room for, with all that their users need: each is ended for the others."""
    names = ("one", "two", "three", "four")
    for name in names:
        (tmp_path / f"{name}.clnrm.toml").write_text(
            f'[service.{name}]\nimage = "{IMAGE}"\nscope = "run"\n{SERVES}\n{SERVICES}'
            + "".join(
                f'[[scenario]]\nname = "{name} {at}"\n'
                f'[[scenario.step]]\nservice = "{name}"\nrun = "sleep 1"\n'
                for at in range(2)
            ),
            encoding="utf-8",
        )
    with counting(rest) as seen:
        printed = run(tmp_path, "-n4", "-v", "--clnrm-report=out", timeout_s=900)
    assert "8 passed" in printed, printed
    assert max(seen) <= CAP
    wait_till_gone(tmp_path)
