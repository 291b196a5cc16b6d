"""Which network a set of containers gets: nothing else is ever on it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from pytest_clnrm.errors import ContainerError, EngineError
from pytest_clnrm.runtime.network import Network, Networks


class Engine:
    """Networks by their names; ``refuses`` is what cannot be removed."""

    def __init__(self) -> None:
        self.there: list[str] = []
        self.made = 0
        self.fails = False
        self.nameless: list[str] = []

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
        return f"10.0.0.{network[-1]}"

    def remove_network(self, network: str) -> None:
        self.there.remove(network)


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
    return Networks(given, stem="s-", labels=lambda: {"a": "b"}, allow=heard.add, forbid=heard.remove)


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
