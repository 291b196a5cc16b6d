"""What a process knows of its containers on a cluster, and by which names they reach one another."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_clnrm.engine.api import ContainerSpec, ContainerState
    from pytest_clnrm.engine.kubernetes.copies import Copies
    from pytest_clnrm.engine.kubernetes.logs import LastOutput


@dataclass
class Container:
    """A container of this process.

    :ivar known: names in its pod's file of hosts when it was made.
    :ivar copies: what it gets of this host.
    :ivar answers: it does, though its node has not told so far that it runs.
    :ivar last: its state once we have removed its pod, and ``printed`` what it had printed till then.
    """

    spec: ContainerSpec
    network: str
    copies: Copies
    known: dict[str, str] = field(default_factory=dict)
    started: bool = False
    answers: bool = False
    address: str = ""
    last: ContainerState | None = None
    printed: LastOutput | None = None


def on_network(known: Mapping[str, Container], network: str) -> list[tuple[str, Container]]:
    """Return the containers of a network that were not stopped."""
    return [
        (name, each)
        for name, each in known.items()
        if network and each.network == network and each.last is None
    ]


def names_on(known: Mapping[str, Container], network: str) -> dict[str, str]:
    """Return the names of a network's containers: name -> address."""
    return {
        alias: each.address
        for _, each in on_network(known, network)
        if each.address
        for alias in each.spec.aliases
    }


def missing_names(
    known: Mapping[str, Container], network: str, guests: Mapping[str, str]
) -> list[tuple[str, dict[str, str]]]:
    """Return which containers of a network lack which names, and take them for known from now on.

    :param guests: names on it of what belongs to other networks: name -> address.
    """
    names = {**guests, **names_on(known, network)}
    todo: list[tuple[str, dict[str, str]]] = []
    for name, each in on_network(known, network):
        missing = {alias: address for alias, address in names.items() if each.known.get(alias) != address}
        if each.address and missing:
            todo.append((name, missing))
            each.known = {**each.known, **missing}
    return todo
