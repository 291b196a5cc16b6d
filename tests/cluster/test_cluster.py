"""Scenarios on a real cluster: where CLNRM_KUBECONFIG names a kubeconfig whose cluster answers.

Its nodes must have, or be able to pull, CLNRM_CLUSTER_IMAGE: any image with busybox's programs.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from pytest_clnrm.cleanup.labels import LEDGER
from pytest_clnrm.engine.kubernetes.connect import connect_cluster
from pytest_clnrm.ledger.folder import open_folder

KUBECONFIG = os.environ.get("CLNRM_KUBECONFIG", "")
IMAGE = os.environ.get("CLNRM_CLUSTER_IMAGE", "busybox:1.36")
GONE_S = 60.0

pytestmark = pytest.mark.skipif(
    not KUBECONFIG, reason="no cluster: CLNRM_KUBECONFIG names no kubeconfig of one"
)

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
LONG = """
[service.box]
image = "IMAGE"

[[step]]
service = "box"
run = "touch /tmp/begun; sleep 1000"
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
    done = subprocess.run(
        COMMAND, cwd=tmp_path, env=environ(tmp_path), capture_output=True, text=True, check=False, timeout=300
    )
    assert "1 passed" in done.stdout, done.stdout + done.stderr
    assert "2 failed" in done.stdout
    assert "step 'eat' ran out of memory: the container of service 'box' is limited to 32 MB" in done.stdout
    assert "step 'long' timed out after 1 s" in done.stdout
    wait_till_gone(tmp_path)


def test_killed(tmp_path: Path) -> None:
    """With no process of ours alive the cluster removes all that a run has made."""
    (tmp_path / "long.clnrm.toml").write_text(LONG.replace("IMAGE", IMAGE), encoding="utf-8")
    with subprocess.Popen(COMMAND, cwd=tmp_path, env=environ(tmp_path), stdout=subprocess.DEVNULL) as run:
        deadline_s = time.monotonic() + 120
        while not any(name.endswith("-box") for name in left(tmp_path)):
            assert time.monotonic() < deadline_s
            assert run.poll() is None
            time.sleep(0.2)
        # The watchdog first: it would clean up for the run.
        for file in Path("/proc").glob("[0-9]*/environ"):
            with suppress(OSError):
                if f"XDG_RUNTIME_DIR={tmp_path}".encode() in file.read_bytes():
                    os.kill(int(file.parent.name), signal.SIGKILL)
    wait_till_gone(tmp_path)
