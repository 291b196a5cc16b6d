"""Python tests with containers: what is shown and kept of those that fail, and their rows in the report."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from clnrm_testing.project import Project

SHOWN = """
import pytest

@pytest.fixture
def box(clnrm):
    with clnrm.container("service", name="boxed") as box:
        yield box

@pytest.fixture(scope="session")
def db(clnrm_factory):
    with clnrm_factory.container("service", name="db") as box:
        yield box

@pytest.fixture(scope="session")
def other(clnrm_factory):
    with clnrm_factory.container("service", name="other") as box:
        yield box

def test_other(other):
    pass

def test_block(clnrm):
    with clnrm.container("service", name="own") as own:
        own.run("echo hi; exit 3")
        assert own.run("true").exit_code == 1

def test_fixtures(box, db):
    pytest.fail("no good")

def test_caught(clnrm):
    with pytest.raises(AssertionError), clnrm.container("service", name="caught"):
        assert 0
    with clnrm.container("service", name="caught"):
        pass

def test_skipped(clnrm):
    with clnrm.container("service", name="skipped"):
        pytest.skip("not here")
"""


def test_the_logs_of_a_failing_test(each_mode: Project) -> None:
    """Those of each container that it uses are sections of its report, once, and nobody else's are."""
    each_mode.write("test_it.py", SHOWN)
    result = each_mode.run("--clnrm-report", "out")
    result.assert_outcomes(passed=2, failed=2, skipped=1)
    text = result.stdout.str()
    for name in ("own", "boxed", "db"):
        assert text.count(f"Captured logs of container '{name}' call") == 1
    assert text.count("Captured logs of") == 3
    result.stdout.fnmatch_lines(["logs of clnrm-*-own"])
    assert len(each_mode.events("remove")) == len(each_mode.events("create"))
    tests = {each["name"]: each for each in each_mode.report()["tests"]}
    assert [each["service"] for each in tests["test_block"]["containers"]] == ["own"]
    assert tests["test_block"]["containers"][0]["logs"].startswith("logs of clnrm-")
    steps = tests["test_block"]["steps"]
    assert [(each["command"], each["exit_code"], each["stdout"]) for each in steps] == [
        ("echo hi; exit 3", 3, "hi\n"),
        ("true", 0, ""),
    ]
    (failure,) = tests["test_block"]["failures"]
    assert failure["message"].startswith("AssertionError: assert 0 == 1")
    assert {each["service"] for each in tests["test_fixtures"]["containers"]} == {"boxed", "db"}
    assert [each["service"] for each in tests["test_other"]["containers"]] == ["other"]
    assert tests["test_skipped"]["outcome"] == "skipped"


def test_what_is_kept_of_a_failing_test(each_mode: Project) -> None:
    """Its containers stay with their network, and are hinted at; those of others are gone."""
    each_mode.write("test_it.py", SHOWN)
    result = each_mode.run("--clnrm-keep", "failed", "-v")
    result.assert_outcomes(passed=2, failed=2, skipped=1)
    result.stdout.fnmatch_lines(["clnrm: 3 containers are kept, and count until they are removed: clnrm-*"])
    for name in ("own", "boxed", "db"):
        result.stdout.fnmatch_lines(
            [f"    clnrm-*-{name}: enter it with: docker -H fake:// exec -it clnrm-*-{name} sh"]
        )
    result.stdout.fnmatch_lines(["clnrm: remove what is kept with: * sweep --kept*"])
    created = {each["container"]: each["name"].rpartition("-")[2] for each in each_mode.events("create")}
    removed = [created[each["container"]] for each in each_mode.events("remove")]
    assert sorted(removed) == ["caught", "caught", "other", "skipped"]
    networks, gone = each_mode.events("network"), each_mode.events("network removed")
    assert len(gone) < len(networks)


def test_a_kept_name_is_free_for_the_next_test(project: Project) -> None:
    """The next test calls its container the same, with nothing else there or beside that of a fixture."""
    fails = "def test_{0}(clnrm{1}):\n    with clnrm.container('service', name='x'):\n        assert 0\n"
    text = SHOWN.partition("def test_other")[0]
    text += "".join(fails.format(name, more) for name, more in [("a", ""), ("b", ", db"), ("c", ", db")])
    project.write("test_it.py", text)
    result = project.run("--clnrm-keep", "failed")
    result.assert_outcomes(failed=3)
    result.stdout.no_fnmatch_line("*is called 'x'*")
    (taken,) = project.events("names taken")
    assert taken["container"] == project.events("create")[2]["container"]


def test_kept_containers_count(project: Project) -> None:
    """Nobody gets their room."""
    project.write("test_it.py", SHOWN.partition("def test_other")[0] + "def test_a(box):\n    assert 0\n")
    project.write("test_more.py", "def test_b(clnrm):\n    pass\n")
    result = project.run("--clnrm-keep", "failed", "--clnrm-max-containers", "1")
    result.assert_outcomes(failed=1, errors=1)
    result.stdout.fnmatch_lines(["*1 container held by what --clnrm-keep left*"])


def test_what_is_kept_after_the_last_report_is_told(each_mode: Project) -> None:
    """A run that stops at its first failure ends session fixtures after the last report."""
    text = SHOWN.partition("def test_other")[0] + "def test_a(db):\n    assert 0\n\ndef test_b(db): pass\n"
    each_mode.write("test_it.py", text)
    result = each_mode.run("--clnrm-keep", "failed", "-x")
    result.stdout.fnmatch_lines(["clnrm: enter it with: docker -H fake:// exec -it clnrm-*-db sh"])


NOT_READY = """
def test_it(clnrm):
    with clnrm.container("service", name="db", ready={"command": "false", "timeout": 0.2}):
        pass
"""


def test_a_container_that_is_not_ready(project: Project) -> None:
    """The line of the test and, once, the container's last output are shown, and no frame of the plugin."""
    project.write("test_it.py", NOT_READY.replace('"service"', '"service-chatty"'))
    result = project.run()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            ">       with clnrm.container(*",
            "E       *NotReadyError: service 'db' *",
            "E       logs of clnrm-*-db",
        ]
    )
    text = result.stdout.str()
    assert "Captured logs" not in text
    assert "pytest_clnrm/" not in text
    assert "contextlib" not in text
    assert "During handling" not in text


def test_errors_of_a_command_show_the_test_alone(project: Project) -> None:
    """An engine that is gone, within a block, or while it ends, is told where the test has met it."""
    project.write(
        "test_it.py",
        "def test_it(clnrm):\n    with clnrm.container('a') as box:\n        box.run('# ENGINE-GONE')\n",
    )
    result = project.run()
    result.stdout.fnmatch_lines([">*box.run(*", "E *EngineUnavailableError: the engine is gone *"])
    assert "pytest_clnrm/" not in result.stdout.str()


def test_secrets_are_not_shown(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither sections nor messages nor the report hold one; here it is a part of what the engine says."""
    monkeypatch.setenv("TOKEN", "own-secret")
    fails = "def test_b(clnrm):\n    with clnrm.container('service', name='own-secret'):\n        assert 0\n"
    project.write("test_it.py", NOT_READY.replace("db", "own-secret") + fails)
    result = project.run("--clnrm-report", "out", "-o", "clnrm_secrets=TOKEN", "--show-capture=all")
    result.assert_outcomes(failed=2)
    result.stdout.fnmatch_lines(["E *NotReadyError: service '***' *", "E       logs of clnrm-*-***"])
    result.stdout.fnmatch_lines(["*Captured logs of container '***' call*", "logs of clnrm-*-***"])
    (failure,), _ = (each["failures"] for each in project.report()["tests"])
    assert "own-secret" not in failure["message"]
    logs = [container["logs"] for test in project.report()["tests"] for container in test["containers"]]
    assert len(logs) == 2
    assert "own-secret" not in str(logs)


OUTCOMES = """
import pytest

@pytest.fixture
def breaks():
    yield
    raise ValueError("in the teardown")

@pytest.fixture
def broken():
    raise ValueError("in the set-up")

def test_passes(): pass
def test_fails(): assert 0, "two\\nlines"
def test_torn(breaks): pass
def test_set_up(broken): pass
@pytest.mark.skip(reason="why not")
def test_skipped(): pass
@pytest.mark.xfail
def test_xfails(): assert 0
@pytest.mark.xfail
def test_xpasses(): pass
@pytest.mark.skip
def test_with_container(clnrm): pass
"""


def test_all_tests_are_rows(each_mode: Project) -> None:
    """Each has its outcome and its failure's first line, and the counts are pytest's."""
    each_mode.write("test_it.py", OUTCOMES)
    each_mode.write("test_broken.py", "raise ValueError('cannot be collected')\n")
    each_mode.write("a.clnrm.toml", '[[step]]\nname = "s"\nrun = "true"\n')
    result = each_mode.run("--clnrm-report", "out", "--continue-on-collection-errors")
    document = each_mode.report()
    counts = result.parseoutcomes()
    assert document["session"]["counts"] == {
        {"errors": "error"}.get(name, name): count for name, count in counts.items() if name != "warnings"
    }
    rows = {
        each["name"]: (each["outcome"], [f["message"] for f in each["failures"]])
        for each in document["tests"]
    }
    assert rows == {
        "test_broken.py": ("error", ["ValueError: cannot be collected"]),
        "test_passes": ("passed", []),
        "test_fails": ("failed", ["AssertionError: two"]),
        "test_torn": ("error", ["ValueError: in the teardown"]),
        "test_set_up": ("error", ["ValueError: in the set-up"]),
        "test_skipped": ("skipped", ["why not"]),
        "test_xfails": ("xfailed", ["assert 0"]),
        "test_xpasses": ("xpassed", []),
        "test_with_container": ("skipped", ["unconditional skip"]),
    }
    assert [each["name"] for each in document["scenarios"]] == ["a"]
    page = (each_mode.pytester.path / "out" / "report.html").read_text("utf-8")
    assert "1 scenario, 9 Python tests in" in page
    assert "1 failed, 3 error" in page


def test_reruns_are_one_row(make_project: Callable[[str], Project]) -> None:
    """The last run counts, with its own containers and commands alone."""
    pytest.importorskip("pytest_rerunfailures")
    project = make_project("no-xdist")
    project.write(
        "test_it.py",
        "import pathlib\n\ndef test_it(clnrm):\n    with clnrm.container('a') as box:\n"
        "        box.run('true')\n        seen = pathlib.Path('seen')\n"
        "        again = seen.exists()\n        seen.touch()\n        assert again\n",
    )
    project.run("--clnrm-report", "out", "--reruns", "2", "-p", "rerunfailures").assert_outcomes(passed=1)
    (row,) = project.report()["tests"]
    assert (row["outcome"], row["attempts"], row["failures"]) == ("passed", 2, [])
    assert (len(row["containers"]), len(row["steps"])) == (1, 1)


def test_a_fixture_that_fails_shows_no_line_of_ours(project: Project) -> None:
    """Neither at its set-up nor at its teardown, in a run with containers."""
    project.write(
        "conftest.py",
        "import pytest\n\n@pytest.fixture\ndef broken():\n    raise RuntimeError('at set-up')\n\n"
        "@pytest.fixture\ndef untidy():\n    yield\n    raise RuntimeError('at teardown')\n",
    )
    project.write(
        "test_it.py",
        "def test_own(clnrm): pass\n\ndef test_broken(broken): pass\n\ndef test_untidy(untidy): pass\n",
    )
    result = project.run()
    result.assert_outcomes(passed=2, errors=2)
    result.stdout.fnmatch_lines(["E       RuntimeError: at set-up", "E       RuntimeError: at teardown"])
    assert "pytest_clnrm" not in result.stdout.str()
