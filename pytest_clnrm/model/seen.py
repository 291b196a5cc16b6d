"""What was seen of a container or an image from outside: plain facts, which checks are judged on."""

from __future__ import annotations

from dataclasses import dataclass

from pytest_clnrm.model.check import FileKind


@dataclass(frozen=True, slots=True, kw_only=True)
class FileSeen:
    """What lies at a path in a container.

    :param mode: the permissions with set-uid, set-gid and sticky bit.
    :param uid: of its owner; None where the engine does not tell, as of a socket. So is gid.
    :param target: of a symbolic link, as it is written there.
    :param leads_to: of a symbolic link: the absolute path in the container that it leads to in the end.
    """

    kind: FileKind
    mode: int
    size_bytes: int
    uid: int | None = None
    gid: int | None = None
    target: str = ""
    leads_to: str = ""
