"""The networks of one process: on each are containers that belong together, and nothing else.

A service's name is an alias on its network, so any other container there could answer for it: one that is
idle, that is still being removed, or that belongs to a fixture. So a scenario gets a network that is known to
be empty. Creating and removing one each time would take longer than most steps: a few empty ones are kept.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pytest_clnrm.engine.api import RELAY_PORT
from pytest_clnrm.errors import ClnrmError, ContainerError, EngineError

if TYPE_CHECKING:
    from pytest_clnrm.engine.api import ContainerState, Engine
    from pytest_clnrm.engine.relay_api import ForwardedPort, Relay

_FREE = 2
"""How many empty networks are kept: while containers are being removed from one, another one can be used."""


Place = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Network:
    """A network without a way out.

    :param gateway: the address under which containers on it reach this process, "" if they cannot.
    :param name: by which its containers' states call it.
    :param relay: over which connections go both ways, None where they go directly, or not at all.
    """

    id: str
    gateway: str
    name: str = ""
    relay: Relay | None = None

    @property
    def receiver_port(self) -> int:
        """Return the port under which containers on it reach the receiver of spans, 0 for its own."""
        return RELAY_PORT if self.relay is not None else 0

    def places(self, state: ContainerState, port: int) -> list[Place]:
        """Return where :meth:`dial` may find *port* of a container: itself, then where it is published."""
        addresses = [address for address in state.addresses.values() if address]
        published = [state.ports[port]] if port in state.ports else []
        if self.relay is not None:
            # Published ports may be those of another machine, and on this one belong to somebody else.
            address = state.addresses.get(self.name, "")
            return [(address, port)] if address else []
        return [*((address, port) for address in addresses if self.gateway), *published]

    def dial(self, place: Place, *, timeout_s: float) -> socket.socket:
        """Return a connection to one of :meth:`places`; its timeout is *timeout_s*.

        :raises OSError: if there is none.
        """
        if self.relay is not None:
            return self.relay.dial(*place, timeout_s=timeout_s)
        return socket.create_connection(place, timeout=timeout_s)


class Networks:
    """The networks of one process; may be used from several threads at once.

    :param stem: with which their names begin.
    :param labels: returns the labels of a new network.
    :param allow: called with the gateway of each new network: spans are received from it.
    :param forbid: called with the gateway before the network is given up.
    :param open_relay: starts the relay for a network that is out of reach; raises EngineError if it cannot.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        stem: str,
        labels: Callable[[], Mapping[str, str]],
        allow: Callable[[str], None],
        forbid: Callable[[str], None],
        open_relay: Callable[[str], Relay],
    ) -> None:
        self._engine = engine
        self._open_relay = open_relay
        self._relay: Relay | None = None
        self._relaying = threading.Lock()
        self._forwards: dict[str, dict[int, ForwardedPort]] = {}
        self.why_out_of_reach = ""
        self._stem = stem
        self._labels = labels
        self._allow = allow
        self._forbid = forbid
        self._guard = threading.Lock()
        self._made = 0
        # The containers on each, with their names; one that may not be gone yet is still on it.
        self._on: dict[Network, dict[str, str]] = {}
        self._lent: set[Network] = set()
        # Containers that were kept, on networks on which others still are.
        self._kept: dict[Network, list[str]] = {}
        self._of_fixtures: Network | None = None
        self._making = threading.Lock()
        self._taken: set[tuple[Network | None, str]] = set()
        # Networks of containers that the whole run shares: this process neither lends nor removes them.
        self._visited: dict[str, Network] = {}
        # Shared containers that the last scenario on a network has used: the next one may use them too.
        self._guests: dict[Network, set[str]] = {}

    @property
    def reach_us(self) -> bool:
        """Tell whether containers on a network of this process can reach it."""
        with self._guard:
            return any(network.gateway for network in self._on)

    def published(self, state: ContainerState, port: int) -> Place:
        """Return host and port at which a published *port* of a running container is reached from here.

        Where its network is reached over a relay, that is a port of this process.

        :raises OSError: if no port can be had for that.
        """
        with self._guard:
            network = next((network for network, on in self._on.items() if state.id in on), None)
            if network is None or network.relay is None:
                return state.ports[port]
            forwards = self._forwards.setdefault(state.id, {})
            if port not in forwards:
                ((address, _),) = network.places(state, port)
                forwards[port] = network.relay.forward(address, port)
            return forwards[port].place

    # of scenarios

    def lend(self, idle: Collection[str] = (), *, connected: bool = False) -> Network | None:
        """Return a network for a scenario, until :meth:`give_back`.

        :param idle: ids of idle containers that the scenario would use. It gets the network that they are on.
            None means that others are on it too, or that it is gone: ask again without them.
        :param connected: they were seen to be on it yet, so it is there.
        :raises EngineError: with the engine's reason.
        """
        with self._guard:
            theirs = [network for network, on in self._on.items() if not on.keys().isdisjoint(idle)]
            alone = len(theirs) == 1 and self._on[theirs[0]].keys() <= set(idle)
            if alone:
                self._lent.add(theirs[0])
        if theirs:
            return theirs[0] if alone and self._is_there(theirs[0], connected=connected) else None
        while True:
            with self._guard:
                network = next(iter(self._free()), None)
                if network is not None:
                    self._lent.add(network)
            if network is None:
                return self._create()
            if self._is_there(network):
                return network

    def give_back(self, network: Network) -> None:
        """Take a network back; it is not lent again as long as containers are on it."""
        with self._guard:
            self._lent.discard(network)
        self._trim()

    def leave(self, network: Network) -> str:
        """Leave a lent network to the containers that are kept on it, and return its id."""
        self._forget(network)
        return network.id

    # of containers that outlive the run

    def hand_over(self, container: str) -> tuple[str, ...]:
        """Leave its network to a container that is alone on it; return id and name, () if it has none.

        :raises ContainerError: if others are on it too.
        """
        with self._guard:
            network = next((network for network, on in self._on.items() if container in on), None)
            if network is not None and (len(self._on[network]) > 1 or self._guests.get(network)):
                raise ContainerError("others are on its network")
        if network is None:
            return ()
        self._forget(network)
        return network.id, network.name

    def take_up(self, network_id: str, network_name: str, container: str, name: str) -> Network:
        """Return the network that was handed over to a container, which is this process's now.

        :param name: of the container on it.
        :raises EngineError: if it is gone.
        """
        network = self._reached(network_id, network_name)
        self.joined(network, container, name)
        self.give_back(network)
        return network

    # of fixtures

    @contextmanager
    def of_fixtures(self, name: str, *aliases: str, apart: Network | None = None) -> Iterator[Network]:
        """Yield the network on which fixtures' containers reach one another, for a container called *name*.

        :param aliases: more names of it.
        :param apart: a lent network, on which it is instead.
        :raises ContainerError: if another one has one of these names.
        :raises EngineError: with the engine's reason.
        """
        names = {each.casefold(): each for each in (name, *aliases)}
        with self._guard:
            for key, each in names.items():
                if self._is_taken(key, apart):
                    raise ContainerError(
                        f"another container of a fixture, or of this test, is called {each!r} and is still "
                        "there: they reach one another by name, so give one of them another one "
                        f"({'name' if each == name else 'aliases'}=...)"
                    )
            self._taken.update((apart, key) for key in names)
        try:
            if apart is not None:
                yield apart
                return
            with self._making:
                if self._of_fixtures is None or not self._is_there(self._of_fixtures):
                    self._of_fixtures = self._create()
                self._take_names(self._of_fixtures)
            yield self._of_fixtures
        finally:
            with self._guard:
                self._taken.difference_update((apart, key) for key in names)

    def keep(self, container: str) -> tuple[str, ...]:
        """Leave a fixture's container on its network, and return the network's id, () if it has none.

        Once nothing else is on that network, the next fixture's container gets another one.
        """
        with self._guard:
            network = next((network for network, on in self._on.items() if container in on), None)
            if network is None:
                return ()
            del self._on[network][container]
            self._kept.setdefault(network, []).append(container)
        self._leave_kept()
        return (network.id,)

    def is_taken(self, name: str) -> bool:
        """Tell whether a fixture's container has that name."""
        with self._guard:
            return self._is_taken(name.casefold(), None)

    # of what the whole run shares

    def visit(self, network_id: str, name: str) -> Network:
        """Return a network of a shared container, as this process reaches it.

        :raises EngineError: with the engine's reason.
        """
        with self._guard:
            if network_id in self._visited:
                return self._visited[network_id]
        network = self._reached(network_id, name)
        with self._guard:
            return self._visited.setdefault(network_id, network)

    def connect(self, network: Network, container: str, names: Sequence[str]) -> None:
        """Put a shared container on a network, under these names.

        :raises ContainerError: with the engine's reason.
        """
        with self._guard:
            is_there = container in self._guests.get(network, ())
            self._guests.get(network, set()).discard(container)
        # Noted first: the network is nobody's as long as it may be there.
        self.joined(network, container, names[0])
        if not is_there:
            self._engine.connect(network.id, container, names)

    def expel(self, network: Network, but: Collection[str]) -> None:
        """Take all shared containers off a network that its last user has left there, but some.

        :raises EngineError: if one may still be there: nobody gets the network any more.
        """
        with self._guard:
            expelled = self._guests.get(network, set()).difference(but)
            self._guests.get(network, set()).difference_update(expelled)
            self._on[network].update(dict.fromkeys(expelled, ""))
        for container in expelled:
            try:
                self._engine.disconnect(network.id, container)
            except EngineError:
                if self._has(container):
                    raise
            with self._guard:
                del self._on[network][container]

    def _has(self, container: str) -> bool:
        try:
            self._engine.state(container)
        except ContainerError:
            return False
        return True

    def disconnect(self, network: Network, container: str, *, at_once: bool) -> None:
        """Take a shared container off a network; if that fails, nobody gets the network any more.

        :param at_once: not only when somebody gets the network who does not use it.
        """
        if not at_once:
            with self._guard:
                self._on.get(network, {}).pop(container, None)
                self._guests.setdefault(network, set()).add(container)
            return
        with suppress(ClnrmError):
            self._engine.disconnect(network.id, container)
            with self._guard:
                self._on.get(network, {}).pop(container, None)

    # what is on them

    def joined(self, network: Network, container: str, name: str) -> None:
        """Note that a container is on a network, under a name."""
        with self._guard:
            self._on[network][container] = name.casefold()

    def restarted(self, container: str) -> None:
        """Note that a container was started again, and may have another address."""
        with self._guard:
            for forward in self._forwards.pop(container, {}).values():
                forward.close()

    def left(self, containers: Iterable[str]) -> None:
        """Note that containers are gone."""
        with self._guard:
            for container in containers:
                for on in self._on.values():
                    on.pop(container, None)
                for forward in self._forwards.pop(container, {}).values():
                    forward.close()
        self._leave_kept()
        self._trim()

    def close(self) -> None:
        """Remove all networks; what cannot be removed now is swept at the end of the run."""
        with self._guard:
            networks, kept = list(self._on), {*self._kept, *self._visited.values()}
        relay, self._relay = self._relay, None
        if relay is not None:
            with suppress(ClnrmError):
                relay.close()
        for network in networks:
            self._forget(network)
            if network not in kept:
                with suppress(ClnrmError):
                    self._engine.remove_network(network.id)

    # helpers

    def _is_taken(self, key: str, apart: Network | None) -> bool:
        """Tell whether a fixture's container has that name. It is a host's name: case does not matter.

        :param apart: on that network, if not on that of all fixtures.
        """
        network = self._of_fixtures if apart is None else apart
        on = {} if network is None else self._on.get(network, {})
        return (apart, key) in self._taken or key in on.values()

    def _leave_kept(self) -> None:
        """Leave the networks on which only kept containers are left."""
        with self._guard:
            left = [network for network in self._kept if not self._on.get(network)]
            for network in left:
                del self._kept[network]
                if network == self._of_fixtures:
                    self._of_fixtures = None
        for network in left:
            self._forget(network)

    def _take_names(self, network: Network) -> None:
        """Take their names from kept containers, so that they do not answer for new ones."""
        with self._guard:
            kept = self._kept.get(network, [])
            if kept:
                self._kept[network] = []
        for container in kept:
            self._engine.take_names(network.id, container)

    def _free(self) -> list[Network]:
        return [network for network, on in self._on.items() if not on and network not in self._lent]

    def _is_there(self, network: Network, *, connected: bool = False) -> bool:
        """Tell whether a network still exists with its relay, and forget it if one of them is gone.

        :param connected: it exists.
        """
        try:
            there = not (network.relay and network.relay.ended)
            there = there and (connected or self._engine.has_network(network.id))
        except ClnrmError:
            self._forget(network)
            raise
        if not there:
            self._forget(network)
        return there

    def _create(self) -> Network:
        """Create a network, and lend it."""
        with self._guard:
            self._made += 1
            name = f"{self._stem}n{self._made}"
        created = self._engine.create_network(name, internal=True, labels=self._labels())
        return self._reached(created, name)

    def _reached(self, network_id: str, name: str) -> Network:
        """Return a network as this process reaches it, lent."""
        network = Network(network_id, self._engine.gateway(network_id), name)
        if not network.gateway:
            network = self._relayed(network)
        with self._guard:
            self._on[network] = {}
            self._lent.add(network)
        if network.gateway and network.relay is None:
            self._allow(network.gateway)
        return network

    def _relayed(self, network: Network) -> Network:
        """Return a network that is out of reach as one that is reached over a relay, if there can be one."""
        with self._relaying:
            try:
                if self._relay is not None and self._relay.ended:
                    ended, self._relay = self._relay, None
                    ended.close()
                if self._relay is None and not self.why_out_of_reach:
                    self._relay = self._open_relay(network.id)
                if self._relay is not None:
                    return replace(network, gateway=self._relay.join(network.id), relay=self._relay)
            except EngineError as error:
                # Asked for once: scenarios that need none of it run all the same.
                self.why_out_of_reach = str(error)
        return network

    def _forget(self, network: Network) -> None:
        with self._guard:
            self._on.pop(network, None)
            self._guests.pop(network, None)
            self._lent.discard(network)
            shared = any(each.gateway == network.gateway for each in self._on)
        # Before it is removed: another network may get its addresses.
        if network.gateway and network.relay is None and not shared:
            self._forbid(network.gateway)

    def _trim(self) -> None:
        """Remove empty networks beyond those that are kept."""
        while True:
            with self._guard:
                free = self._free()
                if len(free) <= _FREE:
                    return
                self._lent.add(free[-1])
            self._forget(free[-1])
            # What cannot be removed now is swept at the end of the run.
            with suppress(ClnrmError):
                self._engine.remove_network(free[-1].id)
