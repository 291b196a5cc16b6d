"""What outlives the run, shared services and idle containers: taken over from the run before, and left."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from pytest_clnrm.errors import ClnrmError, EngineError
from pytest_clnrm.util.counted import counted

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from pathlib import Path

    from pytest_clnrm.ledger.ledger import Ledger
    from pytest_clnrm.ledger.state import Lease
    from pytest_clnrm.pool.idle_record import IdleRecord
    from pytest_clnrm.runner.sharing.record import SharedRecord
    from pytest_clnrm.runtime.runtime import Runtime

OFF_IN_CI = "--clnrm-warm has no effect where CI is set: each run starts its services anew"
OFF_ON_CLUSTER = "--clnrm-warm has no effect on a cluster: what a run has there ends with it"
OFF_WITH_PLUGIN = "--clnrm-warm has no effect on an engine that another plugin brings"


class WarmServices:
    """Those of one run, for its controller or only process.

    :param runtime: of the process.
    """

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._members: dict[str, Ledger] = {}
        self._kept: dict[str, SharedRecord | IdleRecord] = {}
        self._sent: set[str] = set()
        # Idle containers, by the leases that are theirs as long as no scenario uses them.
        self._idle: dict[str, IdleRecord] = {}

    @property
    def why_off(self) -> str:
        """Return why nothing outlives the run although that was asked for, "" if it does, or was not."""
        runtime = self._runtime
        if not runtime.has_ledger:
            return ""
        if runtime.settings.warm_s and not runtime.asks_warm:
            return OFF_IN_CI
        if not runtime.asks_warm:
            return ""
        if not runtime.engine_is_own:
            return OFF_WITH_PLUGIN
        return OFF_ON_CLUSTER if runtime.engine().facts.ends_with_run else ""

    def take(self) -> None:
        """Take over what the last run of this project has left, if no other run has.

        :raises LedgerError: if the ledger cannot be used.
        """
        from pytest_clnrm.ledger.ledger import Ledger
        from pytest_clnrm.ledger.shared import is_service, run_of
        from pytest_clnrm.ledger.warm import (
            NO_BUDGET,
            forget_records,
            origins_of,
            record_file,
        )
        from pytest_clnrm.pool.idle_record import IdleRecord

        runtime = self._runtime
        if not runtime.keeps_warm:
            return
        runtime.holdings.idle.stays = self._is_left
        ledger, project = runtime.ledger(), runtime.project
        now = ledger.snapshot()
        if now is not None:
            forget_records(self._folder(), now.leases)
        for origin in sorted(origins_of(ledger.kept_for(project))):
            member = Ledger(runtime.folder(), ledger.engine, NO_BUDGET)
            member.open_run(origin)
            self._members[origin] = member
        taken = ledger.take_kept(project, self._members) if self._members else ()
        for each in taken:
            if each.key and not is_service(each):
                found = IdleRecord.read(record_file(self._folder(), each.id))
                if found is not None:
                    self._idle[each.id] = found
                    runtime.holdings.idle.add_of_earlier_run(each.id, found.specification)
            if not each.key:
                runtime.remove([name for evicted in each.evicted for name in evicted.containers])
                ledger.release(each.id)
        started = {run_of(each.owner) for each in taken if each.key}
        started |= {run_of(evicted.owner) for each in taken for evicted in each.evicted}
        for origin in self._members.keys() - started:
            self._members.pop(origin).close()

    @property
    def origins(self) -> tuple[str, ...]:
        """Return the earlier runs that have started something which this run has."""
        return tuple(self._members)

    def decide(self) -> set[str]:
        """Decide what outlives the run, which nobody uses any more, and return the ids of its objects.

        It leaves the networks of this run, which are about to be removed.
        """
        found = self._candidates()
        # One may be on the network of another one that depends on it.
        homes = {name for record in found.values() for name in record.network}
        self._kept = {lease: each for lease, each in found.items() if self._stands_alone(each, homes)}
        return {each for record in self._kept.values() for each in (record.id, *record.network[:1])}

    @property
    def leases(self) -> frozenset[str]:
        """Return the ids of the leases of what outlives the run."""
        return frozenset(self._kept)

    def give_up(self) -> None:
        """Let nothing outlive the run."""
        self._kept = {}

    def leave(self) -> bool:
        """Leave it to a keeper, and tell whether there is one; then nothing of it is this run's any more."""
        from pytest_clnrm.cleanup import keeper
        from pytest_clnrm.ledger.warm import record_file

        runtime, folder = self._runtime, self._folder()
        facts = runtime.engine().facts
        try:
            folder.mkdir(mode=0o700, exist_ok=True)
            for lease, record in self._kept.items():
                record.write(record_file(folder, lease))
        except OSError:
            return False
        return keeper.start(
            keeper.Told(
                folder=str(runtime.folder().path),
                choice=runtime.engine_choice(),
                identity=facts.identity,
                url=facts.url,
                run=runtime.session_id,
                origins=self.origins,
                project=runtime.project,
                keeps_s=runtime.settings.warm_s,
            )
        )

    def lines(self) -> Iterator[str]:
        """Yield what the end of the run says of it."""
        from pytest_clnrm.util.own_command import own_command, sweep_arguments

        if self.why_off:
            yield self.why_off
        found = self._candidates()
        names = sorted({each.service for lease, each in found.items() if lease not in self._idle})
        idle = len(found.keys() & self._idle.keys())
        if idle:
            names.append(counted(idle, "idle container"))
        if self._sent:
            told = f"{', '.join(sorted(self._sent))} {'does' if len(self._sent) == 1 else 'do'} not stay"
            yield f"{told} for the next run: spans came from there, and between runs nobody takes them"
        if names:
            runtime = self._runtime
            sweep = sweep_arguments(
                kept=False, ledger_dir=runtime.settings.ledger_dir, engine=runtime.engine().facts.url
            )
            stays = "stays" if len(names) == 1 and idle <= 1 else "stay"
            yield (
                f"{', '.join(names)} {stays} for the next run, "
                f"{runtime.settings.warm_s:g} s long, or until `{own_command(sweep)}`"
            )

    def close(self) -> None:
        """Be an owner of the earlier runs no longer: their keeper is, or what they left is nobody's."""
        members, self._members = self._members, {}
        for each in members.values():
            with suppress(ClnrmError):
                each.close()

    def _candidates(self) -> dict[str, SharedRecord | IdleRecord]:
        """Return the records, by the ids of leases, of what nobody uses and may outlive the run."""
        if not (self._runtime.keeps_warm and self._runtime.has_ledger):
            return {}
        with suppress(ClnrmError, OSError):
            self._take_idle()
            found = {each.id: self._record_of(each) for each in self._runtime.ledger().idle_shared()}
            return {lease: record for lease, record in found.items() if record is not None}
        return {}

    def _take_idle(self) -> None:
        """Let the idle containers that the workers have left be the run's own.

        :raises LedgerError: if the ledger cannot be used.
        """
        from pytest_clnrm.pool.idle_record import FOLDER, IdleRecord

        if self._runtime.run_folder is None:
            return
        for file in (self._runtime.run_folder() / FOLDER).glob("*.json"):
            record = IdleRecord.read(file)
            if record is not None:
                label = f"idle container {record.service}"
                self._runtime.ledger().hand_to_run(file.stem, record.lease, owner=record.owner, label=label)
                self._idle[record.lease] = record
            file.unlink(missing_ok=True)

    def _is_left(self, lease: str) -> bool:
        """Tell whether a worker has left the idle container of a lease for the next run."""
        from pytest_clnrm.pool.idle_record import FOLDER

        folder = self._runtime.run_folder
        return folder is not None and (folder() / FOLDER / f"{lease}.json").exists()

    def _record_of(self, lease: Lease) -> SharedRecord | IdleRecord | None:
        """Return the record of a container that may outlive the run, None if it must not."""
        if lease.id in self._idle:
            return self._idle[lease.id]
        from pytest_clnrm.ledger.shared import container_name
        from pytest_clnrm.ledger.warm import record_file
        from pytest_clnrm.runner.sharing.places import FOLDER, book_of
        from pytest_clnrm.runner.sharing.record import SharedRecord
        from pytest_clnrm.telemetry.receive.shared_book import BookReader

        record = None
        if self._runtime.run_folder is not None:
            record = SharedRecord.read(self._runtime.run_folder() / FOLDER / f"{lease.id}.json")
        if record is not None:
            book = book_of(self._runtime, container_name(lease.id, record.service))
            if BookReader(book).is_in_use:
                # Its exporter would try in vain between two runs, and hold back what the next one waits for.
                if record.made_of:
                    self._sent.add(record.service)
                return None
        # One that this run has taken over and nobody has used is as it was.
        record = record or SharedRecord.read(record_file(self._folder(), lease.id))
        return record if record is not None and record.made_of else None

    def _stands_alone(self, record: SharedRecord | IdleRecord, homes: Collection[str]) -> bool:
        """Take a container off the networks of this run but for *homes*, and tell whether it runs."""
        engine = self._runtime.engine()
        try:
            state = engine.state(record.id)
            for name in state.addresses:
                if name.startswith("clnrm-") and name not in homes:
                    engine.disconnect(name, record.id)
        except EngineError:
            return False
        return state.running

    def _folder(self) -> Path:
        return self._runtime.folder().warm(self._runtime.engine().facts.identity)
