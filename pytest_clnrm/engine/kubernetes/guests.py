"""Pods that are on other networks beside their own: those that several scenarios share.

A pod stays where it is. That it is on another network means that the pods there know its names, and that two
policies let them reach it. These belong to the network's Service, and go with it.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pytest_clnrm.engine.kubernetes import networks, pods

if TYPE_CHECKING:
    from pytest_clnrm.engine.kubernetes.rest import Rest


@dataclass(frozen=True, slots=True)
class _Guest:
    own: str
    address: str
    names: tuple[str, ...]


class Guests:
    """What one process knows of them."""

    def __init__(self, rest: Rest) -> None:
        self._rest = rest
        self._on: dict[str, dict[str, _Guest]] = {}
        self._guard = threading.Lock()

    def add(self, network: str, pod: Mapping[str, Any], names: Sequence[str]) -> None:
        """Put a pod on a network, under these names."""
        name, address, own = pods.name_of(pod), pods.address_of(pod), pods.network_of(pod)
        networks.admit(self._rest, network, own)
        with self._guard:
            self._on.setdefault(network, {})[name] = _Guest(own, address, tuple(names))

    def remove(self, network: str, pod: str) -> None:
        """Take a pod off a network again."""
        with self._guard:
            guest = self._on.get(network, {}).pop(pod, None)
        if guest is not None:
            networks.refuse(self._rest, network, guest.own)

    def are_on(self, network: str, pod: str) -> bool:
        """Tell whether a pod is a guest there."""
        with self._guard:
            return pod in self._on.get(network, {})

    def names(self, network: str) -> dict[str, str]:
        """Return the names of those on a network: name -> address."""
        with self._guard:
            return {name: each.address for each in self._on.get(network, {}).values() for name in each.names}

    def addresses(self, pod: str) -> dict[str, str]:
        """Return where a pod is a guest: network -> its address."""
        with self._guard:
            return {network: each[pod].address for network, each in self._on.items() if pod in each}

    def forget(self, network: str = "", pod: str = "") -> None:
        """Note that a network, or a pod, is gone."""
        with self._guard:
            self._on.pop(network, None)
            for each in self._on.values():
                each.pop(pod, None)
