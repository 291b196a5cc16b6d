"""Run a pytest command; tests that failed get one more try, one at a time, and the log says so.

    python tests/again.py pytest -n 4 tests/unit

Tests with real processes, workers and engines depend on what else a machine does. What fails twice fails.
"""

from __future__ import annotations

import subprocess
import sys

import pytest


def main(command: list[str]) -> int:
    """Return the exit status of the last run."""
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
