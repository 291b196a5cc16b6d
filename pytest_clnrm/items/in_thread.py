"""Blocking work of ours in asynchronous tests: in a thread, under asyncio and trio, and so under AnyIO."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from contextlib import nullcontext, suppress
from contextvars import copy_context
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from pytest_clnrm.errors import ClnrmError
from pytest_clnrm.items.failures import ScenarioFailedError
from pytest_clnrm.items.plain_errors import plain

_Done = TypeVar("_Done")


@dataclass(frozen=True, slots=True)
class _Outcome(Generic[_Done]):
    value: _Done | None
    error: BaseException | None = None


async def in_thread(work: Callable[[], _Done], on_cancel: Callable[[], None] | None = None) -> _Done:
    """Return what *work* returns, or raise what it raises.

    :param on_cancel: called when the caller is cancelled meanwhile, who then waits for the end of the work:
        what it makes must not be left behind. None: the work is left alone then.
    """
    __tracebackhide__ = True

    def done() -> _Outcome[_Done]:
        try:
            return _Outcome(work())
        except BaseException as error:  # noqa: BLE001 (it is raised in the caller's thread)
            return _Outcome(None, error)

    outcome = await (_under_asyncio(done, on_cancel) if _is_asyncio() else _under_trio(done, on_cancel))
    if isinstance(outcome.error, (ClnrmError, ScenarioFailedError, TypeError, ValueError)):
        raise plain(outcome.error)
    if outcome.error is not None:
        raise outcome.error
    return outcome.value  # type: ignore[return-value] # what the work has returned, which may be None


def _is_asyncio() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


async def _under_asyncio(
    done: Callable[[], _Outcome[_Done]], on_cancel: Callable[[], None] | None
) -> _Outcome[_Done]:
    __tracebackhide__ = True
    future = asyncio.get_running_loop().run_in_executor(None, copy_context().run, done)
    try:
        return await asyncio.shield(future)
    except asyncio.CancelledError:
        if on_cancel is None:
            raise
        on_cancel()
        with _shielded():
            while not future.done():
                # Cancelled once more, as by a second Ctrl-C: it still may not be left alone.
                with suppress(asyncio.CancelledError):
                    await asyncio.wait([future])
        raise


def _shielded() -> Any:
    """Return a scope in which AnyIO, which cancels again and again, lets a task wait."""
    anyio = sys.modules.get("anyio")
    return nullcontext() if anyio is None else anyio.CancelScope(shield=True)


async def _under_trio(
    done: Callable[[], _Outcome[_Done]], on_cancel: Callable[[], None] | None
) -> _Outcome[_Done]:
    __tracebackhide__ = True
    trio: Any = sys.modules["trio"]
    outcome: _Outcome[_Done]
    if on_cancel is None:
        outcome = await trio.to_thread.run_sync(done, abandon_on_cancel=True)
        return outcome
    # It begins in a task that is cancelled already, too: it may be the end of a block.
    with trio.CancelScope(shield=True):
        outcome = await trio.to_thread.run_sync(done)
    return outcome
