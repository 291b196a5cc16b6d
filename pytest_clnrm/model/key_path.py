"""Where something stands in a file: the keys and indices on the way to it."""

from __future__ import annotations

KeyPath = tuple["str | int", ...]
"""As its author wrote it: ``("service", "db", "ports", 0)``."""
