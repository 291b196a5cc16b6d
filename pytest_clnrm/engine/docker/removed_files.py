"""Files of a container that have no name any more and are open still, as its engine does not count them."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from contextlib import suppress
from os import stat_result
from pathlib import Path

from pytest_clnrm.engine.docker.cgroups import is_process_of

# What a process holds: by a number, or in its memory alone.
_HOLDS = ("fd", "map_files")
_BLOCK_BYTES = 512  # of st_blocks, whatever the file system; see inode(7)


def removed_bytes(first: int, container: str, *, proc: Path = Path("/proc")) -> int:
    """Return how much removed files of a container's own layer take on the disk; 0 where it cannot be seen.

    That is where the engine runs on another host or in a virtual machine, and where this process may not look
    at the container's processes.

    :param first: its first process, as its engine says.
    :param container: its id.
    """
    if not is_process_of(first, container, proc=proc):
        return 0
    sizes: dict[int, int] = {}
    with suppress(OSError):
        # Memory (tmpfs, memfd) and most volumes are on devices of their own.
        device = (proc / str(first) / "root").stat().st_dev
        for process in proc.iterdir():
            if process.name.isdigit() and is_process_of(int(process.name), container, proc=proc):
                for held in _held(process):
                    if stat.S_ISREG(held.st_mode) and not held.st_nlink and held.st_dev == device:
                        sizes[held.st_ino] = held.st_blocks * _BLOCK_BYTES
    return sum(sizes.values())


def _held(process: Path) -> Iterator[stat_result]:
    for kind in _HOLDS:
        # The process may end, or close a file, at any moment.
        with suppress(OSError):
            for each in (process / kind).iterdir():
                with suppress(OSError):
                    yield each.stat()
