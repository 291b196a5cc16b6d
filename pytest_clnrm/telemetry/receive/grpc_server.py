"""OTLP over gRPC: the same inboxes as over HTTP, by the same tokens, in the metadata of each call.

The server listens on a socket of this process alone; the HTTP server hands over each connection that begins
as gRPC does. grpcio is imported with the first of these.
"""

from __future__ import annotations

import re
import secrets
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from pytest_clnrm.telemetry.environment import TOKEN_HEADER
from pytest_clnrm.telemetry.receive.body import MAX_BODY_BYTES, PROTOBUF, RefusedError

if TYPE_CHECKING:
    from pytest_clnrm.telemetry.receive.inboxes import Inboxes

REMEDY = "install pytest-clnrm[grpc], or set OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf"
CALLS_AT_ONCE = 4
STREAMS = 16
_METHOD = re.compile(
    r"/opentelemetry\.proto\.collector\.(trace|metrics|logs)\.v1\.(?:Trace|Metrics|Logs)Service/Export"
)


class GrpcServer:
    """Takes calls over connections that :meth:`connect` makes.

    :raises ImportError: if grpcio is not installed.
    """

    def __init__(self, inboxes: Inboxes) -> None:
        import grpc

        self._grpc: Any = grpc
        self._inboxes = inboxes
        # Without a file that a killed process would leave behind, and guessed by nobody.
        self._name = f"clnrm-{secrets.token_urlsafe(24)}"
        outer = self

        class Handler(grpc.GenericRpcHandler):  # type: ignore[misc] # grpcio has no types
            def service(self, handler_call_details: Any) -> Any:
                return outer._handler(handler_call_details.method)

        self._calls = grpc.server(
            ThreadPoolExecutor(max_workers=CALLS_AT_ONCE, thread_name_prefix="clnrm-grpc"),
            handlers=[Handler()],
            options=[
                ("grpc.max_receive_message_length", MAX_BODY_BYTES),
                ("grpc.max_concurrent_streams", STREAMS),
            ],
        )
        self._calls.add_insecure_port(f"unix-abstract:{self._name}")
        self._calls.start()

    def connect(self) -> socket.socket:
        """Return a new connection to it."""
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.connect(f"\0{self._name}")
        except OSError:
            connection.close()
            raise
        return connection

    def close(self) -> None:
        """End all calls."""
        self._calls.stop(0).wait()

    def _handler(self, method: str) -> Any:
        match = _METHOD.fullmatch(method)
        if match is None:
            self._inboxes.lose("request", "it calls no method of OTLP over gRPC")
            return None
        # A call with one message, taken as a stream: this is called before the message is there, so that one
        # which never arrives, or is too large, is known.
        answer = partial(self._answer, spans=match[1] == "trace")
        return self._grpc.stream_unary_rpc_method_handler(answer)

    def _answer(self, messages: Iterator[bytes], context: Any, *, spans: bool) -> bytes:
        codes = self._grpc.StatusCode
        try:
            return self._export(messages, dict(context.invocation_metadata()), spans=spans)
        except RefusedError as refused:
            unknown = refused.status is HTTPStatus.UNAUTHORIZED
            context.set_code(codes.UNAUTHENTICATED if unknown else codes.INVALID_ARGUMENT)
            context.set_details(refused.message)
        except Exception:  # noqa: BLE001 # whatever it is, it is kept
            self._inboxes.note_problem()
            context.set_code(codes.INTERNAL)
        return b""

    def _export(self, messages: Iterator[bytes], metadata: dict[str, Any], *, spans: bool) -> bytes:
        """Return the body of a good answer.

        :raises RefusedError: for another answer.
        """
        token = metadata.get(TOKEN_HEADER)
        tokens = (token,) if isinstance(token, str) else ()
        with self._inboxes.request(tokens, spans=spans) as (inbox, attempt):
            body = self._read(messages)
            return self._inboxes.take(inbox, PROTOBUF, body, attempt=attempt) if spans else b""

    @staticmethod
    def _read(messages: Iterator[bytes]) -> bytes:
        broken = "the call broke off, or its message is over the limit of "
        try:
            body = next(messages, None)
        except Exception as error:  # grpcio raises bare exceptions
            why = f"{broken}{MAX_BODY_BYTES >> 20} MiB"
            raise RefusedError(HTTPStatus.BAD_REQUEST, why) from error
        if body is None:
            raise RefusedError(HTTPStatus.BAD_REQUEST, f"{broken}{MAX_BODY_BYTES >> 20} MiB")
        return body
