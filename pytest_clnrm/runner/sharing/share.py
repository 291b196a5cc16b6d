"""Which services of several scenarios are one: those with an equal specification."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from pytest_clnrm.model.demand import Group, Share
from pytest_clnrm.runner.launch import effective_limits

if TYPE_CHECKING:
    from pytest_clnrm.model.service import Service
    from pytest_clnrm.settings.settings import Settings

_KEY_DIGITS = 12
_OF_ITS_SCENARIO = frozenset({"at", "artifacts", "depends_on", "only_steps"})
"""Fields that do not make another container of it."""


def share_of(settings: Settings, service: Service, file: str, others: Sequence[Service] = ()) -> Share:
    """Return a shared service as what is counted once for all who use it.

    :param file: in which it stands, for those that are shared within it.
    :param others: among which are those that it depends on: with another one of these it is another, too.
    """
    within = "" if service.scope == "run" else file
    needs = [share_of(settings, each, file, others).key for each in others if each.name in service.depends_on]
    needs.sort()
    told = repr((within, _plain(service), *needs)).encode("utf-8", "surrogatepass")
    limits = effective_limits(settings, service)
    return Share(
        key=sha256(told).hexdigest()[:_KEY_DIGITS],
        name=service.name,
        memory_bytes=limits.memory_bytes or 0,
        cpus=limits.cpus or 0.0,
        gpus=limits.gpus or 0,
    )


def turn_of(session_id: str, share: Share) -> Group:
    """Return the group of those who use a shared service one at a time, as it is reset between them."""
    return Group(name=f"reset-{session_id}-{share.key}")


def _plain(value: Any) -> Any:
    """Return *value* as tuples that do not tell where it was written."""
    if dataclasses.is_dataclass(value):
        fields = (each.name for each in dataclasses.fields(value) if each.name not in _OF_ITS_SCENARIO)
        return tuple((name, _plain(getattr(value, name))) for name in fields)
    if isinstance(value, Mapping):
        # The order of variables and labels makes no other container.
        return tuple(sorted((key, _plain(each)) for key, each in value.items()))
    return tuple(map(_plain, value)) if isinstance(value, (tuple, list)) else value
