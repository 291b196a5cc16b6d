"""What is equal for scenarios that may use the same containers, known without an engine."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_clnrm.model.scenario import Scenario
    from pytest_clnrm.settings.settings import Settings


def specification_of(settings: Settings, scenario: Scenario) -> str | None:
    """Return a hash of all that makes the containers of *scenario* what they are, None if it uses none again.

    Whether a container really is as it should be is looked at once more before it is used.
    """
    if settings.pool == "off" or all(service.fresh for service in scenario.services):
        return None
    return sha256(repr(scenario.services).encode("utf-8", "surrogatepass")).hexdigest()[:16]
