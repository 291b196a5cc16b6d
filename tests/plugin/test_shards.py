"""``--clnrm-shard``: what each machine runs, in every way of running, and what it says of it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest
from clnrm_testing.project import Project

from pytest_clnrm.history.records import History, Observed
from pytest_clnrm.history.store import bytes_of, read_history
from pytest_clnrm.session import lazy
from pytest_clnrm.session.shard import commit_of

SCENARIO = '[[step]]\nname = "work"\nrun = "true"\n'
MATRIX = f"[matrix]\nnumber = [1, 2, 3, 4]\n{SCENARIO}"
# The fake engine has containers of one process only.
SHARING = f'[meta]\nskip = "not here"\n{MATRIX}\n[service.db]\nimage = "db"\nscope = "file"\n'
MODULE = """
import pytest

@pytest.fixture(scope="module")
def costly():
    return 1

def test_one(costly): pass
@pytest.mark.clnrm_priority("high")
def test_two(costly): pass
class TestMore:
    def test_three(self): pass
"""


def write_suite(project: Project) -> None:
    """Write two scenario files, one of which cannot be divided, and four modules."""
    project.write("free.clnrm.toml", MATRIX)
    project.write("sharing.clnrm.toml", SHARING)
    for name in "abcd":
        project.write(f"test_{name}.py", MODULE)


def ran(project: Project, *options: str) -> list[str]:
    """Run it with a report, and return the node ids in the order of their starts."""
    done = project.run("--clnrm-report", "out", *options)
    assert done.ret == 0, done.outlines
    report = project.report()
    rows = sorted((*report["scenarios"], *report["tests"]), key=lambda each: each["started"])
    return [each["nodeid"] for each in rows]


def write_history(project: Project, lengths_s: dict[str, float]) -> None:
    """Write the history of a run in which items took so long."""
    items = {nodeid: {"r": Observed("passed", each)} for nodeid, each in lengths_s.items()}
    project.write("h.json", bytes_of(History.of(items)).decode())


def files_of(nodeids: Sequence[str]) -> Counter[str]:
    """Return how many items of each file there are."""
    return Counter(each.partition("::")[0] for each in nodeids)


def test_shards_are_the_collection(each_mode: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each item is in one shard, modules and files that share are whole, and priorities hold within each.

    The report tells which of how many, of which commit, and of what: equal for all shards of a run.
    """
    for name in ("GITHUB_ACTIONS", "JENKINS_URL", "CIRCLECI", "BUILDKITE", "TF_BUILD"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GITLAB_CI", "true")
    monkeypatch.setenv("CI_COMMIT_SHA", "c0ffee")
    write_suite(each_mode)
    shards, told = [], []
    for number in (1, 2, 3):
        shards.append(ran(each_mode, "--clnrm-shard", f"{number}/3"))
        told.append(each_mode.report()["session"]["shard"])
    assert [(each["number"], each["of"], each["commit"]) for each in told] == [
        (number, 3, "c0ffee") for number in (1, 2, 3)
    ]
    assert [each["tests"] for each in told] == list(map(len, shards))
    assert {each["all_tests"] for each in told} == {20}
    assert len({(each["collection"], each["division"]) for each in told}) == 1
    assert Counter(nodeid for each in shards for nodeid in each) == Counter(ran(each_mode))
    assert sorted(map(len, shards)) == [6, 7, 7]
    where = [files_of(each) for each in shards]
    assert [sum(name in each for each in where) for name in ("test_a.py", "sharing.clnrm.toml")] == [1, 1]
    assert sum("free.clnrm.toml" in each for each in where) > 1
    if each_mode.mode != ("-n", "1"):
        for each in shards:
            high = [nodeid.endswith("test_two") for nodeid in each]
            assert high == sorted(high, reverse=True)


def test_history_balances_and_is_only_read(each_mode: Project) -> None:
    """Times move tests, and a shard that runs later still finds the same file."""
    write_suite(each_mode)
    write_history(each_mode, {"test_b.py::test_one": 60.0, "test_a.py::test_one": 0.5, "gone.py::test": 1.0})
    before = (each_mode.pytester.path / "h.json").read_bytes()
    options = ("--clnrm-history", "h.json", "--clnrm-order", "slowest-first")
    first = ran(each_mode, "--clnrm-shard", "1/2", *options)
    shown = read_history(each_mode.pytester.path / "out" / "history.json")
    assert set(shown.items) == {*first, "test_b.py::test_one", "test_a.py::test_one", "gone.py::test"}
    second = ran(each_mode, "--clnrm-shard", "2/2", *options)
    assert (each_mode.pytester.path / "h.json").read_bytes() == before
    assert len(first) + len(second) == len({*first, *second}) == 20
    # By count it would be another half; by time the longest test and its module are with little else.
    assert ("test_b.py" in files_of(first)) == (len(first) < len(second))


def test_pytests_own_count_and_the_summary(project: Project) -> None:
    """What is deselected pytest counts itself; one line says how much of the whole it was."""
    write_suite(project)
    done = project.run("--clnrm-shard", "2/3", "-k", "test_ or free")
    done.stdout.fnmatch_lines(
        ["collected 20 items / 15 deselected / 5 selected", "clnrm: shard 2/3: 5 of 16 tests"]
    )
    assert "shard" not in project.run("--clnrm-shard", "2/3", "-qq").stdout.str()
    project.write("h.json", "")
    done = project.run("--clnrm-shard", "2/2", "--clnrm-history", "h.json", "test_a.py", "test_b.py")
    done.stdout.fnmatch_lines(["clnrm: shard 2/2: 3 of 6 tests"])
    write_history(project, {"test_b.py::test_one": 2.0})
    done = project.run("--clnrm-shard", "2/2", "--clnrm-history", "h.json", "test_a.py", "test_b.py")
    done.stdout.fnmatch_lines(["clnrm: shard 2/2: 3 of 6 tests, 6.0 s by the history of 1"])


def test_selection_comes_first(project: Project) -> None:
    """``-k``, ``-m`` and ``--deselect`` say what is divided; ``--lf`` chooses within the shard."""
    project.write("test_a.py", "def test_x(): assert 0\ndef test_y(): pass\n")
    project.write("test_b.py", "def test_x(): assert 0\ndef test_y(): pass\n")
    project.write("test_c.py", "def test_y(): pass\n")
    shown = []
    for number in (1, 2):
        done = project.run("--clnrm-shard", f"{number}/2", "-k", "test_x", "-p", "no:cacheprovider")
        done.assert_outcomes(failed=1, deselected=4)
        shown.append(done.stdout.str())
    assert "FAILED test_a.py::test_x" in shown[0]
    assert "FAILED test_b.py::test_x" in shown[1]
    project.run("--clnrm-shard", "1/2").assert_outcomes(failed=1, passed=2, deselected=2)
    # This machine knows of its own failure alone; the division is that of all the same.
    project.run("--clnrm-shard", "1/2", "--lf").assert_outcomes(failed=1, deselected=4)


def test_any_order_is_divided_alike(project: Project) -> None:
    """pytest-randomly shuffles on each machine as it likes."""
    pytest.importorskip("pytest_randomly")
    write_suite(project)
    found = []
    for number, seed in ((1, 5), (2, 11), (3, 17)):
        project.mode = ("-p", "no:xdist", "-p", "randomly", f"--randomly-seed={seed}")
        found += ran(project, "--clnrm-shard", f"{number}/3")
    assert len(found) == len(set(found)) == 20


def test_an_empty_shard_passes_and_says_so(each_mode: Project) -> None:
    """With more machines than parts the others are not red; where nothing is collected pytest's 5 stays."""
    each_mode.write("test_a.py", "def test_x(): pass\ndef test_y(): pass\n")
    done = each_mode.run("--clnrm-shard", "2/3", "--clnrm-report", "out")
    assert done.ret == pytest.ExitCode.OK
    done.stdout.fnmatch_lines(
        ["clnrm: shard 2/3: 0 of 2 tests, as they can be divided into no more than 1 part"]
    )
    session = each_mode.report()["session"]
    assert session["exit_status"] == 0
    assert session["shard"]["tests"] == 0
    assert each_mode.run("--clnrm-shard", "1/3", "-k", "no").ret == pytest.ExitCode.NO_TESTS_COLLECTED


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ("--clnrm-shard", "4/3"),
            "--clnrm-shard: '4/3' is not a shard: K/N with 1 <= K <= N <= 9999, such as 2/3",
        ),
        (("-o", "clnrm_shard=0/3"), "-o clnrm_shard: '0/3' is not a shard: *"),
        (("--clnrm-shard", "/"), "--clnrm-shard: '/' is not a shard: *"),
        (
            ("--clnrm-shard", "1/3", "--stepwise"),
            "--clnrm-shard: not with --stepwise: it leaves out tests by what this machine remembers, *",
        ),
        (
            ("--clnrm-shard", "1/3", "--num-shards", "2"),
            "--clnrm-shard: not with --num-shards of pytest-shard: each of them divides the tests",
        ),
        (
            ("--clnrm-shard", "1/3", "--clnrm-history", "conftest.py"),
            "--clnrm-history: *conftest.py:1:1: no history of *; with --clnrm-shard all machines *",
        ),
        (
            ("--clnrm-shard", "1/3", "--clnrm-history", "none.json"),
            "--clnrm-history: there is no file *none.json: begin with an empty one on all machines; with *",
        ),
    ],
)
def test_what_cannot_be_divided_is_one_error(
    project: Project, options: tuple[str, ...], message: str
) -> None:
    """Wrong values, what selects by this machine's memory, and pytest-shard beside it."""
    project.write("test_a.py", "def test_x(): pass\n")
    project.write(
        "conftest.py",
        "def pytest_addoption(parser):\n    parser.addoption('--num-shards', type=int, default=1)\n",
    )
    done = project.run(*options)
    assert done.ret == pytest.ExitCode.USAGE_ERROR
    done.stderr.fnmatch_lines([f"ERROR: {message}"])


def test_not_on_windows(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """There all tests would run on each machine."""
    monkeypatch.setattr(lazy, "_SYSTEM", "nt")
    project.write("test_a.py", "def test_x(): pass\n")
    done = project.run("--clnrm-shard", "1/2")
    assert done.ret == pytest.ExitCode.USAGE_ERROR
    done.stderr.fnmatch_lines(["ERROR: --clnrm-shard: pytest-clnrm does not run * on Windows itself: *"])


def test_the_commit_is_gits_where_no_ci_tells_it(tmp_path: Path, pytester: pytest.Pytester) -> None:
    """It is that of the checkout; without git it is not known."""
    assert commit_of(tmp_path, {}) == ""
    for command in (
        ("init", "-q"),
        ("-c", "user.name=a", "-c", "user.email=a@b", "commit", "-q", "--allow-empty", "-m", "First"),
    ):
        assert pytester.run("git", "-C", tmp_path, *command).ret == 0
    head = pytester.run("git", "-C", tmp_path, "rev-parse", "HEAD").outlines
    assert [commit_of(tmp_path, {})] == head
    assert commit_of(tmp_path, {"GITHUB_ACTIONS": "true", "GITHUB_SHA": "c0ffee"}) == "c0ffee"


def test_what_plugins_are_told(project: Project) -> None:
    """Others hear of each item that is left to other machines, once."""
    write_suite(project)
    project.write(
        "conftest.py",
        "import json\n\ndef pytest_deselected(items):\n    with open('left', 'a') as file:\n"
        "        file.write(json.dumps([each.nodeid for each in items]) + '\\n')\n",
    )
    mine = ran(project, "--clnrm-shard", "1/2")
    lines = (project.pytester.path / "left").read_text(encoding="utf-8").splitlines()
    assert len(lines) == 1
    assert sorted([*json.loads(lines[0]), *mine]) == sorted(ran(project))
