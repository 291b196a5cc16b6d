"""Whole runs under the host's budget, with the fake engine: order, waiting, refusals, other schedulings."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from clnrm_testing.project import Project
from clnrm_testing.scheduling_project import CROWD

LEVELS = ("high", "normal", "low")
WORKERS = {
    "strict": (),
    "loadscope": ("--dist", "loadscope"),
    "worksteal": ("--dist", "worksteal"),
    "xdist": ("-o", "clnrm_scheduler=xdist"),
}
# In a worker, before xdist's own hook tells the controller: what starts because of that is noted later.
NOTES = """
import json, os, time
import pytest

@pytest.hookimpl(tryfirst=True)
def pytest_runtest_logstart(nodeid):
    if "PYTEST_XDIST_WORKER" in os.environ:
        with open("starts.jsonl", "a") as file:
            file.write(json.dumps({"nodeid": nodeid, "at_s": time.monotonic()}) + "\\n")
"""


def scenario(name: str, run: str, priority: str = "normal") -> str:
    """Return a scenario of one step."""
    return (
        f'[[scenario]]\nname = "{name}"\npriority = "{priority}"\n'
        f'[[scenario.step]]\nname = "work"\nrun = """{run}"""\n'
    )


def starts(project: Project) -> list[str]:
    """Return the names of all items in the order of their recorded starts."""
    lines = (project.pytester.path / "starts.jsonl").read_text("utf-8").splitlines()
    rows = sorted((json.loads(line) for line in lines), key=lambda row: float(row["at_s"]))
    return [row["nodeid"].rpartition("::")[2] for row in rows]


def most_at_once(project: Project) -> int:
    """Return how many containers there were at the same time, at most."""
    changes = sorted(
        (event["at"], 1 if event["event"] == "create" else -1) for event in project.events("create", "remove")
    )
    return max(sum(change for _, change in changes[: at + 1]) for at in range(len(changes)))


def scenarios_of(project: Project) -> dict[str, dict[str, Any]]:
    """Return the scenarios of the report by name."""
    return {each["name"]: each for each in project.report()["scenarios"]}


def test_order_under_a_cap_of_two(make_project: Callable[[str], Project]) -> None:
    """With a cap of 2 at ``-n 8`` no scenario starts before a higher one, and plain tests run meanwhile."""
    project = make_project("n2")
    project.mode = ("-n", "8")
    names = [f"{level}{number}" for number in range(5) for level in reversed(LEVELS)]
    project.write(
        "all.clnrm.toml", "".join(scenario(name, "sleep 0.3", name.rstrip("0123456789")) for name in names)
    )
    project.write(
        "test_plain.py",
        "import pytest, time\n@pytest.mark.clnrm_priority('low')\n@pytest.mark.parametrize('n', range(12))\n"
        "def test_plain(n): time.sleep(0.1)\n",
    )
    project.write("conftest.py", NOTES)
    result = project.run("--clnrm-max-containers", "2", "--clnrm-report", "out", "-v")
    result.assert_outcomes(passed=27)
    order = [LEVELS.index(name.rstrip("0123456789")) for name in starts(project) if name in names]
    assert sum(one > other for at, one in enumerate(order) for other in order[at:]) == 0
    assert starts(project).index("test_plain[0]") < starts(project).index("low0")
    assert most_at_once(project) == 2
    waits = {name: each["slot_wait_s"] for name, each in scenarios_of(project).items()}
    assert max(waits.values()) > 0
    assert {each["worker"] for each in scenarios_of(project).values()} <= {
        f"gw{number}" for number in range(8)
    }
    result.stdout.fnmatch_lines(
        ["clnrm: 15 scenarios, containers *% busy, longest wait *, makespan *, ideal *"]
    )


def test_nothing_starts_after_the_first_failure(make_project: Callable[[str], Project]) -> None:
    """After ``-x`` has seen a failure, no scenario that waits for a container starts."""
    project = make_project("n2")
    project.mode = ("-n", "4")
    project.write("a.clnrm.toml", scenario("fails", "sleep 0.3; exit 1", "high"))
    project.write("b.clnrm.toml", "".join(scenario(f"s{number}", "true") for number in range(10)))
    project.write("conftest.py", NOTES)
    result = project.run("-x", "--clnrm-max-containers", "1")
    result.assert_outcomes(failed=1)
    assert starts(project) == ["fails"]
    assert len(project.events("create")) == 1


def test_waiting_in_the_queue_does_not_count_for_pytest_timeout(
    make_project: Callable[[str], Project],
) -> None:
    """A scenario that waits for longer than ``--timeout`` for one that may take longer passes."""
    project = make_project("n2")
    project.write("all.clnrm.toml", scenario("slow", "sleep 5", "high") + scenario("quick", "true"))
    project.write(
        "conftest.py",
        "import pytest\ndef pytest_collection_modifyitems(items):\n"
        "    items[0].add_marker(pytest.mark.timeout(100))\n",
    )
    result = project.run("--timeout", "4", "--clnrm-max-containers", "1", "--clnrm-report", "out")
    result.assert_outcomes(passed=2)
    assert scenarios_of(project)["quick"]["slot_wait_s"] > 4


def test_waiting_in_workers_does_not_count_for_pytest_timeout(
    make_project: Callable[[str], Project],
) -> None:
    """Where workers reserve, scenarios that wait for longer than ``--timeout`` pass."""
    project = make_project("n2")
    project.mode = ("-n", "4", "--dist", "loadscope")
    for number in range(4):
        project.write(f"s{number}.clnrm.toml", scenario(f"s{number}", "sleep 3"))
    result = project.run("--timeout", "8", "--clnrm-max-containers", "1", "--clnrm-report", "out")
    result.assert_outcomes(passed=4)
    assert max(each["slot_wait_s"] for each in scenarios_of(project).values()) > 8
    assert most_at_once(project) == 1


@pytest.mark.parametrize("way", list(WORKERS))
def test_the_cap_holds_however_items_are_scheduled(make_project: Callable[[str], Project], way: str) -> None:
    """Under any scheduling the cap holds, and every scenario and test passes."""
    project = make_project("n2")
    project.mode = ("-n", "3")
    for number in range(6):
        project.write(f"s{number}.clnrm.toml", scenario(f"s{number}", "sleep 0.1"))
    project.write("test_plain.py", "def test_plain(): pass\n")
    project.run(*WORKERS[way], "--clnrm-max-containers", "1").assert_outcomes(passed=7)
    assert most_at_once(project) == 1


@pytest.mark.parametrize("mode", ["no-xdist", "n2"])
def test_disabled_executor(make_project: Callable[[str], Project], mode: str) -> None:
    """``[executor] enabled = false``: items run as pytest collected them; limits and cap stay."""
    project = make_project(mode)
    project.write(".clnrm/config.toml", "[executor]\nenabled = false\nmax_concurrent_containers = 1\n")
    text = scenario("a", "sleep 0.2", "low") + scenario("b", "sleep 0.2", "high")
    project.write("all.clnrm.toml", text)
    collected = project.run("--collect-only", "-q").stdout.str()
    assert collected.index("::a") < collected.index("::b")
    project.run().assert_outcomes(passed=2)
    assert most_at_once(project) == 1
    assert {event["memory_bytes"] for event in project.events("create")} == {512 << 20}


def test_worker_count_is_what_auto_means(make_project: Callable[[str], Project]) -> None:
    """``-n auto`` takes executor.worker_count; ``-n logical`` and xdist's own variable stay as they are."""
    project = make_project("n2")
    project.write(".clnrm/config.toml", "[executor]\nworker_count = 3\n")
    project.write("test_plain.py", "def test_plain(): pass\n")
    project.mode = ("-n", "auto")
    project.run().stdout.fnmatch_lines(["created: 3/3 workers"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTEST_XDIST_AUTO_NUM_WORKERS", "1")
        project.run().stdout.fnmatch_lines(["created: 1/1 worker"])
        project.mode = ("-n", "logical")
        project.run().stdout.fnmatch_lines(["created: 1/1 worker"])


def test_autoscale(make_project: Callable[[str], Project]) -> None:
    """``--clnrm-autoscale 1:3`` grows while more than a hundred items wait, and never above its maximum."""
    project = make_project("n2")
    project.mode = ("-n", "1")
    project.write(
        "conftest.py", NOTES.replace('"nodeid": nodeid', '"nodeid": os.environ["PYTEST_XDIST_WORKER"]')
    )
    project.write("all.clnrm.toml", scenario("s", "true"))
    project.write("test_plain.py", CROWD)
    project.run("--clnrm-autoscale", "1:3").assert_outcomes(passed=151)
    assert len(set(starts(project))) == 3


@pytest.mark.parametrize(
    "args",
    [
        ("--dist", "loadscope"),
        ("-o", "clnrm_scheduler=xdist"),
    ],
)
def test_autoscale_needs_our_queue(make_project: Callable[[str], Project], args: tuple[str, ...]) -> None:
    """Where another scheduling is chosen, ``--clnrm-autoscale`` is an error that says what it needs."""
    project = make_project("n2")
    result = project.run("--clnrm-autoscale", "1:3", *args)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: --clnrm-autoscale: it needs --dist load, clnrm_scheduler = strict*"])


@pytest.mark.parametrize("way", ["strict", "loadscope"])
def test_slot_timeout(make_project: Callable[[str], Project], way: str) -> None:
    """``--clnrm-slot-timeout`` ends a wait with an error that says what was held up by what."""
    project = make_project("n2")
    project.write("a.clnrm.toml", scenario("a", "sleep 4"))
    project.write("b.clnrm.toml", scenario("b", "sleep 4"))
    result = project.run(*WORKERS[way], "--clnrm-slot-timeout", "0.2", "--clnrm-max-containers", "1")
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(
        ["waited * s for 1 container, *; held up by *budget, position 1 in the queue, in use: 1 container, *"]
    )
    result.stdout.fnmatch_lines(["clnrm: infrastructure error, no fault of [ab].clnrm.toml::*: waited *"])


TOO_LARGE = {
    # 80 % of the engine's 16 GiB.
    "memory by default": ((), "13.0 GiB memory demanded, 12.8 GiB memory allowed", "--clnrm-memory-budget"),
    "memory": (
        ("--clnrm-memory-budget", "100"),
        "512.0 MiB memory demanded, 100.0 MiB memory allowed",
        "--clnrm-memory-budget",
    ),
    "cpu": (("--clnrm-cpu-budget", "0.5"), "1 CPUs demanded, 0.5 CPUs allowed", "--clnrm-cpu-budget"),
    "gpu": (("--clnrm-gpus", "1"), "2 GPUs demanded, 1 GPU allowed", "--clnrm-gpus"),
}


@pytest.mark.parametrize("what", list(TOO_LARGE))
def test_more_than_the_budget(each_mode: Project, what: str) -> None:
    """A demand that the budget can never hold is an error at once, with both numbers and the option."""
    limits = {"gpu": "[limits]\ngpus = 2\n", "memory by default": '[limits]\nmemory = "13g"\n'}.get(what, "")
    each_mode.write("a.clnrm.toml", limits + scenario("a", "true"))
    each_mode.write("test_plain.py", "def test_plain(): pass\n")
    args, numbers, option = TOO_LARGE[what]
    result = each_mode.run(*args)
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines([f"*{numbers} ({option})*"])
    assert each_mode.events("create") == []


def test_gpus_of_a_file_are_reserved_one_at_a_time(make_project: Callable[[str], Project]) -> None:
    """``gpus = 1`` in a file's limits takes one of ``--clnrm-gpus``."""
    project = make_project("n2")
    for name in "ab":
        project.write(f"{name}.clnrm.toml", "[limits]\ngpus = 1\n" + scenario(name, "sleep 0.3"))
    project.run("--clnrm-gpus", "1").assert_outcomes(passed=2)
    assert most_at_once(project) == 1


@pytest.mark.parametrize("mode", ["no-xdist", "n2"])
def test_reruns_are_attempts(make_project: Callable[[str], Project], mode: str) -> None:
    """pytest-rerunfailures runs a scenario again; its result counts the attempts."""
    project = make_project(mode)
    marker = project.pytester.path / "tried"
    project.write("a.clnrm.toml", scenario("a", f"test -e {marker} || {{ touch {marker}; exit 1; }}"))
    result = project.run("--reruns", "2", "--clnrm-report", "out", "-p", "rerunfailures")
    assert result.parseoutcomes() == {"passed": 1, "rerun": 1}
    assert scenarios_of(project)["a"]["attempts"] == 2
    assert scenarios_of(project)["a"]["outcome"] == "passed"


@pytest.mark.parametrize("mode", ["n0", "n2"])
def test_failed_first_and_stepwise_with_scenarios(make_project: Callable[[str], Project], mode: str) -> None:
    """``--ff`` runs failed scenarios first, by priority; ``--sw`` skips nothing that has not passed."""
    project = make_project(mode)
    if mode == "n2":
        project.mode = ("-n", "1")
    project.write("conftest.py", NOTES.replace('if "PYTEST_XDIST_WORKER" in os.environ', "if True"))
    text = scenario("low", "exit 1", "low") + scenario("normal", "exit 1") + scenario("high", "true", "high")
    project.write("all.clnrm.toml", text)
    for args in ((), ("--ff",)):
        (project.pytester.path / "starts.jsonl").unlink(missing_ok=True)
        project.run(*args)
    order = list(dict.fromkeys(starts(project)))
    assert order == ["normal", "low", "high"]
    (project.pytester.path / "starts.jsonl").unlink()
    project.run("--cache-clear", "--sw")
    assert list(dict.fromkeys(starts(project))) == ["high", "normal"]
    (project.pytester.path / "starts.jsonl").unlink()
    project.run("--sw")
    assert list(dict.fromkeys(starts(project))) == ["normal"]


def test_randomly_within_priorities(make_project: Callable[[str], Project]) -> None:
    """pytest-randomly shuffles scenarios within each priority, the same way in all workers."""
    project = make_project("n2")
    names = [f"{level}{number}" for level in ("low", "high") for number in range(6)]
    project.write("a.clnrm.toml", "".join(scenario(name, "true", name[:-1]) for name in names))
    project.write("conftest.py", NOTES)
    result = project.pytester.runpytest_subprocess(
        "-p",
        "clnrm_testing.fake_engine",
        "-n",
        "2",
        "-p",
        "randomly",
        "-p",
        "no:cacheprovider",
        "--randomly-seed=5",
        "--clnrm-max-containers",
        "1",
    )
    result.assert_outcomes(passed=12)
    order = starts(project)
    assert [name[:-1] for name in order] == ["high"] * 6 + ["low"] * 6
    assert order != sorted(order, key=lambda name: (name[:-1] == "low", name))


def ledger_file(project: Project) -> Any:
    """Return the ledger's state file, after a run has made it."""
    (file,) = (project.pytester.path / "ledger").glob("*.json")
    return file


@pytest.mark.parametrize("way", ["no-xdist", "strict", "loadscope"])
@pytest.mark.parametrize("fault", ["torn", "foreign", "newer", "unwritable"])
def test_a_ledger_that_cannot_be_used(make_project: Callable[[str], Project], way: str, fault: str) -> None:
    """A torn ledger is rebuilt; another fault is one clear error a scenario, and Python tests still run."""
    project = make_project("no-xdist" if way == "no-xdist" else "n2")
    project.write("a.clnrm.toml", scenario("a", "true") + scenario("b", "true"))
    project.write("test_plain.py", "def test_plain(): pass\n")
    args = ("-o", "clnrm_ledger_dir=ledger")
    if fault == "unwritable":
        project.write("ledger", "a file, no folder")
    else:
        # Whoever made it: in one process it is made soonest.
        make_project("no-xdist").run(*args, "a.clnrm.toml::a").assert_outcomes(passed=1)
        file = ledger_file(project)
        text = file.read_text("utf-8")
        if fault == "torn":
            file.write_text(text[: len(text) // 2], encoding="utf-8")
        elif fault == "newer":
            file.write_text(json.dumps({**json.loads(text), "format": 99}), encoding="utf-8")
        else:
            file.write_text('{"a": "list of somebody"}', encoding="utf-8")
    result = project.run(*args, *WORKERS.get(way, ()))
    said = result.stdout.str() + result.stderr.str()
    assert "INTERNALERROR" not in said
    assert "Traceback" not in said
    if fault == "torn":
        result.assert_outcomes(passed=3)
        return
    result.assert_outcomes(passed=1, errors=2)
    messages = {
        "foreign": "*.json is not a ledger of pytest-clnrm; move it away, or set clnrm_ledger_dir*",
        "newer": "*.json has format 99, written by a newer pytest-clnrm*",
        "unwritable": "the ledger's folder * cannot be used: *set clnrm_ledger_dir to another folder",
    }
    result.stdout.fnmatch_lines([messages[fault]])


@pytest.mark.parametrize("way", ["no-xdist", "strict", "loadscope"])
def test_a_ledger_that_breaks_in_the_middle(make_project: Callable[[str], Project], way: str) -> None:
    """A ledger that breaks while it is in use is one error for each scenario that needs it from then on."""
    project = make_project("no-xdist" if way == "no-xdist" else "n2")
    ledger = project.pytester.path / "ledger"
    breaks = f"sleep 0.5; f=$(ls {ledger}/*.json); mv $f $f.aside; mkdir $f"
    project.write("a.clnrm.toml", scenario("a", breaks, "high") + scenario("b", "true"))
    project.write("test_plain.py", "def test_plain(): pass\n")
    args = ("-o", f"clnrm_ledger_dir={ledger}", "--clnrm-max-containers", "1")
    result = project.run(*args, *WORKERS.get(way, ()))
    said = result.stdout.str() + result.stderr.str()
    assert "INTERNALERROR" not in said
    assert "Traceback" not in said
    result.assert_outcomes(passed=2, errors=1)
    result.stdout.fnmatch_lines(["the ledger's folder * cannot be used: Is a directory; *"])


def test_a_ledger_that_recovers(make_project: Callable[[str], Project]) -> None:
    """What could not be given back is given back later: a scenario that comes then does not wait for ever."""
    project = make_project("n2")
    project.mode = ("-n", "1")
    ledger = project.pytester.path / "ledger"
    breaks = f"f=$(ls {ledger}/*.json); mv $f $f.aside; mkdir $f"
    project.write(
        "a.clnrm.toml", scenario("a", breaks, "high") + scenario("b", "true") + scenario("c", "true")
    )
    project.write(
        "conftest.py",
        "import os, pathlib\n"
        "def pytest_runtest_logreport(report):\n"
        "    if report.nodeid.endswith('::b') and 'PYTEST_XDIST_WORKER' not in os.environ:\n"
        "        for file in pathlib.Path('ledger').glob('*.aside'):\n"
        "            place = file.with_suffix('')\n"
        "            place.rmdir()\n"
        "            file.rename(place)\n",
    )
    args = ("-o", f"clnrm_ledger_dir={ledger}", "--clnrm-max-containers", "1")
    project.run(*args).assert_outcomes(passed=2, errors=1)


@pytest.mark.parametrize("way", ["no-xdist", "strict", "loadscope"])
def test_an_engine_that_does_not_tell_what_runs(
    make_project: Callable[[str], Project], monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    """An engine that fails while dead runs' leases are looked for is one error of each scenario."""
    project = make_project("no-xdist" if way == "no-xdist" else "n2")
    project.write(
        "conftest.py",
        "from clnrm_testing.fake_engine import FakeEngine\n"
        "from pytest_clnrm.errors import EngineError\n"
        "def list_owned(engine, labels):\n"
        "    raise EngineError('the engine does not list its containers')\n"
        "FakeEngine.list_owned = list_owned\n",
    )
    project.write("a.clnrm.toml", scenario("a", "true") + scenario("b", "true"))
    project.write("test_plain.py", "def test_plain(): pass\n")
    if way == "no-xdist":
        from clnrm_testing.fake_engine import FakeEngine

        # The conftest of a run in this process stays in effect.
        monkeypatch.setattr(FakeEngine, "list_owned", FakeEngine.list_owned)
    result = project.run(*WORKERS.get(way, ()))
    said = result.stdout.str() + result.stderr.str()
    assert "INTERNALERROR" not in said
    assert "Traceback" not in said
    result.assert_outcomes(passed=1, errors=2)
    result.stdout.fnmatch_lines(["the engine does not list its containers"])


@pytest.mark.parametrize("way", ["no-xdist", "strict", "loadscope"])
def test_what_is_kept_leaves_no_room(make_project: Callable[[str], Project], way: str) -> None:
    """A scenario for which kept containers leave no room fails at once, and the error says what to do."""
    project = make_project("no-xdist" if way == "no-xdist" else "n2")
    project.write("a.clnrm.toml", scenario("fails", "exit 1", "high") + scenario("next", "true"))
    args = ("--clnrm-max-containers", "1", "--clnrm-keep", "failed", *WORKERS.get(way, ()))
    result = project.run(*args)
    result.assert_outcomes(failed=1, errors=1)
    result.stdout.fnmatch_lines(
        ["1 container demanded, 1 container allowed, and 1 container held by what --clnrm-keep left: *"]
    )


@pytest.mark.parametrize("mode", ["no-xdist", "n2"])
def test_a_folder_without_access(make_project: Callable[[str], Project], mode: str) -> None:
    """Where not even the locks for connecting can be made, each scenario says so, and Python tests run."""
    project = make_project(mode)
    project.write("a.clnrm.toml", scenario("a", "true"))
    project.write("test_plain.py", "def test_plain(): pass\n")
    project.write("ledger", "a file, no folder")
    # Without the fake engine, which needs no locks.
    workers = ("-n", "2") if mode == "n2" else ("-p", "no:xdist")
    result = project.pytester.runpytest_subprocess(*workers, "-o", "clnrm_ledger_dir=ledger", timeout=60)
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["the ledger's folder * cannot be used: *"])
    assert "INTERNALERROR" not in result.stdout.str() + result.stderr.str()


def test_room_that_others_give(
    make_project: Callable[[str], Project], monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a cluster, which gives it container by container: no part of a scenario is ever in another's way."""
    monkeypatch.setenv("FAKE_ROOM", "4")
    project = make_project("n2")
    project.mode = ("-n", "4")
    services = "".join(f'[service.{each}]\nimage = "service-1"\n' for each in "abc")
    names = [f"{level}{number}" for number in range(3) for level in reversed(LEVELS)]
    work = "".join(scenario(name, "sleep 0.1", name.rstrip("0123456789")) for name in names)
    project.write("all.clnrm.toml", services + work.replace('name = "work"', 'name = "work"\nservice = "a"'))
    project.run("--clnrm-report", "out").assert_outcomes(passed=9)
    assert max(event["there"] for event in project.events("placed")) <= 4
    told = scenarios_of(project).values()
    # No two fit at the same moment.
    assert sum(each["slot_wait_s"] > 0 for each in told) >= 3


def test_room_that_others_give_for_python_tests(
    make_project: Callable[[str], Project], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their containers queue as scenarios do, and who holds one already gets another one first.

    What can never have room is told before anything of it starts.
    """
    monkeypatch.setenv("FAKE_ROOM", "2")
    monkeypatch.setenv("FAKE_CAP", "2")
    project = make_project("n2")
    project.mode = ("-n", "4")
    project.write("all.clnrm.toml", "".join(scenario(f"low{at}", "sleep 0.1", "low") for at in range(3)))
    project.write(
        "test_boxes.py",
        "import pytest, time\n"
        "@pytest.mark.parametrize('n', range(4))\n"
        "def test_one(clnrm, n):\n"
        "    with clnrm.container('a') as box:\n"
        "        time.sleep(0.2)\n"
        "        assert box.run(['true']).exit_code == 0\n"
        "@pytest.mark.clnrm_limits(containers=2)\n"
        "def test_two(clnrm):\n"
        "    with clnrm.container('a'):\n"
        "        time.sleep(0.3)\n"
        "        with clnrm.container('b'):\n"
        "            time.sleep(0.1)\n",
    )
    services = "".join(f'[service.{each}]\nimage = "service-1"\n' for each in "abc")
    work = scenario("never", "true").replace('name = "work"', 'name = "work"\nservice = "a"')
    project.write("never.clnrm.toml", services + work)
    result = project.run("--clnrm-report", "out")
    result.assert_outcomes(passed=8, errors=1)
    result.stdout.fnmatch_lines(["*3 containers demanded, 2 containers allowed (the quota: raise it)*"])
    assert max(event["there"] for event in project.events("placed")) <= 2
    told = [each for each in project.report()["tests"] if "test_boxes" in each["nodeid"]]
    assert len(told) == 5
    assert sum(each["slot_wait_s"] > 0 for each in told) >= 2


def test_shared_services_where_room_is_given_by_others(
    make_project: Callable[[str], Project], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that nobody uses at the moment makes room for who waits, and its next user starts it anew."""
    monkeypatch.setenv("FAKE_ROOM", "2")
    project = make_project("no-xdist")
    project.write("conftest.py", "from pytest_clnrm.runner import room\nroom.PART_S = 0.3\n")
    store = '[service.store]\nimage = "service-1"\nscope = "run"\n'
    box = '[service.box]\nimage = "busybox:1.36"\n'
    step = 'name = "work"\nservice = "box"'
    for name in ("a", "c"):
        project.write(
            f"{name}.clnrm.toml", store + box + scenario(name, "true").replace('name = "work"', step)
        )
    other = '[service.other]\nimage = "service-1"\n'
    project.write("b.clnrm.toml", other + box + scenario("b", "true").replace('name = "work"', step))
    project.run("--clnrm-report", "out", "--clnrm-pool", "off").assert_outcomes(passed=3)
    assert max(event["there"] for event in project.events("placed")) == 2
    started = [event["name"].rpartition("-")[2] for event in project.events("create")]
    assert started.count("store") == 2
    waits = {name: each["slot_wait_s"] for name, each in scenarios_of(project).items()}
    assert waits["b"] > 0.3
