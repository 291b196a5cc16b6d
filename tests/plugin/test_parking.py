"""What other plugins see of a run that our queue feeds: tests, and which comes next, as with xdist alone."""

from __future__ import annotations

import json
from collections import defaultdict
from itertools import pairwise
from typing import Any

import pytest
from clnrm_testing.requirements import needs_xdist
from clnrm_testing.scheduling_project import SchedulingProject

RECORDER = """
import json, os
import pytest

def note(hook, item=None, **more):
    nodeid = item if isinstance(item, str) else item and item.nodeid
    row = {"hook": hook, "item": nodeid, "pid": os.getpid(), **more}
    with open(os.path.join(os.environ["PLACE"], "hooks"), "a") as file:
        file.write(json.dumps(row) + "\\n")

def name(item):
    assert item is None or isinstance(item, pytest.Function)
    return item and item.nodeid

def pytest_itemcollected(item): note("itemcollected", item)
def pytest_runtest_logstart(nodeid): note("logstart", nodeid)
def pytest_runtest_logfinish(nodeid): note("logfinish", nodeid)
def pytest_runtest_setup(item): note("setup", item)
def pytest_runtest_call(item): note("call", item)
def pytest_runtest_makereport(item, call): note("makereport", item, when=call.when)
def pytest_runtest_logreport(report): note("logreport", report.nodeid, when=report.when)
def pytest_fixture_setup(fixturedef, request): note("fixture", request._pyfuncitem)
@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item, nextitem):
    note("protocol", item, next=name(nextitem))
    return (yield)
@pytest.hookimpl(tryfirst=True)
def pytest_runtest_teardown(item, nextitem):
    leaves = nextitem is None or nextitem.parent is not item.parent
    note("teardown", item, next=name(nextitem), leaves_module=leaves)
def pytest_sessionfinish(session):
    if hasattr(session.config, "workerinput"):
        note("items", items=[item.nodeid for item in session.items])
"""

MODULE = """
import random, time
import pytest
rng = random.Random(__name__)
def case(at):
    marks = [pytest.mark.demand(1)] if rng.random() < {demanding} else []
    return pytest.param(rng.choice([0, .01, .03]), marks=marks, id=str(at))
@pytest.fixture(scope="module")
def module(): yield
@pytest.mark.parametrize("length", [case(at) for at in range(8)])
def test(module, length): time.sleep(length)
"""


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> SchedulingProject:
    """Return a project whose conftest.py notes every call of a hook that is about an item."""
    monkeypatch.setenv("PLACE", str(pytester.path))
    pytester.makeconftest(RECORDER)
    return SchedulingProject(pytester, monkeypatch)


def seen_by_worker(project: SchedulingProject) -> list[list[dict[str, Any]]]:
    """Return what each worker's hooks noted, in order."""
    found: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for line in (project.pytester.path / "hooks").read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        found[row["pid"]].append(row)
    return [rows for rows in found.values() if rows[-1]["hook"] == "items"]


def noted(rows: list[dict[str, Any]], hook: str) -> list[dict[str, Any]]:
    """Return the calls of one hook."""
    return [row for row in rows if row["hook"] == hook]


@pytest.mark.parametrize(
    ("demanding", "arguments"),
    [(0.5, ["-n", "2"]), (1, ["-n", "3", "--fake-cap", "1"]), (0.1, ["-n", "2", "--fake-cap", "1"])],
    ids=["mixed", "capped", "few"],
)
def test_hooks_see_tests_alone(project: SchedulingProject, demanding: float, arguments: list[str]) -> None:
    """All items are tests, and each teardown is given the test that its worker runs next, None at the end."""
    for file in "abc":
        project.pytester.makepyfile(**{f"test_{file}": MODULE.format(demanding=demanding)})
    project.run(*arguments).assert_outcomes(passed=24)
    workers = seen_by_worker(project)
    assert len(workers) == int(arguments[1])
    ran = []
    for rows in workers:
        collected = [row["item"] for row in noted(rows, "itemcollected")]
        assert len(collected) == 24
        assert rows[-1]["items"] == collected
        assert {row["item"] for row in rows[:-1]} <= {*collected}
        calls = noted(rows, "teardown")
        ran += [row["item"] for row in calls]
        assert [row["item"] for row in noted(rows, "protocol")] == [row["item"] for row in calls]
        assert [row["next"] for row in calls[:-1]] == [row["item"] for row in calls[1:]]
        assert [row["next"] for row in calls[-1:]] in ([None], [])
        # The idiom by which conftest.py files end what belongs to a module.
        changes = sum(
            one["item"].split("::")[0] != other["item"].split("::")[0] for one, other in pairwise(calls)
        )
        assert sum(row["leaves_module"] for row in calls) == changes + bool(calls)
        # None is told before too, where it is already certain; else a test.
        assert all(row["next"] is None or row["next"] in collected for row in noted(rows, "protocol"))
        assert None not in [row["next"] for row in noted(rows, "protocol")[:-1]]
    assert sorted(ran) == sorted(rows[-1]["items"])


def test_next_items_of_one_worker_are_as_without_us(project: SchedulingProject) -> None:
    """With one worker every hook is called as by xdist alone, with the same next item from the start."""
    project.pytester.makepyfile(test_a=MODULE.format(demanding=0), test_b=MODULE.format(demanding=0.5))
    hooks = project.pytester.path / "hooks"
    noted_by = {}
    for scheduler in ("strict", "none"):
        project.run("-n", "1", "--fake-scheduler", scheduler).assert_outcomes(passed=16)
        (rows,) = seen_by_worker(project)
        noted_by[scheduler] = [{**row, "pid": 0} for row in rows]
        hooks.unlink()
    assert noted_by["strict"] == noted_by["none"]


def test_error_of_a_fixture_that_gives_way(project: SchedulingProject) -> None:
    """An error while a waiting worker gives up its fixtures is one of the test that ran last."""
    project.pytester.makepyfile(
        test_a="""
        import pytest, time
        from pathlib import Path
        @pytest.fixture(scope="module")
        def holder():
            Path("HELD").touch()
            yield
            Path("HELD").unlink()
            raise ValueError("gave way")
        @pytest.mark.clnrm_priority("high")
        def test_holds(holder): pass
        @pytest.mark.demand(1)
        def test_waits(): assert not Path("HELD").exists()
        """
    )
    result = project.run("-n", "1", "--fake-cap", "1")
    result.assert_outcomes(passed=2, errors=1)
    result.stdout.fnmatch_lines(["*ERROR at teardown of test_holds*", "*ValueError: gave way"])


@pytest.mark.parametrize("next_of_reruns", ["None", "nextitem"])
def test_plugin_that_tears_down_itself(project: SchedulingProject, next_of_reruns: str) -> None:
    """A plugin may call the hook again for a rerun, with what it was given or with another nextitem."""
    project.pytester.makeconftest(
        f"""{RECORDER}
from _pytest.runner import runtestprotocol
@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item, nextitem):
    for at in range(2):
        runtestprotocol(item, nextitem={next_of_reruns} if at == 0 else nextitem, log=at == 1)
    return True
"""
    )
    project.pytester.makepyfile(test_a=MODULE.format(demanding=1), test_b=MODULE.format(demanding=0.5))
    project.run("-n", "2").assert_outcomes(passed=16)
    for rows in seen_by_worker(project):
        calls = noted(rows, "teardown")
        last = calls[1::2]
        assert [row["next"] for row in last] == [*(row["item"] for row in last[1:]), None]
        first = [None if next_of_reruns == "None" else row["next"] for row in last]
        assert [row["next"] for row in calls[::2]] == first


def test_plugin_that_runs_tests_in_child_processes(project: SchedulingProject) -> None:
    """Where a test's teardown happens in a child, its worker learns what comes next all the same."""
    project.pytester.makeconftest(
        """
        import os
        import pytest
        from _pytest.runner import runtestprotocol
        @pytest.hookimpl(tryfirst=True)
        def pytest_runtest_protocol(item, nextitem):
            child = os.fork()
            if child == 0:
                runtestprotocol(item, nextitem=nextitem, log=False)
                os._exit(0)
            assert os.waitpid(child, 0)[1] == 0
            item.ihook.pytest_runtest_logreport(report=pytest.TestReport(
                item.nodeid, item.location, {}, "passed", None, "call"))
            return True
        """
    )
    project.pytester.makepyfile(test_a=MODULE.format(demanding=1), test_b=MODULE.format(demanding=0.5))
    project.run("-n", "2").assert_outcomes(passed=16)
    assert len(project.events("start")) == 16


@needs_xdist
def test_what_is_replaced_in_xdist() -> None:
    """The parts of xdist and pytest that parking relies on are there, in every version that is allowed."""
    from inspect import getsource, signature

    from pluggy import HookimplMarker, HookspecMarker, PluginManager
    from xdist.remote import TestQueue, WorkerInteractor
    from xdist.workermanage import WorkerController

    loop, run = getsource(WorkerInteractor.pytest_runtestloop), getsource(WorkerInteractor.run_one_test)
    assert "self.nextitem_index = self.torun.get()" in loop
    assert "self.run_one_test()" in loop
    assert "self.nextitem_index = self.torun.get()" in run
    assert "items[self.nextitem_index]" in run
    assert {"get", "put", "lock"} <= set(vars(TestQueue))
    assert '"unscheduled"' in getsource(WorkerController.process_from_remote)
    assert list(signature(WorkerInteractor.sendevent).parameters) == ["self", "name", "kwargs"]

    class Spec:
        @HookspecMarker("t")
        def hook(self, nextitem: int) -> None:
            """Take something."""

    class Plugin:
        @HookimplMarker("t")
        def hook(self, nextitem: int) -> int:
            return nextitem

    manager = PluginManager("t")
    manager.add_hookspecs(Spec)
    manager.register(Plugin())
    inner = manager.hook.hook._hookexec
    manager.hook.hook._hookexec = lambda name, hooks, arguments, first: inner(  # type: ignore[misc]
        name, hooks, {**arguments, "nextitem": 2}, first
    )
    subset = manager.subset_hook_caller("hook", [object()])
    assert manager.hook.hook(nextitem=1) == subset(nextitem=1) == [2]
