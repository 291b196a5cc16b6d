"""The tools of the examples: what they leave to the commands they run."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pytest

FILE = Path(__file__).parents[2] / "examples" / "with_engine.py"
COMMAND = ["sh", "-c", "echo $DOCKER_HOST; echo $XDG_RUNTIME_DIR; exit 3"]


@pytest.fixture
def with_engine(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Return the tool."""
    spec = importlib.util.spec_from_file_location("with_engine", FILE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setenv("DOCKER_HOST", "tcp://named:2375")
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/run/of/the/user")
    return module


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("unix://{folder}/engine.sock", "unix://{folder}/engine.sock\n{folder}\n"),
        ("unix:///run/docker.sock", "unix:///run/docker.sock\n/run/of/the/user\n"),
        ("tcp://named:2375", "tcp://named:2375\n/run/of/the/user\n"),
    ],
    ids=["embedded", "socket", "tcp"],
)
def test_the_environment_of_the_command(
    with_engine: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    url: str,
    shown: str,
) -> None:
    """It finds the engine; runs on one of our own write down nothing that stays, others keep their place."""
    folders: list[Path] = []

    def reach(_engine: str, *, runtime_dir: Path, **_given: Any) -> tuple[Mock, SimpleNamespace]:
        folders.append(runtime_dir)
        return Mock(), SimpleNamespace(kind="docker", version="0", url=url.format(folder=runtime_dir))

    monkeypatch.setattr(with_engine, "reach", reach)
    assert with_engine.run(COMMAND, None) == 3
    (folder,) = folders
    assert capfd.readouterr().out.endswith(shown.format(folder=folder))
    assert not folder.exists()
