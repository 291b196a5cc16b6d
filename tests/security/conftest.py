"""A project on the real engine, as the tests of ``tests/engine`` have it, and a receiver of spans."""

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
from clnrm_testing.receiving import inbox, receiver

__all__ = [
    "box",
    "client",
    "engine",
    "image_without",
    "in_shells",
    "inbox",
    "locks",
    "project",
    "reached",
    "receiver",
    "spec",
    "start",
    "waiting",
]
