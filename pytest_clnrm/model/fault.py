"""What a step may do to the container of a service, and waiting for its end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from pytest_clnrm.model.key_path import KeyPath

FaultKind = Literal["stop", "kill", "start", "restart", "pause", "unpause", "disconnect", "reconnect"]
FAULTS: tuple[FaultKind, ...] = get_args(FaultKind)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """Something is done to the container of the step's service.

    :param kind: ``start`` and ``restart`` wait until the service is ready again; ``disconnect`` takes it off
        the scenario's network, and ``reconnect`` puts it back under its names.
    """

    kind: FaultKind
    at: KeyPath = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class AwaitExit:
    """The end of the step's service is waited for; its exit code and its log are those of the step."""
