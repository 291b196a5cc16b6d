"""Fixtures of the engine room's tests: a small server that speaks enough of Docker's API."""

from __future__ import annotations

import json
import socketserver
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

Answers = dict[str, Any]
VERSION: Answers = {"ApiVersion": "1.41", "Version": "20.10.24", "Components": [{"Name": "Engine"}]}
INFO: Answers = {"ID": "AAAA:BBBB", "DockerRootDir": "/data", "NCPU": 2, "MemTotal": 1024, "Name": "there"}


class Handler(BaseHTTPRequestHandler):
    """Answers by path, without its API version; ``(status, text)`` stands for itself."""

    answers: Answers = {}  # noqa: RUF012 -- each server derives a class of its own
    asked: list[str]

    def do_GET(self) -> None:
        """Answer from the table; 404 for what is not in it."""
        type(self).asked.append(self.path)
        path = self.path.split("?")[0]
        if path.startswith("/v1."):
            path = "/" + path.split("/", 2)[2]
        answer = self.answers.get(path, (404, '{"message": "no such thing"}'))
        status, text = answer if isinstance(answer, tuple) else (200, json.dumps(answer))
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_DELETE = do_GET  # noqa: N815 -- the base class's way of naming
    do_POST = do_GET  # noqa: N815

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 -- the base class's name
        """Keep quiet."""

    def address_string(self) -> str:
        """Return a name: a client on a socket has no address."""
        return "client"


class UnixServer(socketserver.ThreadingUnixStreamServer):
    """The same over a socket."""

    daemon_threads = True


@pytest.fixture
def short_path() -> Iterator[Path]:
    """Return a folder whose path is short enough for sockets."""
    with TemporaryDirectory(prefix="clnrm-", dir="/tmp") as folder:
        yield Path(folder)


@pytest.fixture
def serve(short_path: Path) -> Iterator[Callable[..., tuple[str, list[str]]]]:
    """Return a function that starts a fake engine and returns its URL and the list of paths it is asked."""
    with ExitStack() as stack:

        def start(answers: Answers | None = None, *, tcp: bool = False) -> tuple[str, list[str]]:
            table = (
                {"/version": VERSION, "/info": INFO, "/_ping": (200, "OK")} if answers is None else answers
            )
            asked: list[str] = []
            handler = type("Answering", (Handler,), {"answers": table, "asked": asked})
            server: socketserver.BaseServer
            if tcp:
                server = HTTPServer(("127.0.0.1", 0), handler)
                url = f"tcp://127.0.0.1:{server.server_port}"
            else:
                path = short_path / f"fake{len(list(short_path.iterdir()))}.sock"
                server = UnixServer(str(path), handler)
                url = f"unix://{path}"
            thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
            thread.start()
            stack.callback(thread.join)
            stack.callback(server.server_close)
            stack.callback(server.shutdown)
            return url, asked

        yield start
