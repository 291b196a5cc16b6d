"""Asking over the network whether a service is ready: by a connection, or an HTTP request."""

from __future__ import annotations

import contextlib
import http.client
import socket
import ssl
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_clnrm.model.service import HttpProbe, Service
    from pytest_clnrm.runtime.network import Network, Place

_KEPT_S = 0.05
_KEPT_DIRECTLY_S = 0.02
_LISTEN_COLUMNS = 4
_LISTEN_STATE = "0A"  # of /proc/net/tcp, see proc(5) and the kernel's tcp_states.h


def http_target(service: Service, probe: HttpProbe) -> tuple[int, str]:
    """Return port and path of ``/path`` (the service's only port, else 80 or 443) or ``:port/path``."""
    if probe.target.startswith(":"):
        port, _, path = probe.target[1:].partition("/")
        return int(port), f"/{path}"
    usual = 443 if probe.tls else 80
    return (service.ports[0] if len(service.ports) == 1 else usual), probe.target


def connect(network: Network, place: Place, timeout_s: float, *, by_proxy: bool) -> str:
    """Return "" if *place* accepts a connection and keeps it open, else why not.

    The engine's proxy for published ports accepts before the container listens, and then closes at once. So a
    connection that is closed within a moment, without a byte, does not count. A container's own address needs
    less of a moment: there its kernel has accepted.

    :param by_proxy: *place* is where the engine publishes the port.
    """
    try:
        with network.dial(place, timeout_s=timeout_s) as connection:
            connection.settimeout(_KEPT_S if by_proxy else _KEPT_DIRECTLY_S)
            try:
                return "" if connection.recv(1) else "the connection was closed at once"
            except TimeoutError:
                return ""
    except OSError as error:
        return _reason(error, timeout_s)


def listens_in(table: str, port: int) -> bool:
    """Tell whether something listens on *port*.

    :param table: the content of /proc/net/tcp and /proc/net/tcp6.
    """
    for line in table.split("\n"):
        columns = line.split()
        local, state = (columns[1], columns[3]) if len(columns) >= _LISTEN_COLUMNS else ("", "")
        if state == _LISTEN_STATE and local.endswith(f":{port:04X}"):
            return True
    return False


def ask(
    network: Network, place: Place, path: str, probe: HttpProbe, *, name: str, timeout_s: float
) -> tuple[bool, str]:
    """Make a request; return whether the status was an expected one, and the answer or the error in words.

    :param name: of the service, for which its certificate must be valid if that is verified.
    """
    connection = http.client.HTTPConnection(*place, timeout=timeout_s)
    try:
        # Not by HTTPSConnection, which would expect a certificate for the address.
        connection.sock = network.dial(place, timeout_s=timeout_s)
        if probe.tls:
            connection.sock = _tls(connection.sock, name, verify=probe.verify)
        connection.request("GET", path, headers={"Connection": "close", **probe.headers})
        answer = connection.getresponse()
    except (OSError, http.client.HTTPException, UnicodeError) as error:
        return False, in_words(error, timeout_s)
    finally:
        connection.close()
    meant = any(low <= answer.status <= high for low, high in probe.status)
    return meant, f"{answer.status} {answer.reason}".strip()


def _tls(plain: socket.socket, name: str, *, verify: bool) -> socket.socket:
    try:
        return tls_context(verify=verify).wrap_socket(plain, server_hostname=name)
    except BaseException:
        plain.close()
        raise


def tls_context(*, verify: bool, authorities: str | None = None) -> ssl.SSLContext:
    """Return what TLS of a client is made with.

    :param authorities: in PEM form, that are trusted in place of the host's own.
    :raises ssl.SSLError: if *authorities* are none.
    """
    context = ssl.create_default_context(cadata=authorities)
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        # A server of a test may be as old and weak as it likes.
        with contextlib.suppress(ssl.SSLError):
            context.set_ciphers("ALL:@SECLEVEL=0")
    return context


def in_words(error: BaseException, timeout_s: float = 0.0) -> str:
    """Return why a server did not answer.

    :param timeout_s: how long it was waited for.
    """
    if isinstance(error, ssl.SSLError):
        return f"TLS: {getattr(error, 'verify_message', '') or error.reason or error}"
    if isinstance(error, OSError):
        return _reason(error, timeout_s)
    return f"no HTTP: {type(error).__name__}: {' '.join(str(error).split())[:100]}"


def _reason(error: OSError, timeout_s: float) -> str:
    if isinstance(error, TimeoutError):
        return f"no answer within {timeout_s:g} s"
    return (error.strerror or str(error)).lower()
