"""Many may use something at once, and who wants it alone finds out."""

from __future__ import annotations

import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

from pytest_clnrm.util.use_lock import if_unused, in_use


def test_several_use_it(tmp_path: Path) -> None:
    """It is unused once the last of them has ended its use, and nobody begins one while it is had alone."""
    file = tmp_path / "users"
    with if_unused(file) as is_unused:
        assert is_unused
        with if_unused(file) as again:
            assert not again
    with ExitStack() as uses:
        uses.enter_context(in_use(file))
        with in_use(file), if_unused(file) as is_unused:
            assert not is_unused
        with if_unused(file) as is_unused:
            assert not is_unused
    with if_unused(file) as is_unused:
        assert is_unused


def test_whoever_is_killed_uses_it_no_more(tmp_path: Path) -> None:
    """However a process ends."""
    file = tmp_path / "users"
    code = (
        "import sys, pathlib; from pytest_clnrm.util.use_lock import in_use\n"
        "with in_use(pathlib.Path(sys.argv[1])): print('uses it', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(file)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as user:
        assert user.stdout is not None
        assert user.stdout.readline() == b"uses it\n"
        with if_unused(file) as is_unused:
            assert not is_unused
        user.kill()
        user.wait()
    with if_unused(file) as is_unused:
        assert is_unused
