"""Workers and a gate without processes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from pytest_clnrm.errors import DemandTooLargeError
from pytest_clnrm.scheduling.tickets import ReceivedTickets, Ticket


class FakeNode:
    """Records what it is sent; tests say when something has ended."""

    def __init__(self, name: str = "gw0") -> None:
        self.gateway = SimpleNamespace(id=name)
        self.sent: list[int] = []
        self.received = ReceivedTickets()
        self.received.listen(self)
        self.shutting_down = False

    def __repr__(self) -> str:
        return str(self.gateway.id)

    def send_runtest_some(self, indices: Sequence[int]) -> None:
        """Record."""
        self.sent += indices

    def handle_command(self, command: tuple[str, dict[str, Any]]) -> None:
        """Record what the worker itself would get."""
        assert command[0] == "runtests"
        self.sent += command[1].pop("indices")
        assert not command[1]

    def sendcommand(self, name: str, **given: Any) -> None:
        """Pass it on as xdist does."""
        self.handle_command((name, given))

    def shutdown(self) -> None:
        """Record."""
        self.shutting_down = True

    def take(self) -> list[int]:
        """Return what was sent since the last call."""
        sent, self.sent = self.sent, []
        return sent


class FakeGate:
    """Grants slots up to a cap; records the indices and workers that it was asked for."""

    def __init__(self, cap: int = 10**6) -> None:
        self.cap = cap
        self.asked: list[int] = []
        self.held: dict[str, int] = {}
        self.workers: list[str] = []
        self.idle: set[tuple[str, str | None]] = set()
        self.stuck = ""
        self.given_up: list[int] = []
        self.given_back: list[str] = []

    def serves(self, worker: str, specification: str | None) -> bool:
        """Tell what ``idle`` says."""
        return (worker, specification) in self.idle

    def try_reserve(
        self, index: int, priority: int, demand: Mapping[str, Any], *, worker: str, specification: str | None
    ) -> Ticket | None:
        """Grant what fits; refuse what never will."""
        del priority, specification
        self.settle()
        self.asked.append(index)
        self.workers.append(worker)
        if demand["slots"] > 100:
            raise DemandTooLargeError("more than 100")
        if sum(self.held.values()) + demand["slots"] > self.cap:
            return None
        self.held[f"lease-{index}"] = demand["slots"]
        return Ticket(f"lease-{index}", 0.5, position=7)

    def why_stuck(self, index: int) -> str:
        """Return what the test says."""
        del index
        return self.stuck

    def give_up(self, index: int) -> None:
        """Record."""
        self.given_up.append(index)

    def release(self, ticket: Ticket) -> None:
        """Give back, which counts once it is settled, or something else is asked for."""
        self.given_back.append(ticket.lease)

    def settle(self) -> None:
        """Let what was given back be free."""
        for lease in self.given_back:
            del self.held[lease]
        self.given_back.clear()


@pytest.fixture
def make_node() -> Callable[[str], FakeNode]:
    """Return what makes a worker."""
    return FakeNode


@pytest.fixture(scope="session")
def make_gate() -> Callable[[int], FakeGate]:
    """Return what makes a gate with a cap."""
    return FakeGate
