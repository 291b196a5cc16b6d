"""Something that is none of a scenario's own answers for its service."""

from __future__ import annotations

import pytest
from clnrm_testing.end_to_end import EndToEnd

pytestmark = pytest.mark.engine

ASK = 'for i in $(seq 20); do test "$(wget -qO- http://{name}/who)" = {own} || exit 1; done'
SLOW_REMOVAL = """
import threading
from pytest_clnrm.engine.docker import engine as docker_engine

remove_at_once = docker_engine.remove_container
removed = []
second_is_over = threading.Event()

def remove_container(client, container):
    removed.append(container)
    # The two of the first scenario outlive the steps of the second one.
    if len(removed) <= 2:
        second_is_over.wait(60)
    remove_at_once(client, container)

docker_engine.remove_container = remove_container

def pytest_runtest_logreport(report):
    if report.when == "call" and "b.clnrm.toml" in report.nodeid:
        second_is_over.set()
"""
FIXTURE = """
import pytest

@pytest.fixture(scope="session")
def db(clnrm_factory):
    serve = "mkdir /w; echo fixture >/w/who; exec httpd -f -p 80 -h /w"
    with clnrm_factory.container(
        "busybox", name="db", command=["sh", "-c", serve], ready={"command": "wget -qO- http://127.0.0.1/who"}
    ) as box:
        yield box

def test_it(db):
    assert db.run("true").exit_code == 0
"""


def serving(name: str, own: str) -> str:
    """Return a scenario whose service *name* says *own*, and that asks it many times."""
    return f"""
        [service.{name}]
        image = "busybox"
        command = ["sh", "-c", "mkdir /w; echo {own} >/w/who; exec httpd -f -p 80 -h /w"]
        ready = {{ http = ":80/who" }}
        [service.asks]
        image = "busybox"
        depends_on = ["{name}"]
        [[step]]
        name = "ask"
        service = "asks"
        run = '''{ASK.format(name=name, own=own)}'''
    """


def all_passed(project: EndToEnd, *args: str) -> None:
    """Run a project, whose scenarios see their own services alone."""
    run = project.run(*args)
    outcomes = run.outcomes()
    assert outcomes
    assert set(outcomes.values()) == {"passed"}, f"ANOTHER ANSWERED\n{run.text}"


def test_a_container_that_is_kept(project: EndToEnd) -> None:
    """A fixture of session scope, and an idle container, have the name of this scenario's service."""
    project.write("a_test.py", FIXTURE)
    project.write(
        "b.clnrm.toml",
        '[service.db]\nimage = "busybox"\n[[step]]\nname = "it"\nservice = "db"\nrun = "true"\n',
    )
    project.write("c.clnrm.toml", serving("db", "own"))
    all_passed(project)


def test_a_container_that_is_removed(project: EndToEnd) -> None:
    """The service of the scenario before still answers while the engine takes its time to remove it."""
    (project.path / "conftest.py").write_text(SLOW_REMOVAL)
    project.write("a.clnrm.toml", serving("web", "old"))
    project.write("b.clnrm.toml", serving("web", "new"))
    all_passed(project, "--clnrm-max-containers", "4")


WEB = """
[service.web]
image = "busybox"
scope = "run"
command = ["sh", "-c", "mkdir /w; echo shared >/w/who; exec httpd -f -p 80 -h /w"]
ready = { port = 80 }
"""
ALONE = """
[service.box]
image = "busybox"
[[step]]
service = "box"
run = "RUN"
"""


def test_a_shared_service_is_on_its_users_networks_alone(project: EndToEnd) -> None:
    """The next scenario on a network does not reach what the last one has used there."""
    for name in ("a", "c"):
        project.write(f"{name}.clnrm.toml", WEB + ALONE.replace("RUN", "wget -q -O - http://web/who"))
    # One of these gets the network on which it was reached.
    asks = ALONE.replace("RUN", "! wget -q -O - http://web/who")
    project.write("b1.clnrm.toml", asks)
    project.write("b2.clnrm.toml", asks)
    all_passed(project, "--clnrm-pool", "off")
