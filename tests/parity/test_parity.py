"""The same scenarios on Docker, Podman and a cluster, with the same results.

Each scenario of tests/data/parity has one expected result. Where an engine cannot do what it needs, that is
the refusal that ``clnrm_testing/capabilities.py`` has of it. All of them are one run, on the engine that
answers: where ``CLNRM_KUBECONFIG`` names the kubeconfig of a cluster, on that, whose nodes have the image
``CLNRM_CLUSTER_IMAGE``: any with busybox's programs and a user "nobody" of number 65534.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from clnrm_testing.capabilities import Capability, lack
from clnrm_testing.end_to_end import environment_of_a_run
from clnrm_testing.patience import patient_s

from pytest_clnrm.cleanup.labels import LEDGER
from pytest_clnrm.engine.kubernetes.connect import connect_cluster
from pytest_clnrm.ledger.folder import open_folder

if TYPE_CHECKING:
    from pytest_clnrm.engine.api import Engine

pytestmark = pytest.mark.engine

KUBECONFIG = os.environ.get("CLNRM_KUBECONFIG", "")
GONE_S = patient_s(60)
SCENARIOS = Path(__file__).parents[1] / "data" / "parity"


@dataclass(frozen=True)
class Expected:
    """What comes of a scenario.

    :param says: regular expressions, each found in one of its failures; without one it has no failure.
    :param needs: without which it fails with what is known of that.
    """

    outcome: str
    says: tuple[str, ...] = ()
    needs: Capability | None = None


def failed(*says: str, needs: Capability | None = None) -> Expected:
    """Return that a scenario fails, and how."""
    return Expected("failed", says, needs)


def passed(needs: Capability | None = None) -> Expected:
    """Return that a scenario passes."""
    return Expected("passed", needs=needs)


EXPECTED: Mapping[str, Expected] = {
    "steps": passed(),
    "another code": failed("^exit code 7, expected 0$"),
    "another text": failed(r"^stdout does not contain 'else', got 'something\\n'$"),
    "what cannot be started": failed(
        "^step 'program' could not be started: command not found: no-such-program$",
        "^step 'folder' could not be started: no such folder in the container: /no/such/folder$",
        "^step 'user' could not be started: the image has no user 'nosuchuser'$",
        "^step 'no failure of it' could not be started: command not found: no-such-program$",
        "^exit code 127, expected 0$",
        "^exit code 127: the command was not found$",
    ),
    "killed by a signal": failed("^exit code 137, expected 0$"),
    "a step's time is over": failed("^step 'long' timed out after 1 s$"),
    "a scenario's time is over": failed("^Scenario timeout after 12s .* while step 'long' was running$"),
    "out of memory": failed(
        "^step 'eat' ran out of memory: the container of service 'box' is limited to 48 MB$", needs="limits"
    ),
    "matrix[word=one]": passed(),
    "matrix[word=two]": passed(),
    "services": passed("names on internal networks"),
    "owners and links": passed(),
    "the streams of a log": passed("streams of a log"),
    "processes and sockets": passed("checks of processes and sockets"),
    "a service that ends": failed(r"^service 'ends' ended with exit code 5, \d+\.\d s after"),
    "never ready": failed(r"^service 'box' was not ready after 2 s \(port 8080\): "),
    "not started": failed("command not found: no-such-program"),
    "no such image": Expected(
        "error",
        ("^service 'box': cannot use the image .*: the engine does not have it",),
        "images known before the start",
    ),
    "files": passed(),
    "volumes of the project": passed(),
    "a writable volume": passed("writable volumes"),
    "volumes between services[run=first]": passed("volumes between services"),
    "volumes between services[run=second]": passed("volumes between services"),
    "read-only": passed(),
    "the user of a service by name": passed("users by name"),
    "ulimits": passed("ulimits"),
    "UDP ports": passed("published UDP ports"),
    "stop signals": passed("stop signals"),
    "builds": passed("builds"),
    "an image that runs once": passed(),
    "what an image is": passed("checks of images"),
    "stop": passed(),
    "start again": passed("starting again"),
    "kill": passed("killing and pausing"),
    "pause": passed("killing and pausing"),
    "disconnect": passed("disconnecting"),
    "spans": passed(),
    "a shared service": passed(),
    "the same shared service": passed(),
    "no network": passed(),
    "high": passed(),
    "low": passed(),
    "skipped": Expected("skipped", ("^not today$",)),
    "expected to fail": Expected("xfailed", ("^exit code 1, expected 0$",)),
    "again in new containers": failed("^exit code 1, expected 0$"),
}


@pytest.fixture
def asked(request: pytest.FixtureRequest) -> Iterator[Engine]:
    """Return the engine on which the scenarios run."""
    if not KUBECONFIG:
        yield request.getfixturevalue("engine")
        return
    cluster = connect_cluster("kubernetes", {**os.environ, "KUBECONFIG": KUBECONFIG})
    yield cluster
    cluster.close()


def differing(found: Mapping[str, Any], expected: Expected) -> str:
    """Return what a scenario's row in the report says other than it should, "" if nothing."""
    messages = [str(each["message"]) for each in found["failures"]]
    told = [any(re.search(each, message) for message in messages) for each in expected.says]
    as_expected = found["outcome"] == expected.outcome and (all(told) if told else not messages)
    return "" if as_expected else f"{found['name']}: {found['outcome']} {messages}, expected {expected}"


def test_scenarios(tmp_path: Path, asked: Engine) -> None:
    """Each ends as it should; artifacts, order and retries are the same everywhere, and nothing is left."""
    own: tuple[str, ...]
    if KUBECONFIG:
        own, image = (
            ("--clnrm-engine=kubernetes", "--clnrm-cpu=0.1", "-n8"),
            os.environ["CLNRM_CLUSTER_IMAGE"],
        )
        environ = {"KUBECONFIG": KUBECONFIG, "XDG_RUNTIME_DIR": str(tmp_path)}
    else:
        own, image, environ = ("-n2",), "clnrm-busybox:1", {}
    shutil.copytree(SCENARIOS, tmp_path / "suite")
    shutil.copy(shutil.which("busybox") or "/bin/busybox", tmp_path / "suite" / "image" / "busybox")
    (tmp_path / "suite" / "out").mkdir()
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    options = ["-p", "no:randomly", "-p", "no:cacheprovider", "--clnrm-report=out", "--clnrm-memory=64m"]
    options += [
        "-oclnrm_allow_writable=suite/out",
        "--clnrm-pull=never",
        f"--clnrm-image-map=busybox:1.36={image}",
        f"-oclnrm_ledger_dir={tmp_path / 'ledger'}",
    ]
    environ = {**environment_of_a_run(), **environ}
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", *options, *own, "suite"],
        cwd=tmp_path,
        env=environ,
        capture_output=True,
        text=True,
        check=False,
        timeout=patient_s(300),
    )
    assert ran.returncode == 1, ran.stdout + ran.stderr
    document = json.loads((tmp_path / "out" / "report.json").read_text("utf-8"))
    rows = {each["name"]: each for each in document["scenarios"]}
    assert rows.keys() == EXPECTED.keys()

    expected = dict(EXPECTED)
    for name, each in EXPECTED.items():
        if each.needs is not None and (found := lack(each.needs, asked.facts)) is not None:
            expected[name] = Expected(found.outcome, (found.says,))
    differences = [said for name, each in expected.items() if (said := differing(rows[name], each))]
    assert not differences, "\n".join([ran.stdout, *differences])

    (kept,) = tmp_path.glob("out/artifacts/services-*/box/tmp/kept/deep/*")
    assert kept.read_text() == "kept\n", "a link is left out"
    assert rows["again in new containers"]["attempts"] == 2
    assert rows["high"]["started"] < rows["low"]["started"]
    stores = [
        each["id"]
        for name in ("a shared service", "the same shared service")
        for each in rows[name]["containers"]
        if each["service"] == "store"
    ]
    assert len(stores) == 2
    assert len(set(stores)) == 1, "two workers have the same"
    containers = [each for row in document["scenarios"] for each in row.get("containers", ())]
    unseen = any("it cannot be looked at from outside" in each["reuse"] for each in containers)
    assert unseen == (lack("a pool", asked.facts) is not None)

    labels = {LEDGER: open_folder(tmp_path / "ledger", environ).ledger_id}
    deadline_s = time.monotonic() + GONE_S
    while left := asked.list_owned(labels):
        assert time.monotonic() < deadline_s, left
        time.sleep(0.5)
