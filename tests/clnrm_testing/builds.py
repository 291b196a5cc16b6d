"""Builds, as a scenario of small limits would ask for them."""

from __future__ import annotations

from pytest_clnrm.engine.api import BuildSpec

__all__ = ["build_of"]

MIB = 1024**2


def build_of(context: object, **changes: object) -> BuildSpec:
    """Return the specification of a build of the folder *context*, with *changes*."""
    usual: dict[str, object] = {
        "memory_bytes": 64 * MIB,
        "cpus": 1.0,
        "pids": 64,
        "timeout_s": 60.0,
        "max_context_bytes": 100 * MIB,
    }
    return BuildSpec(context=str(context), **{**usual, **changes})  # type: ignore[arg-type]
