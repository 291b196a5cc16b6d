"""Running pytest where the engine's containers are not: in a network namespace of its own."""

from __future__ import annotations

import os
import shutil

import pytest

__all__ = ["ELSEWHERE", "NOWHERE", "needs_namespaces"]

NOWHERE = ("unshare", "--net", "sh", "-c", 'ip link set lo up && exec "$@"', "sh")
"""Runs in a network namespace with nothing but a loopback address: no container, no published port."""

ELSEWHERE = (
    *("unshare", "--net", "--mount", "--pid", "--fork", "--mount-proc", "sh", "-c"),
    'ip link set lo up && mount -t tmpfs tmpfs "$HIDDEN" && echo ours > "$HIDDEN/in" && exec "$@"',
    "sh",
)
"""Runs with processes of its own too, and one folder of which the engine sees nothing."""

needs_namespaces = pytest.mark.skipif(
    not shutil.which("unshare") or not shutil.which("ip") or os.geteuid() != 0,
    reason="a network namespace needs root, unshare and ip",
)
