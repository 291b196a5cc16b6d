"""Receiving the spans of a shared container: one process does, for all who use it."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from pytest_clnrm.errors import ClnrmError
from pytest_clnrm.ledger.shared import container_name
from pytest_clnrm.names import RUN_ENDS
from pytest_clnrm.runner.sharing.places import book_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_clnrm.ledger.state import Lease
    from pytest_clnrm.model.service import Service
    from pytest_clnrm.runner.sharing.record import SharedRecord
    from pytest_clnrm.runtime.network import Network
    from pytest_clnrm.runtime.runtime import Runtime
    from pytest_clnrm.telemetry.tracing import ScenarioTrace

_LOOK_S = 0.1


def receive(
    runtime: Runtime,
    service: Service,
    lease: Lease,
    *,
    redact: Callable[[str], str] | None,
    token: str = "",
) -> ScenarioTrace:
    """Return the trace of a shared container, whose spans this process receives as long as it is used.

    :param redact: hides the secrets of whoever uses it first.
    :param token: that it sends with its spans, "" if it is not started yet.
    """
    label = f"shared service {service.name}"
    trace = runtime.tracing().scenario(
        label,
        {"clnrm.scenario.name": label},
        redact=redact,
        book=book_of(runtime, container_name(lease.id, service.name)),
        token=token,
    )
    runtime.at_end.append(partial(_end, runtime, lease, trace))
    return trace


def receiver_of(
    runtime: Runtime, network: Network | None, trace: ScenarioTrace
) -> tuple[str, int] | tuple[()]:
    """Return where a container on *network* sends its spans, () if they do not get here."""
    if network is None or not network.gateway or trace.inbox is None:
        return ()
    return network.gateway, network.receiver_port or runtime.tracing().port


def received_again(
    runtime: Runtime,
    service: Service,
    lease: Lease,
    record: SharedRecord,
    network: Network | None,
    *,
    trace: ScenarioTrace,
) -> SharedRecord | None:
    """Receive the spans of a container that an earlier run has started, where it sends them.

    :param network: its own.
    :param trace: of the scenario or test that needs it first.
    :return: its record, which says who receives them; None if that port is another's now.
    """
    owner = runtime.ledger().owner_id
    if network is None:
        # It can send none.
        return replace(record, owner=owner)
    here = receiver_of(runtime, network, trace)
    if not record.receiver or not here or here[0] != record.receiver[0]:
        return replace(record, owner="")
    if here != record.receiver and not runtime.tracing().listen(record.receiver[1]):
        return None
    again = receive(runtime, service, lease, redact=trace.redact, token=record.token)
    if again.inbox is not None:
        again.inbox.keep_no_more()
    return replace(record, owner=owner)


def _end(runtime: Runtime, lease: Lease, trace: ScenarioTrace) -> None:
    """End the trace of a shared container; while processes of the run use it, this one receives its spans.

    Not when the whole run is broken off, by Ctrl-C or ``-x``: the controller holds the leases of items that
    are not over, and waits for this process.
    """
    ends_s = time.monotonic() + runtime.settings.timeout_s
    broken_off = runtime.run_folder() / RUN_ENDS if runtime.run_folder else None
    with suppress(ClnrmError):
        while (
            trace.inbox is not None
            and not (broken_off and broken_off.exists())
            and runtime.ledger().is_used_elsewhere(lease.id)
            and (left_s := ends_s - time.monotonic()) > 0
        ):
            trace.inbox.wait(timeout_s=min(_LOOK_S, left_s))
    trace.finish("")
