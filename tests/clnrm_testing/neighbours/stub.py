"""A server that answers whatever it is asked, and remembers it: neighbours report to it."""

from __future__ import annotations

import json
import threading
from contextlib import AbstractContextManager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from uuid import uuid4

from clnrm_testing.neighbours.seen import Request


class Stub(AbstractContextManager["Stub"]):
    """Answers on a free port of 127.0.0.1 until the block ends.

    :ivar requests: in the order in which they came.
    """

    def __init__(self) -> None:
        requests: list[Request] = []
        self.requests = requests

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                # ReportPortal gives what was started an id, and takes one that was sent.
                sent: Any = {}
                if self.headers.get("Content-Type", "").startswith("application/json"):
                    sent = json.loads(body or b"{}")
                given = (sent.get("uuid") if isinstance(sent, dict) else None) or str(uuid4())
                requests.append(Request(method=self.command, path=self.path, body=body, id=given))
                answer = json.dumps({"id": given, "message": "taken"}).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            do_GET = do_POST = do_PUT = _answer  # noqa: N815 - http.server's names

            def log_message(self, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    def __exit__(self, *exc_info: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
