"""An image that an engine is to make of a container."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotSpec:
    """An image to be made of a container that has ended, with its own volumes.

    :param name: of the image, with a tag.
    :param labels: of the image; those of ours that the container has are emptied.
    :param volumes: absolute path of each volume of its own -> the paths in it before the container started.
        What the image before had there and is no longer there could not be told.
    :param max_bytes: of the content of each volume.
    :param deadline_s: a ``time.monotonic()`` moment, till which volumes are read.
    """

    container: str
    name: str
    labels: Mapping[str, str]
    volumes: Mapping[str, frozenset[str]]
    max_bytes: int
    deadline_s: float
