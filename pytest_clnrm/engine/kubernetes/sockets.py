"""Commands in a pod whose streams are a websocket to the API server.

Source: https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/pod-v1/; the first byte of each
message is the stream: 0 input, 1 output, 2 errors, 3 how the command ended (a Status).
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING
from urllib.parse import urlencode

import websocket

from pytest_clnrm.engine.kubernetes.rest import RefusedError, unavailable
from pytest_clnrm.errors import EngineError

if TYPE_CHECKING:
    from pytest_clnrm.engine.kubernetes.rest import Rest

_PROTOCOL = "v4.channel.k8s.io"
_CONNECT_S = 15.0
_INPUT, _OUTPUT, _ERRORS, _STATUS = range(4)
_SAID = 2000


class ExecStream:
    """A command in a pod, with its input and output; used from one thread, closed from any.

    :ivar said: what it has written to its standard error.
    :ivar status: how it ended, in the API's words; "" if that was not told.
    """

    def __init__(self, connection: websocket.WebSocket) -> None:
        self._connection = connection
        self.said = ""
        self.status = ""

    def send(self, data: bytes) -> None:
        """Write to its input.

        :raises OSError: if the connection is no more.
        """
        try:
            self._connection.settimeout(_CONNECT_S)
            self._connection.send_binary(bytes([_INPUT]) + data)
        except websocket.WebSocketException as error:
            raise OSError(str(error)) from None

    def receive(self, deadline_s: float | None) -> bytes | None:
        """Return what comes of its output, b"" at the end, None once *deadline_s* (monotonic) is over."""
        while True:
            left_s = None if deadline_s is None else deadline_s - time.monotonic()
            if left_s is not None and left_s <= 0:
                return None
            try:
                self._connection.settimeout(left_s)
                message = self._connection.recv()
            except websocket.WebSocketTimeoutException:
                continue
            except (websocket.WebSocketException, OSError, ValueError):
                # Why it broke is found out by whoever connects again.
                return b""
            data = message.encode() if isinstance(message, str) else bytes(message)
            if not data:
                if not self._connection.connected:
                    return b""
                continue
            if data[0] == _OUTPUT and len(data) > 1:
                return data[1:]
            if data[0] == _ERRORS:
                self.said = (self.said + data[1:].decode("utf-8", "replace"))[-_SAID:]
            if data[0] == _STATUS:
                with suppress(ValueError):
                    self.status = str(json.loads(data[1:]).get("message") or "Success")

    def close(self) -> None:
        """Give it up: the command's input ends."""
        with suppress(Exception):
            self._connection.shutdown()  # type: ignore[no-untyped-call]


def open_exec(rest: Rest, pod: str, container: str, argv: Sequence[str]) -> ExecStream:
    """Start a command in a pod and return its streams.

    :raises RefusedError: if the cluster refuses: the pod is gone, or does not run.
    :raises EngineError: if it does not answer.
    """
    doing = f"run a command in the pod {pod}"
    access = rest.access
    query = [("container", container), ("stdin", "true"), ("stdout", "true"), ("stderr", "true")]
    query += [("command", each) for each in argv]
    # https:// becomes wss://
    url = f"ws{access.server[4:]}{rest.path('pods', pod, 'exec')}?{urlencode(query)}"
    token = access.token()
    try:
        connection = websocket.create_connection(
            url,
            timeout=_CONNECT_S,
            header=[f"Authorization: Bearer {token}"] if token else [],
            subprotocols=[_PROTOCOL],
            sslopt={"context": access.tls} if access.tls is not None else {},
            suppress_origin=True,
            enable_multithread=True,
        )
    except websocket.WebSocketBadStatusException as error:
        raise _refused(doing, error) from None
    except (websocket.WebSocketException, OSError) as error:
        raise unavailable(access.server, doing, error) from None
    return ExecStream(connection)


def _refused(doing: str, error: websocket.WebSocketBadStatusException) -> EngineError:
    body = error.resp_body or b""
    try:
        told = json.loads(body)
        reason, message = str(told.get("reason") or ""), str(told.get("message") or "")
    except (ValueError, AttributeError):
        reason, message = "", bytes(body).decode("utf-8", "replace").strip()[:300]
    return RefusedError(doing, error.status_code, reason, message or str(error))
