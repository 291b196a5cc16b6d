"""Connections to the engine's socket are used again, whatever is asked for."""

from __future__ import annotations

import socketserver
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
from docker.errors import NotFound
from requests.exceptions import ReadTimeout

from pytest_clnrm.engine.connect.client import open_client
from pytest_clnrm.engine.connect.endpoints import Endpoint


class Engine(socketserver.ThreadingUnixStreamServer):
    """Answers all that is asked for with nothing, and counts connections."""

    daemon_threads = True
    connections = 0
    asked = 0

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.patience = threading.Event()

    def handle_error(self, *_: object) -> None:
        """Say nothing of clients that have not waited."""


class Answer(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def setup(self) -> None:
        assert isinstance(self.server, Engine)
        self.server.connections += 1
        super().setup()

    def do_GET(self) -> None:
        assert isinstance(self.server, Engine)
        self.server.asked += 1
        body = b'{"ApiVersion": "1.41", "MinAPIVersion": "1.12", "ID": "x", "NCPU": 1, "MemTotal": 1}'
        status = 200
        if "/missing/" in self.path:
            status, body = 404, b'{"message": "no such thing: missing"}'
        elif "/slow/" in self.path:
            self.server.patience.wait(60)
        elif "/closes/" in self.path:
            # Without telling, as after a time without questions.
            self.close_connection = True
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    """Return an engine at a socket."""
    with Engine(str(tmp_path / "engine.sock"), Answer) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_plain_questions_need_no_library(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are answered as by it, errors too; what is no plain question goes through it."""
    client: Any = open_client(Endpoint(url=f"unix://{engine.server_address}"))[0]
    asked: list[str] = []
    send = client.send

    def note(request: Any, **more: Any) -> Any:
        asked.append(request.url)
        return send(request, **more)

    monkeypatch.setattr(client, "send", note)
    assert client.inspect_image("x")["ApiVersion"] == "1.41"
    with pytest.raises(NotFound, match="no such thing: missing"):
        client.inspect_image("missing")
    assert asked == []
    client.containers(all=True)
    assert ["json?" in each for each in asked] == [True]
    client.close()


def test_a_connection_that_the_engine_has_closed_is_made_anew(engine: Engine) -> None:
    """It closes those that wait for long."""
    client: Any = open_client(Endpoint(url=f"unix://{engine.server_address}"))[0]
    client.inspect_image("closes")
    before = engine.connections
    assert client.inspect_image("x")["ApiVersion"] == "1.41"
    assert engine.connections == before + 1
    client.close()


def test_an_engine_that_is_slow(engine: Engine) -> None:
    """It is not asked twice: each time would be waited for."""
    client: Any = open_client(Endpoint(url=f"unix://{engine.server_address}"))[0]
    client.timeout = 0.2
    before = engine.asked
    with pytest.raises(ReadTimeout, match=r"no answer within 0\.2 s"):
        client.inspect_image("slow")
    assert engine.asked == before + 1
    engine.patience.set()
    client.close()


def test_one_connection_serves_all_calls(engine: Engine) -> None:
    """Also where each call is about another container."""
    client: Any = open_client(Endpoint(url=f"unix://{engine.server_address}"))[0]
    before = engine.connections
    for number in range(20):
        client.inspect_container(f"c{number}")
    assert engine.connections - before <= 1
    client.close()
