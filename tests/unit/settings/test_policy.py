"""The caps that come from the settings, and what this host can have."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_clnrm.model.service import Limits, Service
from pytest_clnrm.settings import policy
from pytest_clnrm.settings.policy import check_service, policy_of
from pytest_clnrm.settings.settings import Settings


def test_caps_and_their_origins() -> None:
    """Each cap of the settings is one of the policy, and says what has set it."""
    settings = Settings(max_pids=7, allow_build=False, origins={"max_pids": "-o clnrm_max_pids"})
    found = policy_of(settings, {})
    assert (found.pids, found.build, found.memory_bytes, found.bridge) == (7, False, None, True)
    assert found.origins["pids"] == "-o clnrm_max_pids"


@pytest.mark.parametrize(
    ("engine", "docker_host", "known"),
    [
        ("auto", "", True),
        ("auto", "unix:///x", True),
        ("unix:///x", "tcp://there", True),
        ("auto", "tcp://there", False),
        ("ssh://there", "", False),
    ],
)
def test_processes_of_the_host(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    engine: str,
    docker_host: str,
    known: bool,  # noqa: FBT001
) -> None:
    """The least of what the kernel tells, where the engine is on this host."""
    limits = (tmp_path / "a", tmp_path / "b", tmp_path / "c")
    limits[0].write_text("4000\n")
    limits[1].write_text("3000\n")
    monkeypatch.setattr(policy, "_PID_LIMITS", limits)
    found = policy_of(Settings(engine=engine), {"DOCKER_HOST": docker_host}).host_pids
    assert found == (3000 if known else None)


def test_containers_of_python_tests() -> None:
    """An argument that is too much is named, and all of them at once."""
    settings = Settings(max_cpus=1.0, allow_bridge=False, origins={"allow_bridge": "pytest.ini:3: it"})
    service = Service(name="a", limits=Limits(cpus=2.0), network="bridge", ports=(80,))
    with pytest.raises(
        ValueError,
        match=r"^cpu=...: 2 CPUs is more than may be asked for: at most 1 CPU \(default\); "
        r'network=...: network="bridge" is not allowed \(pytest.ini:3: it\); '
        r"ports=...: publishing ports is not allowed \(pytest.ini:3: it\)$",
    ):
        check_service(settings, service)
    check_service(Settings(), service)
