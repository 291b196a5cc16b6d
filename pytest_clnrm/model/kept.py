"""Files of containers that are kept beside the report."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptFile:
    """A file of a container that was kept.

    :param path: in the container.
    :param file: where it lies, relative to the folder of the report.
    :param is_cut: the rest of it is missing.
    """

    service: str
    path: str
    file: str
    size_bytes: int
    is_cut: bool = False
