"""Requests to a server of this machine: what is sent, what comes of the answer, and what ends in time."""

from __future__ import annotations

import gzip
import hashlib
import socket
import ssl
import threading
import time
import tracemalloc
import zlib
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest
from clnrm_testing.certificates import make_authority, make_certificate
from clnrm_testing.http_server import LONG_S, Server, ask, serving

from pytest_clnrm.model.http import HttpRequest, Part
from pytest_clnrm.runner.cookies import service_cookies
from pytest_clnrm.runner.http_client import NoAnswerError
from pytest_clnrm.util.output import KEPT_BYTES

LARGE = "x" * (16 << 20)


@pytest.fixture
def server() -> Iterator[Any]:
    """Return a handler class of a server of its own."""
    with serving() as handler:
        yield handler


def test_who_asks_is_told_as_utf_8(server: Any) -> None:
    """Basic and bearer become the header; what the file gives wins over what is sent by itself."""
    url = "http://api:8080/"
    ask(server.port, HttpRequest(url=url, basic=("user", "päss"), headers={"accept": "x"}))
    ask(server.port, HttpRequest(url=url, bearer="t"), headers={"traceparent": "p"})
    first, second = (each[2] for each in server.seen)
    assert first["Authorization"] == "Basic dXNlcjpww6Rzcw=="
    assert first["accept"] == "x"
    assert "Accept" not in first
    assert second["Authorization"] == "Bearer t"
    assert second["traceparent"] == "p"
    assert second["Host"] == "api:8080"


def test_redirects_keep_and_drop_what_they_should(server: Any) -> None:
    """303 becomes a GET without body, 307 stays what it was; another host gets no token, cookie or name."""
    server.answers = {
        "/a": (307, {"Location": "/b", "Set-Cookie": "k=v; Path=/"}, b""),
        "/b": (303, {"Location": "http://other/c"}, b""),
    }
    named = {"Host": "example.org", "X-Own": "1"}
    request = HttpRequest(method="POST", url="http://api/a", body="x", bearer="t", redirects=2, headers=named)
    answer = ask(server.port, request)
    assert [(method, path, body) for method, path, _, body in server.seen] == [
        ("POST", "/a", b"x"),
        ("POST", "/b", b"x"),
        ("GET", "/c", b""),
    ]
    assert server.seen[1][2]["Cookie"] == "k=v"
    assert server.seen[1][2]["Authorization"] == "Bearer t"
    assert server.seen[1][2]["Host"] == "example.org"
    assert not {"Cookie", "Authorization"} & server.seen[2][2].keys()
    assert (server.seen[2][2]["Host"], server.seen[2][2]["X-Own"]) == ("other", "1")
    assert (answer.redirects, dict(answer.cookies)) == (2, {"k": "v"})


@pytest.mark.parametrize(
    ("set_cookie", "hosts"),
    [
        ("a=1", {"api"}),
        ("a=1; Domain=api", {"api"}),
        ("a=1; Domain=.api", {"api"}),
        ("a=1; Domain=web", set()),
        ("a=1; Domain=local", set()),
        ("a=1; Domain=.local", set()),
        ("a=1; Domain=web.local", set()),
        ("a=1; Secure", set()),
        ("a=1; Path=/other", set()),
        ("a=1; Max-Age=0", set()),
    ],
)
def test_cookies_go_where_they_belong(server: Any, set_cookie: str, hosts: set[str]) -> None:
    """A service gets its own cookies back, whether or not they name it, and none of another service."""
    server.answers = {"/set": (200, {"Set-Cookie": set_cookie}, b"")}
    cookies = service_cookies()
    answer = ask(server.port, HttpRequest(url="http://api/set"), cookies=cookies)
    assert dict(answer.cookies) == (
        {"a": "1"} if hosts or "Secure" in set_cookie or "Path" in set_cookie else {}
    )
    for host in ("api", "web", "web.api", "local", "web.local"):
        ask(server.port, HttpRequest(url=f"http://{host}/get"), cookies=cookies)
    assert {headers["Host"] for *_, headers, _ in server.seen if "Cookie" in headers} == hosts


def test_cookies_of_names_with_dots(server: Any) -> None:
    """Such names may be aliases of services: what their cookies name holds for all below it."""
    server.answers = {"/set": (200, {"Set-Cookie": "a=1; Domain=shop.test"}, b"")}
    cookies = service_cookies()
    ask(server.port, HttpRequest(url="http://www.shop.test/set"), cookies=cookies)
    for host in ("www.shop.test", "api.shop.test", "shop.test", "other.test"):
        ask(server.port, HttpRequest(url=f"http://{host}/get"), cookies=cookies)
    got = [headers["Host"] for *_, headers, _ in server.seen if "Cookie" in headers]
    assert got == ["www.shop.test", "api.shop.test", "shop.test"]


@pytest.mark.parametrize(
    ("location", "message"),
    [
        ("ftp://api/", "'ftp://api/' is no URL that begins with http:// or https://"),
        ("file:///etc/passwd", "'file:///etc/passwd' is no URL that begins with http:// or https://"),
        ("http://a:b@api/", "user and password do not stand in a URL, write auth = { basic = ... }"),
        ("/a", "more than 3 redirects; the next is to '/a'"),
    ],
)
def test_redirects_that_are_not_followed(server: Any, location: str, message: str) -> None:
    """Other kinds of URLs, users in them, and ever more redirects end the request."""
    server.answers = {"/a": (302, {"Location": location}, b"")}
    with pytest.raises(NoAnswerError) as caught:
        ask(server.port, HttpRequest(url="http://api/a", redirects=3))
    assert str(caught.value).endswith(message)


def test_a_body_is_unpacked_and_bounded(server: Any) -> None:
    """What is packed is counted unpacked, and only its end is kept."""
    big = 40 << 20
    packer = zlib.compressobj(wbits=31)
    bomb = b"".join([*(packer.compress(bytes(1 << 20)) for _ in range(40)), packer.flush()])
    packed = {"Content-Encoding": "gzip"}
    server.answers = {
        "/twice": (200, {"Content-Encoding": "gzip, gzip"}, gzip.compress(bomb)),
        "/small": (200, packed, gzip.compress("é".encode())),
        "/big": (200, packed, bomb),
        "/latin": (200, {"Content-Type": "text/plain; charset=latin-1"}, b"\xe9"),
        "/odd": (200, {"Content-Type": "text/plain; charset=zip"}, b"\xc3\xa9"),
        "/broken": (200, packed, b"no gzip"),
    }
    small = ask(server.port, HttpRequest(url="http://api/small"))
    assert (small.body, small.size_bytes) == ("é", 2)
    assert small.sha256 == hashlib.sha256("é".encode()).hexdigest()
    answer = ask(server.port, HttpRequest(url="http://api/big"))
    assert (answer.size_bytes, answer.body_omitted_bytes) == (big, big - KEPT_BYTES)
    tracemalloc.start()
    assert ask(server.port, HttpRequest(url="http://api/twice")).size_bytes == big
    most_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most_bytes < big / 2
    assert ask(server.port, HttpRequest(url="http://api/latin")).body == "é"
    assert ask(server.port, HttpRequest(url="http://api/odd")).body == "é"
    with pytest.raises(NoAnswerError, match=r"http://api: its body cannot be unpacked: .* incorrect header"):
        ask(server.port, HttpRequest(url="http://api/broken"))


def test_what_cannot_be_unpacked_is_told(server: Any) -> None:
    """The body stays as it is; what names no packer is text."""
    server.answers = {
        "/packed": (200, {"Content-Encoding": "gzip, compress"}, b"x"),
        "/empty": (204, {"Content-Encoding": "compress"}, b""),
        "/text": (200, {"Content-Encoding": "utf-8"}, b"x"),
        "/part": (
            206,
            {"Content-Encoding": "gzip", "Content-Range": "bytes 0-9/30"},
            gzip.compress(b"")[:10],
        ),
    }
    told = [ask(server.port, HttpRequest(url=f"http://api{path}")).packed_with for path in server.answers]
    assert told == ["compress", "", "", "gzip"]


def test_files_are_sent_from_where_they_were_found(server: Any, tmp_path: Path) -> None:
    """A file that has become a link, or is gone, is not sent."""
    file = tmp_path.resolve() / "a.txt"
    file.write_text("content")
    request = HttpRequest(
        method="POST", url="http://api/", parts=(Part(name="f", file=str(file), filename="n"),)
    )
    ask(server.port, request)
    assert b'name="f"; filename="n"\r\n\r\ncontent\r\n' in server.seen[0][3]
    file.rename(tmp_path / "b.txt")
    with pytest.raises(NoAnswerError, match=r"a.txt cannot be read: No such file"):
        ask(server.port, request)
    file.symlink_to(tmp_path / "b.txt")
    with pytest.raises(NoAnswerError, match=r"a.txt cannot be read: is a symbolic link"):
        ask(server.port, request)
    with pytest.raises(NoAnswerError, match=r"b.txt holds no certificate in PEM form"):
        ask(server.port, HttpRequest(url="https://api/", ca=str(tmp_path.resolve() / "b.txt")))
    assert len(server.seen) == 1


def _drips_head(connection: socket.socket) -> None:
    while True:
        connection.sendall(b"H")
        time.sleep(0.01)


def _drips_body(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
    _drips_head(connection)


def _drips_handshake(connection: socket.socket) -> None:
    connection.sendall(b"\x16\x03\x03\x40\x00")  # the first five of a record of 16 KiB
    _drips_head(connection)


def _always_goes_on(connection: socket.socket) -> None:
    while True:
        connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")


def _reads_nothing(connection: socket.socket) -> None:
    connection.sendall(connection.recv(1))
    # Until the other side has closed, which breaks the connection as it was not read.
    while True:
        connection.sendall(b"H")
        time.sleep(0.01)


def _says_nothing(connection: socket.socket) -> None:
    connection.recv(1)
    while connection.recv(1 << 16):
        pass


def _closes(connection: socket.socket) -> None:
    connection.recv(1 << 16)


def _talks_otherwise(connection: socket.socket) -> None:
    connection.recv(1 << 16)
    connection.sendall(b"220 mail\r\n")


@pytest.mark.parametrize(
    ("act", "timed_out", "message"),
    [
        (_drips_head, True, "http://api: no answer in time"),
        (_drips_body, True, "http://api: no answer in time"),
        (_always_goes_on, True, "http://api: no answer in time"),
        (_reads_nothing, True, "http://api: no answer in time"),
        (_says_nothing, True, "http://api: no answer in time"),
        (_closes, False, "http://api: remote end closed connection without response"),
        (_talks_otherwise, False, "http://api: no HTTP: BadStatusLine: 220 mail"),
    ],
)
def test_servers_that_do_not_answer(
    act: Callable[[socket.socket], None], *, timed_out: bool, message: str
) -> None:
    """Whatever a server does instead of answering, the request ends in time and says what it was."""
    request = HttpRequest(method="POST", url="http://api/", body=LARGE if act is _reads_nothing else "x")
    caught = _not_answered(act, request, timeout_s=0.3 if timed_out else LONG_S)
    assert (str(caught), caught.timed_out) == (message, timed_out)


@pytest.mark.parametrize(
    ("act", "wrapped"),
    [
        (_drips_handshake, False),
        (_drips_head, True),
        (_drips_body, True),
        (_reads_nothing, True),
    ],
)
def test_servers_that_do_not_answer_over_tls(
    act: Callable[[socket.socket], None], *, wrapped: bool, authority: Path
) -> None:
    """TLS reads and writes in its own way: its handshake and what comes after it end in time too."""

    def serve(connection: socket.socket) -> None:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(authority.with_name("api.pem"))
        with context.wrap_socket(connection, server_side=True) as over_tls:
            act(over_tls)

    body = LARGE if act is _reads_nothing else "x"
    request = HttpRequest(method="POST", url="https://api/", body=body, verify=False)
    caught = _not_answered(serve if wrapped else act, request, timeout_s=0.5)
    assert (str(caught), caught.timed_out) == ("https://api: no answer in time", True)


@pytest.mark.parametrize(
    "begun",
    [
        b"\r\nbegun",
        b"Content-Length: 99\r\n\r\nbegun",
        b"Transfer-Encoding: chunked\r\n\r\n5\r\nbegun\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n63\r\nbegun",
        b"Content-Encoding: gzip\r\n\r\n" + gzip.compress(b"begun")[:-8],
    ],
    ids=["until its end", "of a length", "chunks", "half a chunk", "packed"],
)
def test_what_has_come_of_an_answer_is_shown(begun: bytes) -> None:
    """All of it, though the rest does not come in time."""

    def act(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\n" + begun)
        _says_nothing(connection)

    shown: list[bytes] = []
    caught = _not_answered(act, HttpRequest(url="http://api/"), timeout_s=0.3, show=shown.append)
    assert caught.timed_out
    assert b"".join(shown).endswith(b"\n\nbegun")


CLOSED = "its body is cut off, the connection was closed before its end"
UNPACKED = "its body cannot be unpacked: it is cut off, the end of what is packed has not come"


@pytest.mark.parametrize(
    ("sent", "message"),
    [
        (b"Content-Length: 99\r\n\r\nbegun", CLOSED),
        (b"Transfer-Encoding: chunked\r\n\r\n5\r\nbegun\r\n", CLOSED),
        (b"Transfer-Encoding: chunked\r\n\r\n63\r\nbegun", CLOSED),
        (b"Content-Encoding: gzip\r\n\r\n" + gzip.compress(b"begun")[:-1], UNPACKED),
        (b"Content-Length: 12\r\nContent-Encoding: deflate\r\n\r\n" + zlib.compress(b"begun")[:-1], UNPACKED),
    ],
    ids=["of a length", "chunks", "half a chunk", "packed", "packed, of a length"],
)
def test_an_answer_that_is_cut_off(sent: bytes, message: str) -> None:
    """It is none, where anything tells that it is not whole; what has come of it is shown."""

    def act(connection: socket.socket) -> None:
        connection.recv(1 << 16)
        connection.sendall(b"HTTP/1.1 200 OK\r\n" + sent)

    shown: list[bytes] = []
    caught = _not_answered(act, HttpRequest(url="http://api/"), timeout_s=LONG_S, show=shown.append)
    assert (str(caught), caught.timed_out) == (f"http://api: {message}", False)
    assert b"".join(shown).endswith(b"\n\nbegun")


def test_a_server_that_answers_early(server: Any) -> None:
    """What it says before it has read all of a body, and closes, is its answer."""

    def refuse(handler: Server) -> None:
        handler.send_response(413)
        handler.end_headers()

    server.do_POST = refuse
    assert ask(server.port, HttpRequest(method="POST", url="http://api/", body=LARGE)).status == 413


def _not_answered(
    act: Callable[[socket.socket], None], request: HttpRequest, *, timeout_s: float, **more: Any
) -> NoAnswerError:
    """Return why a request is not answered by a server that does something else."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            with suppress(OSError), closing(listener.accept()[0]) as connection:
                act(connection)

        thread = threading.Thread(target=serve)
        thread.start()
        with pytest.raises(NoAnswerError) as caught:
            ask(listener.getsockname()[1], request, timeout_s=timeout_s, **more)
        # If it was over before there was a connection, none will come.
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()
    return caught.value


def test_what_cannot_be_sent() -> None:
    """A captured value can make of it what is no request, or another one: no connection is made."""
    with pytest.raises(NoAnswerError, match="the request cannot be sent: "):
        ask(0, HttpRequest(url="http://api/", headers={"A": "b\r\nC: d"}))
    part = Part(name="a", text="", type="text/plain\r\nX: y")
    with pytest.raises(
        NoAnswerError, match=r"the type 'text/plain\\r\\nX: y' of the part 'a' is no media type"
    ):
        ask(0, HttpRequest(method="POST", url="http://api/", parts=(part,)))
    with pytest.raises(NoAnswerError, match="user and password do not stand in a URL"):
        ask(0, HttpRequest(url="http://api:80@example.org/"))
    with pytest.raises(NoAnswerError, match=r"'GET /a HTTP/1\.1\\r\\nX: y' is no method: letters alone"):
        ask(0, HttpRequest(url="http://api/", method="GET /a HTTP/1.1\r\nX: y"))
    with pytest.raises(NoAnswerError, match="a user with a colon cannot be told from the password"):
        ask(0, HttpRequest(url="http://api/", basic=("ada:x", "s3cret")))


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the certificate of an authority, beside one of a server in ``api.pem``, valid for ten days."""
    authority = make_authority(tmp_path_factory.mktemp("tls").resolve())
    make_certificate(authority, "api", ["api", "www"], days=10)
    return authority


def test_a_certificate_is_verified_and_told(server: Any, authority: Path) -> None:
    """With its authority it is trusted for its names, and names and days are known; not so without."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(authority.with_name("api.pem"))
    ca = str(authority)
    server.listening.socket = context.wrap_socket(server.listening.socket, server_side=True)
    answer = ask(server.port, HttpRequest(url="https://api/", ca=ca))
    assert answer.certificate_names == ("api", "www")
    assert 9 < answer.certificate_days <= 10
    unknown = ask(server.port, HttpRequest(url="https://api/", verify=False))
    assert (unknown.status, unknown.certificate_names) == (200, None)
    for request, message in (
        (HttpRequest(url="https://api/"), "https://api: TLS: unable to get local issuer certificate"),
        (HttpRequest(url="https://other/", ca=ca), "https://other: TLS: Hostname mismatch"),
        (HttpRequest(url="http://api/"), "http://api: "),
    ):
        with pytest.raises(NoAnswerError, match=f"^{message}"):
            ask(server.port, request)
