"""What is kept for the next run can be read by whoever may use the engine, for longer than the run."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator

import pytest
from clnrm_testing.end_to_end import EndToEnd

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
