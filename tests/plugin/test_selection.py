"""Which scenarios run, and as what their outcomes count: what files say of it, as pytest's own marks."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from clnrm_testing.project import Project


def scenario(name: str, keys: str, run: str = "true") -> str:
    """Return the text of one of several scenarios."""
    return f'[[scenario]]\nname = "{name}"\n{keys}\n[[scenario.step]]\nrun = "{run}"\n'


SKIPPED = "\n".join((
    scenario("never", 'skip = "needs a licence"'),
    scenario("here", 'skip_if = [{ env = "SET" }, { platform = "win32" }]'),
    scenario("bare", 'skip_if = [{ missing_env = ["SET", "UNSET"], reason = "no display" }]'),
    scenario("text", "skip_if = \"{{ env.SET == 'hunter2' }}\""),
))  # fmt: skip
OTHERS = "\n".join((
    scenario("runs", 'skip_if = [{ env = ["SET", "UNSET"] }, { env = "EMPTY" }, { missing_env = "SET" }]'),
    scenario("engine", 'skip_if = { env = "SET", engine = ["docker", "podman"] }'),
    scenario("no engine", 'skip_if = [{ env = "UNSET", engine = "docker" }, { engine = "podman" }]'),
))  # fmt: skip
OVER_TIME = 'continue_on_failure = true\n[[scenario.step]]\nrun = "sleep 9"\n'
EXPECTED = "\n".join((
    scenario("known", 'xfail = "bug {{ pw }}"', "exit 3"),
    scenario("gone", 'xfail = "bug"'),
    scenario("loose", 'xfail = { reason = "bug", strict = false }'),
    scenario("broken", 'xfail = "bug"\ntimeout = "1ms"', "sleep 9"),
    scenario("both", 'xfail = { reason = "bug", errors = true }\ntimeout = "1ms"', "sleep 9"),
    scenario("more", 'xfail = "bug"\ntimeout = "1s"', "exit 3") + OVER_TIME,
    scenario("all", 'xfail = { reason = "bug", errors = true }\ntimeout = "1s"', "exit 3") + OVER_TIME,
))  # fmt: skip


@pytest.fixture
def environ(monkeypatch: pytest.MonkeyPatch) -> None:
    """Set the variables that the scenarios look at."""
    monkeypatch.setenv("SET", "hunter2")
    monkeypatch.setenv("EMPTY", "")
    monkeypatch.delenv("UNSET", raising=False)


def outcomes(project: Project) -> dict[str, tuple[str, str]]:
    """Return outcome and first message of each scenario of the report."""
    return {
        each["name"]: (each["outcome"], each["failures"][0]["message"] if each["failures"] else "")
        for each in project.report()["scenarios"]
    }


@pytest.mark.usefixtures("environ")
@pytest.mark.parametrize("mode", ["no-xdist", "n2"])
def test_skipped(make_project: Callable[[str], Project], mode: str) -> None:
    """A condition's reason is in the report; only what the engine decides waits for it."""
    project = make_project(mode)
    project.write("a.clnrm.toml", SKIPPED + OTHERS)
    result = project.run("--clnrm-report", "out", "-rs", "-o", "clnrm_env=SET")
    result.assert_outcomes(skipped=5, passed=2)
    result.stdout.fnmatch_lines(["SKIPPED*a.clnrm.toml*: needs a licence"])
    assert outcomes(project) == {
        "never": ("skipped", "needs a licence"),
        "here": ("skipped", "SET is set"),
        "bare": ("skipped", "no display"),
        "text": ("skipped", "its condition holds"),
        "runs": ("passed", ""),
        "engine": ("skipped", "SET is set and the engine is docker"),
        "no engine": ("passed", ""),
    }
    assert len(project.events("create")) == 2


@pytest.mark.usefixtures("environ")
def test_what_is_skipped_needs_no_engine(project: Project) -> None:
    """No engine is looked for, and nothing is reserved; other plugins see pytest's own marks."""
    project.write("a.clnrm.toml", SKIPPED)
    project.write(
        "conftest.py",
        "def pytest_collection_modifyitems(items):\n"
        "    for item in items:\n"
        "        print(item.name, [(mark.name, *mark.args) for mark in item.iter_markers()])\n",
    )
    result = project.run(
        "-s", "-o", "clnrm_env=SET", "-o", "clnrm_engine=tcp://192.0.2.1:1", "--strict-markers"
    )
    result.assert_outcomes(skipped=4)
    result.stdout.fnmatch_lines([
        "never [[]('skip',)[]]",
        "here [[]('skipif', True), ('skipif', False)[]]",
    ])  # fmt: skip
    assert project.events() == []
    project.run("-m", "skip", "-o", "clnrm_env=SET").assert_outcomes(skipped=1, deselected=3)
    # Without pytest's own part for it nothing is skipped, and what runs is reserved for.
    project.run("-p", "no:skipping", "-o", "clnrm_env=SET").assert_outcomes(passed=4)


def test_expected_failures(project: Project) -> None:
    """They are strict, and what could not be run to its end is an error unless the file says otherwise."""
    project.write("a.clnrm.toml", '[vars]\npw = { value = "hunter2", secret = true }\n' + EXPECTED)
    result = project.run("--clnrm-report", "out", "-rxX")
    result.assert_outcomes(xfailed=3, xpassed=1, failed=3)
    result.stdout.fnmatch_lines(
        ["XFAIL a.clnrm.toml::known - bug [*][*][*]*", "XPASS a.clnrm.toml::loose - bug"]
    )
    result.stdout.no_fnmatch_line("*hunter2*")
    found = outcomes(project)
    assert {name: outcome for name, (outcome, _) in found.items()} == {
        "known": "xfailed", "gone": "failed", "loose": "xpassed", "broken": "failed", "both": "xfailed",
        "more": "failed", "all": "xfailed",
    }  # fmt: skip
    assert found["gone"][1] == "[XPASS(strict)] bug"
    assert found["broken"][1].startswith("Scenario timeout after 0.001s")
    # What is told first is what was expected; the other one makes it an error.
    assert found["more"][1] == found["known"][1] != ""
    project.run("--runxfail", "-k", "gone or known").assert_outcomes(passed=1, failed=1, deselected=5)


MARKED = """
[meta]
marks = ["slow", { timeout = "1m" }]
[[scenario]]
name = "once more"
flaky = 1
marks = [{ ticket = "X-1" }]
[[scenario.step]]
run = "exit 3"
[[scenario]]
name = "steady"
marks = [{ timeout = 0.2 }, { ticket = { id = 2 } }]
[[scenario.step]]
run = "sleep 30"
"""
LISTED = """
def pytest_collection_modifyitems(items):
    for item in items:
        closest = item.get_closest_marker
        print(item.name, closest("timeout").args, closest("flaky"), closest("ticket").kwargs)
"""


def test_marks_are_pytests(project: Project) -> None:
    """Other plugins act by them, -m selects by them, and --strict-markers knows the new ones."""
    pytest.importorskip("pytest_timeout")
    pytest.importorskip("pytest_rerunfailures")
    project.pytester.makeini("[pytest]\nmarkers =\n    ticket(id): where it is told of\n")
    project.write("a.clnrm.toml", MARKED)
    project.write("conftest.py", LISTED)
    result = project.run("--strict-markers", "-s", "-m", "slow", "--clnrm-report", "out")
    result.assert_outcomes(failed=2)
    result.stdout.fnmatch_lines([
        "once more (60.0,) Mark(name='flaky', args=(), kwargs={'reruns': 1}) {}",
        "steady (0.2,) None {'id': 2}",
        "*2 failed, 1 rerun in*",
    ])  # fmt: skip
    rows = {each["name"]: each for each in project.report()["scenarios"]}
    assert rows["once more"]["attempts"] == 2
    assert "Timeout (>0.2s) from pytest-timeout" in rows["steady"]["failures"][0]["message"]
    project.run("-m", "ticket(id=2)", "--collect-only").stdout.fnmatch_lines(["*1/2 tests collected*"])


def test_marks_without_their_plugin(project: Project) -> None:
    """What would do nothing is a mistake of the file."""
    project.write("a.clnrm.toml", MARKED)
    result = project.run("-p", "no:rerunfailures", "-p", "no:timeout")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines([
        "a.clnrm.toml:3:*: meta.marks[[]1[]].timeout: it takes pytest-timeout, which this run does not have*",
        "a.clnrm.toml:6:1: scenario[[]0[]].flaky: it takes pytest-rerunfailures, which this run *",
        "a.clnrm.toml:7:*: scenario[[]0[]].marks[[]0[]].ticket: nobody knows a mark 'ticket' with arguments*",
    ])  # fmt: skip


def logged(project: Project, name: str, keys: str, *, with_: str = "", never: str = "") -> str:
    """Return a scenario that notes its start and end, and gives others the time to start in between.

    :param with_: it ends when that one has started.
    :param never: it gives that one, which must not start, half a second to do so.
    """
    log = project.pytester.path / "log"
    wait = f"until grep -q start-{with_} {log}; do sleep 0.01; done; " if with_ else ""
    if never:
        wait += f"for _ in $(seq 50); do grep -q start-{never} {log} && break; sleep 0.01; done; "
    return scenario(name, keys, f"echo start-{name} >> {log}; {wait}echo end-{name} >> {log}")


def overlaps(project: Project) -> set[frozenset[str]]:
    """Return which scenarios ran at the same time."""
    running: set[str] = set()
    found: set[frozenset[str]] = set()
    for line in (project.pytester.path / "log").read_text(encoding="utf-8").splitlines():
        kind, _, name = line.partition("-")
        if kind == "start":
            found.update(frozenset({name, other}) for other in running)
            running.add(name)
        else:
            running.discard(name)
    return found


@pytest.mark.parametrize("scheduler", ["strict", "xdist"])
def test_groups_and_exclusive_scenarios(make_project: Callable[[str], Project], scheduler: str) -> None:
    """Never two of a group of one, nothing beside an exclusive one, and all else goes on meanwhile."""
    project = make_project("n2")
    # Under our scheduler db1 ends when a scenario has passed db2, which waits for the group.
    strict = scheduler == "strict"
    texts = (
        logged(project, "db1", 'group = "db"', with_="other" if strict else "", never="db2"),
        logged(project, "db2", 'group = ["x", "db"]'),
        logged(project, "db3", 'group = "db"'),
        logged(project, "other", "", with_="db1" if strict else ""),
        logged(project, "alone", "exclusive = true", never="pair1"),
        logged(project, "pair1", 'group = "pair"', with_="pair2" if strict else ""),
        logged(project, "pair2", 'group = "pair"', with_="pair1" if strict else ""),
        logged(project, "last", 'group = "db"\nexclusive = true'),
    )
    project.write("a.clnrm.toml", "\n".join(texts))
    more = ("-o", f"clnrm_scheduler={scheduler}", "-o", "clnrm_groups=pair=2 db=1")
    project.run(*more, "--clnrm-slot-timeout", "60").assert_outcomes(passed=8)
    found = overlaps(project)
    assert not [each for each in found if "alone" in each or "last" in each]
    assert not [each for each in found if each <= {"db1", "db2", "db3"}]
    if strict:
        assert {frozenset({"db1", "other"}), frozenset({"pair1", "pair2"})} <= found


@pytest.mark.parametrize("mode", ["no-xdist", "n2"])
def test_exclusive_beside_a_fixture_that_stays(make_project: Callable[[str], Project], mode: str) -> None:
    """It would wait for ever: it is told whose containers stay, and what to do."""
    project = make_project(mode)
    project.write(
        "conftest.py",
        "import pytest\n"
        "@pytest.fixture(scope='session')\n"
        "def database(clnrm_factory):\n"
        "    with clnrm_factory.container('image', name='db') as box:\n"
        "        yield box\n",
    )
    project.write("test_a.py", "def test_a(database): pass\n")
    project.write("test_z.clnrm.toml", scenario("alone", "exclusive = true"))
    result = project.run("--clnrm-slot-timeout", "60", *(("-n", "1") if mode == "n2" else ()))
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["*it is exclusive, but fixtures *: give these fixtures a narrower scope*"])
