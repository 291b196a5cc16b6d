"""Building the program that runs in containers, of ``pytest_clnrm/engine/tool/clnrm.c``.

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


def build(architecture: str, to: Path) -> Path:
    """Build the program for an architecture, and return its path, which is *to*."""
    source = FOLDER / "clnrm.c"
    cache = to.parent / "cache"
    environ = {**os.environ, "ZIG_GLOBAL_CACHE_DIR": str(cache), "ZIG_LOCAL_CACHE_DIR": str(cache)}
    command = [sys.executable, "-m", "ziglang", "cc", "-target", f"{architecture}-linux-none", *FLAGS]
    subprocess.run([*command, "-o", str(to), source.name], cwd=source.parent, env=environ, check=True)
    return to


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        for each in ARCHITECTURES:
            content = build(each, Path(folder) / each).read_bytes()
            (FOLDER / f"clnrm-{each}").write_bytes(content)
            print(f"clnrm-{each}: {len(content)} bytes")  # noqa: T201
