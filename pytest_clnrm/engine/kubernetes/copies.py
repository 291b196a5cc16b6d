"""What a pod gets of this host: copies of files and read-only volumes, all in one Secret.

A Secret shows its files as links; mounted by a path within it, files are files and folders are folders.
"""

from __future__ import annotations

import base64
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pytest_clnrm.errors import ContainerError
from pytest_clnrm.util.beneath import open_beneath
from pytest_clnrm.util.walk import TooMuchError, walk

if TYPE_CHECKING:
    from pytest_clnrm.engine.api import ContainerSpec, Mount

MAX_BYTES = 900_000
"""Of all copies of one pod: a Secret holds at most 1 MiB, encoded."""

_VOLUME = "files"
_FILE, _PROGRAM = 0o644, 0o755
_TOO_MUCH = f"more than {MAX_BYTES} bytes are to be copied in: put them into the image"


@dataclass(frozen=True, slots=True)
class _Copy:
    """A file: its path in the Secret as it is mounted, what it holds, its permissions."""

    path: str
    content: bytes
    mode: int


@dataclass
class Copies:
    """All that is copied into one pod.

    :ivar secret: name of the Secret, once it is there.
    """

    secret: str = ""
    _files: list[_Copy] = field(default_factory=list)
    _places: list[tuple[str, str]] = field(default_factory=list)
    _empty: list[str] = field(default_factory=list)

    def __bool__(self) -> bool:
        """Tell whether there is a file among them."""
        return bool(self._files)

    def data(self) -> dict[str, str]:
        """Return the content of the Secret."""
        return {
            f"f{count}": base64.b64encode(each.content).decode() for count, each in enumerate(self._files)
        }

    def add_to(self, volumes: list[dict[str, Any]], mounts: list[dict[str, Any]]) -> None:
        """Add them to the volumes of a pod, and to what its container mounts."""
        if self._files:
            items = [
                {"key": f"f{count}", "path": each.path, "mode": each.mode & 0o777}
                for count, each in enumerate(self._files)
            ]
            volumes.append({"name": _VOLUME, "secret": {"secretName": self.secret, "items": items}})
        mounts += [
            {"name": _VOLUME, "mountPath": target, "subPath": path, "readOnly": True}
            for path, target in self._places
        ]
        for count, target in enumerate(self._empty):
            volumes.append({"name": f"empty-{count}", "emptyDir": {}})
            mounts.append({"name": f"empty-{count}", "mountPath": target, "readOnly": True})


def copies_of(spec: ContainerSpec) -> Copies:
    """Return what is copied into the pod of a container, as it is now.

    :raises ContainerError: if it cannot be copied, or is too much.
    """
    made = Copies()
    for count, each in enumerate(spec.files):
        made._files.append(_Copy(f"f{count}", each.content, each.mode))  # noqa: SLF001 -- its own
        made._places.append((f"f{count}", each.target))  # noqa: SLF001
    left = MAX_BYTES - sum(len(each.content) for each in spec.files)
    for count, mount in enumerate(spec.mounts):
        found = list(_found(mount, f"v{count}", left))
        left -= sum(len(each.content) for each in found)
        made._files += found  # noqa: SLF001
        if found:
            made._places.append((f"v{count}", mount.target))  # noqa: SLF001
        else:
            made._empty.append(mount.target)  # noqa: SLF001
    if left < 0:
        raise ContainerError(_TOO_MUCH)
    return made


def _found(mount: Mount, place: str, left: int) -> Iterator[_Copy]:
    """Yield the files of a volume.

    :param place: its path in the Secret.
    :param left: how many bytes it may have.
    """
    about = f"cannot copy the volume {mount.target}: {mount.source}"
    try:
        with open_beneath("/", mount.source) as source:
            for entry in walk(source):
                mode = entry.status.st_mode
                if stat.S_ISDIR(mode):
                    continue
                if not stat.S_ISREG(mode):
                    raise ContainerError(
                        f"{about}/{entry.shown} is no regular file, and a cluster gets copies of those alone"
                    )
                left -= entry.status.st_size
                if left < 0:
                    raise ContainerError(f"{about}: {_TOO_MUCH}")
                with source.beneath(entry.path) as opened:
                    content = opened.read(entry.status.st_size)
                own_mode = _PROGRAM if mode & stat.S_IXUSR else _FILE
                yield _Copy(f"{place}/{entry.path}".rstrip("/"), content, own_mode)
    except TooMuchError as error:
        raise ContainerError(f"{about}: {error}") from None
    except OSError as error:
        raise ContainerError(f"{about}: {error.strerror}") from None
