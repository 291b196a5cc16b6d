"""Files without a name that a container's processes hold open."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from pytest_clnrm.engine.docker.removed_files import removed_bytes

MIB = 1024**2


def _process(proc: Path, pid: int, container: str, *files: int) -> None:
    folder = proc / str(pid)
    (folder / "fd").mkdir(parents=True)
    (folder / "cgroup").write_text(f"0::/docker/{container}\n")
    (folder / "root").symlink_to(proc)
    for file in files:
        (folder / f"fd/{file}").symlink_to(f"/proc/self/fd/{file}")


def test_removed_files_are_counted_once(tmp_path: Path) -> None:
    """Those of the container's own device that have no name, whoever holds them, and no others."""
    with (tmp_path / "held").open("wb") as held, (tmp_path / "named").open("wb") as named:
        for each in (held, named):
            each.write(b"x" * MIB)
            each.flush()
        memory = os.memfd_create("m")
        os.write(memory, b"x" * MIB)
        (tmp_path / "held").unlink()
        expected = os.fstat(held.fileno()).st_blocks * 512
        proc = tmp_path / "proc"
        _process(proc, 10, "ours", held.fileno(), named.fileno(), memory)
        _process(proc, 11, "ours", held.fileno())
        _process(proc, 12, "theirs", held.fileno())
        assert removed_bytes(10, "ours", proc=proc) == expected >= MIB
        assert removed_bytes(10, "elsewhere", proc=proc) == 0
        assert removed_bytes(99, "ours", proc=proc) == 0
        shutil.rmtree(proc / "10/fd")
        (proc / "10/fd").symlink_to("nowhere")
        assert removed_bytes(10, "ours", proc=proc) == expected
        os.close(memory)
