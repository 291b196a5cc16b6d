"""A small HTTP API of orders with spans of OpenTelemetry's SDK, for tests of APIs."""

from __future__ import annotations

import base64
import json
import logging
import os
import re
import signal
import sys
import threading
from collections import Counter
from email import message_from_bytes
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

PORT = int(os.environ.get("PORT", "8080"))
TOKEN = "t0k3n-of-ada"  # noqa: S105 (of a test)
PRICES = {"tea": 3.5, "milk": 1.25, "bread": 2.0}
LOGO = b"\x89PNG\r\n\x1a\n" + bytes(range(64))
PAGE = """<!doctype html>
<html lang="en">
<head><title>Orders</title></head>
<body><h1 class="title">Orders</h1><ul><li>tea</li><li>milk</li><li>bread</li></ul></body>
</html>
"""

provider = TracerProvider()
provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
# Where nobody listens for spans, what is printed is about requests alone.
logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)
tracer = provider.get_tracer("orders")
orders: dict[int, dict[str, Any]] = {}
asked: Counter[str] = Counter()
lock = threading.Lock()


class RefusedError(Exception):
    """An answer other than that of success."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status, self.code = status, code


class Handler(BaseHTTPRequestHandler):
    """Answers requests, each within a span that continues what it carries."""

    protocol_version = "HTTP/1.1"
    server_version = "orders/1.4.2"
    sys_version = ""

    def answer(self) -> None:
        """Find what the path means, and answer."""
        self.parts = urlsplit(self.path)
        self.query = {name: values[-1] for name, values in parse_qs(self.parts.query).items()}
        self.body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        route = re.sub(r"/\d+", "/{id}", self.parts.path)
        context = TraceContextTextMapPropagator().extract(
            {"traceparent": self.headers.get("traceparent", "")}
        )
        with tracer.start_as_current_span(f"{self.command} {route}", context, kind=SpanKind.SERVER) as span:
            span.set_attributes({"http.request.method": self.command, "http.route": route})
            try:
                status, headers, content = self.found(route)
            except RefusedError as error:
                status, headers = error.status, {}
                content = {"error": {"code": error.code, "message": str(error)}}
            span.set_attribute("http.response.status_code", status)
            if status >= 500:
                span.set_status(Status(StatusCode.ERROR))
        self.reply(status, headers, content)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = answer  # noqa: N815

    def found(self, route: str) -> tuple[int, dict[str, str], Any]:
        """Return status, headers and content of an answer."""
        method = getattr(self, f"{self.command}_{re.sub(r'[^a-z]+', '_', route).strip('_')}".lower(), None)
        if method is None:
            raise RefusedError(404, "not_found", f"nothing at {self.parts.path}")
        answer: tuple[int, dict[str, str], Any] = method()
        return answer

    def reply(self, status: int, headers: dict[str, str], content: Any) -> None:
        """Send an answer."""
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        data = b"" if status == 204 else data
        self.send_response(status)
        for name, value in {"Content-Type": "application/json; charset=utf-8", **headers}.items():
            self.send_header(name, value)
        if status != 204:
            self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)
        print(f"{self.command} {self.path} {status}", flush=True)  # noqa: T201

    def log_message(self, *_: object) -> None:
        """Print nothing else."""

    @property
    def document(self) -> dict[str, Any]:
        """Return the JSON that was sent."""
        try:
            value = json.loads(self.body)
        except ValueError:
            raise RefusedError(400, "bad_json", "the body is no JSON") from None
        return value if isinstance(value, dict) else {}

    def number(self) -> int:
        """Return the number in the path."""
        match = re.search(r"/(\d+)", self.parts.path)
        return int(match[1]) if match else 0

    def check_user(self) -> None:
        """Refuse who is nobody."""
        given = self.headers.get("Authorization", "")
        basic = f"Basic {base64.b64encode(b'ada:lovelace').decode()}"
        if given not in {f"Bearer {TOKEN}", basic} and "sid=s3ss10n" not in self.headers.get("Cookie", ""):
            raise RefusedError(401, "unauthorized", "log in first")

    def order(self) -> dict[str, Any]:
        """Return the order that the path names."""
        with tracer.start_as_current_span("SELECT orders", kind=SpanKind.CLIENT) as span:
            span.set_attributes({"db.system": "postgresql", "db.operation": "SELECT", "db.name": "shop"})
        if self.number() not in orders:
            raise RefusedError(404, "not_found", f"no order {self.number()}")
        return orders[self.number()]

    def get_(self) -> tuple[int, dict[str, str], Any]:
        """Answer GET /."""
        return 200, {"Content-Type": "text/html; charset=utf-8"}, PAGE.encode()

    def get_health(self) -> tuple[int, dict[str, str], Any]:
        """Answer GET /health."""
        checks = [{"name": "db", "status": "UP"}, {"name": "queue", "status": "UP"}]
        return 200, {"Cache-Control": "no-store"}, {"status": "UP", "version": "1.4.2", "checks": checks}

    def get_logo_png(self) -> tuple[int, dict[str, str], Any]:
        """Answer GET /logo.png."""
        return 200, {"Content-Type": "image/png", "ETag": '"v1"'}, LOGO

    def get_old(self) -> tuple[int, dict[str, str], Any]:
        """Answer GET /old."""
        return 301, {"Location": "/orders?state=open"}, {}

    def post_login(self) -> tuple[int, dict[str, str], Any]:
        """Answer POST /login, of a form or JSON."""
        if "json" in self.headers.get("Content-Type", ""):
            given = self.document
        else:
            given = {name: values[0] for name, values in parse_qs(self.body.decode()).items()}
        if (given.get("user"), given.get("password")) != ("ada", "lovelace"):
            raise RefusedError(401, "unauthorized", "wrong user or password")
        cookie = "sid=s3ss10n; Path=/; HttpOnly; Max-Age=3600; SameSite=Lax"
        return (
            200,
            {"Set-Cookie": cookie},
            {"token": TOKEN, "user": {"name": "ada", "roles": ["buyer", "admin"]}},
        )

    def get_orders(self) -> tuple[int, dict[str, str], Any]:
        """Answer GET /orders."""
        with tracer.start_as_current_span("SELECT orders", kind=SpanKind.CLIENT) as span:
            span.set_attributes({"db.system": "postgresql", "db.operation": "SELECT", "db.name": "shop"})
        wanted = self.query.get("state")
        found = [each for each in orders.values() if wanted in {None, each["state"]}]
        page = found[: int(self.query.get("limit", "100"))]
        return 200, {"X-Total-Count": str(len(found))}, {"items": page, "count": len(found)}

    def post_orders(self) -> tuple[int, dict[str, str], Any]:
        """Answer POST /orders."""
        self.check_user()
        given = self.document
        with tracer.start_as_current_span("validate order"):
            if given.get("item") not in PRICES:
                raise RefusedError(422, "unknown_item", f"there is no {given.get('item')}")
        with tracer.start_as_current_span("INSERT orders", kind=SpanKind.CLIENT) as span:
            span.set_attributes({"db.system": "postgresql", "db.operation": "INSERT", "db.name": "shop"})
            quantity = int(given.get("quantity", 1))
            with lock:
                made = {
                    "id": len(orders) + 1,
                    "item": given["item"],
                    "quantity": quantity,
                    "total": PRICES[given["item"]] * quantity,
                    "state": "open",
                    "tags": ["new", *given.get("tags", [])],
                    "note": None,
                    "created": "2026-11-29T10:00:00Z",
                }
                orders[made["id"]] = made
        with tracer.start_as_current_span("orders publish", kind=SpanKind.PRODUCER) as span:
            span.set_attributes({"messaging.system": "kafka", "messaging.destination.name": "orders"})
        return 201, {"Location": f"/orders/{made['id']}"}, made

    def get_orders_id(self) -> tuple[int, dict[str, str], Any]:
        """Answer GET /orders/1."""
        return 200, {}, self.order()

    def put_orders_id(self) -> tuple[int, dict[str, str], Any]:
        """Answer PUT /orders/1."""
        self.check_user()
        order = self.order()
        order.update({name: each for name, each in self.document.items() if name in {"state", "note"}})
        return 200, {}, order

    def delete_orders_id(self) -> tuple[int, dict[str, str], Any]:
        """Answer DELETE /orders/1."""
        self.check_user()
        del orders[self.order()["id"]]
        return 204, {}, {}

    def get_jobs_id(self) -> tuple[int, dict[str, str], Any]:
        """Answer GET /jobs/1: it is done when it is asked the third time."""
        asked[self.path] += 1
        done = asked[self.path] > 2
        return (
            200,
            {},
            {"id": self.number(), "state": "done" if done else "running", "tries": asked[self.path]},
        )

    def post_upload(self) -> tuple[int, dict[str, str], Any]:
        """Answer POST /upload, of several parts."""
        head = f"Content-Type: {self.headers['Content-Type']}\r\n\r\n"
        parts: Any = message_from_bytes(head.encode() + self.body).get_payload()
        told = [
            {
                "name": each.get_param("name", header="content-disposition"),
                "filename": each.get_filename(),
                "size": len(each.get_payload(decode=True)),
            }
            for each in parts
            if isinstance(each, Message)
        ]
        return 200, {}, {"parts": told}


signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
print(f"listening on {PORT}", flush=True)  # noqa: T201
print("warning: no cache is configured", file=sys.stderr, flush=True)  # noqa: T201
ThreadingHTTPServer(("", PORT), Handler).serve_forever()
