"""What a file may ask for at most: each cap, with both values, what has set it, and where the file asks."""

from __future__ import annotations

from typing import Any

import pytest

from pytest_clnrm.errors import ScenarioFileError
from pytest_clnrm.model.limits import Limits
from pytest_clnrm.model.policy import Policy

STEP = '[[step]]\nservice = "box"\nrun = "true"\n'
BOX = '[service.box]\nimage = "x"\n'
MIB = 1024**2


def refused(project: Any, text: str, **policy: Any) -> list[tuple[int, int, str, str]]:
    """Return the mistakes of *text*: line, column, path, message."""
    origins = {name: f"pytest.ini:2: {name}" for name in policy}
    with pytest.raises(ScenarioFileError) as caught:
        project.load(text, policy=Policy(**policy, origins=origins))
    return [(each.line, each.column, each.path, each.message) for each in caught.value.mistakes]


@pytest.mark.parametrize(
    ("limit", "policy", "message"),
    [
        ('memory = "2g"', {"memory_bytes": 64 * MIB}, "2048 MB is more than may be asked for: at most 64 MB"),
        ("cpu = 1.5", {"cpus": 1.25}, "1.5 CPUs is more than may be asked for: at most 1.25 CPUs"),
        ("pids = 11", {"pids": 10}, "11 processes is more than may be asked for: at most 10 processes"),
        ("gpus = 1", {"gpus": 0}, "1 GPU is more than may be asked for: at most 0 GPUs"),
    ],
)
def test_limits(project: Any, limit: str, policy: dict[str, Any], message: str) -> None:
    """Of the file, and of a service; what is no more than the cap is fine."""
    name, field = limit.split(maxsplit=1)[0], next(iter(policy))
    message += f" (pytest.ini:2: {field})"
    assert refused(project, f"[limits]\n{limit}\n{STEP}{BOX}", **policy) == [
        (2, 1, f"limits.{name}", message)
    ]
    below = f"{BOX}limits = {{ {limit} }}\n{STEP}"
    assert refused(project, below, **policy) == [(3, 12, f"service.box.limits.{name}", message)]
    enough: dict[str, Any] = {field: 2**40}
    assert project.load(below, policy=Policy(**enough))


def test_more_processes_than_the_host_has(project: Any) -> None:
    """Both numbers; a cap below that is told instead."""
    text = f"{BOX}limits = {{ pids = 50000 }}\n{STEP}"
    ((*_, message),) = refused(project, text, host_pids=32768)
    assert message == "50000 processes are more than this host can have: at most 32768"
    ((*_, message),) = refused(project, text, host_pids=32768, pids=10)
    assert "at most 10 processes (pytest.ini:2: pids)" in message


@pytest.mark.parametrize(
    ("key", "field", "path", "what"),
    [
        ('network = "bridge"', "bridge", "service.box.network", 'network = "bridge"'),
        ("ports = [80]", "ports", "service.box.ports", "publishing ports"),
        ("ports = [80]", "bridge", "service.box.ports", "publishing ports, which needs the engine's bridge,"),
        (
            'volumes = [{ source = ".", target = "/x", read_only = true }]',
            "volumes",
            "service.box.volumes",
            "mounting files of the host",
        ),
    ],
)
def test_what_is_not_allowed(project: Any, key: str, field: str, path: str, what: str) -> None:
    """The key is named, and what forbids it."""
    text = f"{BOX}{key}\n{STEP}"
    found = refused(project, text, **{field: False})
    assert found == [(3, 1, path, f"{what} is not allowed (pytest.ini:2: {field})")]
    assert project.load(text, policy=Policy())


def test_builds(project: Any) -> None:
    """A build at all, and one with a way out."""
    text = '[service.box]\nbuild = { context = ".", network = "bridge" }\n' + STEP
    ((*_, path, message),) = refused(project, text, build=False)
    assert (path, message) == ("service.box.build", "building an image is not allowed (pytest.ini:2: build)")
    ((*_, path, message),) = refused(project, text, bridge=False)
    assert path == "service.box.build.network"
    assert message == 'network = "bridge" is not allowed (pytest.ini:2: bridge)'
    assert project.load('[service.box]\nbuild = "."\n' + STEP, policy=Policy(bridge=False))


def test_a_network_is_named_as_the_file_has_it(project: Any) -> None:
    """In the other dialect it is spelled otherwise."""
    where = "(pytest.ini:2: bridge)"
    for key in (
        'network = "host"',
        'network = { mode = "host" }',
        "network = { external_access = true }",
    ):
        text = f'[services.box]\nimage = "x:1"\ntype = "container"\n{key}\n' + STEP
        found = refused(project, text, bridge=False)
        assert [each[2:] for each in found] == [("services.box.network", f"{key} is not allowed {where}")]


def test_time_and_containers_of_a_scenario(project: Any) -> None:
    """Of the file, and of each scenario; the container that steps share counts."""
    message = "90 s is more than may be asked for: at most 60 s (pytest.ini:2: timeout_s)"
    assert refused(project, f'[meta]\ntimeout = "1.5m"\n{BOX}{STEP}', timeout_s=60.0) == [
        (2, 1, "meta.timeout", message)
    ]
    text = f'{BOX}[[scenario]]\nname = "a"\ntimeout = 90\n[[scenario.step]]\nservice = "box"\nrun = "true"\n'
    assert refused(project, text, timeout_s=60.0) == [(5, 1, "scenario[0].timeout", message)]
    two = f'[service.other]\nimage = "x"\n{BOX}{STEP}[[step]]\nrun = "true"\n'
    ((*_, message),) = refused(project, two, containers=2)
    assert (
        message
        == "3 containers is more than may be asked for: at most 2 containers (pytest.ini:2: containers)"
    )
    assert project.load(two, policy=Policy(containers=3))


def test_what_is_not_asked_for_is_never_too_much() -> None:
    """Limits that are left open have the settings' own values, which are below the caps."""
    policy = Policy(memory_bytes=1, cpus=0.1, pids=1, gpus=0, host_pids=1)
    assert list(policy.refusals(Limits())) == []
