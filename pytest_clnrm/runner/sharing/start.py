"""Joining a shared container; whoever needs it first starts it.

The lease of a scenario or test names the lease of the shared container, and by that the container's name, so
nobody takes it over meanwhile. One process at a time looks whether there is a record of it, and else starts
it. If that process dies while it does, the kernel frees the lock: the next one removes the half-made
container and starts anew. A start that fails is written down too: all others fail at once, for that reason.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import KW_ONLY, dataclass, replace
from typing import TYPE_CHECKING

from pytest_clnrm.errors import (
    ClnrmError,
    ContainerError,
    LostContainerError,
    ScenarioTimeoutError,
    ServiceEndedError,
    ServiceError,
)
from pytest_clnrm.ledger.folder import unusable
from pytest_clnrm.ledger.locks import hold_unless
from pytest_clnrm.ledger.shared import container_name
from pytest_clnrm.runner.launch import launch
from pytest_clnrm.runner.service_ends import describe_end, last_logs
from pytest_clnrm.runner.sharing.home import Home
from pytest_clnrm.runner.sharing.lending import using
from pytest_clnrm.runner.sharing.places import FOLDER
from pytest_clnrm.runner.sharing.receiving import receive, receiver_of
from pytest_clnrm.runner.sharing.record import SharedRecord
from pytest_clnrm.runner.sharing.seen import as_running
from pytest_clnrm.runner.sharing.warm import end_replaced, found_warm, what_makes

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pytest_clnrm.engine.api import ImageFacts
    from pytest_clnrm.ledger.state import Lease
    from pytest_clnrm.model.demand import Share
    from pytest_clnrm.model.service import Service
    from pytest_clnrm.pool.running import RunningContainer
    from pytest_clnrm.runner.room import Room
    from pytest_clnrm.runtime.network import Network
    from pytest_clnrm.runtime.runtime import Runtime
    from pytest_clnrm.telemetry.tracing import ScenarioTrace


def join(
    runtime: Runtime,
    service: Service,
    image: ImageFacts,
    *,
    share: Share,
    user: str,
    network: Network | None,
    trace: ScenarioTrace,
    file: str,
    deadline_s: float,
    uses: ExitStack,
    room: Room | None = None,
    needs: Sequence[RunningContainer] = (),
    cancelled: Callable[[], bool] = lambda: False,
) -> RunningContainer:
    """Return a shared container, ready, as one on *network*; start it if nobody has.

    :param user: id of the lease that uses it.
    :param network: of the scenario or test; the container joins it, and :func:`part` takes it off again.
    :param trace: of the scenario or test, to which the spans of its commands belong.
    :param file: in which it stands.
    :param deadline_s: ``time.monotonic()`` moment at which the time is over.
    :param uses: closed when its use is over.
    :param room: of the scenario, where the engine has its room for others too.
    :param needs: the shared containers that it depends on, which the same user has joined.
    :param cancelled: tells that waiting makes no sense any more.
    :raises ClnrmError: if it cannot be had.
    """
    runtime.keep_run()
    with trace.span("clnrm.container.share", {"clnrm.service": service.name}) as span:
        starting = _Starting(
            runtime,
            service,
            image,
            share,
            trace=trace,
            file=file,
            needs=needs,
            deadline_s=deadline_s,
            room=room,
        )
        lease, record = starting.record_of(user, uses, cancelled)
        span.set("container.id", record.id or None)
        span.set("clnrm.container.started_by", record.worker)
    if record.failed:
        raise ServiceError(
            f"{record.failed} (started by {record.worker}, for all who share it)", service.name, record.logs
        )
    running = as_running(runtime, service, image, lease, record, network=network, trace=trace)
    check_runs(runtime, running)
    if network is not None and service.network != "none":
        runtime.networks().connect(network, running.id, (service.name, *service.aliases))
    return running


def part(runtime: Runtime, running: RunningContainer, network: Network | None, *, at_once: bool) -> None:
    """Take a shared container off the network of a scenario or test that is over.

    :param at_once: not only when another scenario gets the network that does not use it.
    """
    if network is not None and running.service.network != "none":
        runtime.networks().disconnect(network, running.id, at_once=at_once)


def ready_ones(runtime: Runtime, user: str) -> dict[str, SharedRecord]:
    """Return the shared containers that a lease uses, as far as they are ready by now, by their ids."""
    if runtime.run_folder is None:
        return {}
    folder = runtime.run_folder() / FOLDER
    leases = runtime.ledger().shared(user).values()
    records = [SharedRecord.read(folder / f"{each.id}.json") for each in leases]
    return {each.id: each for each in records if each is not None}


def why_unseen(runtime: Runtime, running: RunningContainer, user: str) -> str:
    """Return why spans of a shared container may be missing among a scenario's, "" if none need be.

    The process that has started it receives them, or the one that has found it running.

    :param user: id of the lease that uses it.
    """
    name = running.service.name
    record = ready_ones(runtime, user).get(running.id)
    if record is not None and not record.owner:
        return f"the shared service {name!r} runs since an earlier run, and nobody receives its spans"
    if record is None or record.owner not in {each.owner for each in runtime.ledger().living_owners()}:
        return f"the worker is gone that received the spans of the shared service {name!r}"
    return ""


def check_runs(runtime: Runtime, running: RunningContainer) -> None:
    """Check that a shared container has not ended: it is not started again in this run.

    :raises ServiceEndedError: with how it ended, and its last output.
    """
    name, engine = running.service.name, runtime.engine()
    try:
        state = engine.state(running.id)
    except LostContainerError as error:
        raise LostContainerError(
            f"the shared service {name!r} is gone, and not started again: {error}"
        ) from None
    except ContainerError as error:
        raise ServiceEndedError(f"the shared service {name!r} is gone: {error}", name) from error
    if not state.running:
        ended = describe_end(running, state, "")
        logs = last_logs(engine, running.id)
        raise ServiceEndedError(f"the shared service {name!r} {ended}; it is not started again", name, logs)


@dataclass(frozen=True, eq=False)
class _Starting:
    """What is known of who needs a shared container; the fields are the parameters of :func:`join`."""

    runtime: Runtime
    service: Service
    image: ImageFacts
    share: Share
    _: KW_ONLY
    trace: ScenarioTrace
    file: str
    needs: Sequence[RunningContainer]
    deadline_s: float
    room: Room | None

    def record_of(
        self, user: str, uses: ExitStack, cancelled: Callable[[], bool]
    ) -> tuple[Lease, SharedRecord]:
        """Return its lease, and its record, which may say that it could not be started.

        One that depends on a container that was started anew since is started anew, too: whoever used it used
        that one as well, so nobody uses it now.

        :param user: id of the lease that uses it.
        :param uses: closed when that is over.
        """
        runtime, share = self.runtime, self.share
        lease = runtime.ledger().shared(user).get(share.key)
        if lease is None or runtime.run_folder is None:
            raise ContainerError(f"nothing is reserved for the shared service {self.service.name!r}")
        folder = runtime.run_folder() / FOLDER
        file, failed = folder / f"{lease.id}.json", folder / f"{share.key}.failed.json"

        def given_up() -> bool:
            if self.room is not None:
                self.room.make_way(self.service.name)
            return cancelled() or time.monotonic() >= self.deadline_s

        def written() -> SharedRecord | None:
            record = SharedRecord.read(file)
            return record if record and record.needs == _ids(self.needs) else SharedRecord.read(failed)

        try:
            folder.mkdir(mode=0o700, exist_ok=True)
            uses.enter_context(using(runtime, lease, folder))
            record = written()
            if record is not None:
                return lease, record
            with hold_unless(folder / f"{share.key}.lock", given_up) as holder:
                if holder:
                    raise ScenarioTimeoutError(f"service {self.service.name!r} was being started by {holder}")
                record = written()
                if record is None:
                    record = self._found_or_started(lease, Home(folder, share.key, lease.owner))
                    record.write(failed if record.failed else file)
        except OSError as error:
            raise unusable(folder, error) from error
        return lease, record

    def _found_or_started(self, lease: Lease, home: Home) -> SharedRecord:
        runtime, service = self.runtime, self.service
        made = what_makes(runtime, service, self.image, trace=self.trace)
        found = found_warm(
            runtime,
            service,
            self.image,
            lease,
            made=made,
            needs=_ids(self.needs),
            home=home,
            trace=self.trace,
            deadline_s=self.deadline_s,
        )
        if found is not None:
            return found
        if made:
            end_replaced(runtime, service.name, self.file, but=lease.id)
        record = _started(
            runtime,
            service,
            self.image,
            lease,
            home=home,
            redact=self.trace.redact,
            needs=self.needs,
            deadline_s=self.deadline_s,
            room=self.room,
        )
        return replace(record, file=self.file, service=service.name, made_of=made)


def _ids(containers: Sequence[RunningContainer]) -> tuple[str, ...]:
    return tuple(sorted(each.id for each in containers))


def _bring(runtime: Runtime, network: Network, container: RunningContainer) -> None:
    """Put a shared container on the own network of one that depends on it, for as long as both are there."""
    service = container.service
    if service.network != "none" and network.name not in runtime.engine().state(container.id).addresses:
        runtime.engine().connect(network.id, container.id, (service.name, *service.aliases))


def _started(
    runtime: Runtime,
    service: Service,
    image: ImageFacts,
    lease: Lease,
    *,
    home: Home,
    redact: Callable[[str], str] | None,
    needs: Sequence[RunningContainer],
    deadline_s: float,
    room: Room | None,
) -> SharedRecord:
    """Start a shared container, and return its record.

    :param needs: those that it depends on, which it reaches by their names from its start on.
    :param redact: hides the secrets of whoever starts it.
    :raises ClnrmError: if it says nothing about the service that it could not be started.
    """
    name = container_name(lease.id, service.name)
    # What a process left that died while it was starting it.
    runtime.engine().remove([name])
    network = None if service.network == "none" else home.enter(runtime)
    if network is not None:
        for each in needs:
            _bring(runtime, network, each)
    trace = receive(runtime, service, lease, redact=redact)
    made: list[RunningContainer] = []

    def created(running: RunningContainer) -> None:
        made.append(running)
        runtime.at_end.append(running.sources.close)

    is_ready = False
    try:
        launch(
            runtime,
            service,
            image,
            name=name,
            labels=runtime.shared_labels(lease.owner),
            deadline_s=deadline_s,
            on_created=created,
            trace=trace,
            network=network,
            room=room,
        )
        is_ready = True
    except ScenarioTimeoutError:
        raise
    except ClnrmError as error:
        if error.is_infrastructure:
            raise
        logs = error.logs if isinstance(error, ServiceError) else ""
        return SharedRecord(failed=str(error), logs=logs, worker=runtime.worker)
    finally:
        if made:
            # It is nobody's: what this process shows are the containers of its item.
            runtime.board.count(-1, -made[0].spec.memory_bytes)
        if not is_ready:
            trace.finish("fail", "it could not be started")
            with suppress(ClnrmError):
                runtime.remove([name])
    running = made[-1]
    if trace.inbox is not None:
        trace.inbox.keep_no_more()
    return SharedRecord(
        id=running.id,
        needs=_ids(needs),
        network=() if network is None else (network.id, network.name),
        command=running.spec.command,
        env=dict(running.spec.env),
        worker=runtime.worker,
        owner=runtime.ledger().owner_id,
        ready_s=time.time(),
        receiver=receiver_of(runtime, network, trace),
        token="" if trace.inbox is None else trace.inbox.token,
    )


def logs_since(runtime: Runtime, container: str, since_s: float, deadline_s: float) -> Iterator[bytes]:
    """Yield what a container has printed since a moment of the engine's clock."""
    with suppress(ClnrmError):
        stream = runtime.engine().follow_log(container, until_now=True, since_s=since_s)
        try:
            while pieces := stream.receive(deadline_s):
                yield from (data for _, data in pieces)
        finally:
            stream.close()
