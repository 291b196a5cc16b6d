"""Removing what dead runs left: cleaner, watchdog, run records, labels (docs/cleanup.md)."""
