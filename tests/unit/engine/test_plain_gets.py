"""Plain questions over a socket of this host: one connection for many, and none that stays open."""

from __future__ import annotations

import gc
import socketserver
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from pytest_clnrm.engine.connect.plain_gets import PlainGets


class _Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    """An engine that counts its connections."""

    daemon_threads = True

    def __init__(self, path: Path) -> None:
        self.path = str(path)
        self.opened = 0
        self.ended = threading.Semaphore(0)
        super().__init__(self.path, _Handler)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def handle(self) -> None:
        self.server.opened += 1
        super().handle()
        self.server.ended.release()

    def address_string(self) -> str:
        return "here"

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass

    def do_GET(self) -> None:
        if self.path == "/late":
            time.sleep(1)
        body = self.path.encode()
        self.send_response(404 if self.path == "/gone" else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        # As an engine that ends: it has not said that it will close.
        self.close_connection = self.path == "/last"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[_Server]:
    """Return an engine at a socket."""
    with _Server(tmp_path / "s") as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_one_connection_for_many(server: _Server) -> None:
    """Each answer has status, words, headers and body."""
    gets = PlainGets(server.path, 2)
    answer = gets.get("/a?b=c", 5)
    assert answer is not None
    assert (answer.status, answer.reason, answer.body) == (200, "OK", b"/a?b=c")
    assert answer.headers["Content-Length"] == "6"
    missing = gets.get("/gone", 5)
    assert missing is not None
    assert (missing.status, missing.reason) == (404, "Not Found")
    assert server.opened == 1
    gets.close()
    assert server.ended.acquire(timeout=5)
    # One that is closed still answers, and keeps nothing.
    assert gets.get("/a", 5) is not None
    assert server.ended.acquire(timeout=5)


def test_a_connection_that_the_engine_has_closed(server: _Server) -> None:
    """There is no answer, and the next question has a new connection."""
    gets = PlainGets(server.path, 2)
    assert gets.get("/last", 5) is not None
    assert server.ended.acquire(timeout=5)
    assert gets.get("/a", 5) is None
    assert gets.get("/a", 5) is not None
    assert server.opened == 2
    gets.close()


def test_no_engine(tmp_path: Path) -> None:
    """There is no answer."""
    assert PlainGets(str(tmp_path / "none"), 2).get("/a", 5) is None


def test_an_answer_that_does_not_come(server: _Server) -> None:
    """It is waited for no longer than wanted."""
    gets = PlainGets(server.path, 2)
    with pytest.raises(TimeoutError):
        gets.get("/late", 0.05)
    answer = gets.get("/a", 5)
    assert answer is not None
    assert answer.body == b"/a", "not the late one"
    gets.close()


def test_whoever_forgets_to_close_it(server: _Server) -> None:
    """Its connections are closed when nobody has it any more, also in a circle: warnings are errors."""
    gets = PlainGets(server.path, 2)
    assert gets.get("/a", 5) is not None
    circle: dict[str, object] = {"gets": gets}
    circle["itself"] = circle
    del gets, circle
    gc.collect()
    assert server.ended.acquire(timeout=5)
