"""The processes of a container, as the engine lists them: nothing of the container is run for that."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_clnrm.engine.plain_errors import plain_errors
from pytest_clnrm.errors import ContainerError
from pytest_clnrm.model.seen import ProcessSeen

if TYPE_CHECKING:
    from docker import APIClient

# Docker has its host's ps run, Podman lists them itself: by ps it would take the container's.
_DOCKER, _PODMAN = "-eo pid,uid,comm,args", "pid,user,comm,args"


def processes(client: APIClient, container: str, *, is_podman: bool) -> tuple[ProcessSeen, ...]:
    """Return the processes of a container.

    :raises ContainerError: if it does not run, or they cannot be told.
    """
    with plain_errors("list the processes of the container", ContainerError):
        told = client.top(container, ps_args=_PODMAN if is_podman else _DOCKER)
    rows = told.get("Processes") or ()
    return tuple(
        ProcessSeen(pid=int(row[0]), user=row[1], name=row[2], command=" ".join(row[3:])) for row in rows
    )
