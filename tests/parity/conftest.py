"""A real engine for the scenarios of this folder."""

from __future__ import annotations

from clnrm_testing.engine_fixtures import client, engine, in_shells, locks, reached

__all__ = ["client", "engine", "in_shells", "locks", "reached"]
