"""The machine's facts, without which no figure means anything."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

__all__ = ["machine_facts"]

_PACKAGES = ("pytest", "pytest-xdist", "docker", "testcontainers")


def machine_facts(engine: str) -> dict[str, str]:
    """Return what the figures were measured on.

    :param engine: in words, "" if there is none.
    """
    load = ", ".join(f"{each:.1f}" for each in os.getloadavg())
    return {
        "cores": str(len(os.sched_getaffinity(0))),
        "memory": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.1f} GiB",
        "processor": _processor(),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "packages": ", ".join(map(_package, _PACKAGES)),
        "engine": engine or "none answers",
        "load average at the start": load,
    }


def _package(name: str) -> str:
    try:
        return f"{name} {version(name)}"
    except PackageNotFoundError:
        return f"no {name}"


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return platform.machine()
