"""What lies at a path in a container, as the engine tells: nothing of the container is run for that."""

from __future__ import annotations

import base64
import json
from datetime import datetime
from typing import TYPE_CHECKING, Literal

from pytest_clnrm.engine.plain_errors import plain_errors
from pytest_clnrm.errors import ContainerError
from pytest_clnrm.model.seen import PathFacts

if TYPE_CHECKING:
    from docker import APIClient

_NOT_FOUND = 404
_HEADER = "X-Docker-Container-Path-Stat"
# The engine tells a mode as Go's: the permissions as everywhere, the kind in the highest bits.
# Source: https://pkg.go.dev/io/fs#FileMode
_FOLDER, _LINK = 1 << 31, 1 << 27
_OTHER = 1 << 26 | 1 << 25 | 1 << 24 | 1 << 21 | 1 << 19


def look_at_path(client: APIClient, container: str, path: str) -> PathFacts | None:
    """Return what lies at an absolute path in a container, which need not run; None if nothing does.

    :raises ContainerError: if it cannot be told.
    """
    url = f"{client.base_url}/v{client.api_version}/containers/{container}/archive"
    with plain_errors(f"look at {path} in the container", ContainerError):
        answer = client.head(url, params={"path": path}, timeout=client.timeout)
        if answer.status_code == _NOT_FOUND:
            # An answer without words, which may be about the container: then this raises.
            client.inspect_container(container)
            return None
        # Its types leave it out; it raises what other calls of it raise.
        client._raise_for_status(answer)  # type: ignore[attr-defined]  # noqa: SLF001
        facts = json.loads(base64.b64decode(answer.headers[_HEADER]))
    mode = int(facts["mode"])
    whole = str(facts["mtime"])[:19]
    zone = str(facts["mtime"])[19:].lstrip(".0123456789").replace("Z", "+00:00")
    moment = datetime.fromisoformat(whole + zone)
    return PathFacts(kind=_kind(mode), size_bytes=int(facts["size"]), modified_s=int(moment.timestamp()))


def _kind(mode: int) -> Literal["file", "folder", "link", "other"]:
    if mode & _FOLDER:
        return "folder"
    if mode & _LINK:
        return "link"
    return "other" if mode & _OTHER else "file"
