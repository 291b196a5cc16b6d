"""Shared services that stay for the next run, on a real engine."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest
from clnrm_testing.end_to_end import HOLD, EndToEnd, Run
from clnrm_testing.traced_service import ASK, TRACED

pytestmark = pytest.mark.engine

SERVICE = """
[service.{name}]
image = "{name}"
scope = "run"
command = ["sh", "-c", "mkdir /data; exec httpd -f -p 80 -h /data"]
ready = {{ port = 80 }}
{more}
[[step]]
name = "write"
service = "{name}"
run = "echo {word} >> /data/x; cat /data/x"
"""
KEEP = ("--clnrm-warm", "10m")

BOX = """
[service.box]
image = "x"

[[step]]
run = "cat /left || echo nothing"
"""

PYTHON = """
def test_web(clnrm_shared):
    web = clnrm_shared("web", "web", ready={"command": "true"})
    print("ID", web.id)
"""


def write(project: EndToEnd, name: str = "db", more: str = "", word: str = "a") -> None:
    """Write a file whose only step adds a word to what is in its shared service."""
    project.write(f"{name}.clnrm.toml", SERVICE.format(name=name, more=more, word=word))


def used(run: Run) -> dict[str, tuple[str, str]]:
    """Return the id of each scenario's container, and what its step has found in it."""
    assert run.ret == 0, run.text
    return {
        name: (scenario["containers"][0]["id"], scenario["steps"][0]["stdout"])
        for name, scenario in run.scenarios.items()
    }


def printed_id(run: Run) -> str:
    """Return the id of the container of the Python test."""
    (line,) = (each for each in run.text.splitlines() if each.startswith("ID "))
    return line.removeprefix("ID ")


def told(run: Run, scenario: str) -> str:
    """Return what was done in its container before a scenario used it."""
    return str(run.scenarios[scenario]["containers"][0]["timeline"])


def ours(project: EndToEnd, command: str, *arguments: str) -> str:
    """Return what a command of ours prints."""
    given = [sys.executable, "-m", "pytest_clnrm", command, *arguments]
    given += ["--ledger-dir", str(project.path / "ledger")]
    return subprocess.run(given, capture_output=True, text=True, check=True, timeout=60).stdout


def keepers(project: EndToEnd) -> list[int]:
    """Return the processes that keep something for it."""
    (state,) = (json.loads(each.read_text("utf-8")) for each in (project.path / "ledger").glob("*.json"))
    named = {each["keeper"] for each in state["runs"]}
    return [each["pid"] for each in state["owners"] if each["owner"] in named]


def there(project: EndToEnd) -> set[str]:
    """Return the ids of containers, and the names of networks, of the project's ledger."""
    ledger = (project.path / "ledger" / "ledger-id").read_text("ascii")
    label = {"label": f"pytest-clnrm.ledger={ledger}"}
    found = {each["Id"] for each in project.client.containers(all=True, filters=label)}
    return found | {each["Name"] for each in project.client.networks(filters=label)}


def wait_until_nothing_is_there(project: EndToEnd) -> None:
    """Wait for the end of the keeper and of all that it had."""
    for _ in range(600):
        if not there(project) and not keepers(project):
            return
        time.sleep(0.05)
    pytest.fail(f"still there: {there(project)}, {keepers(project)}")


@pytest.fixture
def warm(project: EndToEnd) -> Iterator[EndToEnd]:
    """Return a project that is not tested by a CI service, and leave nothing of it."""
    project.environment["CI"] = ""
    yield project
    ours(project, "sweep")


def test_the_next_run_uses_it(warm: EndToEnd) -> None:
    """Nothing is started a second time; what changed is replaced; who may reset does; sweep ends all."""
    write(warm)
    write(warm, "cache", 'reset = { command = "rm -f /data/x" }')
    warm.write("box.clnrm.toml", BOX)
    warm.write("test_web.py", PYTHON)
    run = warm.run(*KEEP, "-rP", mode=("-n", "2"))
    web = printed_id(run)
    first = used(run)
    assert "clnrm: cache, db, web, 1 idle container stay for the next run, 600 s long, or until `" in run.text
    assert (first["db"][1], first["cache"][1], told(run, "db")) == ("a\n", "a\n", "shared")
    run = warm.run(*KEEP, "-rP")
    second = used(run)
    assert printed_id(run) == web
    assert second == {
        "db": (first["db"][0], "a\na\n"),
        "cache": (first["cache"][0], "a\n"),
        "box": first["box"],
    }
    assert run.scenarios["box"]["containers"][0]["reused"]
    touched = warm.client.exec_create(first["box"][0], ["touch", "/left"])["Id"]
    warm.client.exec_start(touched)
    assert told(run, "db") == "shared since an earlier run"
    assert told(run, "cache").startswith("shared since an earlier run, reset in ")
    write(warm, more='env = { CHANGED = "yes" }')
    third = used(warm.run(*KEEP, "-k", "not web"))
    assert third["cache"] == second["cache"]
    assert third["db"][0] != second["db"][0]
    assert third["db"][1] == "a\n"
    assert third["box"][0] != second["box"][0], "it was changed between the runs"
    ids = {*(each for each, _ in third.values()), web}
    assert {each for each in there(warm) if "-" not in each} == ids
    status = ours(warm, "status")
    assert f"  keeps shared service db for the next run of {warm.path}, 9m" in status
    assert f"  keeps idle container box for the next run of {warm.path}, 9m" in status
    assert ours(warm, "sweep").startswith("removed: 4 containers, ")
    wait_until_nothing_is_there(warm)


def test_it_ends(warm: EndToEnd) -> None:
    """Whoever waits takes its room; it ends with its keeper, and its time. CI and secrets keep nothing."""
    write(warm)
    write(warm, "vault", 'env = { TOKEN = "s3cr3t-value" }')
    kept = used(warm.run(*KEEP, "-o", "clnrm_secrets=TOKEN"))
    assert {each for each in there(warm) if "-" not in each} == {kept["db"][0]}
    warm.environment["CI"] = "true"
    run = warm.run(*KEEP, "--clnrm-max-containers", "1")
    assert used(run)["db"][1] == used(run)["vault"][1] == "a\n"
    assert "clnrm: --clnrm-warm has no effect where CI is set: each run starts its services anew" in run.text
    wait_until_nothing_is_there(warm)
    warm.environment["CI"] = ""
    kept = used(warm.run(*KEEP, "-k", "db"))
    assert kept["db"][0] in there(warm)
    (keeper,) = keepers(warm)
    os.kill(keeper, signal.SIGKILL)
    assert used(warm.run("--clnrm-warm", "0.1", "-k", "db"))["db"][1] == "a\n"
    assert kept["db"][0] not in there(warm)
    wait_until_nothing_is_there(warm)


def test_spans_of_one_that_stayed(warm: EndToEnd) -> None:
    """They arrive in the run that found it running, so absence is decided; then it does not stay."""
    none = "[expect.counts]\nspans_total = { eq = 0 }\n"
    two = "[expect.counts]\nerrors_total = 0\nby_service = { db = 2 }\n"
    ids = []
    for asked, expected in (("true", none), ("true", none), (f"{ASK}$TRACEPARENT; {ASK}$TRACEPARENT", two)):
        warm.write("traced.clnrm.toml", TRACED.replace("ASK", asked) + expected)
        run = warm.run(*KEEP)
        assert run.outcomes() == {"traced": "passed"}, run.text
        ids += [each["id"] for each in run.scenarios["traced"]["containers"] if each["shared"]]
        stays = "does not stay" if expected == two else "stays"
        assert f"clnrm: db {stays} for the next run" in run.text
    assert len(ids) == 3
    assert len(set(ids)) == 1


def test_a_killed_run_leaves_nothing(warm: EndToEnd) -> None:
    """What it has taken over goes with what is its own: its watchdog finds no owner of either."""
    write(warm)
    first = used(warm.run(*KEEP))
    held = f'[[step]]\nname = "held"\nservice = "db"\nrun = "{HOLD}"\n'
    file = warm.folder / "db.clnrm.toml"
    file.write_text(f"{file.read_text('utf-8')}{held}", "utf-8")
    process = warm.popen(*KEEP)
    wait = warm.client.exec_create(
        first["db"][0], ["sh", "-c", "until test -e /tmp/held; do sleep 0.05; done"]
    )
    warm.client.exec_start(wait["Id"])
    process.kill()
    process.wait()
    wait_until_nothing_is_there(warm)
