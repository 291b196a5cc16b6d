"""What a file may ask for at most, and what a container may write."""

from __future__ import annotations

from clnrm_testing.defences import Defence

THROUGH = "DID NOT FAIL"

DEFENCES = (
    Defence(
        name="a file asks for no more than it may",
        target="pytest_clnrm.scenario.format.policy:check_policy",
        without=lambda _: lambda _doc, _policy: (),
        attack="test_policy.py::test_a_file_asks_for_more_than_it_may",
        shows=THROUGH,
    ),
    Defence(
        name="a file gets no privileges that are not allowed",
        target="pytest_clnrm.scenario.format.policy:_privileges",
        without=lambda _: lambda *_: (),
        attack="test_policy.py::test_a_file_asks_for_privileges",
        shows=THROUGH,
    ),
    Defence(
        name="a scenario has no more containers than it may",
        target="pytest_clnrm.scenario.format.policy:check_containers",
        without=lambda _: lambda _scenario, _policy: (),
        attack="test_policy.py::test_a_scenario_has_more_containers_than_it_may",
        shows=THROUGH,
    ),
    Defence(
        name="a container writes no more than it may",
        target="pytest_clnrm.runner.disk_watch:DiskWatch._look",
        without=lambda _: lambda *_: "",
        attack="test_policy.py::test_a_container_fills_the_disk",
        shows=THROUGH,
    ),
    Defence(
        name="removed files that are open are counted",
        target="pytest_clnrm.engine.docker.containers:removed_bytes",
        without=lambda _: lambda *_: 0,
        attack="test_policy.py::test_a_container_fills_the_disk_with_removed_files",
        shows=THROUGH,
    ),
    Defence(
        name="the log of a container is bounded",
        target="pytest_clnrm.engine.docker.create_arguments:_log_config",
        without=lambda _: lambda _size, **_podman: {"Type": "json-file", "Config": {}},
        attack="test_policy.py::test_a_service_fills_the_log",
        shows=THROUGH,
    ),
)
