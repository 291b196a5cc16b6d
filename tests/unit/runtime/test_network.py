"""Which network a set of containers gets: nothing else is ever on it."""

from __future__ import annotations

import socket
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

import pytest

from pytest_clnrm.engine.api import RELAY_PORT, ContainerState
from pytest_clnrm.errors import ContainerError, EngineError
from pytest_clnrm.runtime.network import Network, Networks


@dataclass
class ForwardedPort:
    """A port of this host."""

    place: tuple[str, int]
    closed: bool = False

    def close(self) -> None:
        self.closed = True


@dataclass(eq=False)
class Relay:
    """One that knows whom it was asked to reach."""

    networks: list[str]
    ended: str = ""
    closed: bool = False
    id: str = "relay"
    forwards: list[ForwardedPort] = field(default_factory=list)

    def join(self, network: str) -> str:
        if network not in self.networks:
            self.networks.append(network)
        return f"10.1.0.{network[-1]}"

    def dial(self, address: str, port: int, *, timeout_s: float) -> socket.socket:
        raise ConnectionRefusedError(f"{address}:{port} within {timeout_s:g} s")

    def forward(self, address: str, port: int) -> ForwardedPort:
        self.forwards.append(ForwardedPort((address, 10000 + port)))
        return self.forwards[-1]

    def close(self) -> None:
        self.closed = True


class Engine:
    """Networks by their names; ``refuses`` is what cannot be removed."""

    def __init__(self) -> None:
        self.there: list[str] = []
        self.made = 0
        self.fails = False
        self.nameless: list[str] = []
        self.out_of_reach = False
        self.relays: list[Relay] = []
        self.why_no_relay = ""
        self.connected: dict[str, dict[str, tuple[str, ...]]] = {}

    def create_network(self, name: str, *, internal: bool, labels: Mapping[str, str]) -> str:
        assert internal
        assert labels == {"a": "b"}
        self.made += 1
        self.there.append(name)
        return name

    def has_network(self, network: str) -> bool:
        if self.fails:
            raise EngineError("no answer")
        return network in self.there

    def take_names(self, network: str, container: str) -> None:
        assert network in self.there
        self.nameless.append(container)

    def gateway(self, network: str) -> str:
        return "" if self.out_of_reach else f"10.0.0.{network[-1]}"

    def open_relay(self, network: str) -> Relay:
        if self.why_no_relay:
            raise EngineError(self.why_no_relay)
        self.relays.append(Relay([network]))
        return self.relays[-1]

    def remove_network(self, network: str) -> None:
        self.there.remove(network)

    def connect(self, network: str, container: str, names: Sequence[str]) -> None:
        assert container not in self.connected.setdefault(network, {})
        self.connected[network][container] = tuple(names)

    def disconnect(self, network: str, container: str) -> None:
        if self.fails:
            raise ContainerError("no answer")
        del self.connected[network][container]

    def state(self, container: str) -> str:
        if container == "gone":
            raise ContainerError("no such container")
        return container


@pytest.fixture
def engine() -> Engine:
    """Return an engine without networks."""
    return Engine()


@pytest.fixture
def heard() -> set[str]:
    """Return the gateways from which spans are received."""
    return set()


@pytest.fixture
def networks(engine: Engine, heard: set[str]) -> Networks:
    """Return the networks of one process."""
    given: Any = engine
    return Networks(
        given,
        stem="s-",
        labels=lambda: {"a": "b"},
        allow=heard.add,
        forbid=heard.remove,
        open_relay=given.open_relay,
    )


def lent(networks: Networks, *containers: str) -> Network:
    """Return a network after a scenario with these containers, which are still there."""
    network = networks.lend()
    assert network is not None
    for each in containers:
        networks.joined(network, each, "web")
    networks.give_back(network)
    return network


def test_a_network_is_lent_again_once_all_is_gone(networks: Networks, engine: Engine) -> None:
    """As long as a single container may be there, the next scenario gets another one."""
    first = lent(networks, "c1", "c2")
    networks.left(["c1"])
    second = lent(networks, "c3")
    assert second != first
    networks.left(["c2"])
    assert lent(networks) == first
    assert engine.made == 2


def test_a_lent_network_is_nobody_elses(networks: Networks) -> None:
    """Not before its scenario has ended, though nothing is on it yet."""
    assert networks.lend() != networks.lend()


def test_idle_containers_keep_theirs(networks: Networks, engine: Engine) -> None:
    """A scenario that uses them takes their network too, if there is nothing else."""
    theirs = lent(networks, "c1", "c2")
    assert networks.lend(["c1"]) is None
    networks.left(["c2"])
    assert networks.lend(["c1"]) == theirs
    assert networks.lend(["of no network"]) != theirs
    networks.give_back(theirs)
    engine.there.remove(theirs.id)
    assert networks.lend(["c1"]) is None


def test_containers_of_several_networks_are_on_none_together(networks: Networks) -> None:
    """They could not reach one another."""
    lent(networks, "c1")
    lent(networks, "c2")
    assert networks.lend(["c1", "c2"]) is None


def test_a_network_that_somebody_removed_is_made_anew(
    networks: Networks, engine: Engine, heard: set[str]
) -> None:
    """Its gateway is forgotten with it: it may be another network's by now."""
    gone = lent(networks)
    engine.there.clear()
    network = networks.lend()
    assert network is not None
    assert network != gone
    assert engine.there == [network.id]
    assert heard == {network.gateway}


def test_a_network_whose_containers_were_seen_on_it_is_not_asked_for(
    networks: Networks, engine: Engine
) -> None:
    """An engine removes none on which containers are."""
    theirs = lent(networks, "c1")
    networks.give_back(theirs)
    engine.there.clear()
    assert networks.lend(["c1"], connected=True) == theirs
    networks.give_back(theirs)
    assert networks.lend(["c1"]) is None


def test_an_engine_that_does_not_answer(networks: Networks, engine: Engine) -> None:
    """Is an error, and the network is not lent for ever."""
    lent(networks)
    engine.fails = True
    with pytest.raises(EngineError, match="no answer"):
        networks.lend()
    engine.fails = False
    assert networks.lend() is not None


def test_a_few_are_kept(networks: Networks, engine: Engine, heard: set[str]) -> None:
    """What many removals at once took is given up again."""
    for number in range(5):
        lent(networks, f"c{number}")
    networks.left([f"c{number}" for number in range(5)])
    assert engine.there == ["s-n1", "s-n2"]
    assert heard == {"10.0.0.1", "10.0.0.2"}
    assert networks.reach_us


def test_what_is_kept_on_purpose_keeps_its_network(
    networks: Networks, engine: Engine, heard: set[str]
) -> None:
    """It is neither lent nor removed, and nothing is received from there."""
    network = networks.lend()
    assert network is not None
    assert networks.leave(network) == network.id
    networks.give_back(network)
    assert networks.lend() != network
    networks.close()
    assert engine.there == [network.id]
    assert heard == set()


def test_fixtures_have_one_of_their_own(networks: Networks, engine: Engine) -> None:
    """It is never a scenario's, even while it is empty, and made anew if somebody has removed it."""
    with networks.of_fixtures("db") as theirs, networks.of_fixtures("web") as again:
        assert again == theirs
    assert lent(networks) != theirs
    engine.there.clear()
    with networks.of_fixtures("db") as another:
        assert another != theirs


def test_a_name_among_fixtures_is_one_containers(networks: Networks) -> None:
    """Until it is gone; a host's name is the same in capitals."""
    for _ in range(2):
        with networks.of_fixtures("db") as network:
            networks.joined(network, "c1", "db")
            with pytest.raises(ContainerError, match=r"called 'DB' and is still there: .*\(name=\.\.\.\)"):
                networks.of_fixtures("DB").__enter__()
        # It could not be removed.
        with pytest.raises(ContainerError, match="another container of a fixture"):
            networks.of_fixtures("db").__enter__()
        networks.left(["c1"])


def test_what_fixtures_keep_has_its_network(networks: Networks, engine: Engine, heard: set[str]) -> None:
    """With nothing else there the next one gets another; else what is kept answers for no name any more."""
    with networks.of_fixtures("db") as first:
        networks.joined(first, "c1", "db")
        assert networks.keep("c1") == (first.id,)
    assert not heard
    assert networks.keep("elsewhere") == ()
    with networks.of_fixtures("db") as second:
        assert second != first
        networks.joined(second, "c2", "db")
        with networks.of_fixtures("web"):
            networks.joined(second, "c3", "web")
            networks.keep("c3")
        assert engine.nameless == []
        with networks.of_fixtures("web") as again:
            assert again == second
        assert engine.nameless == ["c3"]
        networks.left(["c2"])
    networks.close()
    assert engine.there == [first.id, second.id]


STATE = ContainerState(
    id="c1",
    running=True,
    exit_code=None,
    oom_killed=False,
    addresses={"s-n1": "10.1.0.9", "bridge": "172.17.0.2"},
    ports={80: ("127.0.0.1", 32768)},
)


def test_where_all_is_reached_directly(networks: Networks, engine: Engine) -> None:
    """No relay is started; a container is reached at its addresses, then where it is published."""
    network = lent(networks, "c1")
    assert engine.relays == []
    assert (network.relay, network.receiver_port) == (None, 0)
    assert network.places(STATE, 80) == [("10.1.0.9", 80), ("172.17.0.2", 80), ("127.0.0.1", 32768)]
    assert network.places(STATE, 81) == [("10.1.0.9", 81), ("172.17.0.2", 81)]
    assert networks.published(STATE, 80) == ("127.0.0.1", 32768)


def test_networks_out_of_reach_have_one_relay(networks: Networks, engine: Engine, heard: set[str]) -> None:
    """All networks of the process are joined by it, and it is what their containers reach, alone."""
    engine.out_of_reach = True
    first, second = networks.lend(), networks.lend()
    assert first is not None
    assert second is not None
    (relay,) = engine.relays
    assert (first.relay, second.relay) == (relay, relay)
    assert relay.networks == [first.id, second.id]
    assert (first.gateway, first.receiver_port) == ("10.1.0.1", RELAY_PORT)
    assert heard == set()
    assert networks.reach_us
    networks.close()
    assert relay.closed
    assert engine.there == []


def test_containers_are_dialled_over_the_relay_alone(networks: Networks, engine: Engine) -> None:
    """A port that is published is another machine's; on this one it may be anybody's."""
    engine.out_of_reach = True
    network = lent(networks, "c1")
    (place,) = network.places(STATE, 80)
    assert place == ("10.1.0.9", 80)
    with pytest.raises(ConnectionRefusedError, match=r"^10.1.0.9:80 within 3 s$"):
        network.dial(place, timeout_s=3.0)


def test_published_ports_are_ports_of_this_process(networks: Networks, engine: Engine) -> None:
    """Each is the same as long as its container is there, and closed with it."""
    engine.out_of_reach = True
    lent(networks, "c1", "c2")
    place = networks.published(STATE, 80)
    assert place == ("10.1.0.9", 10080)
    assert networks.published(STATE, 80) == place
    (forward,) = engine.relays[0].forwards
    networks.left(["c2"])
    assert not forward.closed
    networks.left(["c1"])
    assert forward.closed


def test_without_a_relay(networks: Networks, engine: Engine) -> None:
    """Where there can be none, scenarios that need none run; why is asked for once, and told."""
    engine.out_of_reach = True
    engine.why_no_relay = "there is none for its architecture"
    network = lent(networks, "c1")
    assert (network.gateway, network.relay, networks.reach_us) == ("", None, False)
    assert network.places(STATE, 80) == [("127.0.0.1", 32768)]
    assert network.places(STATE, 81) == []
    assert networks.why_out_of_reach == "there is none for its architecture"
    engine.why_no_relay = "another one"
    networks.lend()
    networks.lend()
    assert networks.why_out_of_reach == "there is none for its architecture"


def test_a_relay_that_has_ended(networks: Networks, engine: Engine) -> None:
    """Its networks are not used again, nor what idles on them; the next ones get another relay."""
    engine.out_of_reach = True
    network = lent(networks, "idle")
    (relay,) = engine.relays
    relay.ended = "its connection broke off"
    assert networks.lend(["idle"]) is None
    fresh = networks.lend()
    assert fresh is not None
    assert fresh.id != network.id
    assert (relay.closed, fresh.relay) == (True, engine.relays[1])


def test_a_shared_container_stays_for_the_next_who_uses_it(networks: Networks, engine: Engine) -> None:
    """It is connected once; whoever does not use it gets the network without it, or not at all."""
    network = networks.lend()
    assert network is not None
    networks.connect(network, "db", ("db", "pg"))
    networks.disconnect(network, "db", at_once=False)
    networks.give_back(network)
    assert networks.lend() == network
    networks.expel(network, {"db", "other"})
    networks.connect(network, "db", ("db", "pg"))
    assert engine.connected == {network.id: {"db": ("db", "pg")}}
    networks.disconnect(network, "db", at_once=False)
    networks.give_back(network)
    assert networks.lend() == network
    networks.expel(network, ())
    assert engine.connected == {network.id: {}}
    networks.connect(network, "db", ("db",))
    networks.disconnect(network, "db", at_once=True)
    assert engine.connected == {network.id: {}}


@pytest.mark.parametrize(("container", "stays"), [("db", True), ("gone", False)])
def test_one_that_cannot_be_taken_off(
    networks: Networks,
    engine: Engine,
    container: str,
    stays: bool,  # noqa: FBT001 (a parameter of the test)
) -> None:
    """Nobody gets the network any more, unless the container is gone."""
    network = networks.lend()
    assert network is not None
    networks.connect(network, container, ("db",))
    networks.disconnect(network, container, at_once=False)
    engine.fails = True
    with pytest.raises(EngineError, match="no answer") if stays else nullcontext():
        networks.expel(network, ())
    engine.fails = False
    networks.give_back(network)
    assert (networks.lend() == network) is not stays


def test_a_network_goes_with_the_container_that_outlives_the_run(
    networks: Networks, engine: Engine, heard: set[str]
) -> None:
    """It is not removed, nothing is received from it any more, and the next process has it with that."""
    theirs = lent(networks, "c1")
    networks.give_back(theirs)
    assert networks.hand_over("c1") == (theirs.id, theirs.name)
    assert heard == set()
    assert networks.lend(["c1"]) != theirs
    assert theirs.id in engine.there
    assert networks.hand_over("of no network") == ()
    again = networks.take_up(theirs.id, theirs.name, "c1", "box")
    assert again == theirs
    assert theirs.gateway in heard
    assert networks.lend(["c1"]) == theirs


def test_a_network_with_others_on_it_is_not_handed_over(networks: Networks) -> None:
    """They would be reached by the next run."""
    theirs = lent(networks, "c1")
    networks.joined(theirs, "c2", "other")
    with pytest.raises(ContainerError, match="others are on its network"):
        networks.hand_over("c1")
