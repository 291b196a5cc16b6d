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

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
LONG = b"x" * 100_000
ODD = {
    "/chunks": CHUNKED + b"3;a=b\r\nabc\r\n186A0\r\n" + LONG + b"\r\n0\r\n\r\n",
    "/fields": CHUNKED + b"1\r\na\r\n0\r\nX: y\r\n\r\n",
    "/short-chunk": CHUNKED + b"1\r\nab\r\n0\r\n\r\n",
    "/no-end": b"HTTP/1.1 200 OK\r\n\r\nab",
    "/too-long": b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nab",
    "/old": b"HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\na",
    "/empty": b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n",
    "/no-http": b"SSH-2.0-server\r\n\r\n\r\n",
    "/no-head": b"x" * 200_000,
}


class _Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    """An engine that counts its connections."""

    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: those who ask leave where they are told to."""

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
        if self.path in ODD:
            self.wfile.write(ODD[self.path])
            return
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


def test_an_answer_in_chunks(server: _Server) -> None:
    """It is put together, and its connection used again."""
    gets = PlainGets(server.path, 2)
    for _ in range(2):
        answer = gets.get("/chunks", 5)
        assert answer is not None
        assert answer.body == b"abc" + LONG
    assert server.opened == 1
    gets.close()


def test_an_answer_of_old(server: _Server) -> None:
    """HTTP/1.0 is understood, and its connection not used again."""
    gets = PlainGets(server.path, 2)
    for _ in range(2):
        answer = gets.get("/old", 5)
        assert answer is not None
        assert answer.body == b"a"
    assert server.opened == 2
    gets.close()


@pytest.mark.parametrize("path", [each for each in ODD if each not in {"/chunks", "/old"}])
def test_what_is_no_plain_answer(server: _Server, path: str) -> None:
    """It is asked again through the library; nothing of it is taken for the next answer."""
    gets = PlainGets(server.path, 2)
    assert gets.get(path, 5) is None
    answer = gets.get("/a", 5)
    assert answer is not None
    assert answer.body == b"/a"
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
