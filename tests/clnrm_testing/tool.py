"""Building the programs that run in containers, of ``pytest_clnrm/engine/tool/clnrm.c`` and ``agent.c``.

``python -m clnrm_testing.tool`` writes the programs beside their source, with the compiler that
``pip install ziglang==VERSION`` brings: one for all architectures, which makes the same bytes everywhere.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).parents[2] / "pytest_clnrm" / "engine" / "tool"
ARCHITECTURES = ("x86_64", "aarch64")
PROGRAMS = ("clnrm", "agent")
FLAGS = (
    "-std=c11",
    "-Wall",
    "-Wextra",
    "-Werror",
    "-Os",
    "-ffreestanding",
    "-fno-builtin",
    "-fno-stack-protector",
    "-fno-sanitize=all",
    "-fno-asynchronous-unwind-tables",
    "-fomit-frame-pointer",
    "-nostdlib",
    "-static",
    "-s",
)


def build(name: str, architecture: str, to: Path) -> Path:
    """Build a program for an architecture, and return its path, which is *to*."""
    source = FOLDER / f"{name}.c"
    cache = to.parent / "cache"
    environ = {**os.environ, "ZIG_GLOBAL_CACHE_DIR": str(cache), "ZIG_LOCAL_CACHE_DIR": str(cache)}
    command = [sys.executable, "-m", "ziglang", "cc", "-target", f"{architecture}-linux-none", *FLAGS]
    subprocess.run([*command, "-o", str(to), source.name], cwd=source.parent, env=environ, check=True)
    return to


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        for name in PROGRAMS:
            for each in ARCHITECTURES:
                content = build(name, each, Path(folder) / each).read_bytes()
                (FOLDER / f"{name}-{each}").write_bytes(content)
                print(f"{name}-{each}: {len(content)} bytes")  # noqa: T201
