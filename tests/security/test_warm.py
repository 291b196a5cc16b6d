"""What is kept for the next run: who may use the engine can read it meanwhile, and change it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace

import pytest
from clnrm_testing.end_to_end import EndToEnd

from pytest_clnrm.engine.docker.observe import observe
from pytest_clnrm.pool.idle_record import IdleRecord

pytestmark = pytest.mark.engine

VAULT = """
[service.vault]
image = "vault"
scope = "run"
env = { TOKEN = "s3cr3t-value" }

[[step]]
service = "vault"
run = "true"
"""


@pytest.fixture
def warm(project: EndToEnd) -> Iterator[EndToEnd]:
    """Return a project that is not tested by a CI service, and leave nothing of it."""
    project.environment["CI"] = ""
    yield project
    sweep = [sys.executable, "-m", "pytest_clnrm", "sweep", "--ledger-dir", str(project.path / "ledger")]
    subprocess.run(sweep, check=True, capture_output=True, timeout=60)


def test_no_secret_outlives_its_run(warm: EndToEnd) -> None:
    """Neither in a container, nor in what is written down of it."""
    warm.write("vault.clnrm.toml", VAULT)
    run = warm.run("--clnrm-warm", "10m", "-o", "clnrm_secrets=TOKEN")
    assert run.ret == 0, run.text
    label = {"label": f"pytest-clnrm.session={run.session}"}
    left = [
        json.dumps(warm.client.inspect_container(each["Id"]))
        for each in warm.client.containers(all=True, filters=label)
    ]
    left += [file.read_text("utf-8") for file in (warm.path / "ledger").glob("*.warm/*")]
    assert not any("s3cr3t-value" in each for each in left), "still there after the run: s3cr3t-value"


BOX = """
[service.box]
image = "x"

[[step]]
service = "box"
run = "cat /planted || echo nothing"
"""
KEEP = ("--clnrm-warm", "10m")


def planted(warm: EndToEnd) -> tuple[str, IdleRecord]:
    """Plant a file in the container that a run has left, and return its record, with the file it is in."""
    warm.write("box.clnrm.toml", BOX)
    run = warm.run(*KEEP)
    assert run.ret == 0, run.text
    (file,) = (warm.path / "ledger").glob("*.warm/*.json")
    record = IdleRecord.read(file)
    assert record is not None
    made = warm.client.exec_create(record.id, ["sh", "-c", "echo EVIL > /planted"])["Id"]
    warm.client.exec_start(made)
    return str(file), record


def check_not_seen(warm: EndToEnd) -> None:
    """Check that the next run does not see what was planted."""
    run = warm.run(*KEEP)
    assert run.ret == 0, run.text
    assert "EVIL" not in run.scenarios["box"]["steps"][0]["stdout"], "SEEN: what was planted between the runs"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can look at containers from outside")
def test_what_was_planted_between_two_runs_is_not_seen(warm: EndToEnd) -> None:
    """It is proven anew that the container is as it was when it was new."""
    planted(warm)
    check_not_seen(warm)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can look at containers from outside")
def test_a_forged_record_is_not_believed(warm: EndToEnd) -> None:
    """Whoever may write it could say that what was planted has been there from the beginning."""
    path, record = planted(warm)
    pid = warm.client.inspect_container(record.id)["State"]["Pid"]
    forged = {**record.fingerprint, **observe(pid, record.id, scratch=(), renewed=True)}
    (file,) = (warm.path / "ledger").glob("*.warm/*.json")
    assert str(file) == path
    replace(record, fingerprint=forged).write(file)
    file.chmod(0o666)
    check_not_seen(warm)
