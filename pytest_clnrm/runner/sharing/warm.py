"""Shared containers of earlier runs: one is used again only if it is shown to be what would be started.

See docs/warm.md. Nothing is looked for by labels, which anybody could set: the ledger says which container it
is, and its record, which only this user can write, what it was made of.
"""

from __future__ import annotations

import time
from contextlib import closing
from typing import TYPE_CHECKING

from pytest_clnrm.cleanup.labels import LEDGER, OWNER
from pytest_clnrm.errors import ClnrmError, EngineUnavailableError
from pytest_clnrm.ledger.shared import container_name
from pytest_clnrm.ledger.warm import record_file
from pytest_clnrm.pool.sources import open_sources
from pytest_clnrm.runner.launch import await_ready
from pytest_clnrm.runner.made_of import SecretInItError, UntellableError, made_of
from pytest_clnrm.runner.sharing.places import USED, WARM, mark
from pytest_clnrm.runner.sharing.receiving import received_again
from pytest_clnrm.runner.sharing.record import SharedRecord
from pytest_clnrm.runner.sharing.seen import as_running

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_clnrm.engine.api import ImageFacts
    from pytest_clnrm.ledger.state import Lease
    from pytest_clnrm.model.service import Service
    from pytest_clnrm.pool.running import RunningContainer
    from pytest_clnrm.runner.sharing.home import Home
    from pytest_clnrm.runtime.runtime import Runtime
    from pytest_clnrm.telemetry.tracing import ScenarioTrace


_READY_S = 10.0
"""How long a container may take that was ready before; it is started anew then."""


def warm_folder(runtime: Runtime) -> Path:
    """Return where the records of containers are that have outlived their run."""
    return runtime.folder().warm(runtime.engine().facts.identity)


def what_makes(runtime: Runtime, service: Service, image: ImageFacts, *, trace: ScenarioTrace) -> str:
    """Return a hash of all that makes a shared container, "" if it must not outlive the run.

    One with a secret must not: it would be in the engine's hands, and in our record, for longer than the run.
    """
    if not runtime.keeps_warm or service.scope != "run" or any(each.span for each in service.ready):
        # A span that was awaited once does not come again.
        return ""
    return made_without_secrets(runtime, service, image, trace=trace)


def made_without_secrets(
    runtime: Runtime, service: Service, image: ImageFacts, *, trace: ScenarioTrace
) -> str:
    """Return a hash of all that makes a container, "" if there is a secret in it, or it cannot be told."""
    try:
        return made_of(runtime, service, image, trace=trace, hide=trace.redact or str, may_hold_secrets=False)
    except (SecretInItError, UntellableError, OSError):
        return ""


def found_warm(
    runtime: Runtime,
    service: Service,
    image: ImageFacts,
    lease: Lease,
    *,
    made: str,
    needs: tuple[str, ...],
    home: Home,
    trace: ScenarioTrace,
    deadline_s: float,
) -> SharedRecord | None:
    """Return the record of the container that an earlier run has left for a lease, if it can be used.

    :param made: what it has to be made of.
    :param needs: the ids of those that it has to depend on.
    :raises EngineUnavailableError: if the engine is gone.
    """
    file = record_file(warm_folder(runtime), lease.id)
    record = SharedRecord.read(file)
    if record is None:
        return None
    # Whatever comes of it, nobody looks at it a second time.
    file.unlink(missing_ok=True)
    if record.network:
        home.note(record.network[0])
    try:
        running = as_running(runtime, service, image, lease, record, network=None, trace=trace)
        if record.needs != needs or not is_what_it_says(runtime, running, record, lease, made=made):
            return None
        network = home.enter(runtime) if record.network else None
        await_ready(
            runtime,
            running,
            network=network,
            trace=trace,
            deadline_s=min(deadline_s, time.monotonic() + _READY_S),
        )
        found = received_again(runtime, service, lease, record, network, trace=trace)
    except EngineUnavailableError:
        raise
    except ClnrmError:
        # It is gone, or it does not get ready any more.
        return None
    if found is None:
        return None
    mark(runtime, running, WARM).touch()
    # By the earlier run.
    mark(runtime, running, USED).touch()
    return found


def is_what_it_says(
    runtime: Runtime, running: RunningContainer, record: SharedRecord, lease: Lease, *, made: str
) -> bool:
    """Tell whether the container of a record is the lease's, runs, and is made of what it has to be."""
    engine = runtime.engine()
    if not made or record.made_of != made or not engine.state(record.id).running:
        return False
    ours = engine.list_owned({LEDGER: runtime.folder().ledger_id, OWNER: lease.owner})
    name = container_name(lease.id, running.service.name)
    if not any((each.kind, each.id, each.name) == ("container", record.id, name) for each in ours):
        return False
    with closing(open_sources(running.service)) as sources:
        return sources.are_mounted(engine, record.id)


def end_replaced(runtime: Runtime, service: str, file: str, *, but: str) -> None:
    """Remove what an earlier run has started for the same service of a file, which has changed since.

    :param but: the lease of what is about to be started.
    """
    ledger = runtime.ledger()
    for idle in ledger.idle_shared():
        path = record_file(warm_folder(runtime), idle.id)
        record = SharedRecord.read(path)
        if record is None or (record.file, record.service) != (file, service) or idle.id == but:
            continue
        if taken := ledger.take_over(idle.id):
            path.unlink(missing_ok=True)
            runtime.remove([name for each in taken.evicted for name in each.containers])
            ledger.release(idle.id)
