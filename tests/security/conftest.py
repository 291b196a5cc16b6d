"""A project on the real engine, as the tests of ``tests/engine`` have it."""

from __future__ import annotations

from clnrm_testing.engine_fixtures import (
    box,
    client,
    engine,
    image_without,
    in_shells,
    locks,
    project,
    reached,
    spec,
    start,
    waiting,
)

__all__ = [
    "box",
    "client",
    "engine",
    "image_without",
    "in_shells",
    "locks",
    "project",
    "reached",
    "spec",
    "start",
    "waiting",
]
