"""What the hooks of reservations say and note, called by hand."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pytest_clnrm.errors import EngineError
from pytest_clnrm.reservation.hooks import ReservationHooks
from pytest_clnrm.scheduling.tickets import TICKET, Ticket


def test_idle_containers_that_stay_fail_the_test_that_took_their_slot() -> None:
    """The message says what could not be done, and the engine's reason."""

    def remove(_: tuple[str, ...]) -> None:
        raise EngineError("the engine is busy")

    runtime: Any = SimpleNamespace(shelf=lambda: SimpleNamespace(remove=remove), worker="gw0")
    item: Any = SimpleNamespace(stash=pytest.Stash())
    item.stash[TICKET] = Ticket(lease="l", remove=("c1",))
    text = "could not remove the idle containers whose slot this test was given: the engine is busy"
    with pytest.raises(pytest.fail.Exception, match=f"^{text}$"):
        ReservationHooks(runtime, Path, is_worker=False).pytest_runtest_setup(item)
