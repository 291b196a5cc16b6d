"""Connecting: what is named is used or an error, else what answers first, else an error that helps."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pytest_clnrm.engine.connect import client as probe
from pytest_clnrm.engine.connect import connect as connecting
from pytest_clnrm.engine.connect.client import ProbeError, open_client
from pytest_clnrm.engine.connect.connect import reach
from pytest_clnrm.engine.connect.endpoints import Endpoint, TlsFiles
from pytest_clnrm.engine.embedded import join
from pytest_clnrm.errors import EngineUnavailableError

Serve = Callable[..., tuple[str, list[str]]]


def reached(choice: str, tmp_path: Path, *sockets: str, **environ: str) -> Any:
    """Return facts of the engine that *choice* means where only *sockets* are usual."""
    client, facts = reach(
        choice,
        environ={"HOME": str(tmp_path), **environ},
        runtime_dir=tmp_path,
        sockets=[Endpoint(url=url) for url in sockets],
        timeout_s=0.3,
    )
    client.close()
    return facts


def test_first_that_answers(serve: Serve, tmp_path: Path, short_path: Path) -> None:
    """Of the usual sockets the first that answers is used."""
    first, _ = serve()
    second, asked = serve()
    assert reached("auto", tmp_path, f"unix://{short_path}/none.sock", first, second).url == first
    assert asked == []


def test_embedded_uses_what_answers(serve: Serve, tmp_path: Path) -> None:
    """``embedded`` starts nothing where an engine answers."""
    url, _ = serve()
    assert reached("embedded", tmp_path, url).url == url
    assert not (tmp_path / "engine").exists()


@pytest.mark.parametrize("tcp", [False, True])
def test_named_engine(serve: Serve, tmp_path: Path, *, tcp: bool) -> None:
    """A named engine is used, over a socket and over TCP."""
    url, asked = serve(tcp=tcp)
    assert reached("auto", tmp_path, DOCKER_HOST=url).identity
    assert asked == ["/version", "/v1.41/info"]


def test_named_engine_is_no_fallback(serve: Serve, tmp_path: Path) -> None:
    """A named engine that does not answer is an error, whatever else answers."""
    other, asked = serve()
    with pytest.raises(EngineUnavailableError) as caught:
        reached("embedded", tmp_path, other, DOCKER_HOST="unix:///none.sock")
    assert (
        str(caught.value) == "no container engine at unix:///none.sock (DOCKER_HOST): there is no such socket"
    )
    assert caught.value.details[-1] == "It was named, so no other engine was tried."
    assert asked == []


def test_nothing_answers(tmp_path: Path, short_path: Path) -> None:
    """The error lists each address with its reason, then what to do."""
    stale = short_path / "stale.sock"
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(stale))
    with pytest.raises(EngineUnavailableError) as caught:
        reached("auto", tmp_path, "unix:///none.sock", f"unix://{stale}")
    assert str(caught.value).startswith("no container engine answers; install and start Docker or Podman")
    assert caught.value.details[:3] == (
        "tried unix:///none.sock: there is no such socket",
        f"tried unix://{stale}: nothing listens on the socket: the engine is not running",
        "Start the engine.",
    )
    text = "\n".join(caught.value.details)
    for remedy in (
        "apt-get install docker.io",
        "apt-get install podman",
        "DOCKER_HOST",
        "--clnrm-engine embedded",
    ):
        assert remedy in text


def test_hanging_engine(tmp_path: Path, short_path: Path) -> None:
    """An engine that accepts and never answers is given up after the time-out."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(short_path / "hung.sock"))
        sock.listen(5)
        with pytest.raises(EngineUnavailableError) as caught:
            reached("auto", tmp_path, f"unix://{short_path}/hung.sock")
    assert caught.value.details[0].endswith("hung.sock: it did not answer within 0.3 s")


def test_engine_that_accepts_nothing(short_path: Path) -> None:
    """An engine with a full queue of connections is given up after the time-out."""
    path = str(short_path / "full.sock")
    with socket.socket(socket.AF_UNIX) as sock, socket.socket(socket.AF_UNIX) as waiting:
        sock.bind(path)
        sock.listen(0)
        waiting.connect(path)
        with pytest.raises(ProbeError, match=r"it did not accept a connection within 0\.1 s"):
            open_client(Endpoint(url=f"unix://{path}"), 0.1)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ((500, '{"message": "out of order"}'), "it answered with an error: out of order"),
        ((200, "<html>"), "what answers is no container engine"),
        ((404, "{}"), "what answers is no container engine"),
        ([], "what answers is no container engine: it names no API version"),
        ({"ApiVersion": "one"}, "what answers is no container engine: its API version is 'one'"),
        ({"ApiVersion": "1.39"}, "it is too old: it speaks API 1.39, at least 1.40 is needed"),
    ],
)
def test_strange_answers(serve: Serve, answer: Any, reason: str) -> None:
    """What answers but is no usable engine is said to be so."""
    url, _ = serve({"/version": answer})
    with pytest.raises(ProbeError) as caught:
        open_client(Endpoint(url=url))
    assert caught.value.reason.startswith(reason)


@pytest.mark.parametrize(
    ("versions", "spoken"),
    [
        ({"ApiVersion": "1.41"}, "1.41"),
        ({"ApiVersion": "1.99"}, "1.45"),
        ({"ApiVersion": "1.99", "MinAPIVersion": "1.50"}, "1.50"),
        ({"ApiVersion": "1.41", "MinAPIVersion": "1.12"}, "1.41"),
    ],
)
def test_negotiation(
    serve: Serve, versions: dict[str, str], spoken: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The newest version that both sides know is spoken; an engine's minimum wins."""
    monkeypatch.setattr("docker.constants.DEFAULT_DOCKER_API_VERSION", "1.45")
    url, _ = serve({"/version": versions})
    client, _ = open_client(Endpoint(url=url))
    assert client.api_version == spoken
    client.close()


def test_plain_tcp_to_a_tls_engine(serve: Serve) -> None:
    """An engine that wants TLS leads to the advice to turn it on."""
    url, _ = serve({"/version": (400, "Client sent an HTTP request to an HTTPS server.")}, tcp=True)
    with pytest.raises(ProbeError) as caught:
        open_client(Endpoint(url=url))
    assert caught.value.remedy.startswith("It wants TLS: set DOCKER_TLS_VERIFY=1")


def test_tls_to_a_plain_engine(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """TLS that fails leads to the certificates."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/none.pem")
    url, _ = serve(tcp=True)
    with pytest.raises(ProbeError, match="TLS failed: ") as caught:
        open_client(Endpoint(url=url, tls=TlsFiles(verify=False)))
    assert "DOCKER_CERT_PATH" in caught.value.remedy


def test_missing_certificate(tmp_path: Path) -> None:
    """Certificates that are not there are an error of the set-up."""
    tls = TlsFiles(ca="", cert=str(tmp_path / "cert.pem"), key=str(tmp_path / "key.pem"))
    with pytest.raises(ProbeError, match="the client cannot be set up: Path to a certificate and key"):
        open_client(Endpoint(url="tcp://127.0.0.1:1", tls=tls))


def test_environment_of_the_web_is_ignored(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a proxy nor an authority for the web is used to reach an engine."""
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    url, _ = serve(tcp=True)
    client, _ = open_client(Endpoint(url=url))
    assert client.trust_env is False
    client.close()


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("tcp://127.0.0.1:1", "connection refused"),
        ("ssh://127.0.0.1:1", "ssh to 127.0.0.1:1 has ended: .*Connection refused"),
    ],
)
def test_unreachable(url: str, reason: str) -> None:
    """The reason is the system's own word, not the HTTP library's wrapping."""
    with pytest.raises(ProbeError, match=reason):
        open_client(Endpoint(url=url), 0.5)


def test_engine_without_info(serve: Serve, tmp_path: Path) -> None:
    """An engine that does not tell what it is cannot be used."""
    url, _ = serve({"/version": {"ApiVersion": "1.41"}, "/info": (500, '{"message": "broken"}')})
    with pytest.raises(EngineUnavailableError, match=r"it does not tell what it is: .*broken"):
        reached(url, tmp_path)


@pytest.mark.parametrize(
    ("container", "host"), [(None, "127.0.0.1"), ({"HostConfig": {"NetworkMode": "x"}}, "10.1.1.1")]
)
def test_sibling_container(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, container: Any, host: str
) -> None:
    """The engine is asked whether we run in one of its containers."""

    def find_gateway(knows: Callable[[str], str | None]) -> str:
        return "10.1.1.1" if knows("abc") == "x" else ""

    monkeypatch.setattr(connecting, "find_gateway", find_gateway)
    answers = {"/version": {"ApiVersion": "1.41"}, "/info": {}}
    url, _ = serve({**answers, "/containers/abc/json": container} if container else answers)
    assert reached("auto", tmp_path, url).host == host


def test_permission_denied(monkeypatch: pytest.MonkeyPatch) -> None:
    """A socket that is not ours to use names its group."""
    monkeypatch.setattr(Path, "group", lambda _: "docker")
    error = probe._socket_error("/run/x.sock", errno.EACCES)
    assert error.reason == "permission denied"
    assert "sudo usermod -aG docker $USER" in error.remedy
    monkeypatch.setattr(Path, "group", lambda _: "root")
    assert "belongs to root" in probe._socket_error("/run/x.sock", errno.EPERM).remedy


def test_permission_of_an_unknown_group() -> None:
    """Where the socket's group cannot be asked for, Docker's own is named."""
    assert "-aG docker" in probe._socket_error("/none/x.sock", errno.EPERM).remedy


def test_other_socket_errors() -> None:
    """Any other error of the socket is shown in the system's words."""
    assert probe._socket_error("/x", errno.ELOOP).reason == os.strerror(errno.ELOOP)


def test_innermost_reason() -> None:
    """The first cause of a chain is shown; an error without text is named."""
    outer = OSError("outer")
    outer.__cause__ = KeyError()
    assert probe._innermost(outer) == "KeyError"
    assert probe._innermost(ValueError("a\n b")) == "a b"


def test_embedded_engine_that_does_not_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An embedded engine that is gone again is an error that names it."""
    monkeypatch.setattr(join, "join", lambda *_: "unix:///none.sock")
    with pytest.raises(
        EngineUnavailableError, match=r"unix:///none\.sock \(--clnrm-engine embedded\)"
    ) as caught:
        reached("embedded", tmp_path)
    assert caught.value.details == ()


def test_no_embedded_engine_without_proc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On another system than Linux none is started, and what to start instead is told."""
    monkeypatch.setattr(join, "_PROC", tmp_path / "none")
    with pytest.raises(EngineUnavailableError, match="the embedded engine runs on Linux alone") as caught:
        join.join(tmp_path, {})
    assert caught.value.details == ("Start Docker Desktop, Colima or Podman's machine.",)
    assert list(tmp_path.iterdir()) == []
