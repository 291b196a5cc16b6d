"""Receiving what programs in containers export over OTLP/HTTP.

One receiver a worker, one inbox a scenario.
"""

from __future__ import annotations

import secrets
import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import TYPE_CHECKING

from pytest_clnrm.telemetry.clock import Clock

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_clnrm.telemetry.receive.inbox import Inbox, Lost

MAX_SPANS = 50_000
MAX_BYTES = 32 << 20
_REMEMBERED = 1000
_POLL_S = 0.1


class Receiver:
    """Listens on a free port of all addresses, and hangs up on who came in over one that is not allowed.

    :param path_dir: the run's folder of spans; it exists. All that is accepted is stored there at once.
    :param worker_id: "master", "gw0"...; part of the file's name.
    :param addresses: local addresses to serve; more with :meth:`allow`.
    :param max_spans: how many spans an inbox holds at most.
    :param max_bytes: how many bytes the bodies of an inbox may have together.
    :ivar refused: how many requests came without a token that is known.
    :ivar late: how many came for a scenario that was over.
    :raises OSError: if no port is free, or the file cannot be created.
    """

    def __init__(
        self,
        path_dir: Path,
        worker_id: str,
        *,
        addresses: Iterable[str] = (),
        max_spans: int = MAX_SPANS,
        max_bytes: int = MAX_BYTES,
    ) -> None:
        from pytest_clnrm.telemetry.receive.server import OtlpServer
        from pytest_clnrm.telemetry.span_store import STORE_SUFFIX, SpanStore, file_stem

        self._clock = Clock()
        self._lock = threading.Lock()
        self._inboxes: dict[str, Inbox] = {}
        self._closed: OrderedDict[str, weakref.ref[Inbox]] = OrderedDict()
        self._max_spans, self._max_bytes = max_spans, max_bytes
        self.refused = 0
        self.late = 0
        self._server = OtlpServer(self._find, _take, self._lose)
        self._server.addresses = frozenset(addresses)
        try:
            self._store = SpanStore(path_dir / f"{file_stem(worker_id)}{STORE_SUFFIX}")
        except OSError:
            self._server.server_close()
            raise
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(_POLL_S,), name="clnrm-receiver", daemon=True
        )
        self._thread.start()

    @property
    def port(self) -> int:
        """The port it listens on."""
        return int(self._server.server_address[1])

    @property
    def problem(self) -> str:
        """What went wrong within the receiver, "" if nothing did."""
        return self._server.problem or self._store.problem

    def allow(self, address: str) -> None:
        """Serve connections to the local *address* from now on (a network's gateway, 127.0.0.1)."""
        with self._lock:
            self._server.addresses |= {address}

    def forbid(self, address: str) -> None:
        """Hang up on new connections to the local *address* from now on."""
        with self._lock:
            self._server.addresses -= {address}

    def open(
        self,
        scenario_id: str,
        parent: str | None = None,
        *,
        redact: Callable[[str], str] | None = None,
        held: bool = False,
    ) -> Inbox:
        """Return a new inbox.

        :param parent: ``traceparent`` of the scenario's span, under which the spans are shown.
        :param redact: hides secrets in a text before it is stored.
        :param held: store nothing before the inbox is released.
        """
        from pytest_clnrm.telemetry.receive.inbox import Inbox

        with self._lock:
            inbox = Inbox(
                token=secrets.token_urlsafe(24),
                scenario_id=scenario_id,
                parent=parent,
                store=self._store,
                now_ns=self._clock.now_ns,
                forget=self._forget,
                max_spans=self._max_spans,
                max_bytes=self._max_bytes,
                redact=redact,
                held=held,
            )
            self._inboxes[inbox.token] = inbox
            return inbox

    def _lose(self, what: Lost, why: str) -> None:
        """Note a loss of which nobody knows whose it is: that of every scenario that runs here."""
        with self._lock:
            inboxes = list(self._inboxes.values())
        for inbox in inboxes:
            inbox.lose(what, why)

    def _find(self, tokens: tuple[str, ...], spans: bool) -> Inbox | None:  # noqa: FBT001 # a callback
        """Return the inbox of one of *tokens*, None if it is nobody's or its scenario is over.

        :param spans: it was sent with spans, which are lost then.
        """
        with self._lock:
            for token in tokens:
                if token in self._inboxes:
                    return self._inboxes[token]
            gone = next((self._closed[token] for token in tokens if token in self._closed), None)
            if gone is None:
                self.refused += 1
            else:
                self.late += 1
        if gone is None:
            if spans:
                self._lose("request", f"{HTTPStatus.UNAUTHORIZED:d}, no token of a running scenario")
            return None
        inbox = gone()
        if inbox is not None:
            inbox.count_late()
        return None

    def _forget(self, inbox: Inbox) -> None:
        with self._lock:
            if self._inboxes.pop(inbox.token, None) is not None:
                self._closed[inbox.token] = weakref.ref(inbox)
                while len(self._closed) > _REMEMBERED:
                    self._closed.popitem(last=False)

    def close(self) -> None:
        """Hang up on everybody and close the file; safe to call twice."""
        if self._thread.is_alive():
            self._server.end()
            self._thread.join()
        self._store.close()


def _take(inbox: Inbox, content_type: str, body: bytes) -> bytes:
    """Decode *body*, give it to *inbox* and return the body of the answer."""
    from pytest_clnrm.telemetry.otlp.messages import DecodeBodyError, decode_sent_json, encode_json
    from pytest_clnrm.telemetry.otlp.parts import TooManyPartsError
    from pytest_clnrm.telemetry.receive.body import JSON, RefusedError

    try:
        if content_type == JSON:
            request, mended = decode_sent_json(body)
            rejected, why = inbox.take(request, len(body), mended)
            partial = {"rejectedSpans": str(rejected), "errorMessage": why}
            return encode_json({"partialSuccess": partial} if rejected else {})
        from pytest_clnrm.telemetry.otlp.protobuf import decode_sent_protobuf, encode_response

        request, mended = decode_sent_protobuf(body)
        rejected, why = inbox.take(request, len(body), mended)
        return encode_response(rejected, why)
    except DecodeBodyError as error:
        raise RefusedError(HTTPStatus.BAD_REQUEST, str(error)) from None
    except TooManyPartsError as error:
        raise RefusedError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, str(error)) from None
