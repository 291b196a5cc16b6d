"""An environment as a user has it: the wheel, what that depends on, and nothing of the repository."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Fresh"]

_OURS = {"PYTHONPATH", "VIRTUAL_ENV", "PYTEST_ADDOPTS", "PYTEST_PLUGINS", "COVERAGE_FILE"}


@dataclass(frozen=True)
class Fresh:
    """An environment that holds a wheel and what it depends on, and a folder to work in."""

    bin: Path
    folder: Path

    def run(self, *command: str, exits: int = 0) -> str:
        """Run a program of the environment as a user would, and return what it printed, in this order."""
        environ = {name: value for name, value in os.environ.items() if name not in _OURS}
        environ["PATH"] = f"{self.bin}{os.pathsep}{environ['PATH']}"
        program = self.bin / command[0]
        done = subprocess.run(
            [str(program), *command[1:]],
            cwd=self.folder,
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert done.returncode == exits, f"{' '.join(command)}\n{done.stdout}"
        return done.stdout
