"""Idle containers that outlive the run: left for the next one, and taken up by it (docs/warm.md).

Nothing of the earlier run is believed but its record, which only this user can write, and the ledger, which
says whose the container is. Everything else is found out anew: what the scenario's container is made of, and
by the proof that it is as it was when it was new.
"""

from __future__ import annotations

import secrets
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_clnrm.cleanup.labels import LEDGER, OWNER, SESSION
from pytest_clnrm.errors import ClnrmError
from pytest_clnrm.ledger.shared import run_of
from pytest_clnrm.ledger.warm import record_file
from pytest_clnrm.pool.idle_record import FOLDER, IdleRecord
from pytest_clnrm.pool.proof import why_changed
from pytest_clnrm.pool.running import RunningContainer
from pytest_clnrm.runner.launch import planned
from pytest_clnrm.runner.sharing.warm import made_without_secrets, warm_folder

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pytest_clnrm.engine.api import ImageFacts
    from pytest_clnrm.model.service import Service
    from pytest_clnrm.runtime.runtime import Runtime
    from pytest_clnrm.telemetry.tracing import ScenarioTrace


@dataclass(frozen=True, kw_only=True)
class Leaving:
    """Leaves one idle container for the next run, once this process runs no more scenarios.

    :param lease: under which it is idle.
    :param trace: of the scenario that has used it last, which knows its secrets.
    """

    runtime: Runtime
    lease: str
    specification: str
    trace: ScenarioTrace

    def __call__(self, container: RunningContainer) -> bool:
        """Leave it, and tell whether that could be."""
        # Whoever goes on without an answer removes it.
        with suppress(ClnrmError, OSError):
            return self._leave(container)
        return False

    def _leave(self, container: RunningContainer) -> bool:
        runtime, engine = self.runtime, self.runtime.engine()
        if container.had_secrets or not engine.is_connected_as(container.id, container.fingerprint):
            # Only from outside it can be shown, without its help, that it is as it was.
            return False
        made = made_without_secrets(runtime, container.service, container.image, trace=self.trace)
        owner = container.spec.labels.get(OWNER, "")
        if not made or runtime.run_folder is None or run_of(owner) == owner:
            return False
        network = runtime.networks().hand_over(container.id)
        record = IdleRecord(
            id=container.id,
            name=container.name,
            owner=owner,
            lease=f"{owner}-{secrets.token_hex(4)}",
            network=network,
            service=container.service.name,
            specification=self.specification,
            made_of=made,
            fingerprint=container.fingerprint,
            told=engine.let_go(container.id),
            created_s=container.created_s,
        )
        folder = runtime.run_folder() / FOLDER
        folder.mkdir(mode=0o700, exist_ok=True)
        record.write(folder / f"{self.lease}.json")
        return True


def take_up(
    runtime: Runtime,
    leases: Sequence[str],
    services: Sequence[Service],
    images: Mapping[str, ImageFacts],
    *,
    trace: ScenarioTrace,
) -> tuple[dict[str, RunningContainer], tuple[str, ...]]:
    """Return the containers that earlier runs have left under *leases*, by their services.

    :return: also the ids of those that must not be used.
    """
    taken: dict[str, RunningContainer] = {}
    unusable: tuple[str, ...] = ()
    for lease in leases:
        file = record_file(warm_folder(runtime), lease)
        record = IdleRecord.read(file)
        if record is None:
            continue
        # Whatever comes of it, nobody looks at it a second time.
        file.unlink(missing_ok=True)
        service = next((each for each in services if each.name == record.service), None)
        container = None
        with suppress(ClnrmError):
            if service is not None and record.lease == lease:
                container = _taken_up(runtime, record, service, images[service.name], trace)
        if container is None:
            unusable += (record.id,)
        else:
            taken[record.service] = container
    return taken, unusable


def _taken_up(
    runtime: Runtime, record: IdleRecord, service: Service, image: ImageFacts, trace: ScenarioTrace
) -> RunningContainer | None:
    """Return the container of a record if it is what *service* needs, and as it was when it was new.

    :raises ClnrmError: if that cannot be told.
    """
    engine = runtime.engine()
    if record.made_of != made_without_secrets(runtime, service, image, trace=trace):
        return None
    labels = {LEDGER: runtime.folder().ledger_id, OWNER: record.owner, SESSION: run_of(record.owner)}
    ours = engine.list_owned(labels)
    if not any((each.kind, each.id, each.name) == ("container", record.id, record.name) for each in ours):
        return None
    if not engine.is_connected_as(record.id, record.fingerprint):
        return None
    network = None
    if record.network:
        network = runtime.networks().take_up(record.network[0], record.network[1], record.id, service.name)
    spec, env = planned(
        runtime, service, image, name=record.name, labels=labels, network=network, trace=trace
    )
    container = RunningContainer(
        id=record.id,
        name=record.name,
        service=service,
        image=image,
        spec=spec,
        env=env,
        created_s=record.created_s,
        fingerprint=record.fingerprint,
    )
    with trace.span("clnrm.container.prove", container.attributes) as span:
        engine.take_up(record.id, record.told)
        why = why_changed(engine, container)
        span.set("clnrm.container.unclean", why or None)
    return None if why else container
