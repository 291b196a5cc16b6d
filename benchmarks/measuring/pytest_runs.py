"""Runs of pytest in folders of their own, timed."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile

__all__ = ["ROOT", "Ran", "run_pytest", "start_pytest"]

ROOT = Path(__file__).resolve().parents[2]

_ALWAYS = ("-q", "-p", "no:randomly", "-p", "no:cacheprovider")
# Everyone has compiled modules but who forbids them; compiling ours each time would be measured instead.
_NOT_PASSED_ON = ("PYTHONDONTWRITEBYTECODE", "PYTEST_PLUGINS")


@dataclass(frozen=True, slots=True)
class Ran:
    """A run that ended well.

    :param cpu_s: processor time of the process and of those that it waited for.
    """

    wall_s: float
    cpu_s: float


def start_pytest(
    folder: Path, arguments: Sequence[str], environ: Mapping[str, str] | None = None, **options: object
) -> subprocess.Popen[bytes]:
    """Start pytest in *folder*, which is its rootdir.

    :param environ: above the environment of this process.
    :param options: of the process.
    """
    environment = {name: value for name, value in os.environ.items() if name not in _NOT_PASSED_ON}
    environment |= {
        # For the fake engine; what is measured is the plugin that is installed.
        "PYTHONPATH": str(ROOT / "tests"),
        "PYTEST_ADDOPTS": "",
        **(environ or {}),
    }
    command = [sys.executable, "-m", "pytest", *_ALWAYS, "--rootdir", str(folder), *arguments]
    return subprocess.Popen(command, cwd=folder, env=environment, **options)  # type: ignore[call-overload,no-any-return]


def run_pytest(folder: Path, arguments: Sequence[str], environ: Mapping[str, str] | None = None) -> Ran:
    """Run pytest in *folder* and wait for it.

    :raises RuntimeError: with its output if it fails.
    """
    # Not a pipe: whoever reads it would take processor time from what is measured.
    with TemporaryFile() as output:
        began_s = time.perf_counter()
        process = start_pytest(folder, arguments, environ, stdout=output, stderr=subprocess.STDOUT)
        _, status, usage = os.wait4(process.pid, 0)
        wall_s = time.perf_counter() - began_s
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            output.seek(0)
            said = output.read().decode("utf-8", "replace")
            raise RuntimeError(f"pytest {' '.join(arguments)} ended with {process.returncode}:\n{said}")
    return Ran(wall_s, usage.ru_utime + usage.ru_stime)
