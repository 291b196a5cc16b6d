"""The ledger's state: frozen values, and their strict, versioned JSON form.

The same form serves the state file and the file in which each owner's own entries are kept.
Times are seconds of the monotonic clock, which all processes of one machine share between two boots.
"""

from __future__ import annotations

import dataclasses
import json
import types
import typing
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import msgspec

from pytest_clnrm.errors import LedgerError
from pytest_clnrm.ledger.budget import Budget
from pytest_clnrm.model.demand import NOTHING, Demand

STATE_FORMAT = 6
_KIND = "pytest-clnrm ledger"
_HEAD = b'{"kind":"%s","format":%d,' % (_KIND.encode(), STATE_FORMAT)
# Each hand-off of a slot writes the state.
_encode = msgspec.json.Encoder().encode


class TornStateError(Exception):
    """A file of ours holds no whole state: it has to be rebuilt."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunEntry:
    """A test run, with what it may hold by itself.

    :param started_s: earlier runs go first among equal priorities.
    :param keeper: the owner that keeps what the run has left for the next one, "" if there is none.
    :param project: for whose next run that is.
    :param keeps_s: how long it keeps what nobody uses.
    """

    run: str
    started_s: float
    budget: Budget
    keeper: str = ""
    project: str = ""
    keeps_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnerEntry:
    """A process that holds, or waits for, reservations."""

    owner: str
    run: str
    pid: int
    boot: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Evicted:
    """An idle lease that was taken over; its containers are the new lease's to use or to remove.

    :param id: of the lease.
    :param demand: what it counts as until its containers are known to be gone, or used.
    """

    id: str
    owner: str
    run: str
    demand: Demand
    containers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """A granted reservation, as it was when it was read. It counts until its owner releases it by its id.

    :param owner: id of the process that holds it, as in its containers' labels.
    :param label: what it is for, as status views show it.
    :param idle_since_s: None while in use; else others may take it over.
    :param containers: ids of its containers, while it is idle.
    :param evicted: the idle leases that it took over. They have to be gone, or used, before its own
        containers are created; if its owner dies first, whoever purges it removes theirs too.
    :param kept: its containers were left on purpose: it counts, and no purge removes them.
    :param key: of a container that several leases of the run use, "" for any other. Its owner is the run.
    :param uses: ids of the leases of such containers that are in use as long as this one is.
    """

    id: str
    owner: str
    run: str
    demand: Demand
    granted_s: float
    label: str = ""
    idle_since_s: float | None = None
    containers: tuple[str, ...] = ()
    evicted: tuple[Evicted, ...] = ()
    kept: bool = False
    key: str = ""
    uses: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiter:
    """A demand that waits for its turn.

    :param id: becomes the lease's id.
    :param priority: smaller goes first.
    :param index: place in the run's collection.
    :param wake: file name of the FIFO that its process listens to; "" until it stands in the queue.
    :param takes: ids of idle leases of its run that it takes over before any other, to use their containers.
    """

    id: str
    owner: str
    run: str
    demand: Demand
    priority: int
    index: int
    since_s: float
    wake: str = ""
    label: str = ""
    takes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineLoad:
    """What the engine shows of one owner's containers: those that were kept on purpose, or the others.

    :param ledger: id of the ledger in their labels.
    """

    ledger: str
    owner: str
    demand: Demand
    kept: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """All that the ledger of one engine knows.

    :param boot: id of the boot in which the times were taken.
    :param foreign: what containers of other ledgers hold on the same engine.
    """

    engine: str
    boot: str
    runs: tuple[RunEntry, ...] = ()
    owners: tuple[OwnerEntry, ...] = ()
    leases: tuple[Lease, ...] = ()
    waiters: tuple[Waiter, ...] = ()
    foreign: Demand = NOTHING


def encode(state: State) -> bytes:
    """Return *state* as JSON, with its kind and format."""
    return _HEAD + _encode(state)[1:]


def decode(raw: bytes, file: str) -> State:
    """Return the state that *raw* describes.

    :param file: where it was read, for messages.

    :raises TornStateError: if it is empty, cut off or damaged.
    :raises LedgerError: if it is whole, but not ours or of a newer format.
    """
    try:
        data = json.loads(raw)
    except ValueError as error:
        raise TornStateError(f"{file}: {error}") from error
    if not isinstance(data, dict) or data.get("kind") != _KIND:
        raise LedgerError(
            f"{file} is not a ledger of pytest-clnrm; move it away, or set clnrm_ledger_dir to another folder"
        )
    version = data.get("format")
    if not isinstance(version, int) or version > STATE_FORMAT:
        raise LedgerError(
            f"{file} has format {version!r}, written by a newer pytest-clnrm; this one reads {STATE_FORMAT}: "
            "upgrade it, or set clnrm_ledger_dir to another folder"
        )
    del data["kind"], data["format"]
    try:
        state = _reader(State)(data)
    except (TypeError, ValueError) as error:
        raise TornStateError(f"{file}: {error}") from error
    assert isinstance(state, State)  # noqa: S101 (tells the type checker what was built)
    return state


@cache
def _reader(kind: Any) -> Callable[[Any], Any]:
    """Return what turns plain data into a value of the type *kind*, or raises TypeError or ValueError.

    Nothing is converted but lists to tuples and whole numbers to floats.
    """
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        return _object_reader(kind)
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is types.UnionType:
        read = _reader(arguments[0])
        return lambda data: None if data is None else read(data)
    if origin is tuple:
        read = _reader(arguments[0])
        return lambda data: tuple([read(each) for each in _exact(data, list)])
    if origin is dict:
        return lambda data: {name: _exact(each, str) for name, each in _exact(data, dict).items()}
    if kind is float:
        return lambda data: float(data) if type(data) is int else _exact(data, float)
    return lambda data: _exact(data, kind)


def _object_reader(kind: type) -> Callable[[Any], Any]:
    readers = {name: _reader(hint) for name, hint in typing.get_type_hints(kind).items()}

    def read(data: Any) -> Any:
        if _exact(data, dict).keys() != readers.keys():
            raise TypeError(f"{kind.__name__} has {', '.join(readers)}, not {', '.join(data)}")
        return kind(**{name: reader(data[name]) for name, reader in readers.items()})

    return read


def _exact(data: Any, kind: type) -> Any:
    if type(data) is not kind:
        raise TypeError(f"{kind.__name__} expected, {data!r:.80} found")
    return data
