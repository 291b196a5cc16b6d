"""The files that are copied into a service's container before it starts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_clnrm.engine.api import CopiedFile
from pytest_clnrm.errors import ContainerError
from pytest_clnrm.util.beneath import open_beneath

if TYPE_CHECKING:
    from pytest_clnrm.model.service import Copy, Service

_MAX_BYTES = 16 << 20
_FILE, _PROGRAM = 0o644, 0o755
_MAY_EXECUTE = 0o111


def copied_files(service: Service) -> tuple[CopiedFile, ...]:
    """Return the files with what they hold now; their sources are opened without following links.

    :raises ContainerError: if one of them is not what it was when the scenario's file was read.
    """
    return tuple(map(_copied, service.files))


def _copied(copy: Copy) -> CopiedFile:
    if copy.source is None:
        content = (copy.content or "").encode("utf-8", "surrogateescape")
        return CopiedFile(target=copy.target, content=content, mode=_FILE if copy.mode is None else copy.mode)
    try:
        with open_beneath("/", copy.source) as opened:
            content = opened.read(_MAX_BYTES)
            usual = _PROGRAM if opened.status.st_mode & _MAY_EXECUTE else _FILE
    except OSError as error:
        raise ContainerError(
            f"file {copy.target}: {error.filename or copy.source}: {error.strerror}; "
            "it was exchanged since the scenario's file was read"
        ) from None
    return CopiedFile(target=copy.target, content=content, mode=usual if copy.mode is None else copy.mode)
