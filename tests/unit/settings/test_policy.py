"""The caps that come from the settings, and what this host can have."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_clnrm.settings import policy
from pytest_clnrm.settings.policy import policy_of
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
