"""The state's way to and from the disk, under the ledger's lock.

A change writes the files of the owners whose entries it touched, then the state file, which is written beside
its place and renamed. The state file is what counts. If it is lost or damaged, it is rebuilt from the owners'
files, of living and dead ones.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from pytest_clnrm.errors import LedgerError
from pytest_clnrm.ledger import locks, owners
from pytest_clnrm.ledger.folder import Folder, unusable
from pytest_clnrm.ledger.shared import run_owner, with_idle_noted, with_runs
from pytest_clnrm.ledger.state import Lease, OwnerEntry, State, TornStateError, Waiter, decode, encode
from pytest_clnrm.util.files import write_whole


class Draft:
    """A state that is being changed under the lock.

    ``rebuilt`` says why it was rebuilt, "" if it was read from its file.
    """

    def __init__(self, state: State, rebuilt: str = "") -> None:
        self.state = state
        self.rebuilt = rebuilt


class Store:
    """The files of the ledger of one engine.

    :param report: called with a sentence when something takes long or had to be repaired.
    :param report_s: seconds of waiting for the lock after which its holder is reported.
    :param limit_s: seconds after which waiting for the lock is given up.
    """

    def __init__(
        self,
        folder: Folder,
        engine: str,
        *,
        boot: str,
        report: Callable[[str], None],
        report_s: float,
        limit_s: float,
    ) -> None:
        self.folder = folder
        self.owners = folder.owners(engine)
        self._engine = engine
        self._boot = boot
        self._file = folder.state_file(engine)
        self._draft = f"{self._file.stem}.new"
        self._lock_file = folder.lock_file(engine)
        self._report = report
        self._report_s = report_s
        self._limit_s = limit_s
        # Decoding takes longer than reading: what this process has read or written last is not decoded again.
        self._last: tuple[bytes, State] | None = None

    @contextlib.contextmanager
    def change(self, now_s: float) -> Iterator[Draft]:
        """Hold the lock, yield the state, and write what it has become.

        :raises LedgerError: if the files cannot be read or written; then nothing has changed.
        """
        with locks.hold(
            self._lock_file, "the ledger", report=self._report, report_s=self._report_s, limit_s=self._limit_s
        ):
            try:
                with suppress(FileExistsError):
                    self.owners.mkdir(mode=0o700)
                draft = self._load(now_s)
                before = draft.state
                yield draft
                draft.state = with_idle_noted(draft.state, now_s)
                if draft.rebuilt or draft.state != before:
                    self._save(before, draft.state)
            except OSError as error:
                raise unusable(self.folder.path, error) from error
        if draft.rebuilt:
            self._report(f"{draft.rebuilt}: the ledger was rebuilt from its owners' files")

    def read(self) -> State | None:
        """Return the state as it was last written, None if there is none; takes no lock.

        :raises LedgerError: if the file is not ours, damaged or of a newer format.
        """
        try:
            return self._read()
        except FileNotFoundError:
            return None
        except TornStateError as error:
            raise LedgerError(f"{error}; the next run rebuilds it") from error
        except OSError as error:
            raise unusable(self.folder.path, error) from error

    def peek(self) -> State | None:
        """Return the state as it was last written, None if there is none that can be read; takes no lock."""
        with suppress(OSError, TornStateError):
            return self._read()
        return None

    def living(self, state: State) -> set[str]:
        """Return the ids of the owners in *state* that live, and of the runs that they are of."""
        return with_runs(each for each in state.owners if owners.is_alive(self.owners, each.owner))

    def without_dead(self, state: State) -> State:
        """Return *state* without what dead owners waited for; their leases stay until they are purged."""
        alive = self.living(state)
        holders = {lease.owner for lease in state.leases}
        for owner in state.owners:
            if owner.owner not in alive and owner.owner not in holders:
                owners.forget(self.owners, owner.owner)
        runs = {owner.run for owner in state.owners if owner.owner in alive}
        return replace(
            state,
            runs=tuple(run for run in state.runs if run.run in runs),
            owners=tuple(each for each in state.owners if each.owner in alive | holders),
            waiters=tuple(waiter for waiter in state.waiters if waiter.owner in alive),
        )

    def sweep_files(self, state: State) -> None:
        """Remove the files of owners that died before, or after, they were in *state*."""
        known = {owner.owner for owner in state.owners} | {lease.owner for lease in state.leases}
        for lock in self.owners.glob("*.lock"):
            if lock.stem not in known and not owners.is_alive(self.owners, lock.stem):
                owners.forget(self.owners, lock.stem)

    def dead_leases(self, state: State) -> list[Lease]:
        """Return the leases whose owners have died, but for those that were kept on purpose."""
        if all(each.kept for each in state.leases):
            return []
        alive = self.living(state)
        return [
            lease
            for lease in state.leases
            if not (lease.kept or lease.owner in alive or owners.is_alive(self.owners, lease.owner))
        ]

    def _read(self) -> State:
        raw, last = self._file.read_bytes(), self._last
        if last is None or raw != last[0]:
            self._last = last = (raw, decode(raw, str(self._file)))
        return last[1]

    def _load(self, now_s: float) -> Draft:
        try:
            draft = Draft(self._read())
        except FileNotFoundError:
            known = owners.known_owners(self.owners)
            draft = Draft(self._rebuilt(), f"{self._file} is missing" if known else "")
        except TornStateError as error:
            draft = Draft(self._rebuilt(), str(error))
        if draft.state.engine != self._engine:
            raise LedgerError(
                f"{self._file} is the ledger of another engine ({draft.state.engine}, not {self._engine}); "
                "move it away, or set clnrm_ledger_dir to another folder"
            )
        if draft.state.boot != self._boot:
            draft.state = self._after_boot(draft.state, now_s)
        return draft

    def _rebuilt(self) -> State:
        """Return the union of what all owners have kept."""
        state = State(engine=self._engine, boot=self._boot)
        for owner in owners.known_owners(self.owners):
            file = owners.share_file(self.owners, owner)
            try:
                kept = decode(file.read_bytes(), str(file))
            except TornStateError as error:
                # Its containers still carry labels: reconciling with the engine finds them.
                self._report(f"{error}: the leases of {owner} are lost")
                continue
            runs = {run.run: run for run in (*state.runs, *kept.runs)}
            known = {each.id for each in state.leases}
            state = replace(
                state,
                boot=kept.boot if kept.boot != self._boot else state.boot,
                runs=tuple(runs.values()),
                owners=(*state.owners, *kept.owners),
                leases=(*state.leases, *(each for each in kept.leases if each.id not in known)),
                waiters=(*state.waiters, *kept.waiters),
            )
        return state

    def _after_boot(self, state: State, now_s: float) -> State:
        """Return what is left of *state*, written in another boot: the leases, all of dead owners.

        :raises LedgerError: if an owner of another boot is alive: then it lives on another machine.
        """
        for owner in state.owners:
            if owner.boot != self._boot and owners.is_alive(self.owners, owner.owner):
                raise LedgerError(
                    f"the ledger's folder {self.folder.path} is in use on another machine "
                    f"(process {owner.pid}); set clnrm_ledger_dir to a folder of this machine"
                )
        # Times of another boot mean nothing in this one.
        leases = tuple(
            replace(each, granted_s=now_s, idle_since_s=None if each.idle_since_s is None else now_s)
            for each in state.leases
        )
        return self.without_dead(replace(state, boot=self._boot, leases=leases))

    def _save(self, before: State, after: State) -> None:
        # The owners' files first: if the disk is full, the state file still tells what it told before.
        touched = _touched(before, after)
        for owner in after.owners:
            if touched is None or not touched.isdisjoint(_kept_by(after, owner)):
                share = encode(_share(after, owner))
                _write_over(owners.share_file(self.owners, owner.owner), share)
        raw = encode(after)
        # A reader without the lock sees the old or the new one; all writers hold it.
        write_whole(self._file, raw, mode=0o600, draft=self._draft)
        self._last = (raw, after)


def _write_over(file: Path, raw: bytes) -> None:
    """Write *raw* into *file* in place, which is many times cheaper than a rename on a disk."""
    fd = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        view = memoryview(raw)
        while view:
            view = view[os.write(fd, view) :]
        os.ftruncate(fd, len(raw))
    finally:
        os.close(fd)


def _touched(before: State, after: State) -> set[str] | None:
    """Return the owners whose leases or waiters differ between both states; None if it may be all owners'."""
    if (before.engine, before.boot, before.runs, before.owners) != (
        (after.engine, after.boot, after.runs, after.owners)
    ):
        return None
    # What stays is the same object, which takes less time to find out than whether it is equal.
    there = {id(each) for each in (*before.leases, *before.waiters)}
    still = {id(each) for each in (*after.leases, *after.waiters)}
    entries: tuple[Lease | Waiter, ...] = (*before.leases, *before.waiters, *after.leases, *after.waiters)
    return {each.owner for each in entries if id(each) not in there or id(each) not in still}


def _kept_by(state: State, owner: OwnerEntry) -> set[str]:
    """Return whose leases *owner* keeps: its own, and the first of a run's owners those of the run."""
    first = next((each for each in state.owners if each.run == owner.run), None)
    return {owner.owner, run_owner(owner.run)} if first == owner else {owner.owner}


def _share(state: State, owner: OwnerEntry) -> State:
    """Return the part of *state* that *owner* keeps for a rebuild."""
    kept = _kept_by(state, owner)
    return State(
        engine=state.engine,
        boot=owner.boot,
        runs=tuple(run for run in state.runs if run.run == owner.run),
        owners=tuple(each for each in state.owners if each == owner),
        leases=tuple(lease for lease in state.leases if lease.owner in kept),
        waiters=tuple(waiter for waiter in state.waiters if waiter.owner == owner.owner),
    )
