"""What the ledger hands out: leases and tickets, and what it is told about owners."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pytest_clnrm.ledger.budget import Demand
from pytest_clnrm.ledger.state import Evicted

if TYPE_CHECKING:
    from pytest_clnrm.ledger.ledger import Ledger


@dataclass(frozen=True, slots=True, kw_only=True)
class Ticket:
    """A place in the queue; ``id`` becomes the id of the lease.

    :param takes: ids of idle leases of the same run whose containers are wanted.
    """

    id: str
    demand: Demand
    priority: int
    index: int
    label: str
    since_s: float
    takes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """Room that this process holds until it gives it back.

    :param evicted: idle leases whose room it took: their containers have to be removed before it is used,
        but for those of leases that were asked for.
    """

    id: str
    demand: Demand
    evicted: tuple[Evicted, ...] = ()
    ledger: Ledger = field(repr=False, compare=False)

    def release(self) -> None:
        """Give the room back; a lease that is no longer this process's is left alone."""
        self.ledger.release(self.id)

    def __enter__(self) -> Lease:  # noqa: PYI034 (typing.Self needs Python 3.11)
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLease:
    """A lease whose owner died: it counts until the owner's containers are known to be gone.

    :param owner: id of the dead process, as in its containers' labels.
    :param evicted: what it had taken over and perhaps not removed yet; those owners may be alive.
    """

    id: str
    owner: str
    run: str
    label: str
    evicted: tuple[Evicted, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What the engine shows of one owner's containers: those that were kept, or the others.

    :param ledger: id of the ledger in their labels.
    :param kept: left there on purpose.
    """

    ledger: str
    owner: str
    demand: Demand
    kept: bool = False
