"""What pytest and its plugins get of a failed scenario: exception, place, a traceback of pytest's kinds."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from clnrm_testing.project import Project

FAILS = """
[meta]
name = "fails"

[[step]]
name = "greet"
run = "echo hello; echo trouble >&2; exit 3"
continue_on_failure = true

[[step]]
name = "answer"
run = "echo 42"
expect = { stdout = { contains = "41" } }
"""

BROKEN = """
[meta]
name = "broken"

[service.db]
image = "missing:1"

[[step]]
service = "db"
name = "ask"
run = "true"
"""

NOTES_REPORTS = """
    import json
    import pytest

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(item, call):
        report = yield
        if call.excinfo is not None:
            with open("seen.jsonl", "a") as file:
                crash = call.excinfo._getreprcrash()
                print(json.dumps({
                    "when": report.when,
                    "assertion": isinstance(call.excinfo.value, AssertionError),
                    "said": str(call.excinfo.value),
                    "raised": [crash.path, crash.lineno],
                    "location": list(report.location),
                    "crash": [report.longrepr.reprcrash.path, report.longrepr.reprcrash.lineno,
                              report.longrepr.reprcrash.message],
                    "entries": [[type(each).__name__, each.reprfileloc.lineno]
                                for each in report.longrepr.reprtraceback.reprentries],
                }), file=file)
        return report

    def pytest_runtest_logreport(report):
        if report.failed:
            report.clnrm_place = report.longrepr.reprcrash.lineno
"""


def seen(project: Project) -> list[dict[str, object]]:
    """Return what the project's conftest.py saw of exceptions and reports."""
    return [json.loads(line) for line in (project.pytester.path / "seen.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("mode", ["no-xdist", "n2"])
def test_a_failure_is_an_assertion_error_at_its_line(
    make_project: Callable[[str], Project], mode: str
) -> None:
    """All name the lines of the checks; the item's own place stays its scenario's."""
    project = make_project(mode)
    project.pytester.makeconftest(NOTES_REPORTS)
    path = project.write("fails.clnrm.toml", FAILS)
    result = project.run("--tb=line", "--junitxml=out.xml")
    result.assert_outcomes(failed=1)
    (row,) = seen(project)
    said = "step 'greet': exit code 3, expected 0"
    assert row == {
        "when": "call",
        "assertion": True,
        "said": said,
        "raised": [str(path), 5],
        "location": ["fails.clnrm.toml", 1, "fails"],
        "crash": [str(path), 5, said],
        "entries": [["ReprEntry", 5], ["ReprEntry", 13]],
    }
    result.stdout.fnmatch_lines([f"{path}:5: {said}"])
    assert f'<failure message="{said}">fails.clnrm.toml:5: {said}'.replace("'", "&apos;") in (
        project.pytester.path / "out.xml"
    ).read_text("utf-8").replace("'", "&apos;")


def test_an_error_of_setup_has_its_service_and_line(project: Project) -> None:
    """It is no AssertionError, and names file, line and service; so does the report."""
    project.pytester.makeconftest(NOTES_REPORTS)
    path = project.write("broken.clnrm.toml", BROKEN)
    result = project.run("--clnrm-report", "out")
    result.assert_outcomes(errors=1)
    (row,) = seen(project)
    assert (row["when"], row["assertion"]) == ("setup", False)
    crash = row["crash"]
    assert isinstance(crash, list)
    assert crash[:2] == [str(path), 5]
    assert crash[2].startswith("service 'db': ")
    result.stdout.fnmatch_lines(["broken.clnrm.toml:5: service 'db': image *missing:1* does not exist"])
    (failure,) = project.report()["scenarios"][0]["failures"]
    assert (failure["where"], failure["kind"]) == ("broken.clnrm.toml:5", "error")


def test_an_engine_that_is_gone_is_no_assertion_error(project: Project) -> None:
    """It is an error at the line of the step that ran."""
    project.pytester.makeconftest(NOTES_REPORTS)
    project.write("gone.clnrm.toml", '[[step]]\nname = "ask"\nrun = "echo ENGINE-GONE"\n')
    project.run().assert_outcomes(failed=1)
    (row,) = seen(project)
    assert (row["assertion"], row["entries"]) == (False, [["ReprEntry", 1]])


@pytest.mark.parametrize(
    ("style", "lines"),
    [
        ("auto", ["*\x1b*fails.clnrm.toml\x1b*:5: step 'greet': exit code 3, expected 0", "*31mE   step*"]),
        ("short", ["*\x1b*fails.clnrm.toml\x1b*:5: step 'greet': exit code 3, expected 0", "*31mE   step*"]),
        ("native", ["fails.clnrm.toml:5: step 'greet': exit code 3, expected 0", "E   step*"]),
    ],
)
def test_a_failure_is_coloured_as_others(project: Project, style: str, lines: list[str]) -> None:
    """Place and what was wrong are red; pytest's native style has no colours."""
    project.write("fails.clnrm.toml", FAILS)
    result = project.run("--color=yes", f"--tb={style}")
    result.stdout.fnmatch_lines(lines)
    assert "\x1b" not in project.run("--color=no", f"--tb={style}").stdout.str()


def test_tb_no_shows_nothing(project: Project) -> None:
    """Only the summary names the failure."""
    project.write("fails.clnrm.toml", FAILS)
    result = project.run("--tb=no")
    result.stdout.no_fnmatch_line("fails.clnrm.toml:5:*")
    result.stdout.fnmatch_lines(["FAILED fails.clnrm.toml::fails - step 'greet': exit code 3, expected 0"])


def test_an_item_answers_what_hooks_ask(project: Project) -> None:
    """What pytest's own items have, a scenario has, and a fixture that a hook adds is filled."""
    project.pytester.makeconftest(
        """
        import pytest

        @pytest.fixture
        def added(request):
            return request.node.name

        def pytest_collection_modifyitems(items):
            for item in items:
                assert list(item.fixturenames) == [] and item.funcargs == {} and item.obj is None
                assert item.originalname == item.name
                assert item.location == ("fails.clnrm.toml", 1, "fails")
                item.fixturenames.append("added")
                item.add_marker(pytest.mark.slow)

        @pytest.hookimpl(wrapper=True)
        def pytest_runtest_call(item):
            assert item.funcargs == {"added": "fails"} and item._request.node is item
            assert item.get_closest_marker("slow") in item.own_markers
            print("asked")
            return (yield)
        """
    )
    project.write("fails.clnrm.toml", FAILS)
    project.run("-s").stdout.fnmatch_lines(["*asked*", "FAILED *exit code 3, expected 0"])


AGAIN = {
    "protocol": """
        from _pytest.runner import runtestprotocol

        def pytest_runtest_protocol(item, nextitem):
            runtestprotocol(item, nextitem=nextitem, log=False)
            item._initrequest()
            assert item.funcargs == {} and item.result is None
            runtestprotocol(item, nextitem=nextitem, log=True)
            return True
    """,
    "call alone": """
        import pytest

        @pytest.hookimpl(wrapper=True)
        def pytest_runtest_call(item):
            try:
                return (yield)
            except AssertionError:
                item.runtest()
    """,
    "within its report": """
        import pytest

        @pytest.hookimpl(wrapper=True, tryfirst=True)
        def pytest_runtest_makereport(item, call):
            report = yield
            if call.when == "call" and call.excinfo is not None:
                other = pytest.Class.from_parent(item.session, name="other")
                item.ihook.pytest_runtest_teardown(item=item, nextitem=other)
                item._initrequest()
                item.ihook.pytest_runtest_setup(item=item)
                item.ihook.pytest_runtest_call(item=item)
                report.outcome, report.longrepr = "passed", None
            return report
    """,
}


@pytest.mark.parametrize("how", list(AGAIN))
def test_an_item_that_is_run_again_starts_anew(project: Project, how: str) -> None:
    """Each run has a container of its own, and nothing is told of the first one."""
    project.pytester.makeconftest(AGAIN[how])
    once = project.pytester.path / "once"
    project.write("again.clnrm.toml", f'[[step]]\nname = "try"\nrun = "test -e {once} || ! touch {once}"\n')
    project.run("--clnrm-report", "out").assert_outcomes(passed=1)
    created, removed = project.events("create"), project.events("remove")
    assert (len(created), len(removed)) == (2, 2)
    (scenario,) = project.report()["scenarios"]
    assert (scenario["outcome"], scenario["failures"], len(scenario["steps"])) == ("passed", [], 1)


def test_setup_and_cleanup(project: Project) -> None:
    """Cleanup runs whatever failed, but for what undoes nothing; a setup that fails is an error."""
    project.write(
        "a.clnrm.toml",
        """
        [[setup]]
        run = "echo set up"
        capture = { made = { regex = "(set) up" } }
        [[cleanup]]
        name = "last"
        run = "echo {{ made }} down"
        [[scenario]]
        name = "fails"
        [[scenario.step]]
        run = "exit 4"
        [[scenario.step]]
        run = "echo id 7"
        capture = { id = { regex = "id (.*)" } }
        [[scenario.cleanup]]
        name = "undo"
        run = "echo {{ id }}"
        [[scenario.cleanup]]
        name = "fails too"
        run = "exit 5"
        [[scenario]]
        name = "broken"
        [[scenario.setup]]
        name = "own"
        run = "exit 6"
        [[scenario.step]]
        run = "true"
        """,
    )
    result = project.run("--clnrm-report", "out")
    result.assert_outcomes(failed=2)
    report = json.loads((project.pytester.path / "out" / "report.json").read_text("utf-8"))
    fails, broken = report["scenarios"]
    ran = [(each["name"], each["phase"], each["outcome"]) for each in fails["steps"]]
    assert ran == [
        ("setup 1", "setup", "passed"),
        ("step 1", "test", "failed"),
        ("step 2", "test", "not run"),
        ("undo", "cleanup", "not run"),
        ("fails too", "cleanup", "failed"),
        ("last", "cleanup", "passed"),
    ]
    assert fails["steps"][-1]["stdout"] == "set down\n"
    assert [each["kind"] for each in fails["failures"]] == ["expectation", "expectation"]
    outcomes = [(each["name"], each["outcome"]) for each in broken["steps"]]
    assert outcomes == [("setup 1", "passed"), ("own", "failed"), ("step 1", "not run"), ("last", "passed")]
    assert [each["kind"] for each in broken["failures"]] == ["error"]


def test_a_scenario_that_the_cluster_has_failed_is_run_again_once(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where an engine takes containers away now and then; a second time counts, elsewhere the first one."""
    project.write("once.clnrm.toml", '[[step]]\nname = "ask"\nrun = "echo ENGINE-GONE-ONCE"\n')
    project.run().assert_outcomes(failed=1)
    (project.pytester.path / ".gone-once").unlink()
    monkeypatch.setenv("FAKE_LOSES", "1")
    project.run("--clnrm-report=out").assert_outcomes(passed=1)
    (told,) = project.report()["scenarios"]
    assert "run again, as the cluster has failed it: " in str(told)
    assert "the engine is gone for now" in str(told)
    project.write("once.clnrm.toml", '[[step]]\nname = "ask"\nrun = "echo ENGINE-GONE"\n')
    project.run().assert_outcomes(failed=1)
    assert len(project.events("exec")) == 1 + 2 + 2
