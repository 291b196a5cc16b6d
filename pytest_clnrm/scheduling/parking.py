"""Where a worker waits for the controller's decisions: below pytest's hooks, around xdist's ``run_one_test``.

With xdist alone each item has a next one that cannot be taken back. Here the next item is decided when the
running one is about to be torn down (:mod:`pytest_clnrm.scheduling.strict`). So ``pytest_runtest_protocol``
is given the item that is foreseen, and ``pytest_runtest_teardown`` the one that comes, or None on a worker's
last one: no plugin sees anything that is no test, and fixtures live as long as the next item needs them.

What is replaced has no hook: ``run_one_test`` and the ``get`` of the queue that it takes indices from, and
what calls ``pytest_runtest_teardown``, whose ``nextitem`` is the decided one.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import pytest


def flush_order(items: Sequence[object]) -> int:
    """Return what is sent in place of an index to a worker that is to tear down all but session fixtures."""
    return len(items)


def interactor_of(config: pytest.Config) -> Any:
    """Return xdist's WorkerInteractor, by which a worker talks with its controller."""
    return next(
        each for each in config.pluginmanager.get_plugins() if type(each).__name__ == "WorkerInteractor"
    )


class Parking:
    """Runs a worker's items one by one, in the order in which the controller decides.

    :param interactor: xdist's WorkerInteractor, whose loop has not begun.
    """

    def __init__(self, interactor: Any, session: pytest.Session) -> None:
        self._interactor = interactor
        self._session = session
        self._queue = interactor.torun
        self._take = interactor.torun.get
        self._run = interactor.run_one_test
        self._pid = os.getpid()
        self._running: pytest.Item | None = None
        self._foreseen: pytest.Item | None = None
        self._decided: tuple[pytest.Item | None] | None = None
        interactor.torun.get = self._get
        interactor.run_one_test = self._run_one_test
        teardown: Any = session.config.hook.pytest_runtest_teardown
        self._call_teardown = teardown._hookexec  # noqa: SLF001 - hooks cannot change what others are given
        teardown._hookexec = self._teardown  # noqa: SLF001

    def _get(self) -> object:
        """Return what xdist's loop runs first; while it runs an item, what is foreseen to come next."""
        if self._running is None:
            return self._take()
        order = self._first()
        return ~order if isinstance(order, int) and order < 0 else order

    def _first(self) -> object:
        """Wait for the next order of the controller, and leave it in the queue."""
        order = self._take()
        with self._queue.lock() as orders:
            orders.appendleft(order)
        return order

    def _item(self, order: object) -> pytest.Item | None:
        """Return the item of an order, None for the end."""
        if not isinstance(order, int):
            return None
        return self._session.items[~order if order < 0 else order]

    def _run_one_test(self) -> None:
        """Run an item, then wait until the next one may start."""
        self._running = self._item(self._interactor.nextitem_index)
        self._foreseen = self._item(self._first())
        self._decided = None
        self._run()
        if not (self._session.shouldfail or self._session.shouldstop):
            self._decide()
            self._interactor.nextitem_index = self._wait()

    def _teardown(self, name: str, hooks: Any, arguments: dict[str, Any], *more: Any) -> object:
        """Call ``pytest_runtest_teardown``, with the item that comes next in place of the foreseen one."""
        __tracebackhide__ = True
        # Other plugins call it for reruns with a nextitem of their own, or in a child process.
        if (
            arguments.get("item") is self._running
            and self._foreseen is not None
            and arguments.get("nextitem") is self._foreseen
            and os.getpid() == self._pid
        ):
            arguments["nextitem"] = self._decide()
        return self._call_teardown(name, hooks, arguments, *more)

    def _decide(self) -> pytest.Item | None:
        """Return the item that comes next, None at the end; ask the controller if it has not said."""
        if self._decided is None:
            with self._queue.lock() as orders:
                if orders and isinstance(orders[0], int) and orders[0] < 0:
                    orders.popleft()
                must_ask = not orders
            if must_ask:
                # One of the few messages that xdist's controller passes on to its scheduling.
                self._interactor.sendevent("unscheduled", indices=[])
            self._decided = (self._item(self._first()),)
        return self._decided[0]

    def _wait(self) -> object:
        """Return the index that may start, or xdist's mark of the end."""
        while True:
            order = self._take()
            if order == flush_order(self._session.items):
                tear_down_to(self._session, self._running, [self._session])
                self._interactor.sendevent("runtest_protocol_complete", item_index=order, duration=0)
            elif not isinstance(order, int):
                # It was told of an item that is not for it any more.
                tear_down_to(self._session, self._running, [])
                return order
            elif order >= 0:
                return order


class _Chain:
    """What pytest asks of a next item: the collectors that stay set up."""

    def __init__(self, chain: list[Any]) -> None:
        self.listchain = lambda: chain


def tear_down_to(session: pytest.Session, last: pytest.Item | None, chain: list[Any]) -> None:
    """Tear down all but *chain*, and report an error as one of *last*, the item that ran last."""
    needed: Any = _Chain(chain)
    call = pytest.CallInfo.from_call(
        lambda: session._setupstate.teardown_exact(needed),  # noqa: SLF001 - there is no public way
        when="teardown",
        reraise=(pytest.exit.Exception, KeyboardInterrupt),
    )
    if call.excinfo is not None and last is not None:
        report = last.ihook.pytest_runtest_makereport(item=last, call=call)
        last.ihook.pytest_runtest_logreport(report=report)
