"""The name by which containers reach the host that runs pytest.

It adds no way there: it is a name for the address that a scenario's network has on this host anyway, to which
spans are sent too.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from pytest_clnrm.errors import ContainerError
from pytest_clnrm.model.service import HOST_NAME
from pytest_clnrm.scenario.templates.render import strings_in

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_clnrm.model.service import Service
    from pytest_clnrm.model.step import Command, ImageRun
    from pytest_clnrm.runtime.network import Network


def host_entry(service: Service, network: Network | None) -> dict[str, str]:
    """Return the entry of this host in a container's ``/etc/hosts``, nothing where it cannot be reached.

    Over a relay only the receiver of spans is reached.
    """
    if network is None or not network.gateway or network.relay is not None or service.network == "none":
        return {}
    return {HOST_NAME: network.gateway}


def check_host(
    named_in: Service | Command | ImageRun, service: Service, hosts: Mapping[str, str], engine: str
) -> None:
    """Refuse to start what names this host where that cannot be reached.

    :param named_in: the service, or a command that runs in it.
    :param hosts: what is in its ``/etc/hosts``.
    :param engine: its address, in words.
    :raises ContainerError: with the reason.
    """
    if HOST_NAME in hosts:
        return
    texts = [getattr(named_in, each.name) for each in dataclasses.fields(named_in) if each.name != "at"]
    if any(HOST_NAME in text for text in strings_in(texts)):
        why = (
            'it has network = "none"'
            if service.network == "none"
            else f"the engine at {engine} runs in a virtual machine, or on another host"
        )
        raise ContainerError(f"the service {service.name!r} cannot reach {HOST_NAME}: {why}")
