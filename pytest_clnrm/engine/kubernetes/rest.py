"""Requests to a cluster's API: plain JSON, a handful of kinds, all in one namespace."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode, urlsplit

import urllib3
from urllib3.connection import HTTPSConnection

from pytest_clnrm.errors import EngineError, EngineUnavailableError

if TYPE_CHECKING:
    from pytest_clnrm.engine.kubernetes.access import Access

NOT_FOUND = 404
CONFLICT = 409
FORBIDDEN = 403
GONE = 410
_TIMEOUT_S = 30.0
_TRIES = 5
_BUSY = frozenset({429, 502, 503, 504})
ALREADY_EXISTS = "AlreadyExists"
_GROUPS = {
    "pods": "api/v1",
    "services": "api/v1",
    "secrets": "api/v1",
    "configmaps": "api/v1",
    "events": "api/v1",
    "jobs": "apis/batch/v1",
    "networkpolicies": "apis/networking.k8s.io/v1",
}


class RefusedError(EngineError):
    """The cluster has refused a request.

    :param status: of HTTP.
    :param reason: in the API's words: "NotFound", "AlreadyExists", "Forbidden".
    """

    def __init__(self, doing: str, status: int, reason: str, message: str) -> None:
        super().__init__(f"cannot {doing}: {message}")
        self.status = status
        self.reason = reason
        self.message = message


class _Connection(HTTPSConnection):
    """One that is as verified as the kubeconfig wants it: with insecure-skip-tls-verify that is no news."""

    @property
    def is_verified(self) -> bool:
        return True

    @is_verified.setter
    def is_verified(self, verified: bool) -> None:
        pass


class _Retry(urllib3.Retry):
    """A try of ours: what has failed in the end is told by an error, not by a line of a log for each try."""


def _is_of_others(record: logging.LogRecord) -> bool:
    args = record.args
    return not (isinstance(args, tuple) and args and isinstance(args[0], _Retry))


logging.getLogger("urllib3.connectionpool").addFilter(_is_of_others)


class _Pool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _Connection


class Rest:
    """Requests to one cluster; may be used from several threads at once."""

    def __init__(self, access: Access) -> None:
        self.access = access
        retries = _Retry(total=_TRIES, status=0, other=0, redirect=0, backoff_factor=0.1)
        proxy = _proxy(access.server)
        options: dict[str, Any] = {
            "retries": retries,
            "maxsize": 16,
            "timeout": urllib3.Timeout(connect=5, read=_TIMEOUT_S),
        }
        if access.tls is not None:
            options["ssl_context"] = access.tls
            if not access.tls.check_hostname:
                options["cert_reqs"] = "CERT_NONE"
        self._pool: urllib3.PoolManager = (
            urllib3.ProxyManager(proxy, **options) if proxy else urllib3.PoolManager(**options)
        )
        self._pool.pool_classes_by_scheme = {"http": urllib3.HTTPConnectionPool, "https": _Pool}

    def path(self, kind: str, name: str = "", below: str = "") -> str:
        """Return the path of an object of the namespace, or of all of a kind."""
        parts = [_GROUPS[kind], "namespaces", self.access.namespace, kind, name, below]
        return "/" + "/".join(quote(each, safe="/") for each in parts if each)

    def headers(self) -> dict[str, str]:
        """Return the headers of a request."""
        token = self.access.token()
        return {"Accept": "application/json", **({"Authorization": f"Bearer {token}"} if token else {})}

    def call(
        self,
        doing: str,
        method: str,
        path: str,
        *,
        body: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None = None,
        query: Mapping[str, str] | None = None,
        content_type: str = "application/json",
    ) -> dict[str, Any]:
        """Return the answer.

        :param doing: what this is for, in words that follow "cannot".
        :raises RefusedError: if the cluster refuses.
        :raises EngineUnavailableError: if it does not answer.
        """
        return dict(
            json.loads(self.read(doing, method, path, body=body, query=query, content_type=content_type))
        )

    def read(
        self,
        doing: str,
        method: str,
        path: str,
        *,
        body: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None = None,
        query: Mapping[str, str] | None = None,
        content_type: str = "application/json",
    ) -> bytes:
        """Return the answer's bytes; see :meth:`call`."""
        url = f"{self.access.server}{path}" + (f"?{urlencode(query)}" if query else "")
        headers = self.headers()
        data = None
        if body is not None:
            headers["Content-Type"] = content_type
            data = json.dumps(body).encode()
        for last in (False,) * _TRIES + (True,):
            try:
                answer = self._pool.request(method, url, body=data, headers=headers)
            except urllib3.exceptions.HTTPError as error:
                raise unavailable(self.access.server, doing, error) from None
            if answer.status < 400:  # noqa: PLR2004 (all below is an answer)
                return bytes(answer.data)
            # A conflict about what is there is final; one about a version, as of a quota that others use
            # at the same moment, is not.
            is_race = answer.status == CONFLICT and ALREADY_EXISTS.encode() not in answer.data
            if last or not (is_race or answer.status in _BUSY):
                break
            threading.Event().wait(float(answer.headers.get("Retry-After") or 0.5))
        raise _refused(doing, answer.status, answer.data)

    def create(self, doing: str, kind: str, body: Mapping[str, Any]) -> None:
        """Create an object; one that is there is taken for the one of a request whose answer was lost."""
        try:
            self.call(doing, "POST", self.path(kind), body=body)
        except RefusedError as error:
            if error.reason != ALREADY_EXISTS:
                raise

    def delete(self, doing: str, kind: str, name: str, **options: int | str) -> None:
        """Remove an object; one that is gone is no error."""
        body = {"kind": "DeleteOptions", "apiVersion": "v1", **options}
        try:
            self.call(doing, "DELETE", self.path(kind, name), body=body)
        except RefusedError as error:
            if error.status != NOT_FOUND:
                raise

    def stream(self, doing: str, path: str, query: Mapping[str, str]) -> Stream:
        """Return an answer that has no end, to be closed; see :meth:`call`."""
        url = f"{self.access.server}{path}?{urlencode(query)}"
        try:
            answer = self._pool.request(
                "GET",
                url,
                headers=self.headers(),
                preload_content=False,
                timeout=urllib3.Timeout(connect=5, read=None),
            )
        except urllib3.exceptions.HTTPError as error:
            raise unavailable(self.access.server, doing, error) from None
        if answer.status >= 400:  # noqa: PLR2004
            data = answer.read()
            answer.release_conn()
            raise _refused(doing, answer.status, data)
        return Stream(answer, doing)

    def watch(self, doing: str, path: str, query: Mapping[str, str]) -> Iterator[dict[str, Any] | None]:
        """Yield an object each time that it has changed, until the cluster ends that.

        One that goes is yielded as it was last, and then None.

        :raises RefusedError: if the cluster refuses: 410 if it does not know that version any more.
        """
        stream = self.stream(doing, path, query)
        try:
            for line in stream.lines():
                event = json.loads(line)
                told = event["object"]
                if event["type"] == "ERROR":
                    raise RefusedError(
                        doing, int(told.get("code") or 0), str(told.get("reason")), str(told.get("message"))
                    )
                if event["type"] == "BOOKMARK":
                    continue
                if event["type"] != "DELETED":
                    yield told
                    continue
                if told.get("status"):
                    yield told
                yield None
        finally:
            stream.close()

    def clock_s(self) -> float:
        """Return the time by the API server's clock, in seconds since 1970."""
        asked_s = time.time()
        answer = self._pool.request("GET", f"{self.access.server}/version", headers=self.headers())
        try:
            told_s = parsedate_to_datetime(answer.headers["Date"]).timestamp()
        except (KeyError, TypeError, ValueError):
            return asked_s
        # It tells whole seconds: as long as ours may be the same it is taken, being exact.
        return asked_s if told_s - 1 <= asked_s <= told_s + 2 else told_s

    def close(self) -> None:
        """Give up the connections."""
        self._pool.clear()


class Stream:
    """An answer as it comes; closed from another thread it ends.

    :param doing: what it is for, in words that follow "cannot".
    """

    def __init__(self, answer: urllib3.BaseHTTPResponse, doing: str) -> None:
        self._answer = answer
        self._doing = doing
        self._closed = False

    def pieces(self) -> Iterator[bytes]:
        """Yield what comes until its end.

        :raises EngineUnavailableError: if the connection ends before it.
        """
        try:
            while not self._closed:
                piece = self._answer.read1()
                if not piece:
                    return
                yield piece
        except (urllib3.exceptions.HTTPError, OSError, ValueError, AttributeError) as error:
            if not self._closed:
                raise EngineUnavailableError(
                    f"cannot {self._doing}: the connection to the cluster ended before the answer: {error}"
                ) from None

    def lines(self) -> Iterator[bytes]:
        """Yield the lines that are whole until its end, or the connection's."""
        rest = b""
        with suppress(EngineUnavailableError):
            for piece in self.pieces():
                *whole, rest = (rest + piece).split(b"\n")
                yield from whole

    def close(self) -> None:
        """End it."""
        self._closed = True
        connection = getattr(self._answer, "connection", None)
        with suppress(OSError, AttributeError):
            # Closing alone does not wake who reads.
            connection.sock.shutdown(2)  # type: ignore[union-attr]
        with suppress(OSError, urllib3.exceptions.HTTPError):
            self._answer.close()


def unavailable(server: str, doing: str, error: BaseException) -> EngineUnavailableError:
    """Return what it means that a cluster does not answer."""
    reason = getattr(error, "reason", None) or error
    return EngineUnavailableError(
        f"cannot {doing}: the cluster at {server} does not answer: {reason}",
        ("See `kubectl cluster-info`. The cluster was named, so no other engine was tried.",),
    )


def _refused(doing: str, status: int, data: bytes) -> RefusedError | EngineUnavailableError:
    try:
        told = json.loads(data)
        reason, message = str(told.get("reason") or ""), str(told.get("message") or "")
    except (ValueError, AttributeError):
        reason, message = "", data.decode("utf-8", "replace").strip()[:300]
    if status == 401:  # noqa: PLR2004
        return EngineUnavailableError(
            f"cannot {doing}: the cluster does not know who we are ({message or 'Unauthorized'})",
            ("Log in again; see `kubectl auth whoami`.",),
        )
    if status in _BUSY:
        return EngineUnavailableError(f"cannot {doing}: the cluster is busy ({status} {message})", ())
    if status == FORBIDDEN and "quota" not in message:
        message += " (the smallest Role that is needed: docs/kubernetes.md)"
    return RefusedError(doing, status, reason, message or f"status {status}")


def _proxy(server: str) -> str:
    from urllib.request import getproxies, proxy_bypass

    parts = urlsplit(server)
    proxy = getproxies().get(parts.scheme, "")
    return "" if not proxy or proxy_bypass(parts.hostname or "") else proxy
