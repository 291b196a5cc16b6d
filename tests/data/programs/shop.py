"""A small shop with OpenTelemetry's SDK: one order, honest, or lying about one thing (LIE)."""

from __future__ import annotations

import os
import queue
import signal
import sys
import time
import urllib.request
from http.server import BaseHTTPRequestHandler, HTTPServer, ThreadingHTTPServer

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter, SpanExporter
from opentelemetry.trace import SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

LIE = os.environ.get("LIE", "")
QUEUE = "http://queue:8000/"


def exporter() -> SpanExporter:
    """Return what OTEL_TRACES_EXPORTER names."""
    if os.environ.get("SHOP_EXPORTER") == "console":
        return ConsoleSpanExporter(formatter=lambda span: f"{span.to_json(indent=None)}\n")
    if os.environ.get("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL") == "grpc":
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcExporter

        return GrpcExporter()
    return OTLPSpanExporter()


provider = TracerProvider()
provider.add_span_processor(BatchSpanProcessor(exporter()))
tracer = provider.get_tracer("shop")


def order() -> None:
    """Take an order: look into the cache, ask the database, charge the card."""
    context = TraceContextTextMapPropagator().extract({"traceparent": os.environ.get("TRACEPARENT", "")})
    begins_ns = time.time_ns() - (3_600_000_000_000 if LIE == "duration" else 0)
    with tracer.start_as_current_span(
        "POST /orders", context, kind=SpanKind.SERVER, start_time=begins_ns
    ) as request:
        if LIE != "span":
            with tracer.start_as_current_span("cache.get") as cache:
                if LIE != "events":
                    cache.add_event("cache.miss", {"key": "order:7"})
        query()
        if LIE != "window":
            charge()
        request.set_attribute("http.response.status_code", 500 if LIE == "attrs" else 201)
        request.set_attribute("session.token", os.environ.get("TOKEN", ""))
        if LIE == "status":
            request.set_status(Status(StatusCode.ERROR, "out of stock"))
        else:
            request.set_status(Status(StatusCode.OK))
    if LIE == "window":
        charge()
    if LIE == "graph":
        with tracer.start_as_current_span("housekeeping"):
            pass


def query() -> None:
    """Ask the database, twice if it lies about counts, apart from the request if about the edge."""
    above = trace.set_span_in_context(trace.INVALID_SPAN) if LIE == "edge" else None
    for _ in range(2 if LIE == "counts" else 1):
        with tracer.start_as_current_span("db.query", above, kind=SpanKind.CLIENT) as span:
            span.set_attribute("server.address", "db.example.com" if LIE == "hermeticity" else "box")


def charge() -> None:
    """Charge the card, before the order is booked unless it lies about the order."""
    names = ["card.charge", "order.book"]
    for name in reversed(names) if LIE == "order" else names:
        with tracer.start_as_current_span(name):
            time.sleep(0.01)


def serve() -> None:
    """Take an order and say so, then wait to be told to end; export only then."""
    order()
    print("order taken", flush=True)  # noqa: T201 (a program)
    signal.sigwait({signal.SIGTERM})


def answer() -> None:
    """Answer requests within spans that continue what they carry; told to end, export nothing more."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            """Answer a request."""
            context = TraceContextTextMapPropagator().extract(
                {"traceparent": self.headers.get("traceparent", "")}
            )
            with tracer.start_as_current_span(f"GET {self.path}", context, kind=SpanKind.SERVER):
                if self.path.startswith("/jobs/"):
                    put(self.path)
                self.send_response(200)
                self.end_headers()

    HTTPServer(("", 8000), Handler).serve_forever()


def put(job: str) -> None:
    """Put a job into the queue, with where it came from."""
    carrier: dict[str, str] = {}
    TraceContextTextMapPropagator().inject(carrier)
    urllib.request.urlopen(QUEUE, f"{job} {carrier['traceparent']}".encode()).close()


def keep_jobs() -> None:
    """Be the queue: POST puts a job, GET waits for one and takes it; no span of it."""
    jobs: queue.Queue[bytes] = queue.Queue()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            """Put a job."""
            jobs.put(self.rfile.read(int(self.headers["content-length"])))
            self.send_response(200)
            self.end_headers()

        def do_GET(self) -> None:
            """Take a job."""
            job = jobs.get()
            self.send_response(200)
            self.end_headers()
            self.wfile.write(job)

    ThreadingHTTPServer(("", 8000), Handler).serve_forever()


def work() -> None:
    """Work half a second behind the queue, and fail at what is broken; told to end, export nothing more."""
    print("working", flush=True)  # noqa: T201 (a program)
    while True:
        with urllib.request.urlopen(QUEUE) as answer:
            job, traceparent = answer.read().decode().split()
        time.sleep(0.5)
        context = TraceContextTextMapPropagator().extract({"traceparent": traceparent})
        with tracer.start_as_current_span(f"work {job}", context, kind=SpanKind.CONSUMER) as span:
            if job.endswith("broken"):
                span.set_status(Status(StatusCode.ERROR, "broken"))


if "queue" in sys.argv:
    keep_jobs()
elif "work" in sys.argv:
    work()
elif "answer" in sys.argv:
    answer()
elif "serve" in sys.argv:
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    serve()
else:
    order()
provider.shutdown()
