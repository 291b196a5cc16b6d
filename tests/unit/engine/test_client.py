"""Connections to the engine's socket are used again, whatever is asked for."""

from __future__ import annotations

import socketserver
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from pytest_clnrm.engine.connect.client import open_client
from pytest_clnrm.engine.connect.endpoints import Endpoint


class Engine(socketserver.ThreadingUnixStreamServer):
    """Answers all that is asked for with nothing, and counts connections."""

    daemon_threads = True
    connections = 0


class Answer(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def setup(self) -> None:
        assert isinstance(self.server, Engine)
        self.server.connections += 1
        super().setup()

    def do_GET(self) -> None:
        body = b'{"ApiVersion": "1.41", "MinAPIVersion": "1.12", "ID": "x", "NCPU": 1, "MemTotal": 1}'
        self.send_response(200)
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


def test_one_connection_serves_all_calls(engine: Engine) -> None:
    """Also where each call is about another container."""
    client, _ = open_client(Endpoint(url=f"unix://{engine.server_address}"))
    before = engine.connections
    for number in range(20):
        client.inspect_container(f"c{number}")
    assert engine.connections - before <= 1
    client.close()
