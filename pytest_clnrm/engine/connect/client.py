"""Asking an endpoint whether an engine answers there, without ever waiting long for one that hangs."""

from __future__ import annotations

import errno
import os
import socket
import ssl
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_clnrm.engine.connect.endpoints import Endpoint
from pytest_clnrm.engine.connect.plain_gets import PlainGets
from pytest_clnrm.errors import EngineUnavailableError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from docker import APIClient
    from docker.transport.unixconn import UnixHTTPConnectionPool

PROBE_TIMEOUT_S = 5.0
CLIENT_TIMEOUT_S = 60
OLDEST_API = "1.40"
_LOGIN_S = 20.0
"""How much longer an answer may take that comes over a connection of ssh that is still to be made."""
_REDIRECTION = 3
_POOL_SIZE = 16
"""Connections kept at most; a process rarely has more threads that talk to the engine at once."""


class ProbeError(Exception):
    """No usable engine answers at an endpoint.

    :param reason: what happened, a few words.
    :param remedy: what the user can do, one sentence; "" if there is nothing to say.
    """

    def __init__(self, reason: str, remedy: str = "") -> None:
        super().__init__(reason, remedy)
        self.reason = reason
        self.remedy = remedy


def open_client(endpoint: Endpoint, timeout_s: float = PROBE_TIMEOUT_S) -> tuple[APIClient, dict[str, Any]]:
    """Return a client of the engine at *endpoint* and the engine's answer to ``GET /version``.

    The client speaks the newest API version that both sides know.

    :param timeout_s: how long to wait for the connection, and then for the answer.
    :raises ProbeError: if there is no such engine.
    """
    if endpoint.scheme == "unix":
        _knock(endpoint.path, timeout_s)
    elif endpoint.scheme == "ssh":
        timeout_s += _LOGIN_S
    # Not docker-py's own "auto": it takes any version, and asks before trust_env can be changed. Only this
    # one question is asked unversioned, so what is named here is not sent.
    probe = _client(endpoint, OLDEST_API, timeout_s)
    try:
        version = _ask(probe, endpoint, timeout_s)
    finally:
        probe.close()
    return _client(endpoint, _negotiate(version), CLIENT_TIMEOUT_S), version


def _knock(path: str, timeout_s: float) -> None:
    """Connect to the socket once: its errno says more than what comes through the HTTP library."""
    deadline = time.monotonic() + timeout_s
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.settimeout(0)
        # EAGAIN: its queue of connections is full; nothing tells when that is over.
        while (code := sock.connect_ex(path)) == errno.EAGAIN:
            if time.monotonic() > deadline:
                raise ProbeError(f"it did not accept a connection within {timeout_s:g} s")
            time.sleep(0.02)
    if code:
        raise _socket_error(path, code)


def _socket_error(path: str, code: int) -> ProbeError:
    if code in {errno.ENOENT, errno.ENOTDIR}:
        return ProbeError("there is no such socket")
    if code in {errno.EACCES, errno.EPERM}:
        return ProbeError("permission denied", _permission_remedy(path))
    if code == errno.ECONNREFUSED:
        return ProbeError("nothing listens on the socket: the engine is not running", "Start the engine.")
    return ProbeError(os.strerror(code))


def _permission_remedy(path: str) -> str:
    try:
        group = Path(path).group()
    except (OSError, KeyError):
        group = "docker"
    if group == "root":
        return f"{path} belongs to root: use an engine of your own (rootless Docker or Podman)."
    return (
        f"You may not use {path}: join its group with `sudo usermod -aG {group} $USER`, then log in again "
        "(members of that group have root's power), or use rootless Docker or Podman."
    )


def _client(endpoint: Endpoint, version: str, timeout_s: float) -> APIClient:
    from docker.errors import DockerException
    from docker.tls import TLSConfig

    tls: Any = False
    try:
        if endpoint.tls:
            pair = (endpoint.tls.cert, endpoint.tls.key) if endpoint.tls.cert else None
            tls = TLSConfig(client_cert=pair, ca_cert=endpoint.tls.ca or None, verify=endpoint.tls.verify)
        client = _client_class(endpoint)(
            # Its own way over ssh:// needs paramiko, and makes a connection for each request.
            base_url=endpoint.url if endpoint.scheme != "ssh" else "unix:///ssh",
            version=version,
            # Its annotation says int; it is handed to the socket as it is.
            timeout=timeout_s,  # type: ignore[arg-type]
            tls=tls,
        )
    except DockerException as error:
        raise ProbeError(f"the client cannot be set up: {error}") from None
    except OSError as error:
        raise ProbeError(f"the client cannot be set up: {error}") from None
    # REQUESTS_CA_BUNDLE and CURL_CA_BUNDLE would replace the engine's own authority, and a proxy for the web
    # is not the way to an engine.
    client.trust_env = False
    if endpoint.scheme == "unix":
        _keep_connections(client, endpoint.path, timeout_s)
    elif endpoint.scheme == "ssh":
        from pytest_clnrm.engine.connect.ssh import KeptConnections

        client.mount("http+docker://", KeptConnections(endpoint.url, timeout_s, _POOL_SIZE))
    return client


def _client_class(endpoint: Endpoint) -> type[APIClient]:
    """Return docker-py's client; at a socket of this host one whose plain questions take less."""
    from docker import APIClient

    if endpoint.scheme != "unix":
        return APIClient
    from requests import Response
    from requests.exceptions import ReadTimeout
    from requests.structures import CaseInsensitiveDict

    gets = PlainGets(endpoint.path, _POOL_SIZE)

    class Client(APIClient):
        def get(self, url: str | bytes, **kwargs: Any) -> Response:
            timeout_s = kwargs.get("timeout")
            path = str(url).removeprefix(str(self.base_url))
            if any(kwargs[each] for each in kwargs if each != "timeout") or timeout_s is None or path == url:
                return super().get(url, **kwargs)
            try:
                found = gets.get(path, timeout_s)
            except TimeoutError as error:
                raise ReadTimeout(f"no answer within {timeout_s:g} s") from error
            if found is None or found.status // 100 == _REDIRECTION:
                return super().get(url, **kwargs)
            answer = Response()
            answer.status_code, answer.reason, answer.url = found.status, found.reason, str(url)
            answer.headers = CaseInsensitiveDict(found.headers)
            answer.encoding = "utf-8"
            # Nothing else sets them.
            answer._content, answer._content_consumed = found.body, True  # type: ignore[attr-defined]  # noqa: SLF001
            return answer

        def close(self) -> None:
            gets.close()
            super().close()

    return Client


def _keep_connections(client: APIClient, socket_path: str, timeout_s: float) -> None:
    """Make *client*, which talks to a unix socket, use its connections again.

    docker-py keeps connections by URL, and as nearly each URL holds an id, it hardly uses one again.
    """
    from docker.transport import UnixHTTPAdapter

    class OnePool(UnixHTTPAdapter):
        def get_connection(
            self, _url: str | bytes, proxies: Mapping[str, str] | None = None
        ) -> UnixHTTPConnectionPool:
            return super().get_connection("http+docker://localhost", proxies)

    # Its annotation says int; it is handed to the socket as it is.
    adapter = OnePool(f"http+unix://{socket_path}", timeout_s, max_pool_size=_POOL_SIZE)  # type: ignore[arg-type]
    client.mount("http+docker://", adapter)


def _ask(client: APIClient, endpoint: Endpoint, timeout_s: float) -> dict[str, Any]:
    from docker.errors import APIError, DockerException
    from requests import exceptions

    try:
        version = client.version(api_version=False)
    except exceptions.Timeout:
        raise ProbeError(f"it did not answer within {timeout_s:g} s") from None
    except exceptions.SSLError as error:
        raise ProbeError(f"TLS failed: {_innermost(error)}", _tls_remedy(endpoint)) from None
    except APIError as error:
        # Its explanation is the answer's text: "Client sent an HTTP request to an HTTPS server.", for one.
        remedy = _tls_remedy(endpoint) if "HTTPS" in str(error.explanation) else ""
        raise ProbeError(f"it answered with an error: {error.explanation or error}", remedy) from None
    except EngineUnavailableError as error:
        raise ProbeError(str(error)) from None
    except exceptions.ConnectionError as error:
        raise ProbeError(_innermost(error)) from None
    except (DockerException, exceptions.RequestException, OSError, ValueError, LookupError) as error:
        raise ProbeError(f"what answers is no container engine: {_innermost(error)}") from None
    if not isinstance(version, dict) or "ApiVersion" not in version:
        raise ProbeError("what answers is no container engine: it names no API version")
    return version


def _tls_remedy(endpoint: Endpoint) -> str:
    if endpoint.tls:
        return "Look at ca.pem, cert.pem and key.pem in DOCKER_CERT_PATH (or in the Docker context)."
    return "It wants TLS: set DOCKER_TLS_VERIFY=1, and DOCKER_CERT_PATH to the folder of its certificates."


def _innermost(error: BaseException) -> str:
    """Return the text of the first cause: the HTTP library wraps it three times."""
    while (cause := _cause(error)) is not None:
        error = cause
    # The numbers of ssl's errors are OpenSSL's own; those of name resolution are negative.
    if isinstance(error, OSError) and not isinstance(error, ssl.SSLError) and (error.errno or 0) > 0:
        return os.strerror(error.errno or 0).lower()
    return " ".join(str(error).split()) or type(error).__name__


def _cause(error: BaseException) -> BaseException | None:
    candidates = (getattr(error, "reason", None), *error.args, error.__cause__, error.__context__)
    return next((each for each in candidates if isinstance(each, BaseException)), None)


def _negotiate(version: dict[str, Any]) -> str:
    """Return the newest API version that engine and client library both know.

    :raises ProbeError: if the engine is older than what we can work with.
    """
    from docker.constants import DEFAULT_DOCKER_API_VERSION

    newest, oldest = str(version["ApiVersion"]), str(version.get("MinAPIVersion") or OLDEST_API)
    try:
        if _number(newest) < _number(OLDEST_API):
            raise ProbeError(
                f"it is too old: it speaks API {newest}, at least {OLDEST_API} is needed",
                "Docker 19.03, Podman 3.4 and newer ones will do.",
            )
        both = min(newest, DEFAULT_DOCKER_API_VERSION, key=_number)
        return max(both, oldest, key=_number)
    except ValueError:
        raise ProbeError(f"what answers is no container engine: its API version is {newest!r}") from None


def _number(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))
