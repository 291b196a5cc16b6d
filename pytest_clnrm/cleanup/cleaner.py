"""Removing what dead owners, dead workers and ended runs left on the engine, and never anything else.

Only objects with the label of our own ledger are looked at, and only those of owners that the ledger knows to
be dead are removed. What ``--clnrm-keep`` left on purpose stays until its removal is asked for.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING

from pytest_clnrm.cleanup import run_records
from pytest_clnrm.cleanup.labels import LEDGER, OWNER, SESSION, WORKER, is_made_here, is_relay, load_of
from pytest_clnrm.errors import EngineError
from pytest_clnrm.ledger.shared import with_runs
from pytest_clnrm.util.counted import counted

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

    from pytest_clnrm.engine.api import Engine, OwnedObject
    from pytest_clnrm.ledger.folder import Folder
    from pytest_clnrm.ledger.ledger import Ledger
    from pytest_clnrm.ledger.state import EngineLoad, Lease
    from pytest_clnrm.model.demand import Demand

_ROUNDS = 5
_ROUND_S = 0.2
_END_ORPHANS_S = 2.0


def describe_swept(swept: Counter[str]) -> str:
    """Return how many objects of each kind were removed: ``2 containers, 1 network``."""
    kinds = [kind for kind in ("container", "network", "volume", "image") if swept[kind]]
    return ", ".join(f"{swept[kind]} {kind}{'' if swept[kind] == 1 else 's'}" for kind in kinds) or "nothing"


def describe_foreign(containers: int, ledgers: int) -> str:
    """Return a warning of so many containers of other ledgers, "" if there are none."""
    if not containers:
        return ""
    what = counted(containers, "container")
    whose = "another ledger" if ledgers == 1 else f"{ledgers} other ledgers"
    return (
        f"{what} of {whose} (another user, host or CI job) ran on this engine: counted as load, never removed"
    )


class Cleaner:
    """Removes what was left on one engine.

    :ivar foreign: a warning of other ledgers' containers, as they were last seen; "" if there were none.
    :ivar swept: kind of object -> how many were removed so far.
    """

    def __init__(self, folder: Folder, engine: Engine) -> None:
        self._folder = folder
        self._engine = engine
        self._kept = folder.kept(engine.facts.identity)
        self._ours = {LEDGER: folder.ledger_id, OWNER: ""}
        self.foreign = ""
        self.swept: Counter[str] = Counter()

    # what was kept

    def keep(self, objects: Iterable[str]) -> None:
        """Note that the objects with these ids are left on purpose.

        :raises OSError: if that cannot be written.
        """
        self._kept.mkdir(mode=0o700, exist_ok=True)
        for each in objects:
            (self._kept / each).touch()

    def sweep_kept(self) -> None:
        """Remove what was kept."""
        self._remove(lambda: [each for each in self._listed(self._ours) if self._is_kept(each)])
        left = {each.id for each in self._listed(self._ours)}
        for file in self._kept.glob("*"):
            if file.name not in left:
                file.unlink(missing_ok=True)

    def _is_kept(self, subject: OwnedObject) -> bool:
        return (self._kept / subject.id).exists()

    # what the ledger asks

    def load(self) -> list[EngineLoad]:
        """Return what the containers of all ledgers hold, as the engine shows it.

        :raises EngineError: if it does not tell.
        """
        listed = [
            each
            for each in self._listed({LEDGER: "", OWNER: ""})
            if each.kind == "container" and not is_relay(each)
        ]
        others = [each for each in listed if _ledger(each) != self._folder.ledger_id and not each.ended]
        self.foreign = describe_foreign(len(others), len({_ledger(each) for each in others}))
        return found_in(listed, self._folder.ledger_id, {each.id for each in listed if self._is_kept(each)})

    def remove(self, dead: Lease) -> bool:
        """Remove the containers and networks of a dead owner, and tell whether they are gone.

        Workers that it left are ended first: they could create more.
        """
        record = run_records.read(self._folder.runs / f"{dead.run}.json")
        if record is not None and not run_records.end_orphans(record, _END_ORPHANS_S):
            return False
        try:
            # It may have died before it removed the containers whose lease it took over from a living owner.
            self._engine.remove([container for each in dead.evicted for container in each.containers])
            self.sweep({OWNER: dead.owner})
            return not self._left({OWNER: dead.owner})
        except EngineError:
            return False

    # sweeping

    def sweep(self, labels: Mapping[str, str], but: Collection[str] = ()) -> None:
        """Remove all objects of this ledger with these labels, except what was kept.

        Other processes may do the same at the same time.

        :param but: ids of objects that stay.
        :raises EngineError: if something stays.
        """
        self._remove(lambda: [each for each in self._left(labels) if each.id not in but])

    def sweep_session(self, session: str, worker: str | None = None, but: Collection[str] = ()) -> None:
        """Remove what a run, or one worker of it, has left.

        :param but: ids of objects that stay.
        :raises EngineError: if something stays.
        """
        self.sweep({SESSION: session} if worker is None else {SESSION: session, WORKER: worker}, but)

    def end_orphans(self) -> None:
        """End the workers of runs whose controllers have died."""
        for record in run_records.records(self._folder.runs):
            run_records.end_orphans(record, _END_ORPHANS_S)

    def sweep_dead(self, ledger: Ledger) -> None:
        """Remove what dead owners have left, and what is written down of their runs.

        :raises EngineError: if something stays.
        :raises LedgerError: if the ledger cannot be used.
        """

        def left() -> list[OwnedObject]:
            # In this order: whoever created one of the listed objects was in the ledger before.
            listed = self._left({})
            living = with_runs(ledger.living_owners()) if listed else set()
            return [each for each in listed if each.labels.get(OWNER) not in living]

        self._remove(left)
        dead = [each for each in run_records.records(self._folder.runs) if self._is_over(each)]
        living = {each.run for each in ledger.living_owners()} if dead else set()
        for record in dead:
            if record.session not in living:
                run_records.forget(self._folder.runs, record)

    def _is_over(self, record: run_records.RunRecord) -> bool:
        ours = record.identity == self._engine.facts.identity
        return ours and record.is_dead and not run_records.orphans(record)

    def _left(self, labels: Mapping[str, str]) -> list[OwnedObject]:
        return [each for each in self._listed({**self._ours, **labels}) if not self._is_kept(each)]

    def _listed(self, labels: Mapping[str, str]) -> Sequence[OwnedObject]:
        return [each for each in self._engine.list_owned(labels) if is_made_here(each)]

    def _remove(self, look: Callable[[], Sequence[OwnedObject]]) -> None:
        """Remove what *look* returns, until it returns nothing."""
        seen: set[tuple[str, str]] = set()
        for last in (False,) * (_ROUNDS - 1) + (True,):
            found = look()
            if not found:
                break
            seen |= {(each.kind, each.id) for each in found}
            try:
                self._engine.remove_owned(found)
            except EngineError:
                # Another process may just be removing the same, or a container that is still on a network.
                if last:
                    raise
                time.sleep(_ROUND_S)
        self.swept.update(kind for kind, _ in seen)


def found_in(listed: Iterable[OwnedObject], ledger: str, kept: Collection[str]) -> list[EngineLoad]:
    """Return what *listed* containers hold, by ledger, by owner, and by whether they were kept.

    A container of another ledger counts while it runs, one of ours until it is removed.

    :param ledger: our own ledger's id.
    :param kept: ids of those that were kept.
    """
    from pytest_clnrm.ledger.state import EngineLoad
    from pytest_clnrm.model.demand import NOTHING

    sums: dict[tuple[str, str, bool], Demand] = {}
    for each in listed:
        if each.ended and _ledger(each) != ledger:
            continue
        key = (_ledger(each), each.labels.get(OWNER, ""), each.id in kept)
        sums[key] = sums.get(key, NOTHING) + load_of(each.labels)
    return [
        EngineLoad(ledger=of, owner=owner, demand=demand, kept=was_kept)
        for (of, owner, was_kept), demand in sums.items()
    ]


def _ledger(subject: OwnedObject) -> str:
    return subject.labels.get(LEDGER, "")


def connect_with_locks(folder: Folder, choice: str) -> Engine:
    """Return the engine that ``--clnrm-engine`` names, connected, with its locks in *folder*.

    :raises EngineUnavailableError: if it cannot be used.
    """
    from pytest_clnrm.engine.connect.connect import connect
    from pytest_clnrm.ledger.locks import host_lock

    return connect(
        choice, environ=os.environ, runtime_dir=folder.path, locks=lambda name: host_lock(folder, name)
    )


@contextmanager
def caretaker(folder: Folder, engine: Engine) -> Iterator[tuple[Ledger, Cleaner]]:
    """Open the engine's ledger for cleaning up only, without reserving anything.

    What dead owners hold is purged on entry.

    :raises EngineError: if the engine does not tell what it has.
    :raises LedgerError: if the ledger cannot be used.
    """
    from pytest_clnrm.ledger.ledger import Ledger
    from pytest_clnrm.ledger.warm import NO_BUDGET

    cleaner = Cleaner(folder, engine)
    cleaner.end_orphans()
    ledger = Ledger(folder, engine.facts.identity, NO_BUDGET, remove=cleaner.remove, engine_load=cleaner.load)
    with ledger:
        ledger.open_run("caretaker")
        yield ledger, cleaner


def sweep_dead(folder: Folder, engine: Engine, *, kept: bool = False) -> Counter[str]:
    """Remove what dead owners left on *engine*, and return how much that was.

    :param kept: what ``--clnrm-keep`` left, too.

    :raises EngineError: if something stays.
    :raises LedgerError: if the ledger cannot be used.
    """
    with caretaker(folder, engine) as (ledger, cleaner):
        cleaner.sweep_dead(ledger)
        if kept:
            cleaner.sweep_kept()
        ledger.reconcile()
    return cleaner.swept
