"""The networks of one process: on each is one set of containers that belong together, and nothing else.

A service's name is an alias on its network, so whatever else is there could answer for it: containers that
are idle, that are being removed beside the next scenario, or that a fixture of a wider scope holds. So a
scenario gets a network from which every container is known to be gone. Creating and removing one each time
would take longer than most steps: this process keeps a few that are free.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_clnrm.errors import ClnrmError, ContainerError

if TYPE_CHECKING:
    from pytest_clnrm.engine.api import Engine

_FREE = 2
"""How many networks are kept that are free: while one is being emptied, the next scenarios take turns."""


@dataclass(frozen=True, slots=True)
class Network:
    """A network without a way out.

    :param gateway: the address under which containers on it reach this process, "" if they do not.
    """

    id: str
    gateway: str


class Networks:
    """The networks of one process; may be used from several threads at once.

    :param stem: with which their names begin.
    :param labels: returns those of a new network.
    :param allow: called with the gateway of each network from which spans are received.
    :param forbid: called with it once they are no longer.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        stem: str,
        labels: Callable[[], Mapping[str, str]],
        allow: Callable[[str], None],
        forbid: Callable[[str], None],
    ) -> None:
        self._engine = engine
        self._stem = stem
        self._labels = labels
        self._allow = allow
        self._forbid = forbid
        self._guard = threading.Lock()
        self._made = 0
        # The containers on each, those that may still be there included, with their names.
        self._on: dict[Network, dict[str, str]] = {}
        self._lent: set[Network] = set()
        # Those that were kept on a network which others are still on.
        self._kept: dict[Network, list[str]] = {}
        self._of_fixtures: Network | None = None
        self._making = threading.Lock()
        self._taken: set[str] = set()

    @property
    def reach_us(self) -> bool:
        """Tell whether containers on a network of this process reach it."""
        with self._guard:
            return any(network.gateway for network in self._on)

    # of scenarios

    def lend(self, idle: Collection[str] = ()) -> Network | None:
        """Return the network for a scenario, until :meth:`give_back`.

        :param idle: ids of the containers that it would use again. If they are on a network it is that one;
            None means that it holds something else too, or is gone: ask again without them.
        :raises EngineError: with the engine's reason.
        """
        with self._guard:
            theirs = [network for network, on in self._on.items() if not on.keys().isdisjoint(idle)]
            alone = len(theirs) == 1 and self._on[theirs[0]].keys() <= set(idle)
            if alone:
                self._lent.add(theirs[0])
        if theirs:
            return theirs[0] if alone and self._is_there(theirs[0]) else None
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
        """End a loan; what is still on the network keeps it from being lent to anybody else."""
        with self._guard:
            self._lent.discard(network)
        self._trim()

    def leave(self, network: Network) -> str:
        """Leave a lent network to what is kept on it, and return its id."""
        self._forget(network)
        return network.id

    # of fixtures

    @contextmanager
    def of_fixtures(self, name: str) -> Iterator[Network]:
        """Yield the network on which fixtures' containers reach one another, for one called *name*.

        :raises ContainerError: if another one is called so.
        :raises EngineError: with the engine's reason.
        """
        key = name.casefold()
        with self._guard:
            if self._is_taken(key):
                raise ContainerError(
                    f"another container of a fixture, or of this test, is called {name!r} and is still "
                    "there: they reach one another by name, so give one of them another one (name=...)"
                )
            self._taken.add(key)
        try:
            with self._making:
                if self._of_fixtures is None or not self._is_there(self._of_fixtures):
                    self._of_fixtures = self._create()
                self._take_names(self._of_fixtures)
            yield self._of_fixtures
        finally:
            with self._guard:
                self._taken.discard(key)

    def keep(self, container: str) -> tuple[str, ...]:
        """Leave a fixture's container on its network, for good, and return the network's id, if it has one.

        Once nothing else is there, the next fixture's container gets another network.
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
        """Tell whether a fixture's container is called so."""
        with self._guard:
            return self._is_taken(name.casefold())

    # what is on them

    def joined(self, network: Network, container: str, name: str) -> None:
        """Take note that a container is on a network, under a name."""
        with self._guard:
            self._on[network][container] = name.casefold()

    def left(self, containers: Iterable[str]) -> None:
        """Take note that containers are gone."""
        with self._guard:
            for container in containers:
                for on in self._on.values():
                    on.pop(container, None)
        self._leave_kept()
        self._trim()

    def close(self) -> None:
        """Remove all networks; what cannot be removed now is swept at the end of the run."""
        with self._guard:
            networks, kept = list(self._on), set(self._kept)
        for network in networks:
            self._forget(network)
            if network not in kept:
                with suppress(ClnrmError):
                    self._engine.remove_network(network.id)

    # helpers

    def _is_taken(self, key: str) -> bool:
        """Tell whether a fixture's container has a name: as one of a host, it is the same in capitals."""
        on = {} if self._of_fixtures is None else self._on.get(self._of_fixtures, {})
        return key in self._taken or key in on.values()

    def _leave_kept(self) -> None:
        """Leave the networks on which there is nothing but what is kept."""
        with self._guard:
            left = [network for network in self._kept if not self._on.get(network)]
            for network in left:
                del self._kept[network]
                if network == self._of_fixtures:
                    self._of_fixtures = None
        for network in left:
            self._forget(network)

    def _take_names(self, network: Network) -> None:
        """See that what is kept beside others answers for nobody's name any more."""
        with self._guard:
            kept = self._kept.get(network, [])
            if kept:
                self._kept[network] = []
        for container in kept:
            self._engine.take_names(network.id, container)

    def _free(self) -> list[Network]:
        return [network for network, on in self._on.items() if not on and network not in self._lent]

    def _is_there(self, network: Network) -> bool:
        """Tell whether nobody has removed a network that was made before; else forget it."""
        try:
            there = self._engine.has_network(network.id)
        except ClnrmError:
            self._forget(network)
            raise
        if not there:
            self._forget(network)
        return there

    def _create(self) -> Network:
        """Return a new network, which is lent."""
        with self._guard:
            self._made += 1
            name = f"{self._stem}n{self._made}"
        created = self._engine.create_network(name, internal=True, labels=self._labels())
        network = Network(created, self._engine.gateway(created))
        with self._guard:
            self._on[network] = {}
            self._lent.add(network)
        if network.gateway:
            self._allow(network.gateway)
        return network

    def _forget(self, network: Network) -> None:
        with self._guard:
            self._on.pop(network, None)
            self._lent.discard(network)
            shared = any(each.gateway == network.gateway for each in self._on)
        # Before it is removed: the next one may get its addresses.
        if network.gateway and not shared:
            self._forbid(network.gateway)

    def _trim(self) -> None:
        """Remove free networks beyond those that are kept."""
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
