"""The engine's clock, and the moments that it tells."""

from __future__ import annotations

import re
from datetime import datetime
from typing import TYPE_CHECKING

from pytest_clnrm.engine.plain_errors import plain_errors
from pytest_clnrm.errors import ContainerError

if TYPE_CHECKING:
    from docker import APIClient


def clock_s(client: APIClient) -> float:
    """Return the time by the engine's clock, in seconds since 1970.

    :raises ContainerError: if it does not tell.
    """
    with plain_errors("ask the engine for the time", ContainerError):
        told = str(client.info().get("SystemTime") or "")
    moment = moment_s(told)
    if not moment:
        raise ContainerError(f"the engine does not tell the time: {told!r}")
    return moment


def moment_s(text: str | None) -> float:
    """Return a moment of the engine (RFC 3339, nanoseconds) as seconds since 1970; 0 if there was none."""
    match = re.fullmatch(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(\.\d+)?(Z|[+-]\d\d:\d\d)", text or "")
    if match is None or match[1].startswith("0001"):
        return 0.0
    whole = datetime.fromisoformat(match[1] + match[3].replace("Z", "+00:00")).timestamp()
    return whole + float(match[2] or 0)
