"""Forwarding the merged trace to a collector over OTLP/HTTP, within a deadline."""

from __future__ import annotations

import gzip
import http.client
import os
import ssl
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from urllib.parse import SplitResult, unquote, urlsplit

BATCH_BYTES = 1 << 20
_RETRIED = frozenset(
    {
        HTTPStatus.TOO_MANY_REQUESTS,
        HTTPStatus.BAD_GATEWAY,
        HTTPStatus.SERVICE_UNAVAILABLE,
        HTTPStatus.GATEWAY_TIMEOUT,
    }
)
_PAUSE_S = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where to send traces.

    :param url: the whole URL, with its path.
    :param headers: more headers, as for authorization.
    :param ca_file: certificates to trust besides the system's, "" for none.
    """

    url: str
    headers: Mapping[str, str]
    ca_file: str = ""


def target_of(endpoint: str | None = None, environ: Mapping[str, str] = os.environ) -> Target | None:
    """Return where to send traces, None if nobody asks for it.

    :param endpoint: a base URL, to which ``/v1/traces`` is added unless it is there; None means what the
        environment names, as OpenTelemetry's exporters read it.
    """
    own = environ.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "").strip()
    base = (endpoint or environ.get("OTEL_EXPORTER_OTLP_ENDPOINT", "")).strip()
    if endpoint is None and own:
        url = own
    elif base:
        url = base if urlsplit(base).path.endswith("/v1/traces") else f"{base.rstrip('/')}/v1/traces"
    else:
        return None
    headers = _headers(environ.get("OTEL_EXPORTER_OTLP_HEADERS", ""))
    headers.update(_headers(environ.get("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "")))
    certificate = environ.get("OTEL_EXPORTER_OTLP_CERTIFICATE", "")
    return Target(
        url=url,
        headers=headers,
        ca_file=environ.get("OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE", "") or certificate,
    )


def _headers(text: str) -> dict[str, str]:
    """Return the headers that ``key=value,key=value`` names, percent-decoded."""
    pairs = (pair.partition("=") for pair in text.split(",") if "=" in pair)
    return {unquote(key.strip()): unquote(value.strip()) for key, _, value in pairs}


def forward(groups: Iterable[bytes], target: Target, *, timeout_s: float = 10.0) -> str:
    """Send *groups* in batches, in protobuf, which each collector takes; stop at the first that is refused.

    :param groups: elements of ``resourceSpans`` in OTLP/JSON.
    :param timeout_s: for all of it.
    :return: why not all were taken, "" if they were.
    """
    deadline_s = time.monotonic() + timeout_s
    sent = 0
    try:
        sender = _Sender(target, deadline_s)
    except (ValueError, OSError) as error:
        return f"spans were not forwarded: {error}"
    try:
        for batch in _batches(groups):
            sender.send(batch)
            sent += 1
    except TimeoutError:
        why = f"no answer within {timeout_s:g}s"
    except (OSError, ValueError, http.client.HTTPException, _RefusedError) as error:
        why = str(error) or type(error).__name__
    else:
        return ""
    finally:
        sender.close()
    after = f" after {sent} batches" if sent else ""
    return f"spans were not forwarded to {sender.shown}{after}: {why}"


class _RefusedError(Exception):
    """The collector does not take a batch."""


def _batches(groups: Iterable[bytes]) -> Iterator[bytes]:
    """Yield bodies of about BATCH_BYTES each, in protobuf and compressed."""
    from pytest_clnrm.telemetry.otlp.messages import decode_json
    from pytest_clnrm.telemetry.otlp.protobuf import encode_protobuf

    def body(collected: list[bytes]) -> bytes:
        request = decode_json(b'{"resourceSpans":[' + b",".join(collected) + b"]}")
        return gzip.compress(encode_protobuf(request), compresslevel=1)

    collected: list[bytes] = []
    size = 0
    for group in groups:
        collected.append(group)
        size += len(group)
        if size >= BATCH_BYTES:
            yield body(collected)
            collected, size = [], 0
    if collected:
        yield body(collected)


class _Sender:
    """One connection to a collector.

    :raises ValueError: if the URL is none that can be sent to.
    :raises OSError: if the file of certificates cannot be read.
    """

    def __init__(self, target: Target, deadline_s: float) -> None:
        parts: SplitResult = urlsplit(target.url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ValueError(f"{target.url!r} is not an http:// or https:// URL")
        # Neither a password nor a token in the path is for the terminal.
        self.shown = f"{parts.scheme}://{parts.hostname}:{parts.port or _PORTS[parts.scheme]}"
        self._path = f"{parts.path or '/'}{'?' + parts.query if parts.query else ''}"
        self._headers = {
            **target.headers,
            "Content-Type": "application/x-protobuf",
            "Content-Encoding": "gzip",
        }
        self._deadline_s = deadline_s
        self._connection: http.client.HTTPConnection
        if parts.scheme == "https":
            context = ssl.create_default_context(cafile=target.ca_file or None)
            self._connection = http.client.HTTPSConnection(parts.hostname, parts.port, context=context)
        else:
            self._connection = http.client.HTTPConnection(parts.hostname, parts.port)

    def send(self, body: bytes) -> None:
        """Send one batch, again if the collector asks for it.

        :raises TimeoutError: if the deadline passes.
        :raises _RefusedError: if the collector does not take it.
        :raises OSError: if the connection fails.
        """
        while True:
            status, reason = self._post(body)
            if status < HTTPStatus.MULTIPLE_CHOICES:
                return
            if status not in _RETRIED:
                raise _RefusedError(f"it answers {status} {reason}".rstrip())
            if self._left_s() <= _PAUSE_S:
                raise _RefusedError(f"it still answers {status} {reason}".rstrip())
            time.sleep(_PAUSE_S)

    def _post(self, body: bytes) -> tuple[int, str]:
        self._connection.timeout = self._left_s()
        if self._connection.sock is not None:
            self._connection.sock.settimeout(self._left_s())
        self._connection.request("POST", self._path, body, self._headers)
        answer = self._connection.getresponse()
        answer.read(1 << 16)
        if not answer.isclosed():
            # More than anybody answers; the next batch gets a new connection.
            self._connection.close()
        return answer.status, answer.reason

    def _left_s(self) -> float:
        left_s = self._deadline_s - time.monotonic()
        if left_s <= 0:
            raise TimeoutError
        return left_s

    def close(self) -> None:
        self._connection.close()


_PORTS = {"http": 80, "https": 443}
