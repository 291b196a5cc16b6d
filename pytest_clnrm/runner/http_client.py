"""A request and its answer, over connections that are made by whoever asks for them.

What is sent and what an answer means is the work of requests and urllib3, which the engine's client brings
along. Nothing of the host's own settings has a say: no proxy, no .netrc, no certificates of certifi. What
comes is unpacked piece by piece, and only its end is kept.
"""

from __future__ import annotations

import codecs
import hashlib
import http.client
import json
import re
import socket
import ssl
import time
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, suppress
from email.message import Message
from http.cookiejar import CookieJar
from typing import Any
from urllib.parse import urljoin, urlsplit

import requests
from requests.adapters import HTTPAdapter
from requests.cookies import extract_cookies_to_jar, get_cookie_header
from requests.sessions import SessionRedirectMixin
from requests.utils import requote_uri
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import DecodeError, HTTPError
from urllib3.response import HTTPResponse

from pytest_clnrm.model.http import HttpAnswer, HttpRequest, Part
from pytest_clnrm.runner.charsets import codec_of
from pytest_clnrm.runner.cookies import service_cookies
from pytest_clnrm.runner.ready_network import in_words, tls_context
from pytest_clnrm.runner.unpacking import packed_with, unpacked
from pytest_clnrm.util.beneath import open_beneath
from pytest_clnrm.util.output import BoundedOutput

Dial = Callable[[str, int, float], socket.socket]
"""Host, port and seconds -> a connection, or NoAnswerError with the reason why there is none."""

MAX_UPLOAD_BYTES = 64 << 20
MAX_AUTHORITIES_BYTES = 4 << 20
_USER_AGENT = "pytest-clnrm"
_DAY_S = 86400
_METHOD = re.compile(r"[A-Za-z]+")
_KEEP_METHOD = (307, 308)
_ADAPTER = HTTPAdapter()


class NoAnswerError(Exception):
    """There is no answer; the message says why.

    :param timed_out: its time was over.
    """

    def __init__(self, message: str, *, timed_out: bool = False) -> None:
        super().__init__(message)
        self.timed_out = timed_out


def send(
    request: HttpRequest,
    *,
    dial: Dial,
    cookies: CookieJar,
    headers: Mapping[str, str],
    deadline_s: float,
    show: Callable[[bytes], None],
) -> HttpAnswer:
    """Send *request*, follow as many redirects as it wants, and return the last answer.

    :param cookies: are sent where they belong; those of answers are added.
    :param headers: are sent unless the request has them.
    :param deadline_s: ``time.monotonic()`` at which its connections are ended, whatever they are at.
    :param show: gets the head of the last answer and its body, in UTF-8, as they come.
    :raises NoAnswerError: if there is none in time, or it is no HTTP.
    """
    prepared = _prepared(request, {"User-Agent": _USER_AGENT, "Accept": "*/*", **headers}, cookies)
    began_s = time.monotonic()
    redirects = 0
    own: dict[str, str] = {}
    while True:
        with _Exchange(request, prepared, dial, deadline_s) as exchange:
            raw = exchange.answer()
            set_here = service_cookies()
            _keep_cookies(set_here, prepared, raw)
            _keep_cookies(cookies, prepared, raw)
            own.update((each.name, each.value or "") for each in set_here)
            response = _ADAPTER.build_response(prepared, raw)
            target = SessionRedirectMixin().get_redirect_target(response) if request.redirects else None
            if target is None:
                head = _head(raw)
                show(f"{head}\n".encode())
                body = exchange.body(raw, show)
                return HttpAnswer(
                    status=raw.status,
                    reason=raw.reason or "",
                    head=head,
                    headers=tuple(raw.headers.iteritems()),
                    cookies=own,
                    body=body.text(),
                    body_omitted_bytes=body.omitted_bytes,
                    packed_with=packed_with(raw) if exchange.size_bytes else "",
                    size_bytes=exchange.size_bytes,
                    sha256=exchange.digest.hexdigest(),
                    redirects=redirects,
                    duration_s=time.monotonic() - began_s,
                    **_certificate(exchange.certificate),
                )
        if redirects == request.redirects:
            raise NoAnswerError(f"more than {redirects} redirects; the next is to {_shown(target)}")
        redirects += 1
        prepared = _redirected(prepared, response, target, cookies)


def _prepared(
    request: HttpRequest, defaults: Mapping[str, str], cookies: CookieJar
) -> requests.PreparedRequest:
    # As in a file, where this is looked at if no captured value makes it.
    if not _METHOD.fullmatch(request.method):
        raise NoAnswerError(f"{_shown(request.method)} is no method: letters alone, such as GET or POST")
    if request.basic is not None and ":" in request.basic[0]:
        raise NoAnswerError("a user with a colon cannot be told from the password")
    given = {name.casefold() for name in request.headers}
    headers: dict[str, Any] = {name: each for name, each in defaults.items() if name.casefold() not in given}
    headers.update({name: each.encode() for name, each in request.headers.items()})
    data: Any = None
    if request.body is not None:
        data = request.body.encode()
    elif request.has_json:
        data = json.dumps(request.json, ensure_ascii=False, allow_nan=False).encode()
        if "content-type" not in given:
            headers["Content-Type"] = "application/json"
    elif request.form:
        data = list(request.form)
    if request.bearer is not None:
        headers["Authorization"] = f"Bearer {request.bearer}".encode()
    elif request.basic is not None:
        headers["Authorization"] = b"Basic " + b64encode(":".join(request.basic).encode())
    files = [_file(each) for each in request.parts]
    try:
        prepared = requests.Request(
            method=request.method,
            url=request.url,
            headers=headers,
            params=list(request.query),
            data=data,
            files=files,
        ).prepare()
    except (requests.RequestException, UnicodeError, ValueError) as error:
        raise NoAnswerError(f"the request cannot be sent: {error}") from None
    _check_url(prepared.url or "")
    if "cookie" not in given:
        _add_cookies(prepared, cookies)
    return prepared


def _check_url(url: str) -> None:
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise NoAnswerError(f"{_shown(url)} is no URL that begins with http:// or https://")
    if parts.username is not None:
        raise NoAnswerError(
            f"{_shown(url)}: user and password do not stand in a URL, write auth = {{ basic = ... }}"
        )


def _keep_cookies(jar: CookieJar, prepared: requests.PreparedRequest, answer: HTTPResponse) -> None:
    extract_cookies_to_jar(jar, prepared, answer)  # type: ignore[no-untyped-call]


def _add_cookies(prepared: requests.PreparedRequest, cookies: CookieJar) -> None:
    header = get_cookie_header(cookies, prepared)  # type: ignore[no-untyped-call]
    if header:
        prepared.headers["Cookie"] = header


def _authorities(path: str | None) -> str | None:
    """Return the certificates of a file."""
    if path is None:
        return None
    text = _content(path, MAX_AUTHORITIES_BYTES).decode("ascii", "replace")
    if "-----BEGIN CERTIFICATE-----" not in text:
        raise NoAnswerError(f"{path} holds no certificate in PEM form")
    return text


def _content(path: str, limit: int) -> bytes:
    try:
        with open_beneath("/", path) as opened:
            return opened.read(limit)
    except OSError as error:
        raise NoAnswerError(f"{path} cannot be read: {error.strerror or error}") from None


def _file(part: Part) -> tuple[str, tuple[str | None, bytes, str | None]]:
    if not part.type.isprintable():
        # It is written as it is into the head of the part.
        raise NoAnswerError(f"the type {_shown(part.type)} of the part {part.name!r} is no media type")
    data = part.text.encode() if part.file is None else _content(part.file, MAX_UPLOAD_BYTES)
    return part.name, (part.filename or None, data, part.type or None)


def _redirected(
    before: requests.PreparedRequest, response: requests.Response, target: str, cookies: CookieJar
) -> requests.PreparedRequest:
    """Return the request that follows an answer, as browsers make it of that before."""
    mixin = SessionRedirectMixin()
    after = before.copy()
    try:
        after.prepare_url(urljoin(response.url, requote_uri(target)), None)
    except (requests.RequestException, ValueError) as error:
        raise NoAnswerError(f"a redirect to {_shown(target)} cannot be followed: {error}") from None
    _check_url(after.url or "")
    mixin.rebuild_method(after, response)
    gone = ["Cookie"]
    if response.status_code not in _KEEP_METHOD:
        gone += ["Content-Length", "Content-Type", "Transfer-Encoding"]
        after.body = None
    gone += _of_another_host(before.url or "", after.url or "")
    for name in gone:
        after.headers.pop(name, None)
    _add_cookies(after, cookies)
    return after


def _of_another_host(before: str, after: str) -> list[str]:
    """Return the headers that a redirect does not take along: who asks is told to nobody else."""
    gone = ["Host"] if urlsplit(before).netloc != urlsplit(after).netloc else []
    if SessionRedirectMixin().should_strip_auth(before, after):  # type: ignore[no-untyped-call]
        gone.append("Authorization")
    return gone


class _InTime:
    """A socket whose time limit is a moment; usually it is one of each read, and a server can drip for ever.

    :ivar deadline_s: a ``time.monotonic()`` moment.
    """

    deadline_s: float

    def _left(self) -> None:
        left_s = self.deadline_s - time.monotonic()
        if left_s <= 0:
            raise TimeoutError
        self.settimeout(left_s)  # type: ignore[attr-defined]

    # What http.client calls, and ssl for it.
    def recv_into(self, *args: Any) -> int:
        self._left()
        return super().recv_into(*args)  # type: ignore[misc,no-any-return]

    def send(self, *args: Any) -> int:
        self._left()
        return super().send(*args)  # type: ignore[misc,no-any-return]

    def sendall(self, *args: Any) -> None:
        self._left()
        super().sendall(*args)  # type: ignore[misc]


class _Socket(_InTime, socket.socket):
    pass


class _TlsSocket(_InTime, ssl.SSLSocket):
    pass


class _Plain(HTTPConnection):
    """A connection over a socket that others open."""

    open_socket: Callable[[], socket.socket]

    def _new_conn(self) -> socket.socket:
        return self.open_socket()


class _Tls(HTTPSConnection):
    """The same with TLS."""

    open_socket: Callable[[], socket.socket]

    def _new_conn(self) -> socket.socket:
        return self.open_socket()


class _Exchange:
    """One request on a connection of its own, and its answer; to be used in a ``with``.

    :ivar certificate: of the server, as :meth:`ssl.SSLSocket.getpeercert` has it; None if not verified.
    :ivar size_bytes: of the body so far, unpacked.
    :ivar digest: of the same, SHA-256.
    """

    def __init__(
        self, request: HttpRequest, prepared: requests.PreparedRequest, dial: Dial, deadline_s: float
    ) -> None:
        self._prepared = prepared
        self._dial = dial
        self._deadline_s = deadline_s
        self._ends = ExitStack()
        self.certificate: Mapping[str, Any] | None = None
        self.size_bytes = 0
        self.digest = hashlib.sha256()
        parts = urlsplit(prepared.url or "")
        self._shown = f"{parts.scheme}://{parts.netloc}"
        self._host, self._tls = parts.hostname or "", parts.scheme == "https"
        self._port = parts.port or (443 if self._tls else 80)
        self._request = request

    def __enter__(self) -> _Exchange:  # noqa: PYI034 (no Self before Python 3.11)
        return self

    def __exit__(self, *_: object) -> None:
        self._ends.close()

    def answer(self) -> HTTPResponse:
        """Send the request, and return the answer as far as its head.

        :raises NoAnswerError: with the reason.
        """
        with self._told():
            connection = self._connection()
            self._ends.callback(connection.close)
            connection.connect()
            assert isinstance(connection.sock, _InTime)  # noqa: S101 (as they are made below)
            connection.sock.deadline_s = self._deadline_s
            if isinstance(connection.sock, ssl.SSLSocket):
                self.certificate = connection.sock.getpeercert() or None
            prepared = self._prepared
            # A server may answer before it has read all of a body, and close.
            with suppress(BrokenPipeError, ConnectionResetError):
                connection.request(
                    prepared.method or "",
                    prepared.path_url,
                    body=prepared.body,
                    headers=dict(prepared.headers),
                    preload_content=False,
                )
            answer: HTTPResponse = connection.getresponse()
            self._ends.callback(answer.close)
            return answer

    def body(self, answer: HTTPResponse, show: Callable[[bytes], None]) -> BoundedOutput:
        """Return the body of *answer*, in UTF-8, and show it as it comes."""
        kept = BoundedOutput()
        decoder = _decoder(answer.headers.get("Content-Type", ""))
        with self._told():
            for piece in unpacked(answer):
                self.size_bytes += len(piece)
                self.digest.update(piece)
                data = piece if decoder is None else decoder.decode(piece).encode("utf-8", "replace")
                kept.feed(data)
                show(data)
                self._check_time()
        return kept

    def _check_time(self) -> None:
        if time.monotonic() >= self._deadline_s:
            raise TimeoutError

    def _connection(self) -> HTTPConnection:
        if not self._tls:
            plain = _Plain(self._host, self._port)
            plain.open_socket = self._socket
            return plain
        context = tls_context(verify=self._request.verify, authorities=_authorities(self._request.ca))
        context.sslsocket_class = _TlsSocket
        tls = _Tls(self._host, self._port, ssl_context=context, server_hostname=self._host)
        tls.open_socket = self._socket
        return tls

    def _socket(self) -> socket.socket:
        left_s = self._deadline_s - time.monotonic()
        if left_s <= 0:
            raise TimeoutError
        dialled = _Socket(fileno=self._dial(self._host, self._port, left_s).detach())
        # TLS is agreed upon within this, all of it.
        dialled.settimeout(left_s)
        return dialled

    def _told(self) -> _Told:
        return _Told(self._shown, self._deadline_s)


class _Told:
    """Turns what goes wrong within into NoAnswerError."""

    def __init__(self, shown: str, deadline_s: float) -> None:
        self._shown = shown
        self._deadline_s = deadline_s

    def __enter__(self) -> None:
        return None

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, (OSError, http.client.HTTPException, HTTPError, UnicodeError)):
            over = time.monotonic() >= self._deadline_s or isinstance(error, TimeoutError)
            why = "no answer in time" if over else _in_words(error)
            raise NoAnswerError(f"{self._shown}: {why}", timed_out=over) from error


def _in_words(error: BaseException) -> str:
    cause = _cause(error)
    if isinstance(cause, http.client.IncompleteRead):
        return "its body is cut off, the connection was closed before its end"
    return f"its body cannot be unpacked: {cause}" if isinstance(error, DecodeError) else in_words(cause)


def _cause(error: BaseException) -> BaseException:
    """Return what urllib3 tells of in an error of its own."""
    inner = (
        [each for each in error.args if isinstance(each, BaseException)]
        if isinstance(error, HTTPError)
        else []
    )
    return inner[0] if inner else error


def _head(answer: HTTPResponse) -> str:
    version = "HTTP/1.0" if answer.version == 10 else "HTTP/1.1"  # noqa: PLR2004 http.client's way to say it
    line = f"{version} {answer.status} {answer.reason or ''}".rstrip()
    return "".join(f"{each}\n" for each in (line, *_lines(answer)))


def _lines(answer: HTTPResponse) -> Iterator[str]:
    for name, value in answer.headers.iteritems():
        yield f"{name}: {value}"


def _decoder(content_type: str) -> codecs.IncrementalDecoder | None:
    """Return what decodes a body, None for UTF-8; as that a body is read whose type names nothing known."""
    message = Message()
    message["content-type"] = content_type
    codec = codec_of(message.get_content_charset() or "")
    return None if codec in {"", "utf-8"} else codecs.getincrementaldecoder(codec)("replace")


def _certificate(found: Mapping[str, Any] | None) -> dict[str, Any]:
    if found is None:
        return {}
    names = tuple(value for kind, value in found.get("subjectAltName", ()) if kind in {"DNS", "IP Address"})
    days = (ssl.cert_time_to_seconds(found["notAfter"]) - time.time()) / _DAY_S
    return {"certificate_names": names, "certificate_days": days}


def _shown(text: str) -> str:
    return repr(text if len(text) <= 200 else f"{text[:200]}...")  # noqa: PLR2004 enough to find it
