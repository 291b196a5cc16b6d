"""Copying files into a container that has not been started: nothing of the container is run for that."""

from __future__ import annotations

import io
import posixpath
import tarfile
import time
from collections.abc import Sequence
from itertools import groupby
from typing import TYPE_CHECKING

from pytest_clnrm.engine.docker.paths import look_at_path
from pytest_clnrm.engine.plain_errors import plain_errors
from pytest_clnrm.errors import ContainerError

if TYPE_CHECKING:
    from docker import APIClient

    from pytest_clnrm.engine.api import CopiedFile

_FOLDER_MODE = 0o755


def copy_files(client: APIClient, container: str, files: Sequence[CopiedFile]) -> None:
    """Copy files into a container, one archive for each folder; they are root's.

    :raises ContainerError: with the engine's reason.
    """

    def folder_of(file: CopiedFile) -> str:
        return posixpath.dirname(posixpath.normpath(file.target))

    for folder, together in groupby(sorted(files, key=folder_of), key=folder_of):
        there, missing = _nearest(client, container, folder)
        archive = _archive(missing, list(together))
        with plain_errors(f"copy files into {folder} of the container", ContainerError):
            client.put_archive(container, there, archive)


def _nearest(client: APIClient, container: str, folder: str) -> tuple[str, list[str]]:
    """Return the nearest folder around a path that is there, and the names of those that lack below it."""
    missing: list[str] = []
    while folder != "/" and look_at_path(client, container, folder) is None:
        folder, name = posixpath.split(folder)
        missing.insert(0, name)
    return folder, missing


def _archive(folders: Sequence[str], files: Sequence[CopiedFile]) -> bytes:
    """Return files as a tar archive.

    :param folders: names of new ones, each in the one before; the files lie in the last.
    """
    now_s = int(time.time())
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w", format=tarfile.PAX_FORMAT) as tar:
        # An engine that makes a folder by itself lets everybody write into it.
        for depth in range(1, len(folders) + 1):
            entry = tarfile.TarInfo("/".join(folders[:depth]))
            entry.type, entry.mode, entry.mtime = tarfile.DIRTYPE, _FOLDER_MODE, now_s
            tar.addfile(entry)
        for file in files:
            entry = tarfile.TarInfo("/".join([*folders, posixpath.basename(file.target)]))
            entry.size, entry.mode, entry.mtime = len(file.content), file.mode, now_s
            tar.addfile(entry, io.BytesIO(file.content))
    return archive.getvalue()
