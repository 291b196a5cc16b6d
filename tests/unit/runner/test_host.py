"""The name of this host: where it is one, and what is said where it cannot be."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_clnrm.errors import ContainerError
from pytest_clnrm.model.service import HOST_NAME, Service
from pytest_clnrm.model.step import Command
from pytest_clnrm.runner.host import check_host, host_entry
from pytest_clnrm.runtime.network import Network

if TYPE_CHECKING:
    from pytest_clnrm.engine.relay_api import Relay

WEB = Service(name="web", image="x", env={"BACK": f"http://{HOST_NAME}:1"})


class Elsewhere:
    """A relay that is none."""


@pytest.mark.parametrize("network", ["isolated", "bridge"])
def test_networks_that_lead_here(network: str) -> None:
    """It is the address that the scenario's network has here, whatever else the service is on."""
    service = Service(name="web", image="x", network=network)  # type: ignore[arg-type]
    assert host_entry(service, Network("id", "10.0.0.1")) == {HOST_NAME: "10.0.0.1"}


def test_networks_that_do_not() -> None:
    """Without a network, without an address here, and over a relay there is no entry."""
    relay: Relay = Elsewhere()  # type: ignore[assignment]
    assert host_entry(WEB, None) == {}
    assert host_entry(WEB, Network("id", "")) == {}
    assert host_entry(WEB, Network("id", "10.0.0.2", "n", relay)) == {}
    alone = Service(name="web", image="x", network="none")
    assert host_entry(alone, Network("id", "10.0.0.1")) == {}


def test_what_names_it_in_vain() -> None:
    """A service or a command that names it is refused where it is not reached, and nothing else is."""
    check_host(WEB, WEB, {HOST_NAME: "10.0.0.1"}, "unix:///x")
    check_host(Command(run=("echo", "host")), WEB, {}, "unix:///x")
    elsewhere = (
        f"the service 'web' cannot reach {HOST_NAME}: the engine at tcp://x runs in a virtual machine, or on "
        "another host"
    )
    for named in (WEB, Command(run=("ping", HOST_NAME)), Command(run="x", stdin=f"GET {HOST_NAME}")):
        with pytest.raises(ContainerError) as raised:
            check_host(named, WEB, {}, "tcp://x")
        assert str(raised.value) == elsewhere
    alone = Service(name="web", image="x", network="none")
    with pytest.raises(ContainerError) as raised:
        check_host(Command(run=HOST_NAME), alone, {}, "unix:///x")
    assert str(raised.value) == f"the service 'web' cannot reach {HOST_NAME}: it has network = \"none\""
