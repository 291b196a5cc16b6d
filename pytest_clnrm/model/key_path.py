"""Where something stands in a file."""

from __future__ import annotations

KeyPath = tuple["str | int", ...]
"""Keys and indices from the top of a file; the first is a key."""


def in_file(file: str, path: KeyPath) -> KeyPath:
    """Return a key path of another file than that of the scenario.

    :param file: absolute.
    """
    return (0, file, *path)


def file_and_path(path: KeyPath) -> tuple[str, KeyPath]:
    """Return the other file in which a key path is, "" for the scenario's own, and the path in it."""
    if path[:1] == (0,):
        return str(path[1]), path[2:]
    return "", path
