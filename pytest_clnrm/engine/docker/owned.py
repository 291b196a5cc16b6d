"""Objects on the engine that carry given labels: what a sweep looks for."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Literal

import docker.errors

from pytest_clnrm.engine.api import OwnedObject
from pytest_clnrm.engine.plain_errors import plain_errors

if TYPE_CHECKING:
    from docker import APIClient

_ENDED = frozenset({"exited", "dead", "removing"})


def list_owned(client: APIClient, labels: Mapping[str, str]) -> tuple[OwnedObject, ...]:
    """Return all containers (also those that have ended), networks and volumes with these labels.

    :param labels: an empty value asks for the label with any value.
    """
    filters = {"label": [f"{name}={value}" if value else name for name, value in labels.items()]}
    found: list[OwnedObject] = []
    with plain_errors("list the containers, networks and volumes"):
        for each in client.containers(all=True, filters=filters):
            names = each.get("Names") or [""]
            found.append(_owned("container", each["Id"], names[0].lstrip("/"), each))
        found += [
            _owned("network", each["Id"], each["Name"], each) for each in client.networks(filters=filters)
        ]
        for each in client.volumes(filters=filters).get("Volumes") or ():
            found.append(_owned("volume", each["Name"], each["Name"], each))
    return tuple(found)


def remove_volume(client: APIClient, volume: str) -> None:
    """Remove it; one that is gone already is no error."""
    with plain_errors(f"remove the volume {volume!r}"), suppress(docker.errors.NotFound):
        client.remove_volume(volume, force=True)


def _owned(
    kind: Literal["container", "network", "volume"], id_: Any, name: Any, facts: Mapping[str, Any]
) -> OwnedObject:
    return OwnedObject(
        kind=kind,
        id=str(id_),
        name=str(name),
        labels=dict(facts.get("Labels") or {}),
        ended=facts.get("State") in _ENDED,
    )
