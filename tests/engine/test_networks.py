"""Networks on a real engine."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import docker.errors
import pytest
from clnrm_testing.capabilities import Needs

from pytest_clnrm.engine.docker.networks import SPACE
from pytest_clnrm.errors import EngineError

if TYPE_CHECKING:
    from docker import APIClient

    from pytest_clnrm.engine.docker.engine import DockerEngine

pytestmark = pytest.mark.engine


def name() -> str:
    """Return a new network's name."""
    return f"clnrm-test-{os.urandom(4).hex()}"


def test_containers_find_each_other_by_name_on_each_network(
    engine: DockerEngine, start: Callable[..., Any], needs: Needs
) -> None:
    """The first network is there at creation, further ones before the start."""
    needs("names on internal networks")
    one, two = (engine.create_network(name(), internal=True, labels={}) for _ in range(2))
    # Not ping, which may not be permitted.
    listen = ("sh", "-c", "while :; do nc -l -p 80 -e true; done")
    start(networks=(one, two), aliases=("db", "database"), command=listen)
    reach = "until nc -w 1 {} 80 -e true; do sleep 0.1; done"
    asking = start(networks=(one,))
    assert asking.shell(reach.format("database")).exit_code == 0
    other = start(networks=(two,))
    assert other.shell(reach.format("db")).exit_code == 0
    assert asking.run("nc", "-w", "1", "nobody", "80", "-e", "true").exit_code != 0


def test_an_internal_network_has_no_way_out(
    engine: DockerEngine, start: Callable[..., Any], client: APIClient, needs: Needs
) -> None:
    """It is closed to other networks; without a network there is no route at all."""
    network = engine.create_network(name(), internal=True, labels={"a": "b"})
    facts = client.inspect_network(network)
    assert (facts["Internal"], facts["Labels"]["a"]) == (True, "b")
    needs("networks apart")
    inside = start(networks=(network,), command=("sh", "-c", "nc -l -p 80; sleep 1000"))
    address = client.inspect_container(inside.id)["NetworkSettings"]["Networks"].popitem()[1]["IPAddress"]
    assert start(networks=("bridge",)).run("nc", "-w", "1", address, "80", "-e", "true").exit_code != 0
    assert start().run("ip", "route").stdout == b""
    assert b"default" in start(networks=("bridge",)).run("ip", "route").stdout


def test_removal_takes_containers_off_and_can_be_repeated(
    engine: DockerEngine, start: Callable[..., Any]
) -> None:
    """A network goes even where a container is still on it."""
    network = engine.create_network(name(), internal=False, labels={})
    box = start(networks=(network,))
    engine.remove_network(network)
    engine.remove_network(network)
    assert engine.state(box.id).running


def test_networks_are_had_when_the_engines_own_addresses_are_used_up(
    engine: DockerEngine, client: APIClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The engine's refusal is a real one (of a subnet that is taken); then come subnets of our own."""
    create: Any = client.create_network
    asked: list[str] = []

    def refuse_default(*args: Any, ipam: Any = None, **options: Any) -> Any:
        asked.append(ipam["Config"][0]["Subnet"] if ipam else "")
        if ipam is None:
            text = "could not find an available, non-overlapping IPv4 address pool among the defaults"
            raise docker.errors.APIError("500", explanation=text)
        return create(*args, **options, ipam=ipam)

    monkeypatch.setattr(client, "create_network", refuse_default)
    monkeypatch.setattr(
        "pytest_clnrm.engine.docker.networks.subnets",
        lambda _: iter([f"{SPACE.network_address}/28"] * 2 + ["10.251.7.16/28"]),
    )
    first = engine.create_network(name(), internal=True, labels={})
    second = engine.create_network(name(), internal=True, labels={})
    subnet = [client.inspect_network(each)["IPAM"]["Config"][0]["Subnet"] for each in (first, second)]
    assert subnet == ["10.251.0.0/28", "10.251.7.16/28"]
    assert asked == ["", "10.251.0.0/28", "", "10.251.0.0/28", "10.251.0.0/28", "10.251.7.16/28"]
    # As of any other network, this host's address on it is known.
    assert [engine.gateway(each) for each in (first, second)] == ["10.251.0.1", "10.251.7.17"]
    with pytest.raises(EngineError, match=r"subnets tried in 10.251.0.0/16: remove networks"):
        engine.create_network(name(), internal=True, labels={})


def test_a_refusal_of_another_kind_passes(engine: DockerEngine) -> None:
    """It is not taken for a lack of addresses."""
    # Docker takes any name but none, Podman none with a space.
    name = "a name" if engine.facts.kind == "podman" else ""
    with pytest.raises(EngineError, match=rf"^cannot create the network '{name}': "):
        engine.create_network(name, internal=True, labels={})
