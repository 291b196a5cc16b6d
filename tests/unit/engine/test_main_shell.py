"""A container's own shell: what it says beside its commands, its end, and the logs of its container."""

from __future__ import annotations

import socket
import threading
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import docker.errors
import pytest

from pytest_clnrm.engine.exec.main_shell import MainStreams, attach, new_end_mark, outside_frames, tell_to_end
from pytest_clnrm.engine.exec.streams import Connection
from pytest_clnrm.engine.exec.waiting import ENDS_CONTAINER
from pytest_clnrm.errors import EngineUnavailableError

END_MARK = "a" * 32
BEGIN, OTHER = f"\x1d{'b' * 32}\n", f"\x1d{'c' * 32}\n"
END, END_OF_ERR = f"\x1e{'e' * 32} 0 0 0\n", f"\x1e{'e' * 32}\n"


def frame(stream: int, payload: bytes) -> bytes:
    """Return one frame."""
    return bytes([stream, 0, 0, 0]) + len(payload).to_bytes(4, "big") + payload


@pytest.mark.parametrize("size", [1, 2, 7, 1000])
def test_the_notice_is_nobodys_output(size: int) -> None:
    """In any pieces; what comes behind it is of processes that were left."""
    said = b"out\x1c\n\x1c" + END_MARK[:-1].encode() + b"b"
    end = f"\x1c{END_MARK} 137\nlate".encode()
    data = frame(1, said[:9]) + frame(2, end) + frame(1, said[9:]) + frame(1, end[:20]) + frame(1, end[20:])
    frames = MainStreams(END_MARK)
    found = {"stdout": b"", "stderr": b""}
    for at in range(0, len(data), size):
        for stream, piece in frames.feed(data[at : at + size]):
            assert piece
            found[stream] += piece
    assert (frames.exit_code, found["stdout"], found["stderr"]) == (137, said, end)


def test_output_passes_as_it_comes() -> None:
    """Nothing waits for the next piece but what may be the end mark."""
    frames = MainStreams(END_MARK)
    assert list(frames.feed(frame(1, b"some\n"))) == [("stdout", b"some\n")]
    assert list(frames.feed(frame(1, b"more\x1caa"))) == [("stdout", b"more")]
    assert list(frames.feed(frame(1, b"!"))) == [("stdout", b"\x1caa!")]


def test_notices_differ() -> None:
    """Nobody can guess that of another container."""
    assert len({new_end_mark() for _ in range(50)}) == 50


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("", ""),
        ("only this\n", "only this\n"),
        (f"one {BEGIN}{BEGIN}own{END}{END_OF_ERR}two\n", "one two\n"),
        (f"{BEGIN}own\n{BEGIN}err{END_OF_ERR}{END}{OTHER}{OTHER}own{END}{END_OF_ERR}late", "late"),
        (f"cut off{END}{END_OF_ERR}after", "after"),
        (f"cut off{BEGIN}{END_OF_ERR}err{END}after", "after"),
        (f"{BEGIN}{BEGIN}never ended", ""),
        (f"{BEGIN}{BEGIN}broken\x1c{END_MARK} 137\nlate\n", "late\n"),
        (f"{'d' * 32}\n\x1dshort\n\x1e{'e' * 31}\n", f"{'d' * 32}\n\x1dshort\n\x1e{'e' * 31}\n"),
    ],
)
def test_logs_are_what_no_command_said(text: str, left: str) -> None:
    """Also where the front of them is cut off."""
    assert outside_frames(text) == left


def test_an_engine_that_goes_while_a_shell_ends() -> None:
    """Its container is removed all the same, which tells."""
    connection = Mock(receive=Mock(side_effect=[b"x", EngineUnavailableError("gone")]))
    tell_to_end(connection)
    assert connection.receive.call_count == 2


def connected() -> tuple[Any, socket.socket]:
    """Return what docker-py returns for a stream, and its other end."""
    ours, theirs = socket.socketpair()
    reader: Any = ours.makefile("rb")
    raw = reader.raw
    raw._response = SimpleNamespace(raw=SimpleNamespace(_fp=SimpleNamespace(fp=reader)), close=reader.close)
    return raw, theirs


def test_it_is_told_to_end() -> None:
    """What it still says is of no interest; its end is waited for."""
    raw, theirs = connected()
    told: list[bytes] = []

    def shell() -> None:
        told.append(theirs.recv(100))
        theirs.sendall(frame(1, b"late"))
        theirs.close()

    thread = threading.Thread(target=shell)
    thread.start()
    connection = Connection(raw)
    tell_to_end(connection)
    assert connection.receive(0) == b""
    thread.join()
    assert told == [f"exit {ENDS_CONTAINER}\n".encode()]
    connection.close()


def test_one_that_does_not_end_keeps_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is killed with its container then."""
    monkeypatch.setattr("pytest_clnrm.engine.exec.main_shell._END_S", 0.01)
    raw, theirs = connected()
    connection = Connection(raw)
    tell_to_end(connection)
    assert theirs.recv(100)
    connection.close()
    theirs.close()


@pytest.mark.parametrize("error", [docker.errors.NotFound("no such container"), OSError("broken")])
def test_what_cannot_be_attached_has_execs(error: Exception) -> None:
    """Starting it tells what is wrong."""

    class Client:
        base_url, api_version, timeout = "http+docker://localhost", "1.41", 60

        def post(self, url: str, **options: Any) -> Any:
            assert (url, options["timeout"]) == ("http+docker://localhost/v1.41/containers/c/attach", 60)
            raise error

    assert attach(Client(), "c") is None  # type: ignore[arg-type]
