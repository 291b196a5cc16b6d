"""What was seen of a container or an image from outside: plain facts, which checks are judged on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from pytest_clnrm.model.check import FileKind


@dataclass(frozen=True, slots=True, kw_only=True)
class FileSeen:
    """What lies at a path in a container.

    :param mode: the permissions with set-uid, set-gid and sticky bit.
    :param uid: of its owner; None where the engine does not tell, as of a socket. So is gid.
    :param target: of a symbolic link, as it is written there; "" where the engine does not tell.
    :param leads_to: of a symbolic link: the absolute path in the container that it leads to in the end.
    """

    kind: FileKind
    mode: int
    size_bytes: int
    uid: int | None = None
    gid: int | None = None
    target: str = ""
    leads_to: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageSeen:
    """What an image says of itself.

    :param exposed: ports such as "8080/tcp".
    :param layers: how many there are.
    """

    entrypoint: tuple[str, ...] = ()
    cmd: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    workdir: str = ""
    user: str = ""
    exposed: tuple[str, ...] = ()
    volumes: tuple[str, ...] = ()
    size_bytes: int = 0
    layers: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessSeen:
    """A process of a container.

    :param pid: on the engine's machine.
    :param user: its number, or its name in the container, whichever the engine tells.
    :param name: the kernel's, of at most 15 letters.
    :param command: its arguments, as ps shows them.
    """

    pid: int
    user: str
    name: str
    command: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SocketSeen:
    """A socket on which a container listens.

    :param process: one of those that have it; None where that cannot be seen.
    """

    protocol: Literal["tcp", "udp"]
    address: str
    port: int
    process: ProcessSeen | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PathFacts:
    """What lies at a path in a container.

    :param kind: "file", "folder", "link" or "other".
    :param modified_s: seconds since 1970, whole ones.
    """

    kind: Literal["file", "folder", "link", "other"]
    size_bytes: int
    modified_s: int
