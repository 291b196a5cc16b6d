"""Run a pytest command; tests that failed get one more try, one at a time, and the log says so.

    python tests/again.py pytest -n 4 tests/unit

Tests with real processes, workers and engines depend on what else a machine does. What fails twice fails.
Each environment remembers its own failures: several of them may run at the same time.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


def main(command: list[str]) -> int:
    """Return the exit status of the last run."""
    command = [*command, "-o", f"cache_dir={Path(sys.prefix, '.pytest_cache')}"]
    status = subprocess.run(command, check=False).returncode
    if status != pytest.ExitCode.TESTS_FAILED:
        return status
    alone = list(command)
    if "-n" in alone:
        at = alone.index("-n")
        del alone[at : at + 2]
    sys.stdout.write("\nagain.py: some tests failed; those get one more try, one at a time\n")
    sys.stdout.flush()
    return subprocess.run([*alone, "--last-failed", "--last-failed-no-failures=none"], check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
