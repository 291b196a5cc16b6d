"""The fixtures clnrm and clnrm_factory, with the fake engine."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from clnrm_testing.project import Project

from pytest_clnrm.engine.exec.waiting import KEEP_TOOL

USES = """
import pytest

def test_it(clnrm):
    with clnrm.container("alpine:latest", env={"A": "1"}, memory="64m", cpu=0.5) as box:
        assert box.run("echo $A").stdout == "1\\n"
        assert box.run(["cat"], stdin="x").stdout == "x"
        assert box.run("echo oops >&2; exit 3").exit_code == 3
        assert box.run("sleep 60", timeout="100ms").timed_out
        assert "logs of" in box.logs()
"""


def test_a_container_in_a_test(each_mode: Project) -> None:
    """A test runs commands in a container under the limits it names, which is removed at the end."""
    each_mode.write("test_it.py", USES)
    each_mode.run().assert_outcomes(passed=1)
    (created,) = each_mode.events("create")
    assert (created["memory_bytes"], created["cpus"]) == (64 << 20, 0.5)
    assert len(each_mode.events("remove")) == 1


NAMES = """
import pytest

@pytest.fixture(scope="session")
def db(clnrm_factory):
    with clnrm_factory.container("a", name="db"), clnrm_factory.container("a") as box:
        yield box

@pytest.mark.clnrm_limits(containers=3)
def test_other_names(db, clnrm):
    with clnrm.container("a") as one, clnrm.container("a", name="web") as two:
        assert len({db.name, one.name, two.name}) == 3
    with clnrm.container("a", name="web"), clnrm.container("a", name="db", network="none"):
        pass

@pytest.mark.parametrize("name", ["db", "DB"])
def test_same_name(db, clnrm, name):
    with clnrm.container("a", name=name):
        pass
"""


def test_a_name_is_one_containers(project: Project) -> None:
    """Containers of fixtures and tests reach one another by name; the same name twice is an error."""
    project.write("test_it.py", NAMES)
    result = project.run()
    result.assert_outcomes(passed=1, failed=2)
    result.stdout.fnmatch_lines(
        ["*another container of a fixture, or of this test, is called 'DB' and is still there: *(name=...)"]
    )


def test_a_container_without_a_shell(project: Project) -> None:
    """One that cannot wait for commands in a shell is replaced by one that can do without."""
    project.write("test_it.py", USES.replace("alpine:latest", "shellless"))
    project.run().assert_outcomes(passed=1)
    waits, pauses = (event["command"] for event in project.events("create"))
    assert (waits[0], pauses) == ("sh", list(KEEP_TOOL))
    assert len(project.events("remove")) == 2


def test_a_failing_test_leaves_no_container(project: Project) -> None:
    """A container is removed when its test fails."""
    project.write("test_it.py", "def test_it(clnrm):\n    with clnrm.container('a'):\n        assert 0\n")
    project.run().assert_outcomes(failed=1)
    assert len(project.events("remove")) == 1


def test_a_test_that_asks_for_clnrm_only_while_it_runs(each_mode: Project) -> None:
    """It has reserved nothing: it fails and is told how to, and works once it does."""
    text = "def test_it(request):\n    with request.getfixturevalue('clnrm').container('a'):\n        pass\n"
    each_mode.write("test_it.py", text)
    result = each_mode.run()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["*this test has reserved no container*or reserve with @pytest.mark.clnrm_limits()"]
    )
    assert "fixtures.py" not in result.stdout.str()
    each_mode.write("test_it.py", "import pytest\n@pytest.mark.clnrm_limits()\n" + text)
    each_mode.run().assert_outcomes(passed=1)


@pytest.mark.parametrize("hook", ["pytest_collection_finish(session)", "pytest_runtest_setup(item)"])
def test_limits_that_are_set_after_the_collection(project: Project, hook: str) -> None:
    """They reserve nothing, and so give no container."""
    item = "item" if "(item)" in hook else "session.items[0]"
    project.write(
        "conftest.py",
        f"import pytest\ndef {hook}:\n    {item}.add_marker(pytest.mark.clnrm_limits(containers=50))\n",
    )
    project.write(
        "test_it.py", "def test_it(request):\n    request.getfixturevalue('clnrm').container('a')\n"
    )
    result = project.run("--clnrm-max-containers", "4")
    assert {"failed", "errors"} & result.parseoutcomes().keys()
    assert project.events("create") == []


@pytest.mark.parametrize("fixture", ["clnrm_factory", "clnrm_shared"])
def test_the_run_is_guarded_where_only_fixtures_have_containers(
    make_project: Callable[[str], Project], fixture: str
) -> None:
    """The controller has written the run down before a worker's first fixture makes a container."""
    project = make_project("n2")
    project.write(
        "test_it.py",
        f"""
from pathlib import Path

def test_it({fixture}):
    assert list(Path("ledger/runs").glob("*.json"))
""",
    )
    project.run("-o", "clnrm_ledger_dir=ledger").assert_outcomes(passed=1)
    assert not list((project.pytester.path / "ledger" / "runs").glob("*.json"))


def test_a_test_that_asks_for_clnrm_factory_only_while_it_runs(each_mode: Project) -> None:
    """It waits for room of its own at that moment, and what comes later in the run is as in any other."""
    late = "def test_{}(request):\n    factory = request.getfixturevalue('clnrm_factory')\n"
    late += "    with factory.container('a'):\n        pass\n"
    each_mode.write("test_it.py", late.format("first") + late.format("second"))
    each_mode.run().assert_outcomes(passed=2)
    assert len(each_mode.events("create")) == len(each_mode.events("remove")) == 2


def test_more_than_reserved_is_an_error(project: Project) -> None:
    """A second container at the same time has to be reserved; the error names the marker."""
    text = "def test_it(clnrm):\n    with clnrm.container('a'), clnrm.container('b'):\n        pass\n"
    project.write("test_it.py", text)
    result = project.run()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*this test has reserved 1 container, 512 MB, 1 CPUs, 0 GPUs*clnrm_limits*"])
    project.write("test_it.py", "import pytest\n@pytest.mark.clnrm_limits(containers=2)\n" + text)
    project.run().assert_outcomes(passed=1)


@pytest.mark.parametrize(
    ("marker", "message"),
    [
        ("(2)", "takes the keywords containers, memory, cpu, gpus"),
        ("(containers=0)", "containers=...): 0 is not a count"),
        ("(memory='x')", "memory=...): 'x' is not a size"),
        ("(memory='4g')", "memory=...): 4096 MB is more than may be asked for: at most 2048 MB"),
        ("(cpu=3)", "cpu=...): 3 CPUs is more than may be asked for: at most 2 CPUs"),
        ("(containers=4)", "containers=...): 4 containers is more than may be asked for: at most 3 cont"),
    ],
)
def test_wrong_limits_are_usage_errors(project: Project, marker: str, message: str) -> None:
    """A wrong marker names the test, the argument and what is allowed."""
    project.write(
        "test_it.py", f"import pytest\n@pytest.mark.clnrm_limits{marker}\ndef test_it(clnrm): pass\n"
    )
    caps = ("max_memory=2g", "max_cpu=2", "max_scenario_containers=3")
    result = project.run(*(f"-oclnrm_{each}" for each in caps))
    text = result.stdout.str() + result.stderr.str()
    assert "test_it.py::test_it: @pytest.mark.clnrm_limits" in text
    assert message in text
    assert "INTERNALERROR" not in text


XDIST_MODES = {
    "strict": (),
    "loadscope": ("--dist", "loadscope"),
    "worksteal": ("--dist", "worksteal"),
    "xdist": ("-o", "clnrm_scheduler=xdist"),
}


@pytest.mark.parametrize("mode", list(XDIST_MODES))
@pytest.mark.parametrize(
    ("marker", "message"),
    [
        ("clnrm_limits(containers=0)", "containers=...): 0 is not a count"),
        ("clnrm_priority('urgent')", 'takes one of "high", "normal", "low"'),
    ],
)
def test_wrong_markers_under_xdist(
    make_project: Callable[[str], Project], mode: str, marker: str, message: str
) -> None:
    """Workers report a wrong marker as one collection error, run nothing, and none counts as crashed."""
    project = make_project("n2")
    project.write("test_it.py", f"import pytest\n@pytest.mark.{marker}\ndef test_it(clnrm): pass\n")
    project.write("test_other.py", "def test_other(): pass\n")
    result = project.run(*XDIST_MODES[mode])
    result.assert_outcomes(errors=1)
    text = result.stdout.str() + result.stderr.str()
    assert "test_it.py::test_it: @pytest.mark.clnrm_" in text
    assert message in text
    assert "INTERNALERROR" not in text
    assert "crashed" not in text


def test_a_container_beyond_the_caps(project: Project) -> None:
    """What a test asks for beyond them is refused, with both values."""
    project.write(
        "test_it.py",
        "import pytest\n@pytest.mark.clnrm_limits(memory='2g')\ndef test_it(clnrm):\n"
        "    with clnrm.container('x', memory='2g', network='bridge'): pass\n",
    )
    result = project.run("-oclnrm_max_memory=2g", "-oclnrm_allow_bridge=false")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(['*network=...: network="bridge" is not allowed (-o clnrm_allow_bridge)'])


LATE = """
import pytest

@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_collection_modifyitems(items):
    yield
    for item in items:
        item.add_marker(pytest.mark.{marker})
"""


@pytest.mark.parametrize("folder", ["", "sub/"])
@pytest.mark.parametrize("marker", ["clnrm_limits(containers=0)", "clnrm_priority('urgent')"])
def test_wrong_markers_that_a_conftest_adds(each_mode: Project, marker: str, folder: str) -> None:
    """A wrong marker that a conftest adds late is refused as one in the source is."""
    each_mode.write(f"{folder}conftest.py", LATE.format(marker=marker))
    each_mode.write(f"{folder}test_it.py", "def test_it(): pass\n")
    result = each_mode.run()
    text = result.stdout.str() + result.stderr.str()
    assert f"{folder}test_it.py::test_it: @pytest.mark.clnrm_" in text
    assert "INTERNALERROR" not in text
    assert "1 passed" not in text


def test_more_than_the_budget_is_an_error_of_the_test(each_mode: Project) -> None:
    """A demand larger than the cap fails at once, with both numbers; other tests run."""
    each_mode.write(
        "test_it.py",
        "import pytest\n@pytest.mark.clnrm_limits(containers=3)\ndef test_it(clnrm): pass\n"
        "def test_b(): pass\n",
    )
    result = each_mode.run("--clnrm-max-containers", "2")
    result.stdout.fnmatch_lines(["*3 containers demanded, 2 containers allowed (--clnrm-max-containers)*"])
    result.assert_outcomes(passed=1, errors=1)


def test_gpus_are_counted(project: Project) -> None:
    """A GPU that the engine does not have is an error with both numbers."""
    project.write(
        "test_it.py", "import pytest\n@pytest.mark.clnrm_limits(gpus=1)\ndef test_it(clnrm): pass\n"
    )
    result = project.run()
    result.stdout.fnmatch_lines(["*1 GPU demanded, 0 GPUs allowed (--clnrm-gpus)*"])
    project.run("--clnrm-gpus", "1").assert_outcomes(passed=1)


MODULE = """
import pytest

@pytest.fixture(scope="module")
def db(clnrm_factory):
    with clnrm_factory.container("db") as box:
        yield box

def test_a(db):
    assert db.run("echo a").stdout == "a\\n"

def test_b(db):
    assert db.run("echo b").stdout == "b\\n"
"""


def test_a_module_fixture_has_a_container(each_mode: Project) -> None:
    """A fixture of a wider scope keeps one container for its tests, and gives it back."""
    each_mode.write("test_it.py", MODULE)
    each_mode.run().assert_outcomes(passed=2)
    assert len(each_mode.events("remove")) == len(each_mode.events("create")) >= 1


def test_a_module_fixture_that_holds_the_only_slot(each_mode: Project) -> None:
    """A module fixture that holds the only slot does not stop scenarios that wait for one."""
    each_mode.write("test_it.py", MODULE)
    each_mode.write("a.clnrm.toml", '[[step]]\nname = "s"\nrun = "true"\n')
    each_mode.run("--clnrm-max-containers", "1").assert_outcomes(passed=3)


BESIDE = (
    "*2 containers demanded, 1 container allowed (--clnrm-max-containers); 1 container, 512.0 MiB memory, "
    "1 CPUs of it is held by containers of fixtures ('{}') until they end: allow more, or give these "
    "fixtures a narrower scope"
)


def test_what_can_never_fit_beside_it_fails_at_once(each_mode: Project) -> None:
    """A test that needs a slot while its own module fixture holds the only one fails instead of hanging."""
    both = "\ndef test_c(clnrm, db):\n    with clnrm.container('c'):\n        pass\n"
    each_mode.write("test_it.py", MODULE + both)
    result = each_mode.run("--clnrm-max-containers", "1", "-k", "test_c")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines([BESIDE.format("container1")])


LASTS = """
import pytest

@pytest.fixture(scope="session")
def db(clnrm_factory):
    with clnrm_factory.container("a", name="db") as box:
        yield box

def test_a(db): pass

def test_b(clnrm): pass
"""


def test_what_never_fits_beside_a_session_fixture(project: Project) -> None:
    """The error names the fixture's container, which lasts until the end, and what to do."""
    project.write("test_it.py", LASTS)
    result = project.run("-p", "no:xdist", "--clnrm-max-containers", "1")
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines([BESIDE.format("db")])


LENDS = """
import pytest

@pytest.fixture(scope="session")
def seed(clnrm_factory):
    with clnrm_factory.container("seed") as box:
        return box.run("echo seed").stdout

@pytest.fixture(scope="session")
def db(clnrm_factory):
    with clnrm_factory.container("db") as box:
        yield box

def test_seeded(clnrm, seed):
    with clnrm.container("own") as box:
        assert box.run(["echo", seed]).exit_code == 0
    with clnrm.container("again") as box:
        assert box.run("true").exit_code == 0

def test_unused(clnrm, db):
    assert db.run("true").exit_code == 0
"""


def test_a_reservation_is_lent_to_a_fixture(each_mode: Project) -> None:
    """With a cap of 1 a fixture gets the room of the test that waits for it; the test has it again later."""
    each_mode.write("test_it.py", LENDS)
    each_mode.write("a.clnrm.toml", '[[step]]\nname = "s"\nrun = "true"\n')
    each_mode.run("--clnrm-max-containers", "1", "--clnrm-slot-timeout", "60s").assert_outcomes(passed=3)
    here = 0
    for event in each_mode.events("create", "remove"):
        here += 1 if event["event"] == "create" else -1
        assert here <= 1
    assert here == 0


@pytest.mark.parametrize(
    "ready", ["{'port': 1, 'log': 'x'}", "{}", "{'prot': 1}", "{'port': '1'}", "{'healthcheck': False}"]
)
def test_a_wrong_condition_is_an_error(project: Project, ready: str) -> None:
    """A condition is exactly one of the known ones."""
    project.write("test_it.py", f"def test_it(clnrm):\n    with clnrm.container('a', ready={ready}): pass\n")
    result = project.run()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*ValueError: ready=*"])


def test_an_unpublished_port_is_an_error(project: Project) -> None:
    """url() of a port that is not published says how to publish it."""
    project.write(
        "test_it.py", "def test_it(clnrm):\n    with clnrm.container('a') as box:\n        box.url(80)\n"
    )
    result = project.run()
    result.stdout.fnmatch_lines(
        ["*port 80 of container * is not published (published: none): add it to ports*"]
    )


SESSION = """
import pathlib, pytest, time

@pytest.fixture(scope="session")
def db(clnrm_factory):
    with clnrm_factory.container("db") as box:
        yield box

@pytest.mark.clnrm_priority("high")
@pytest.mark.parametrize("number", range(2))
def test_it(db, number):
    pathlib.Path(f"here-{number}").touch()
    deadline_s = time.monotonic() + 60
    while WORKERS > len(list(pathlib.Path().glob("here-*"))) and time.monotonic() < deadline_s:
        time.sleep(0.01)
"""


@pytest.mark.parametrize("workers", [1, 2])
def test_session_fixtures_that_hold_all_slots(make_project: Callable[[str], Project], workers: int) -> None:
    """Of two workers that hold all slots one ends, so that a scenario gets one; with one it fails at once."""
    project = make_project("n2")
    project.mode = ("-n", str(workers))
    project.write("test_it.py", SESSION.replace("WORKERS", str(workers)))
    project.write("a.clnrm.toml", '[[step]]\nname = "s"\nrun = "true"\n')
    project.write("test_plain.py", "def test_plain(): pass\n")
    result = project.run("--clnrm-max-containers", str(workers))
    if workers > 1:
        result.assert_outcomes(passed=4)
    else:
        result.assert_outcomes(passed=3, errors=1)
        result.stdout.fnmatch_lines(
            ["1 container, * demanded, but fixtures of session scope hold 1 container*"]
        )
    assert len(project.events("remove")) == len(project.events("create"))


ELSEWHERE = {
    "no-xdist": ("no-xdist", ()),
    "n0": ("n0", ()),
    "strict": ("n2", ()),
    "loadscope": ("n2", ("--dist", "loadscope")),
}


@pytest.mark.parametrize("way", list(ELSEWHERE))
def test_a_module_fixture_gives_way_to_a_test_of_its_own_module(
    make_project: Callable[[str], Project], way: str
) -> None:
    """A test whose slot a fixture of its own module holds gets it; who needs both fails at once."""
    mode, args = ELSEWHERE[way]
    project = make_project(mode)
    project.write("test_it.py", MODULE + "\ndef test_c(clnrm):\n    with clnrm.container('c'): pass\n")
    both = (
        "\ndef test_first(db): pass\n\ndef test_too_much(clnrm, db):\n    with clnrm.container('c'): pass\n"
    )
    project.write("test_more.py", MODULE.partition("def test_a")[0] + both)
    result = project.run("--clnrm-max-containers", "1", *args)
    result.assert_outcomes(passed=4, failed=1)
    result.stdout.fnmatch_lines(["*2 containers demanded, 1 container allowed (--clnrm-max-containers)*"])
    result.stdout.fnmatch_lines(["FAILED test_more.py::test_too_much*"])
    result.stdout.no_fnmatch_line("FAILED test_it.py*")
    assert len(project.events("remove")) == len(project.events("create"))


def test_a_fixture_that_fails_while_it_gives_way(make_project: Callable[[str], Project]) -> None:
    """Its error is one of the test that ran before, and the test that waits runs."""
    project = make_project("no-xdist")
    text = MODULE.replace(
        "        yield box\n", "        yield box\n    raise ValueError('broken teardown')\n"
    )
    project.write("test_it.py", text + "\ndef test_c(clnrm): pass\n")
    result = project.run("--clnrm-max-containers", "1")
    result.assert_outcomes(passed=3, errors=1)
    result.stdout.fnmatch_lines(["*ERROR at teardown of test_b*", "*ValueError: broken teardown"])


@pytest.mark.parametrize("args", [(), ("--dist", "loadfile")], ids=["strict", "loadfile"])
@pytest.mark.parametrize("uses", ["pass", "with clnrm.container('own'): pass"], ids=["unused", "used"])
def test_tests_and_fixtures_that_wait_for_one_another(
    make_project: Callable[[str], Project], args: tuple[str, ...], uses: str
) -> None:
    """Two tests hold one slot each, and lend it to their fixtures; who needs it back may wait in vain."""
    project = make_project("n2")
    meet = """
import os, pathlib, pytest, time

@pytest.fixture
def db(clnrm_factory):
    with clnrm_factory.container("db") as box:
        pathlib.Path(f"here-{os.getpid()}").touch()
        deadline_s = time.monotonic() + 60
        while len(list(pathlib.Path().glob("here-*"))) < 2 and time.monotonic() < deadline_s:
            time.sleep(0.01)
        yield box

def test_it(clnrm, db):
    """
    project.write("test_a.py", meet + uses)
    project.write("test_b.py", meet + uses)
    result = project.run("--clnrm-max-containers", "2", *args)
    if uses == "pass":
        result.assert_outcomes(passed=2)
    else:
        result.assert_outcomes(passed=1, failed=1)
        result.stdout.fnmatch_lines(["*tests and fixtures that wait for one another hold the rest*"])
