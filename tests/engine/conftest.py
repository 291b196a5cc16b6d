"""A real engine for the tests of this folder, and what they run on it."""

from __future__ import annotations

from clnrm_testing.engine_fixtures import (
    box,
    client,
    engine,
    image_without,
    in_shells,
    locks,
    needs,
    project,
    reached,
    relay,
    socket_path,
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
    "needs",
    "project",
    "reached",
    "relay",
    "socket_path",
    "spec",
    "start",
    "waiting",
]
