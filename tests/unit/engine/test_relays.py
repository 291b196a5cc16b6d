"""The stream to a relay."""

from __future__ import annotations

from unittest.mock import Mock

from pytest_clnrm.engine.docker.relays import _AttachedWire
from pytest_clnrm.errors import EngineUnavailableError


def test_a_connection_that_breaks_is_an_end() -> None:
    """Its reason is told as why the relay has ended, not as an exception in the relay's thread."""
    frame = b"\1\0\0\0\0\0\0\4data"
    wire = _AttachedWire(Mock(receive=Mock(side_effect=[frame, EngineUnavailableError("ssh has ended")])))
    assert wire.receive_now() == b"data"
    assert wire.why_ended() == ""
    assert wire.receive_now() == b""
    assert wire.why_ended() == "ssh has ended"
