"""The built package, and fresh environments into which it is installed."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from clnrm_testing.engine_fixtures import reached
from clnrm_testing.fresh import Fresh

__all__ = ["fresh", "reached", "wheel"]


@pytest.fixture(scope="session")
def wheel() -> Path:
    """Return the wheel that is to be released, or the one that tox has built for its environment."""
    if "CLNRM_DIST" in os.environ:
        (found,) = Path(os.environ["CLNRM_DIST"]).glob("*.whl")
        return found
    return Path(os.environ["TOX_PACKAGE"])


@pytest.fixture
def fresh(tmp_path: Path, wheel: Path) -> Callable[[str], Fresh]:
    """Return what makes an environment with the wheel, for an interpreter."""

    def make(python: str = sys.executable) -> Fresh:
        subprocess.run([python, "-m", "venv", str(tmp_path / "venv")], check=True)
        (tmp_path / "work").mkdir()
        made = Fresh(tmp_path / "venv" / "bin", tmp_path / "work")
        made.run("python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check", str(wheel))
        return made

    return make
