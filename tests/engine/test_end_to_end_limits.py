"""Limits on a real engine: what the containers get, and what happens beyond them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from clnrm_testing.end_to_end import HOLD, EndToEnd

from pytest_clnrm.history.records import History, Observed
from pytest_clnrm.history.store import bytes_of, read_history

pytestmark = pytest.mark.engine

MIB = 1024 * 1024
EAT = "head -c 200000000 /dev/zero | tail -c 200000000 > /dev/null"


def test_containers_run_under_the_limits_asked_for(project: EndToEnd) -> None:
    """The engine shows memory, swap, CPU, pids, labels and privileges; a service's own limits win."""
    project.write(
        "held.clnrm.toml",
        f"""
        [limits]
        memory = "96m"
        cpu = 0.5
        pids = 77
        [service.plain]
        image = "x"
        [service.own]
        image = "x"
        limits = {{ memory = "64m", cpu = 0.25, pids = 33 }}
        [[step]]
        name = "wait"
        service = "plain"
        run = "{HOLD}"
        """,
    )
    seen: dict[str, dict[str, Any]] = {}

    def look(containers: Mapping[str, dict[str, Any]]) -> None:
        seen.update(containers)

    run = project.look(look, "--clnrm-memory", "256", "--clnrm-cpu", "1.5")
    assert run.outcomes() == {"held": "passed"}, run.text
    assert set(seen) == {"plain", "own"}
    for service, (memory_bytes, cpus, pids) in {
        "plain": (96 * MIB, 0.5, 77),
        "own": (64 * MIB, 0.25, 33),
    }.items():
        host = seen[service]["HostConfig"]
        assert host["Memory"] == host["MemorySwap"] == memory_bytes
        assert host["NanoCpus"] == cpus * 1e9
        assert host["PidsLimit"] == pids
        assert host["SecurityOpt"] == ["no-new-privileges"]
        assert host["Privileged"] is False
        labels = seen[service]["Config"]["Labels"]
        assert labels["pytest-clnrm.session"] == run.session
        assert labels["pytest-clnrm.scenario"] == f"{project.token}/held.clnrm.toml::held"
        assert labels["pytest-clnrm.worker"] == "master"


def test_settings_limit_what_the_file_does_not(project: EndToEnd) -> None:
    """Where a file names no limits, those of the command line hold."""
    project.write("held.clnrm.toml", f'[[step]]\nname = "wait"\nrun = "{HOLD}"\n')
    limits: list[tuple[int, int]] = []

    def look(containers: Mapping[str, dict[str, Any]]) -> None:
        host = containers["default"]["HostConfig"]
        limits.append((host["Memory"], host["NanoCpus"]))

    run = project.look(look, "--clnrm-memory", "128", "--clnrm-cpu", "0.75")
    assert run.outcomes() == {"held": "passed"}, run.text
    assert limits == [(128 * MIB, 750_000_000)]


GREEDY = """
[limits]
memory = "32m"
[service.greedy]
image = "x"
command = ["sh", "-c", "echo up; sleep 0.3; exec tail -c 200000000 /dev/zero"]
ready = {{ log = "{ready}" }}
[service.client]
image = "x"
[[step]]
name = "ask"
service = "client"
run = "sleep 2; exit 1"
"""


def test_out_of_memory_is_said_of_steps_and_services(project: EndToEnd) -> None:
    """A step beyond memory, and a service before and after it is ready, are reported as out of memory."""
    project.write("starting.clnrm.toml", GREEDY.format(ready="never"))
    project.write("ready.clnrm.toml", GREEDY.format(ready="up"))
    project.write("step.clnrm.toml", f'[limits]\nmemory = "32m"\n[[step]]\nname = "eat"\nrun = "{EAT}"\n')
    run = project.run()
    assert run.outcomes() == {"step": "failed", "starting": "failed", "ready": "failed"}, run.text
    assert run.failures("step") == [
        "step 'eat' ran out of memory: the container of service 'default' is limited to 32 MB"
    ]
    killed = "exit code 137 (killed by SIGKILL), out of memory"
    (starting,) = run.failures("starting")
    assert starting.startswith(f"service 'greedy' ended before it was ready (log 'never'): {killed}, ")
    assert f"service 'greedy': ended with {killed}: its limit is 32 MB (" in run.text
    failed, ended = run.failures("ready")
    assert failed == "exit code 1, expected 0"
    assert ended.startswith(f"service 'greedy' ended with {killed}: its limit is 32 MB, ")
    assert ended.endswith(" s after the scenario's start")


def test_a_hanging_step_is_ended_with_its_processes(project: EndToEnd) -> None:
    """A step beyond its timeout is ended, children too; the container serves the steps that go on."""
    project.write(
        "slow.clnrm.toml",
        """
        [[step]]
        name = "hangs"
        run = "echo started; sleep 4711 & setsid sleep 4712 & sleep 4713"
        timeout = "2s"
        continue_on_failure = true
        [[step]]
        name = "after"
        run = "pgrep -f 'sleep 471[1-3]' && exit 1; echo nothing left"
        expect = { stdout = { equals = "nothing left" } }
        """,
    )
    run = project.run()
    steps = run.steps("slow")
    assert steps["hangs"]["outcome"] == "timeout"
    assert steps["hangs"]["stdout"] == "started\n"
    assert steps["after"]["outcome"] == "passed", run.text
    assert run.failures("slow") == ["step 'hangs' timed out after 2 s"]


def test_a_hanging_scenario_is_ended_and_its_containers_are_gone(project: EndToEnd) -> None:
    """At its timeout a scenario says so, with the step that ran and the limit's source; containers go."""
    project.write(
        "slow.clnrm.toml",
        """
        [meta]
        timeout = "6s"
        [service.one]
        image = "x"
        [service.two]
        image = "x"
        [[step]]
        name = "hangs"
        service = "two"
        run = "sleep 4711 & sleep 4712"
        [[step]]
        name = "never"
        service = "two"
        run = "true"
        """,
    )
    run = project.run()
    (message,) = run.failures("slow")
    assert message.endswith("slow.clnrm.toml) while step 'hangs' was running"), run.text
    assert message.startswith("Scenario timeout after 6s (timeout of ")
    assert [each["outcome"] for each in run.steps("slow").values()] == ["timeout", "not run"]
    assert project.leftovers(run) == []


def test_the_timeout_of_the_command_line_is_named_as_the_source(project: EndToEnd) -> None:
    """A scenario that names no timeout is ended by --clnrm-timeout, also while a service is waited for."""
    project.write(
        "slow.clnrm.toml",
        """
        [service.slow]
        image = "x"
        ready = { log = "never printed" }
        [[step]]
        name = "never"
        run = "true"
        """,
    )
    run = project.run("--clnrm-timeout", "6s")
    assert run.failures("slow") == [
        (
            "Scenario timeout after 6s (--clnrm-timeout) while waiting for service 'slow' "
            "(log 'never printed'): 0 of 1 matching lines in 0 lines of output"
        )
    ], run.text


def test_more_cpus_than_the_engine_has_are_refused_once(project: EndToEnd) -> None:
    """--clnrm-cpu beyond the engine's CPUs is one usage error, and nothing runs."""
    project.write("held.clnrm.toml", '[[step]]\nname = "wait"\nrun = "true"\n')
    cpus = project.client.info()["NCPU"]
    run = project.run("--clnrm-cpu", "9999")
    assert run.ret == pytest.ExitCode.USAGE_ERROR
    wanted = f"--clnrm-cpu: 9999.0 CPUs for each container, but the engine has {cpus}: at most {cpus}"
    assert run.text.count(wanted) == 1
    assert "Traceback" not in run.text


def test_right_size_goes_back_to_whole_limits(project: EndToEnd) -> None:
    """A container gets the limit that its history fits; a step that needs more runs again with the usual."""
    small = '[[step]]\nname = "small"\nrun = "true"\n'
    eats = '[[step]]\nname = "eat"\nrun = "head -c 60000000 /dev/zero | tail -c 60000000 > /dev/null"\n'
    project.write("small.clnrm.toml", small)
    project.write("eats.clnrm.toml", eats)
    runs = {f"r{number}": Observed("passed", 1.0, {"default": MIB}) for number in range(3)}
    names = [f"{project.token}/{name}.clnrm.toml::{name}" for name in ("small", "eats")]
    project.write("h.json", bytes_of(History.of(dict.fromkeys(names, runs))).decode())
    path = next(project.folder.rglob("h.json"))
    run = project.run("--clnrm-right-size", "--clnrm-history", str(path))
    assert run.outcomes() == {"small": "passed", "eats": "passed"}, run.text
    limits = {name: run.scenarios[name]["containers"][0]["memory_bytes"] // MIB for name in ("small", "eats")}
    assert limits == {"small": 16, "eats": 512}
    assert f"clnrm: {names[1]} was run again with whole limits: it was out of memory" in run.text
    assert set(read_history(path).needy) == {names[1]}
