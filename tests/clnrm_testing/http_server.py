"""A server of this machine that answers as a test says, and requests sent to it whatever their host."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from pytest_clnrm.model.http import HttpAnswer, HttpRequest
from pytest_clnrm.runner.cookies import service_cookies
from pytest_clnrm.runner.http_client import send

__all__ = ["LONG_S", "Server", "ask", "serving"]

LONG_S = 30.0


class Server(BaseHTTPRequestHandler):
    """Answers with what the test says, and keeps what it was sent."""

    seen: list[tuple[str, str, Mapping[str, str], bytes]]
    answers: dict[str, tuple[int, dict[str, str], bytes]]

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.seen.append((self.command, self.path, dict(self.headers), body))
        status, headers, content = self.answers.get(self.path, (200, {}, b"ok"))
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = do_PUT = _answer  # noqa: N815 names that http.server calls

    def log_message(self, *_: object) -> None:
        """Print nothing."""


@contextmanager
def serving() -> Iterator[Any]:
    """Yield a handler class of a server of its own, with its ``port``."""
    handler: Any = type("Handler", (Server,), {"seen": [], "answers": {}})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as listening:
        handler.port, handler.listening = listening.server_port, listening
        thread = threading.Thread(target=listening.serve_forever, args=(0.01,))
        thread.start()
        yield handler
        listening.shutdown()
        thread.join()


def ask(port: int, request: HttpRequest, *, timeout_s: float = LONG_S, **more: Any) -> HttpAnswer:
    """Send *request*, whatever its host, to a port of this machine."""

    def dial(_host: str, _port: int, left_s: float) -> socket.socket:
        return socket.create_connection(("127.0.0.1", port), left_s)

    given: dict[str, Any] = {"cookies": service_cookies(), "headers": {}, "show": lambda _: None, **more}
    return send(request, dial=dial, deadline_s=time.monotonic() + timeout_s, **given)
