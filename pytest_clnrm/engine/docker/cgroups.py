"""What the kernel counts of a container that runs on this host.

The engine would tell some of it too, but its statistics wait for its next round of measuring, up to a second.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path


def is_process_of(pid: int, container: str, *, proc: Path = Path("/proc")) -> bool:
    """Tell whether process *pid* of this host is one of the container.

    It is not where the container runs on another host or in a virtual machine, which has other processes.

    :param container: its id, by which its cgroup is known to be its own.
    """
    try:
        # Asked several times for each scenario.
        with open(f"{proc}/{pid}/cgroup", "rb", buffering=0) as file:  # noqa: PTH123
            return container.encode() in file.read()
    except OSError:
        return False


def peak_memory_bytes(
    pid: int, container: str, *, proc: Path = Path("/proc"), cgroups: Path = Path("/sys/fs/cgroup")
) -> int | None:
    """Return the most memory that a container has used since its start.

    None where it cannot be told: before Linux 5.19 with cgroup v2, of a container on another host or in
    a virtual machine, and from within a container.

    :param pid: of the container's first process, as its engine says.
    :param container: its id, by which its cgroup is known to be its own.
    """
    with suppress(OSError, ValueError):
        for line in (proc / str(pid) / "cgroup").read_text(encoding="utf-8").strip("\n").split("\n"):
            _, controllers, path = line.split(":", 2)
            if container not in path:
                continue
            if "memory" in controllers.split(","):
                return int((cgroups / "memory" / path.lstrip("/") / "memory.max_usage_in_bytes").read_text())
            if not controllers and (peak := cgroups / path.lstrip("/") / "memory.peak").exists():
                return int(peak.read_text())
    return None
