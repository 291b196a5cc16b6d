"""What the scheduler asks of admission."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol


class Admission(NamedTuple):
    """A reservation that was granted.

    :param lease: its id in the ledger; the worker adopts it.
    :param waited_s: seconds from the first time it was asked for.
    :param reuse: ids of idle leases whose room it took and whose containers the worker is to use.
    :param remove: ids of containers whose room it took: the worker removes them first.
    :param position: its place among the waiters of all runs when its wait began, 1 for the first; 0 if it did
        not wait.
    """

    lease: str
    waited_s: float = 0.0
    reuse: tuple[str, ...] = ()
    remove: tuple[str, ...] = ()
    position: int = 0


class Gate(Protocol):
    """Grants reservations to items before they are sent to a worker.

    All calls come from the controller's main thread. An implementation is given a function ``wake()`` when it
    is made and calls it, from any thread, whenever its answer may have changed: something was released, by
    whom ever, or a waiter's time is over. Then it is asked again; it is not asked in between without a
    reason.
    """

    def try_admit(
        self, index: int, priority: int, demand: Mapping[str, Any], *, worker: str, specification: str | None
    ) -> Admission | None:
        """Reserve for the item at *index* of the session, or return None: it has to wait.

        :param worker: id of the worker that it would be sent to.
        :param specification: of its containers; that worker's idle ones of the same are used again.

        Only the head of the queue is asked for. Another index may be asked for while one waits: a crashed
        item that is to be run again comes first.

        :raises pytest_clnrm.errors.AdmissionError: if it will never be granted (too large, waited too long):
            the item is then sent without, and fails with this message.
        """
        ...

    def serves(self, worker: str, specification: str | None) -> bool:
        """Tell whether *worker* has idle containers of *specification*."""
        ...

    def why_stuck(self, index: int) -> str:
        """Return why the item at *index*, which waits, never comes to its turn; "" if it may.

        Asked when none of the run's items runs: what fixtures of its workers hold by then, they hold until
        the workers end.
        """
        ...

    def give_up(self, index: int) -> None:
        """Forget that the item at *index* waits."""
        ...

    def release(self, admission: Admission) -> None:
        """Give a reservation back: its item has ended, or its worker is dead."""
        ...
