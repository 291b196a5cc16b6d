"""From a token to the inbox of a scenario, and from a body into it: the same for HTTP and gRPC."""

from __future__ import annotations

import threading
import traceback
import weakref
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus

from pytest_clnrm.telemetry.otlp.messages import DecodeBodyError, decode_sent_json, encode_json
from pytest_clnrm.telemetry.otlp.parts import TooManyPartsError
from pytest_clnrm.telemetry.receive.body import JSON, RefusedError, gunzip
from pytest_clnrm.telemetry.receive.inbox import TOKEN_CHARS, Inbox, InboxClosedError, Lost

_REMEMBERED = 1000
_UNKNOWN = "no token of a running scenario"


class Inboxes:
    """The inboxes of the scenarios that run here, each found by its token.

    :ivar problem: what went wrong within the receiver, "" if nothing did.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: dict[str, Inbox] = {}
        self._closed: OrderedDict[str, weakref.ref[Inbox]] = OrderedDict()
        self._decoding = threading.Lock()
        self.problem = ""

    def add(self, inbox: Inbox) -> None:
        """Take requests for *inbox* from now on."""
        with self._lock:
            self._open[inbox.token] = inbox

    def forget(self, inbox: Inbox) -> None:
        """Take no more requests for *inbox*: its scenario is over."""
        with self._lock:
            if self._open.pop(inbox.token, None) is not None:
                self._closed[inbox.token] = weakref.ref(inbox)
                while len(self._closed) > _REMEMBERED:
                    self._closed.popitem(last=False)

    def lose(self, what: Lost, why: str) -> None:
        """Note a loss of which nobody knows whose it is: that of every scenario that runs here."""
        with self._lock:
            inboxes = list(self._open.values())
        for inbox in inboxes:
            inbox.lose(what, why)

    def note_problem(self) -> None:
        """Keep the exception that is being handled: it is no client's fault."""
        self.problem = traceback.format_exc()

    def find(self, tokens: tuple[str, ...], *, spans: bool) -> tuple[Inbox, str] | None:
        """Return the inbox of one of *tokens* and the attempt of a step that the token names ("" if none).

        None if the token is nobody's or its scenario is over.

        :param spans: they come with spans, which are lost then.
        """
        split = [(token[:TOKEN_CHARS], token[TOKEN_CHARS:]) for token in tokens]
        with self._lock:
            for token, attempt in split:
                if token in self._open:
                    return self._open[token], attempt
            gone = next((self._closed[token] for token, _ in split if token in self._closed), None)
        if gone is None:
            if spans:
                self.lose("request", f"{HTTPStatus.UNAUTHORIZED:d}, {_UNKNOWN}")
        elif (inbox := gone()) is not None:
            inbox.count_late()
        return None

    @contextmanager
    def request(self, tokens: tuple[str, ...], *, spans: bool) -> Iterator[tuple[Inbox, str]]:
        """Return the inbox that a request is for, and the attempt of a step that it comes from ("" if none).

        Its refusal is a loss if it came with spans.

        :raises RefusedError: if no scenario that runs has one of *tokens*.
        """
        unknown = RefusedError(HTTPStatus.UNAUTHORIZED, _UNKNOWN, close=True)
        found = self.find(tokens, spans=spans)
        if found is None:
            raise unknown
        inbox = found[0]
        try:
            with inbox.request():
                try:
                    yield found
                except RefusedError as refused:
                    if spans:
                        inbox.lose("request", str(refused))
                    raise
        except InboxClosedError:
            raise unknown from None

    def take(
        self, inbox: Inbox, content_type: str, body: bytes, *, gzip: bool = False, attempt: str = ""
    ) -> bytes:
        """Decode *body*, give it to *inbox* and return the body of the answer.

        :param attempt: id of the span of the step's attempt that sent it, "" if no step has.

        :raises RefusedError: if it cannot be decoded, or has too many parts.
        :raises InboxClosedError: if the scenario ended meanwhile.
        """
        # One at a time: what is decoded takes many times the memory of its body.
        with self._decoding:
            return _take(inbox, content_type, gunzip(body) if gzip else body, attempt)


def _take(inbox: Inbox, content_type: str, body: bytes, attempt: str) -> bytes:
    try:
        if content_type == JSON:
            request, mended = decode_sent_json(body)
            rejected, why = inbox.take(request, len(body), mended, attempt=attempt)
            partial = {"rejectedSpans": str(rejected), "errorMessage": why}
            return encode_json({"partialSuccess": partial} if rejected else {})
        from pytest_clnrm.telemetry.otlp.protobuf import decode_sent_protobuf, encode_response

        request, mended = decode_sent_protobuf(body)
        rejected, why = inbox.take(request, len(body), mended, attempt=attempt)
        return encode_response(rejected, why)
    except DecodeBodyError as error:
        raise RefusedError(HTTPStatus.BAD_REQUEST, str(error)) from None
    except TooManyPartsError as error:
        raise RefusedError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, str(error)) from None
