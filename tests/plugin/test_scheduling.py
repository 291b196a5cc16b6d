"""Strict scheduling over real xdist workers: order, reservations, crashes, stops, differing collections."""

from __future__ import annotations

import pytest
from clnrm_testing.scheduling_project import CROWD, Event, SchedulingProject

MIXED = """
import pytest, random, time
rng = random.Random(1)
def case(at):
    marks = [pytest.mark.clnrm_priority(rng.choice(["high", "normal", "low"]))]
    if at % 2:
        marks.append(pytest.mark.demand(1))
    return pytest.param(rng.choice([.01, .03, .1]), marks=marks, id=str(at))
@pytest.mark.parametrize("length", [case(at) for at in range(40)])
def test(length):
    time.sleep(length)
"""


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> SchedulingProject:
    """Return an empty project."""
    return SchedulingProject(pytester, monkeypatch)


def inversions(events: list[Event]) -> int:
    """Count pairs of which the lower priority started first."""
    return sum(one.priority > other.priority for at, one in enumerate(events) for other in events[at:])


def test_no_inversion(project: SchedulingProject) -> None:
    """With free workers for all, nothing starts before something of a higher priority."""
    project.pytester.makepyfile(MIXED)
    project.run("-n", "4").assert_outcomes(passed=40)
    assert inversions(project.events()) == 0
    assert len({event.worker for event in project.events()}) == 4


def test_cap(project: SchedulingProject) -> None:
    """Under a cap, items with a demand keep order and number, and each runs under a lease of its own."""
    project.pytester.makepyfile(MIXED)
    project.run("-n", "4", "--fake-cap", "2").assert_outcomes(passed=40)
    starts = project.events()
    demanding = [event for event in starts if event.lease]
    assert len(demanding) == 20
    assert len({event.lease for event in demanding}) == 20
    assert inversions(demanding) == 0
    assert inversions([event for event in starts if not event.lease]) == 0
    changes = sorted(
        [(event.at_s, 1) for event in demanding]
        + [(event.at_s, -1) for event in project.events("end") if event.lease]
    )
    running = [sum(change for _, change in changes[: at + 1]) for at in range(len(changes))]
    assert max(running) == 2


def test_plain_items_pass_a_waiting_head(project: SchedulingProject) -> None:
    """While the head waits for its slot, items without a demand run, of a lower priority too."""
    project.pytester.makepyfile(
        """
        import pytest, time
        @pytest.mark.demand(1)
        @pytest.mark.clnrm_priority("high")
        @pytest.mark.parametrize("n", range(2))
        def test_high(n): time.sleep(0.5)
        @pytest.mark.clnrm_priority("low")
        @pytest.mark.parametrize("n", range(5))
        def test_plain(n): pass
        """
    )
    project.run("-n", "2", "--fake-cap", "1").assert_outcomes(passed=7)
    assert project.started()[-1] == "test_high[1]"


def test_waiting_is_not_counted_by_pytest_timeout(project: SchedulingProject) -> None:
    """An item that waits for longer than its timeout passes."""
    project.pytester.makepyfile(
        """
        import pytest, time
        @pytest.mark.demand(1)
        @pytest.mark.parametrize("n", range(5))
        def test(n): time.sleep(1)
        """
    )
    project.run("-n", "4", "--fake-cap", "1", "--timeout", "2.5").assert_outcomes(passed=5)


def test_module_fixture_that_holds_the_only_slot(project: SchedulingProject) -> None:
    """An idle worker gives up its module's fixtures while the head waits for what one of them holds."""
    project.pytester.makepyfile(
        test_a="""
        import pytest
        from pathlib import Path
        @pytest.fixture(scope="module")
        def holder():
            Path("HELD").touch()
            yield
            Path("HELD").unlink()
        @pytest.mark.clnrm_priority("high")
        def test_holds(holder): pass
        """,
        test_b="""
        import pytest, time
        from pathlib import Path
        @pytest.mark.clnrm_priority("high")
        def test_plain(): time.sleep(0.3)
        @pytest.mark.demand(1)
        def test_waits(): assert not Path("HELD").exists()
        """,
    )
    # It would wait for ever, as the gate counts what is HELD.
    project.run("-n", "2", "--fake-cap", "1").assert_outcomes(passed=3)


def test_fixtures_stay_between_the_tests_of_a_module(project: SchedulingProject) -> None:
    """A worker sets a module's fixture up once for tests that are sent one by one."""
    project.pytester.makeconftest(
        """
        import pytest
        @pytest.fixture(scope="session")
        def session_wide():
            print("SESSION")
        """
    )
    source = """
        import pytest, time
        @pytest.fixture(scope="module")
        def costly(session_wide):
            open("setups", "a").write("x")
            yield
            open("teardowns", "a").write("x")
        @pytest.mark.parametrize("n", range(6))
        def test(costly, n): time.sleep(0.02)
        """
    last = "import pytest\n@pytest.mark.demand(1)\ndef test_last(): pass"
    project.pytester.makepyfile(test_a=source, test_b=source, test_c=last)
    project.run("-n", "1").assert_outcomes(passed=13)
    assert (project.pytester.path / "setups").read_text() == "xx"
    assert (project.pytester.path / "teardowns").read_text() == "xx"


def test_error_of_a_deferred_teardown(project: SchedulingProject) -> None:
    """A module fixture that fails while a worker goes on to another module is an error of the test before."""
    project.pytester.makepyfile(
        test_a="""
        import pytest
        @pytest.fixture(scope="module")
        def broken():
            yield
            raise ValueError("broken teardown")
        def test_a(broken): pass
        """,
        test_b="import pytest\n@pytest.mark.demand(1)\ndef test_b(): pass",
    )
    result = project.run("-n", "1")
    result.assert_outcomes(passed=2, errors=1)
    result.stdout.fnmatch_lines(["*ERROR at teardown of test_a*", "*ValueError: broken teardown"])


def test_nothing_starts_after_exitfirst(project: SchedulingProject) -> None:
    """After ``-x`` has stopped the run no other item starts, waiting ones included."""
    project.pytester.makepyfile(
        """
        import pytest, time
        @pytest.mark.clnrm_priority("high")
        @pytest.mark.demand(1)
        def test_fails():
            time.sleep(0.2)
            assert 0
        @pytest.mark.demand(1)
        @pytest.mark.parametrize("n", range(20))
        def test(n): pass
        """
    )
    result = project.run("-n", "4", "-x", "--fake-cap", "1")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*stopping after 1 failures*"])
    assert project.started() == ["test_fails"]


def test_crashed_worker_is_replaced(project: SchedulingProject) -> None:
    """A crash is reported for the item that ran, its slot is given back, and everything else runs once."""
    project.pytester.makepyfile(
        """
        import os, pytest
        @pytest.mark.demand(1)
        def test_dies(): os._exit(1)
        @pytest.mark.parametrize("n", range(10))
        def test(n): pass
        @pytest.mark.demand(1)
        @pytest.mark.parametrize("n", range(4))
        def test_after(n): pass
        """
    )
    result = project.run("-n", "2", "--fake-cap", "1")
    result.assert_outcomes(failed=1, passed=14)
    result.stdout.fnmatch_lines(["*worker 'gw?' crashed while running 'test_*::test_dies'*"])
    assert len(project.started()) == len(set(project.started())) == 15


def test_crashed_item_is_rerun(project: SchedulingProject) -> None:
    """pytest-rerunfailures puts a crashed item back; it gets a reservation again."""
    project.pytester.makepyfile(
        """
        import os, pytest
        from pathlib import Path
        @pytest.mark.demand(1)
        def test_dies_once():
            if not Path("died").exists():
                Path("died").touch()
                os._exit(1)
        @pytest.mark.demand(1)
        def test_other(): pass
        """
    )
    result = project.run("-n", "2", "--fake-cap", "1", "--reruns", "1")
    assert result.parseoutcomes()["passed"] == 2
    assert [event.lease for event in project.events() if event.name == "test_dies_once"] == ["lease-0"] * 2


def test_failed_item_is_rerun_in_its_worker(project: SchedulingProject) -> None:
    """pytest-rerunfailures runs a failed item again under the same lease."""
    project.pytester.makepyfile(
        """
        import pytest
        tries = []
        @pytest.mark.demand(1)
        def test_flaky():
            tries.append(1)
            assert len(tries) == 2
        """
    )
    assert project.run("-n", "2", "--reruns", "1").parseoutcomes() == {"passed": 1, "rerun": 1}
    assert [event.lease for event in project.events()] == ["lease-0", "lease-0"]


def test_differing_collections(project: SchedulingProject) -> None:
    """Workers that collect different tests are an error that names the first of them, and nothing runs."""
    project.pytester.makepyfile(
        """
        import os, pytest
        @pytest.mark.demand(1)
        @pytest.mark.parametrize("who", [os.environ.get("PYTEST_XDIST_WORKER")])
        def test(who): pass
        """
    )
    result = project.run("-n", "2")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(
        [
            "*Workers gw? and gw? collected different tests*",
            "*only on gw?: *test[[]gw?]",
            "*only on gw?: *test[[]gw?]",
        ]
    )
    assert "INTERNALERROR" not in result.stdout.str() + result.stderr.str()
    assert project.started() == []


def test_differing_order(project: SchedulingProject) -> None:
    """Workers that collect the same tests in another order are an error that names the first place."""
    project.pytester.makepyfile(
        """
        import os, pytest
        @pytest.mark.demand(1)
        @pytest.mark.parametrize("n", sorted("ab", reverse=os.environ.get("PYTEST_XDIST_WORKER") == "gw1"))
        def test(n): pass
        """
    )
    result = project.run("-n", "2")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["*same tests in another order*", "test 1 on gw?: *", "test 1 on gw?: *"])
    assert "INTERNALERROR" not in result.stdout.str() + result.stderr.str()


def test_replacement_that_collects_something_else(project: SchedulingProject) -> None:
    """A replacement worker with another collection gets no work; the run ends, red, and says so."""
    project.pytester.makepyfile(
        """
        import os, pytest
        from pathlib import Path
        @pytest.mark.demand(1)
        @pytest.mark.parametrize("died", [Path("died").exists()])
        def test(died):
            Path("died").touch()
            os._exit(1)
        @pytest.mark.demand(1)
        def test_rest(): pass
        """
    )
    result = project.run("-n", "1")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(
        ["*Workers gw0 and gw1 collected different tests*", "*the rest of the tests was not*"]
    )
    assert "INTERNALERROR" not in result.stdout.str() + result.stderr.str()


@pytest.mark.parametrize("mode", [("-n", "2"), ("-p", "no:xdist"), ("-n", "2", "--dist", "loadfile")])
def test_refused_demand(project: SchedulingProject, mode: tuple[str, ...]) -> None:
    """An item whose demand can never be met fails with the reservation's message and no traceback."""
    project.pytester.makepyfile(
        """
        import pytest
        @pytest.mark.demand(3)
        def test_big(): pass
        @pytest.mark.demand(1)
        def test(): pass
        """
    )
    result = project.run(*mode, "--fake-cap", "2")
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["*3 slots demanded*"])
    result.stdout.no_fnmatch_line("*tickets.py*")


@pytest.mark.parametrize(
    "mode",
    [
        ("-p", "no:xdist"),
        ("-n", "0"),
        ("-n", "2", "--dist", "worksteal"),
        ("-n", "2", "--dist", "loadscope"),
        ("-n", "2", "--fake-scheduler", "xdist"),
    ],
)
def test_elsewhere_the_process_reserves(project: SchedulingProject, mode: tuple[str, ...]) -> None:
    """Where our queue does not schedule, the process that runs the item reserves for it."""
    project.pytester.makepyfile(
        "import pytest\n@pytest.mark.demand(1)\ndef test(): pass\ndef test_plain(): pass"
    )
    project.run(*mode).assert_outcomes(passed=2)
    assert {event.name: event.lease for event in project.events()} == {
        "test": "local-test",
        "test_plain": None,
    }


def test_workers_of_tx(project: SchedulingProject) -> None:
    """``--tx 2*popen`` counts as two workers."""
    project.pytester.makepyfile(MIXED)
    project.run("-d", "--tx", "2*popen").assert_outcomes(passed=40)
    assert len({event.worker for event in project.events()}) == 2
    assert inversions(project.events()) == 0


def test_autoscale(project: SchedulingProject) -> None:
    """Workers grow while many items wait, and never above the maximum."""
    project.pytester.makepyfile(CROWD.replace("def test", "@pytest.mark.demand(1)\ndef test"))
    project.run("-n", "1", "--fake-autoscale", "1:3").assert_outcomes(passed=150)
    assert len({event.worker for event in project.events()}) == 3


def test_no_facts(project: SchedulingProject) -> None:
    """A run whose folder is lost ends with an error that names the file."""
    project.pytester.makeconftest(
        """
        import shutil
        def pytest_collection_modifyitems(config):
            folder = getattr(config, "workerinput", {}).get("clnrm_run_folder")
            if folder:
                shutil.rmtree(folder, ignore_errors=True)
        """
    )
    project.pytester.makepyfile("import pytest\n@pytest.mark.demand(1)\ndef test(): pass")
    result = project.run("-n", "1")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["*no worker could leave the facts of its items in *facts.json*"])
