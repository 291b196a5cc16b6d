"""Files of containers that are kept beside the report."""

from __future__ import annotations

from dataclasses import dataclass

FOLDER = "artifacts"
"""Where they lie, below the folder of the report or what stands for it."""

MARK = ".clnrm-artifacts"
"""A file by which that folder is known as ours: what is in it is a program's, and is not collected."""


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
