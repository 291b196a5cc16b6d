"""The HTTP side of the receiver: which request gets which answer, and bounds for all that a client may do."""

from __future__ import annotations

import os
import re
import socket
import threading
import time
import weakref
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

from pytest_clnrm.telemetry.environment import TOKEN_HEADER
from pytest_clnrm.telemetry.receive.body import (
    JSON,
    PROTOBUF,
    RefusedError,
    content_length,
    read_body,
    status_body,
)
from pytest_clnrm.telemetry.receive.inboxes import Inboxes

if TYPE_CHECKING:
    from pytest_clnrm.telemetry.receive.grpc_server import GrpcServer
    from pytest_clnrm.telemetry.receive.inbox import Inbox, Lost

IDLE_S = 60.0
"""How long a connection may take to send the head of its next request."""
BODY_S = 30.0
"""How long a request may take from the end of its head to the end of its answer."""
LINGER_S = 2.0
LARGE_BYTES = 1 << 20
LARGE_AT_ONCE = 4
MAX_CONNECTIONS = 64
FULL_S = 5.0
"""How long new connections wait while there are too many; exporters give up after ten seconds."""
IDLE_ENOUGH_S = 0.5
RETRY_AFTER_S = 1
_PATH = re.compile(r"\A(?:/t/([\w-]{1,64}))?/v1/(traces|metrics|logs)\Z", re.ASCII)
_HANG_UP = (OSError, ValueError)
"""What reading and writing raise when the peer, or the reaper, has closed the connection."""
_LOOPBACK = "127.0.0.1"
_TLS, _HTTP2 = b"\x16\x03", b"PRI * HTTP/2.0"


class OtlpServer(ThreadingHTTPServer):
    """One listener on all addresses that serves only those which are allowed now."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, inboxes: Inboxes, port: int = 0) -> None:
        self.inboxes = inboxes
        self.addresses: frozenset[str] = frozenset()
        self._own: set[tuple[str, int]] = set()
        self._starting = threading.Lock()
        self.large = threading.BoundedSemaphore(LARGE_AT_ONCE)
        self.deadlines_s: dict[socket.socket, float] = {}
        self.idle_s: dict[socket.socket, float] = {}
        self._busy: dict[socket.socket, float] = {}
        self._full_since_s = 0.0
        self._ending = False
        self._grpc: GrpcServer | None = None
        self._idle = threading.Condition()
        super().__init__(("0.0.0.0", port), OtlpHandler)  # noqa: S104 # see verify_request
        close_in_child(self)

    def connect(self) -> socket.socket:
        """Return a new connection to it from this process, which is served whatever its address.

        :raises OSError: if there is none, as once it has ended.
        """
        connection = socket.socket()
        try:
            connection.bind((_LOOPBACK, 0))
            # It may be accepted before this thread runs on.
            self._own.add(own := connection.getsockname())
            try:
                connection.connect((_LOOPBACK, self.server_address[1]))
            except BaseException:
                self._own.discard(own)
                raise
        except BaseException:
            connection.close()
            raise
        return connection

    def verify_request(self, request: Any, client_address: Any) -> bool:
        """Tell whether the connection came in over an address that is allowed, or is our own."""
        if client_address in self._own:
            self._own.discard(client_address)
            return True
        try:
            return request.getsockname()[0] in self.addresses
        except OSError:
            return False

    def process_request(self, request: Any, client_address: Any) -> None:
        """Serve a connection in a thread; while there are too many it waits, and is refused after a while."""
        if self._has_room():
            with self._idle:
                self.deadlines_s[request] = time.monotonic() + IDLE_S
            super().process_request(request, client_address)
        else:
            self._refuse_busy(request)

    def _has_room(self) -> bool:
        """Wait until there are not too many connections any more; return False if that takes too long."""
        while True:
            with self._idle:
                now_s = time.monotonic()
                if len(self.deadlines_s) < MAX_CONNECTIONS:
                    self._full_since_s = 0.0
                    return True
                self._full_since_s = self._full_since_s or now_s
                if self._ending or now_s > self._full_since_s + FULL_S:
                    return False
                # The connection that has waited longest for its next request is told that there will be none.
                # What it sends at this very moment is still read.
                idle = [each for each, since_s in self.idle_s.items() if now_s > since_s + IDLE_ENOUGH_S]
                if idle:
                    longest = min(idle, key=self.idle_s.__getitem__)
                    del self.idle_s[longest]
                    hang_up(longest, socket.SHUT_WR)
                self._idle.wait(0.05)
            self.service_actions()

    def _refuse_busy(self, request: Any) -> None:
        """Answer 503 without a look at the request, and leave the client a moment to read that."""
        self.inboxes.lose(
            "connection", f"{HTTPStatus.SERVICE_UNAVAILABLE:d}, more than {MAX_CONNECTIONS} at once"
        )
        head = f"HTTP/1.1 503 Service Unavailable\r\nRetry-After: {RETRY_AFTER_S}\r\n"
        try:
            request.settimeout(0)
            request.sendall(f"{head}Content-Length: 0\r\nConnection: close\r\n\r\n".encode())
        except OSError:
            super().shutdown_request(request)
            return
        hang_up(request, socket.SHUT_WR)
        self._busy[request] = time.monotonic() + LINGER_S
        if len(self._busy) > MAX_CONNECTIONS:
            self._end_busy(next(iter(self._busy)))

    def _end_busy(self, connection: socket.socket) -> None:
        del self._busy[connection]
        connection.close()

    def shutdown_request(self, request: Any) -> None:
        """Close a connection."""
        super().shutdown_request(request)
        with self._idle:
            self.deadlines_s.pop(request, None)
            self.idle_s.pop(request, None)
            self._idle.notify_all()

    def allow_s(self, connection: socket.socket, allowed_s: float) -> None:
        """Give *connection* so many seconds from now on."""
        with self._idle:
            self.idle_s.pop(connection, None)
            if connection in self.deadlines_s:
                self.deadlines_s[connection] = time.monotonic() + allowed_s

    def grpc(self) -> GrpcServer:
        """Return the server of OTLP over gRPC, started when it is first asked for.

        :raises ImportError: if grpcio is not installed.
        """
        from pytest_clnrm.telemetry.receive.grpc_server import GrpcServer

        with self._starting:
            if self._grpc is None:
                self._grpc = GrpcServer(self.inboxes)
            return self._grpc

    def rest(self, connection: socket.socket) -> None:
        """Note that *connection* waits for its next request."""
        self.allow_s(connection, IDLE_S)
        with self._idle:
            self.idle_s[connection] = time.monotonic()

    def service_actions(self) -> None:
        """Hang up on connections that took too long; their threads then see the end of the stream."""
        now_s = time.monotonic()
        with self._idle:
            overdue = [each for each, deadline_s in self.deadlines_s.items() if deadline_s < now_s]
        for connection in overdue:
            hang_up(connection)
        for connection in [each for each, until_s in self._busy.items() if until_s < now_s]:
            self._end_busy(connection)

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002
        """Keep what went wrong within us; it is no client's fault."""
        self.inboxes.note_problem()

    def end(self) -> None:
        """Stop listening, hang up on everybody, and wait for the threads."""
        self._ending = True
        self.shutdown()
        self.server_close()
        for connection in list(self._busy):
            self._end_busy(connection)
        with self._starting:
            if self._grpc is not None:
                self._grpc.close()
        with self._idle:
            for connection in self.deadlines_s:
                hang_up(connection)
            self._idle.wait_for(lambda: not self.deadlines_s, timeout=LINGER_S)


def hang_up(connection: socket.socket, directions: int = socket.SHUT_RDWR) -> None:
    """End *connection* in both directions, or one; who reads from it sees its end."""
    try:
        connection.shutdown(directions)
    except OSError:
        return


def close_in_child(server: OtlpServer) -> None:
    """Close the listener in forked children, which have no thread that would answer."""
    there = weakref.ref(server)

    def close() -> None:
        living = there()
        if living is not None:
            living.socket.close()

    os.register_at_fork(after_in_child=close)


class OtlpHandler(BaseHTTPRequestHandler):
    """Answers the requests of one connection."""

    server: OtlpServer
    protocol_version = "HTTP/1.1"
    wbufsize = 65536
    disable_nagle_algorithm = True
    raw_requestline = b""

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 # the base class's name
        """Say nothing on the terminal."""

    def version_string(self) -> str:
        """Return what the Server header says."""
        return "clnrm"

    def handle_one_request(self) -> None:
        """Answer the next request; a connection that breaks is nobody's problem."""
        self.server.rest(self.connection)
        try:
            super().handle_one_request()
        except _HANG_UP:
            self.close_connection = True

    def parse_request(self) -> bool:
        """Read the head of a request whose first line is there."""
        self.server.allow_s(self.connection, IDLE_S)
        if self.raw_requestline.startswith(_HTTP2) and self._hand_over():
            self.close_connection = True
            return False
        try:
            return super().parse_request()
        except _HANG_UP:
            self.server.inboxes.lose("request", "the connection broke off within its head")
            raise

    def finish(self) -> None:
        """Close the streams, which may be broken."""
        try:
            super().finish()
        except _HANG_UP:
            return

    def handle_expect_100(self) -> bool:
        """Let the client wait: whether its body is wanted turns out later."""
        return True

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:  # noqa: ARG002
        """Answer what is no request, or has another method than POST."""
        status = HTTPStatus(code)
        # The base class says so of each method without a function of its own, as GET.
        if status is HTTPStatus.NOT_IMPLEMENTED:
            status = HTTPStatus.METHOD_NOT_ALLOWED
        if status is not HTTPStatus.METHOD_NOT_ALLOWED:
            self.server.inboxes.lose(*self._why_no_request(status, message or status.phrase))
        self._refuse(RefusedError(status, message or status.phrase, close=True))

    def _hand_over(self) -> bool:
        """Let the gRPC server answer all that comes over this connection; return False if there is none."""
        try:
            other = self.server.grpc().connect()
        except ImportError:
            return False
        with other:
            other.sendall(self.raw_requestline)
            back = threading.Thread(target=self._hand_back, args=(other,), daemon=True)
            back.start()
            try:
                while piece := self.rfile.read1(65536):
                    self.server.allow_s(self.connection, IDLE_S)
                    other.sendall(piece)
            except _HANG_UP:
                pass
            finally:
                hang_up(other, socket.SHUT_WR)
                back.join(LINGER_S)
                hang_up(other)
                back.join()
        return True

    def _hand_back(self, other: socket.socket) -> None:
        try:
            while piece := other.recv(65536):
                self.server.allow_s(self.connection, IDLE_S)
                self.connection.sendall(piece)
        except _HANG_UP:
            pass
        finally:
            hang_up(self.connection)

    def _why_no_request(self, status: HTTPStatus, message: str) -> tuple[Lost, str]:
        """Return what was lost with what is no request, and why."""
        if self.raw_requestline.startswith(_HTTP2):
            from pytest_clnrm.telemetry.receive.grpc_server import REMEDY

            return "connection", f"it speaks gRPC, for which grpcio is missing here: {REMEDY}"
        if self.raw_requestline.startswith(_TLS):
            return "connection", "it speaks TLS, and spans are received over plain HTTP: begin with http://"
        return "request", f"{status:d}, {message}"

    def do_POST(self) -> None:
        """Take spans; accept and drop metrics and logs."""
        self.server.allow_s(self.connection, BODY_S)
        content_type = (self.headers.get("Content-Type") or "").partition(";")[0].strip().lower()
        answer_type = JSON if content_type == JSON else PROTOBUF
        try:
            body = self._export(content_type)
        except RefusedError as refused:
            self._refuse(refused, answer_type)
        else:
            self._answer(HTTPStatus.OK, body, answer_type)

    def _export(self, content_type: str) -> bytes:
        """Return the body of a good answer.

        :raises RefusedError: for another answer.
        """
        match = _PATH.match(self.path.partition("?")[0])
        if match is None:
            missing = RefusedError(HTTPStatus.NOT_FOUND, "no such path; /v1/traces is there", close=True)
            self.server.inboxes.lose("request", str(missing))
            raise missing
        spans = match[2] == "traces"
        tokens = tuple(token for token in (self.headers.get(TOKEN_HEADER), match[1]) if token)
        with self.server.inboxes.request(tokens, spans=spans) as (inbox, attempt):
            try:
                return self._read(inbox, attempt, content_type, spans=spans)
            except _HANG_UP:
                if spans:
                    inbox.lose("request", "the connection broke off within its body")
                raise

    def _read(self, inbox: Inbox, attempt: str, content_type: str, *, spans: bool) -> bytes:
        unsupported = HTTPStatus.UNSUPPORTED_MEDIA_TYPE
        if content_type not in {PROTOBUF, JSON}:
            raise RefusedError(unsupported, f"Content-Type must be {PROTOBUF} or {JSON}", close=True)
        encoding = (self.headers.get("Content-Encoding") or "identity").strip().lower()
        if encoding not in {"gzip", "identity"}:
            raise RefusedError(unsupported, "Content-Encoding must be gzip or identity", close=True)
        length = content_length(self.headers)
        large = length is None or length > LARGE_BYTES
        # Many large bodies at once would be more memory than all that is kept of them.
        if large and not self.server.large.acquire(timeout=BODY_S / 2):
            busy = "too many large bodies at once"
            raise RefusedError(HTTPStatus.SERVICE_UNAVAILABLE, busy, close=True)
        try:
            if (self.headers.get("Expect") or "").strip().lower() == "100-continue":
                self.send_response_only(HTTPStatus.CONTINUE)
                self.end_headers()
                self.wfile.flush()
            body = read_body(length, self.rfile)
            if not spans:
                return b"{}" if content_type == JSON else b""
            packed = encoding == "gzip"
            return self.server.inboxes.take(inbox, content_type, body, gzip=packed, attempt=attempt)
        finally:
            if large:
                self.server.large.release()

    def _refuse(self, refused: RefusedError, answer_type: str = PROTOBUF) -> None:
        self.close_connection = self.close_connection or refused.close
        self._answer(refused.status, status_body(refused.message, answer_type), answer_type)
        if refused.close:
            self._linger()

    def _answer(self, status: HTTPStatus, body: bytes, answer_type: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", answer_type)
        self.send_header("Content-Length", str(len(body)))
        if status is HTTPStatus.METHOD_NOT_ALLOWED:
            self.send_header("Allow", "POST")
        if status is HTTPStatus.SERVICE_UNAVAILABLE:
            self.send_header("Retry-After", str(RETRY_AFTER_S))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
        self.wfile.flush()

    def _linger(self) -> None:
        """Read on for a while: a close with unread data is a reset, which the client sees, not our answer."""
        self.server.allow_s(self.connection, LINGER_S)
        self.connection.shutdown(socket.SHUT_WR)
        # The reaper ends this, however little a time the client sends.
        while self.connection.recv(65536):
            pass
