"""Containers of Python tests on a real engine: whose name answers, and what is kept of a test that fails."""

from __future__ import annotations

import re
import subprocess

import pytest
from clnrm_testing.end_to_end import EndToEnd

pytestmark = pytest.mark.engine

TESTS = """
import pytest

SERVES = ["sh", "-c", "mkdir /w; echo $WHO >/w/who; exec httpd -f -p 80 -h /w"]
READY = {"http": ":80/who"}
ASK = ["wget", "-q", "-O", "-", "http://web/who"]
BOTH = pytest.mark.clnrm_limits(containers=2)

def web(clnrm, who):
    return clnrm.container("busybox", name="web", command=SERVES, env={"WHO": who}, ready=READY)

@pytest.fixture(scope="session")
def asker(clnrm_factory):
    with clnrm_factory.container("busybox", name="asker") as box:
        yield box

@BOTH
def test_fails_in_its_block(clnrm, asker):
    with web(clnrm, "first"), clnrm.container("busybox", name="beside"):
        assert asker.run(ASK).stdout == "someone else's\\n"

def test_of_the_same_name(clnrm, asker):
    with web(clnrm, "second"):
        for _ in range(6):
            assert asker.run(ASK).stdout == "second\\n"

@BOTH
def test_a_name_that_is_taken(clnrm, asker):
    with web(clnrm, "third"), pytest.raises(Exception, match="is called 'web' and is still there"):
        clnrm.container("busybox", name="web").__enter__()

@pytest.fixture
def boxed(clnrm):
    with web(clnrm, "fourth") as box:
        box.run("touch /trace")
        yield box

def test_fails_with_a_fixture(boxed):
    pytest.fail("no good")

def test_passes_in_the_end(clnrm, asker):
    with pytest.raises(AssertionError), web(clnrm, "fifth"):
        assert 0
    with web(clnrm, "sixth"):
        assert asker.run(ASK).stdout == "sixth\\n"
"""


def test_what_is_kept_and_whose_name_answers(project: EndToEnd) -> None:
    """A kept container no longer answers to its name; it runs until it is removed as the run has said."""
    project.write("test_web.py", TESTS)
    run = project.run("--clnrm-keep", "failed", "-v")
    containers = [each for each in project.leftovers(run) if each.startswith("/")]
    try:
        assert re.search(r"\b2 failed, 3 passed\b", run.text), run.text
        kept = sorted(re.findall(r"(?m)^    (\S+): enter it with: ", run.text))
        assert sorted(f"/{each}" for each in kept) == sorted(containers)
        # One of each failing test, what was beside it, and the fixture's that the first has used.
        assert sorted(each.rpartition("-")[2] for each in kept) == ["asker", "beside", "web", "web"]
        states = [project.client.inspect_container(each) for each in containers]
        assert all(each["State"]["Running"] for each in states)
        fourth = next(each for each in states if "WHO=fourth" in each["Config"]["Env"])
        look = project.client.exec_create(fourth["Id"], ["test", "-e", "/trace"])["Id"]
        project.client.exec_start(look)
        assert project.client.exec_inspect(look)["ExitCode"] == 0
        remove = run.text.partition("clnrm: remove what is kept with: ")[2].partition("\n")[0]
        subprocess.run(["sh", "-c", remove], check=True, cwd="/")
        assert project.leftovers(run) == []
    finally:
        for name in project.leftovers(run):
            if name.startswith("/"):
                project.client.remove_container(name, force=True)
        for name in project.leftovers(run):
            project.client.remove_network(name)
