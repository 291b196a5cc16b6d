"""Services that several scenarios share, on a real engine."""

from __future__ import annotations

import json
import os
import re
import signal
import time
from pathlib import Path
from typing import Any

import pytest
from clnrm_testing.end_to_end import EndToEnd
from clnrm_testing.traced_service import ASK, QUERY, TRACED

from pytest_clnrm.runner.sharing.share import share_of
from pytest_clnrm.scenario.loading import load
from pytest_clnrm.scenario.options import LoadOptions
from pytest_clnrm.settings.settings import Settings

pytestmark = pytest.mark.engine

DB = """
[service.db]
image = "db"
scope = "run"
command = ["sh", "-c", "echo up; mkdir /data; touch /data/there; httpd -f -p 80 -h /data"]
ready = { port = 80 }
"""


def test_one_container_serves_all(project: EndToEnd) -> None:
    """Eight workers with room for three containers start it once; everyone reaches it by its name."""
    for file in range(4):
        scenarios = "".join(
            f"""
[[scenario]]
name = "s{number}"
[[scenario.step]]
name = "write"
service = "db"
run = "echo {file}-{number} > /data/{file}-{number}"
[[scenario.step]]
name = "read"
service = "app"
run = "wget -q -O - http://db/{file}-{number}"
expect = {{ stdout = {{ contains = "{file}-{number}" }} }}
"""
            for number in range(6)
        )
        project.write(f"f{file}.clnrm.toml", f'{DB}\n[service.app]\nimage = "app"\n{scenarios}')
    run = project.run("--clnrm-max-containers", "3", mode=("-n", "8"))
    assert run.ret == 0, run.text
    created = [
        each["name"]
        for scenario in run.document["scenarios"]
        for each in scenario["containers"]
        if each["shared"]
    ]
    assert len(created) == 24
    assert len(set(created)) == 1
    assert project.leftovers(run) == []


PYTHON = """
import pytest

SERVE = ["sh", "-c", "mkdir /data; httpd -f -p 80 -h /data"]

@pytest.fixture(scope="session")
def web(clnrm_shared):
    return clnrm_shared("web", "web", command=SERVE, ports=[80], ready={"port": 80})

@pytest.mark.parametrize("number", range(6))
def test_from_here(web, number):
    assert web.run(f"echo {number} > /data/here{number}").exit_code == 0
    import urllib.request
    with urllib.request.urlopen(web.url(80) + f"/here{number}", timeout=10) as answer:
        assert answer.read() == f"{number}\\n".encode()
    print("ID", web.id)

@pytest.mark.parametrize("number", range(3))
def test_from_a_container(clnrm, number):
    web = clnrm.shared("web", "web", command=SERVE, ports=[80], ready={"port": 80})
    web.run(f"echo {number} > /data/there{number}")
    with clnrm.container("box") as box:
        assert box.run(f"wget -q -O - http://web/there{number}").stdout == f"{number}\\n"
    print("ID", web.id)
"""


TURNS = """
[service.turns]
image = "box"
scope = "run"
command = ["sleep", "1000"]
prepare = { command = "echo {{ worker }} >> /workers", each = "worker" }
[[service.turns.reset.steps]]
name = "tidy"
run = "rm /used"
check = [{ file = "/used", exists = false }]
[[service.turns.reset.steps]]
run = ["true"]
user = "nobody"
[[step]]
service = "turns"
run = "true"
"""
CALL = """
import pytest

TURNS = dict(
    command=["sleep", "1000"],
    prepare={"command": "echo {{ worker }} >> /workers", "each": "worker"},
    reset={
        "steps": [
            {"name": "tidy", "run": "rm /used", "check": [{"file": "/used", "exists": False}]},
            {"run": ["true"], "user": "nobody"},
        ]
    },
)

def test_call(clnrm):
    assert clnrm.scenario("part.toml").passed
    command = ["sh", "-c", "echo up; mkdir /data; touch /data/there; httpd -f -p 80 -h /data"]
    db = clnrm.shared("db", "db", command=command, ready={"port": 80})
    # As long as it is used nobody takes its place.
    assert [each.id for each in clnrm.scenario("part.toml").containers] == [db.id]

@pytest.mark.parametrize("number", range(4))
def test_turns(clnrm, worker_id, number):
    box = clnrm.shared("turns", "box", **TURNS)
    assert box.run("test ! -e /used && touch /used").exit_code == 0
    workers = box.run("cat /workers").stdout.split()
    assert worker_id in workers and len(set(workers)) == len(workers)

def test_turns_are_refused(clnrm, clnrm_shared):
    with clnrm.container("box"), pytest.raises(Exception, match="before this test begins containers of its"):
        clnrm.shared("turns", "box", **TURNS)
    box = clnrm.shared("turns", "box", **TURNS)
    with pytest.raises(Exception, match="uses what this test uses already, and whose users take turns"):
        clnrm.scenario("turns.toml")
    with pytest.raises(ValueError, match="^reset: this fixture uses the container until the session ends"):
        clnrm_shared("turns", "box", **TURNS)
"""


def test_python_tests_share_one(project: EndToEnd) -> None:
    """Tests of all workers get the same container, from here and from others, by fixture and by call."""
    for file in range(3):
        project.write(f"test_{file}.py", PYTHON)
    part = f'{DB}[[step]]\nservice = "db"\nrun = "test -e /data/there"\n'
    project.write("part.toml", part)
    project.write("turns.toml", TURNS)
    project.write("test_call.py", CALL)
    run = project.run("--clnrm-max-containers", "3", "-rP", mode=("-n", "4"))
    assert run.ret == 0, run.text
    ids = [line.split()[1] for line in run.text.splitlines() if line.startswith("ID ")]
    assert len(ids) == 27
    assert len(set(ids)) == 1
    assert project.leftovers(run) == []
    # None of these reserves anything, so that their workers alone have to do with the engine.
    run = project.run("-k", "test_from_here", "-rP", mode=("-n", "2"))
    assert run.ret == 0, run.text
    assert "ID " in run.text
    assert project.leftovers(run) == []


def record_of(folder: Path) -> dict[str, Any]:
    """Return what is written down of the one shared container of a run; wait for it."""
    for _ in range(1200):
        for file in folder.glob("clnrm-*/shared/*.json"):
            data: dict[str, Any] = json.loads(file.read_text("utf-8"))
            return {**data, "run": str(file.parents[1])}
        time.sleep(0.1)
    pytest.fail(f"no shared container became ready: {list(folder.glob('*'))}")


def test_its_starter_is_killed(project: EndToEnd) -> None:
    """It belongs to the run: the others go on in it, and only the killed worker's scenario is lost."""
    (project.path / "tmp").mkdir()
    project.environment["TMPDIR"] = str(project.path / "tmp")
    held = "".join(
        f'[[scenario]]\nname = "s{number}"\n[[scenario.step]]\nname = "held"\nservice = "db"\n'
        f'run = "touch /data/s{number}; until test -e /data/go; do sleep 0.05; done"\n'
        for number in range(5)
    )
    project.write("kill.clnrm.toml", DB + held)
    process = project.popen(mode=("-n", "3"))
    record = record_of(project.path / "tmp")
    inside = ["sh", "-c", "until test $(ls -d /data/s* | wc -l) -ge 3; do sleep 0.05; done"]
    project.client.exec_start(project.client.exec_create(record["id"], inside)["Id"])
    noted = Path(record["run"]) / f"process-{record['worker']}.json"
    os.kill(json.loads(noted.read_text("utf-8"))["pid"], signal.SIGKILL)
    project.client.exec_start(project.client.exec_create(record["id"], ["touch", "/data/go"])["Id"])
    run = project.finish(process)
    outcomes = list(run.outcomes().values())
    assert (outcomes.count("passed"), outcomes.count("crashed")) == (4, 1), run.text
    used = {each["id"] for scenario in run.document["scenarios"] for each in scenario.get("containers", ())}
    assert used == {record["id"]}
    assert project.leftovers(run) == []


CHAIN = """
[service.store]
image = "store"
scope = "run"
env = { NUMBER = "@" }
command = ["sh", "-c", "mkdir /data; touch /data/there; httpd -f -p 80 -h /data"]
ready = { port = 80 }

[service.api]
image = "api"
scope = "run"
depends_on = ["store"]
command = ["sh", "-c", "wget -q -O /there http://store/there; sleep 1000"]
ready = { command = ["test", "-e", "/there"] }

[[step]]
service = "api"
run = "wget -q -O - http://store/there"
"""


def test_one_depends_on_another(project: EndToEnd) -> None:
    """It reaches the other one when it starts; if that is started anew, it is too."""
    for number in range(100):
        text = CHAIN.replace("@", str(number))
        (project.path / "keys.toml").write_text(text, "utf-8")
        (scenario,) = load(str(project.path / "keys.toml"), LoadOptions(rootdir=str(project.path)))
        services = scenario.services
        store, api = (share_of(Settings(), each, scenario.file, services).key for each in services)
        if store < api:
            # Of two that are idle as long the place of the first is taken.
            break
    project.write("a.clnrm.toml", text)
    project.write("b.clnrm.toml", f'{BOX}run = "true"\n')
    project.write("c.clnrm.toml", text)
    run = project.run("--clnrm-max-containers", "2", "--clnrm-pool", "off")
    assert run.outcomes() == dict.fromkeys("abc", "passed"), run.text
    ids = [{each["service"]: each["id"] for each in run.scenarios[name]["containers"]} for name in "ac"]
    assert ids[0]["store"] != ids[1]["store"]
    assert ids[0]["api"] != ids[1]["api"]
    assert project.leftovers(run) == []


BOX = """
[service.box]
image = "x"
[[step]]
service = "box"
"""

ENDS = """
[service.broken]
image = "x"
scope = "run"
command = ["sh", "-c", "echo no such luck; exit 3"]
ready = { port = 80 }

[service.db]
image = "db"
scope = "file"
command = ["sh", "-c", "echo up; touch /tmp/there; sleep 1000"]
ready = { command = ["test", "-e", "/tmp/there"] }

[[scenario]]
name = "one"
[[scenario.step]]
service = "broken"
run = "true"

[[scenario]]
name = "two"
[[scenario.step]]
service = "broken"
run = "true"

[[scenario]]
name = "kills"
[[scenario.step]]
service = "db"
run = "echo killed by $$ > /proc/1/fd/1; kill -9 -1; kill -9 $(pidof sleep)"

[[scenario]]
name = "later"
[[scenario.step]]
service = "db"
run = "true"
"""


UPKEEP = """
[service.made]
image = "x"
scope = "run"
command = ["sleep", "1000"]
prepare = { command = "echo too late; exit 4", each = "worker" }

[service.reset]
image = "x"
scope = "file"
command = ["sleep", "1000"]
reset = { steps = [{ run = "true" }, { name = "back", run = "echo no way back; exit 5" }] }

[service.again]
image = "x"
scope = "file"
command = ["sh", "-c", "mkdir -p /data; echo start >> /data/starts; httpd -f -p 80 -h /data"]
ready = { port = 80 }
[[service.again.reset.steps]]
restart = "again"
[[service.again.reset.steps]]
name = "note"
run = "echo id={{ scenario_id }} | tee /data/note"
capture = { id = { regex = "id=(.*)" } }
[[service.again.reset.steps]]
name = "ask"
http = "GET http://again/note"
expect = { status = 200, body = { equals = "id={{ id }}\\n" } }
check = [{ file = "/data/starts", content = { lines = 2 } }]
[[service.again.reset.steps]]
name = "ask from a container"
image = "x"
run = ["wget", "-q", "-O", "-", "http://again/note"]
entrypoint = []
expect = { stdout = { contains = "{{ id }}" } }

[[scenario]]
name = "prepares"
[[scenario.step]]
service = "made"
run = "true"

[[scenario]]
name = "uses"
[[scenario.step]]
service = "reset"
run = "true"

[[scenario]]
name = "first"
[[scenario.step]]
service = "again"
run = "test ! -e /data/note; cat /data/starts"
expect = { stdout = { equals = "start\\n" } }

[[scenario]]
name = "second"
[[scenario.step]]
service = "again"
run = "cat /data/note /data/starts"
expect = { stdout = { equals = "id={{ scenario_id }}\\nstart\\nstart\\n" } }

[[scenario]]
name = "resets"
[[scenario.step]]
service = "reset"
run = "true"
"""


GONE = """
def test_gone():
    from docker import from_env

    names = [each.name for each in from_env().containers.list(all=True, ignore_removed=True)]
    assert not [each for each in names if each.endswith("-lastused")]
"""


def test_all_learn_how_it_ended(project: EndToEnd) -> None:
    """A start that fails is tried once; one that ends fails all who use it; it goes with its last user."""
    project.write("ends.clnrm.toml", ENDS)
    project.write("upkeep.clnrm.toml", UPKEEP)
    project.write(
        "web1.clnrm.toml",
        f'{DB.replace(".db", ".lastused")}{BOX}run = "wget -q -O - http://lastused/there"\n',
    )
    project.write("web2_test.py", GONE)
    run = project.run("--clnrm-pool", "off", "-rfEp")
    assert re.search(r"^PASSED \S*web2_test.py::test_gone$", run.text, re.MULTILINE), run.text
    outcomes = run.outcomes()
    assert outcomes["web1"] == "passed", run.text
    for name, what, output in (
        ("prepares", "prepare of the shared service 'made' exited with exit code 4", "too late"),
        ("resets", "reset 'back' of the shared service 'reset': exit code 5, expected 0", "no way back"),
    ):
        (failure,) = run.scenarios[name]["failures"]
        assert failure["message"].startswith(what), failure
        assert output in failure["details"]
    assert [run.outcomes()[each] for each in ("uses", "first", "second")] == ["passed"] * 3, run.text
    (again,) = run.scenarios["second"]["containers"]
    steps = r"reset '%s' in [\d.]+ s"
    names = ("step 1", "note", "ask", "ask from a container")
    assert re.fullmatch(f"shared, {', '.join(steps % each for each in names)}", again["timeline"]), again
    for name in ("one", "two"):
        (failure,) = run.scenarios[name]["failures"]
        assert "'broken' ended before it was ready (port 80): exit code 3" in failure["message"], failure
        assert "started by master, for all who share it" in failure["message"]
        assert "no such luck" in failure["details"]
    assert run.outcomes()["kills"] == "failed"
    (failure,) = run.scenarios["later"]["failures"]
    assert failure["message"].startswith("the shared service 'db' ended with exit code 137"), failure
    assert failure["message"].endswith("; it is not started again")
    assert "up" in failure["details"]
    assert project.leftovers(run) == []


TRACED_PYTHON = f"""
from pathlib import Path

def test_python(clnrm):
    content = Path(__file__).with_name("q").read_text()
    files = [dict(target="/w/cgi-bin/q", mode="0755", content=content)]
    command = ["httpd", "-f", "-p", "80", "-h", "/w"]
    db = clnrm.shared("db", "db", command=command, files=files, ready=dict(port=80), env=dict(ALONE="1"))
    with clnrm.container("app") as app:
        app.run("{ASK}$TRACEPARENT; {ASK}root:2")
    assert [each.name for each in db.spans(count=1)] == ["query"]
    assert not clnrm.spans()
"""
TWO = """
[[expect.span]]
select = { name = "query", service = "db", under = { name = "clnrm.step" } }
count = 2
[expect.counts]
errors_total = 0
by_service = { db = 2 }
"""


def test_spans_of_a_shared_service(project: EndToEnd) -> None:
    """Those below what a scenario did are its own, whichever process receives them; others decide nothing."""
    twice = f"{ASK}$TRACEPARENT; {ASK}$TRACEPARENT"
    for number in range(2):
        project.write(f"own{number}.clnrm.toml", TRACED.replace("ASK", twice) + TWO)
    wrong = TRACED.replace("ASK", f"{ASK}$TRACEPARENT:2") + "[expect.status]\nall = 'error'\n"
    project.write("error.clnrm.toml", wrong)
    # By itself: what it cannot decide, those that run meanwhile could not either.
    alone = TRACED.replace('"run"', '"file"').replace("ASK", f"{ASK}$TRACEPARENT; {ASK}root:2")
    project.write(
        "alone.clnrm.toml", f"{alone}[expect.counts]\nerrors_total = 0\nby_service = {{ db = 1 }}\n"
    )
    project.write("q", QUERY)
    project.write("test_python.py", TRACED_PYTHON)
    run = project.run(mode=("-n", "2"))
    assert "Captured spans of container 'db' call" in run.text, run.text
    assert (
        run.text.count("begun while it was used, in no trace of a scenario or test, so not counted:") == 2
    ), run.text
    passed = dict.fromkeys(("own0", "own1", "error"), "passed")
    assert run.outcomes() == {**passed, "alone": "failed"}, run.text
    undecided = "expect.counts.errors_total: cannot be decided, as a shared service"
    assert run.failures("alone")[0].startswith(undecided)
    (shared,) = (each for each in run.scenarios["alone"]["containers"] if each["shared"])
    own, _, others = shared["spans"].partition("begun while it was used, in no trace of a scenario or test")
    assert own.startswith("in its own trace:\n    query [internal, db, ")
    assert "query [internal, db, " in others
    assert "spans of shared service 'db'" in run.text
    assert project.leftovers(run) == []
