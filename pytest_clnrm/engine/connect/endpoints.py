"""Where an engine is to be looked for: what the user names, else the usual sockets.

A name wins in this order, as with Docker's own command: ``--clnrm-engine URL``, ``DOCKER_HOST``,
``DOCKER_CONTEXT``, ``currentContext`` of Docker's ``config.json``. Nothing here connects to anything.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pytest_clnrm.errors import EngineUnavailableError

SCHEMES = ("unix", "tcp", "http", "https", "ssh")
ALLOWED = (
    "unix:///path, tcp://host:port, http://host:port, https://host:port, ssh://user@host "
    "or kubernetes://context/namespace"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsFiles:
    """Certificates for an engine reached over TLS.

    :param ca: the authority's certificate; "" for the machine's own authorities.
    :param cert: our certificate; "" if there is none, and then ``key`` is "" too.
    :param verify: False where the engine's certificate is not to be checked.
    """

    ca: str = ""
    cert: str = ""
    key: str = ""
    verify: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """An address at which an engine may answer.

    :param url: complete: a tcp address has a port.
    :param origin: where the user named it (``DOCKER_HOST``); "" for a usual socket.
    """

    url: str
    origin: str = ""
    tls: TlsFiles | None = None

    @property
    def scheme(self) -> str:
        """Return "unix", "tcp", "http", "https" or "ssh"."""
        return urlsplit(self.url).scheme

    @property
    def host(self) -> str:
        """Return the host's name or address, "" for a socket of this machine."""
        return "" if self.scheme == "unix" else urlsplit(self.url).hostname or ""

    @property
    def path(self) -> str:
        """Return the socket's path, "" if it is none."""
        return self.url.removeprefix("unix://") if self.scheme == "unix" else ""

    def __str__(self) -> str:
        return f"{self.url} ({self.origin})" if self.origin else self.url


def named_endpoint(choice: str, environ: Mapping[str, str]) -> Endpoint | None:
    """Return the engine that the user names, None if none is named.

    :param choice: "auto", "embedded" or a URL.
    :raises EngineUnavailableError: if what is named cannot be an engine.
    """
    if choice not in {"auto", "embedded"}:
        return _endpoint(choice, "--clnrm-engine", _tls_of_environment(environ))
    if host := environ.get("DOCKER_HOST"):
        return _endpoint(host, "DOCKER_HOST", _tls_of_environment(environ))
    folder = _docker_folder(environ)
    name, origin = environ.get("DOCKER_CONTEXT", ""), "DOCKER_CONTEXT"
    if not name:
        name, origin = _current_context(folder / "config.json"), f"currentContext in {folder / 'config.json'}"
    return None if name in {"", "default"} else _context(folder / "contexts", name, origin)


def usual_endpoints(environ: Mapping[str, str]) -> tuple[Endpoint, ...]:
    """Return the sockets that engines listen on by default, rootful and rootless, in order of preference."""
    runtime = environ.get("XDG_RUNTIME_DIR") or f"/run/user/{os.getuid()}"
    home = _home(environ)
    return tuple(
        Endpoint(url=f"unix://{path}")
        for path in (
            "/var/run/docker.sock",
            f"{runtime}/docker.sock",
            f"{home}/.docker/run/docker.sock",
            f"{home}/.docker/desktop/docker.sock",
            "/run/podman/podman.sock",
            f"{runtime}/podman/podman.sock",
        )
    )


def _endpoint(url: str, origin: str, tls: TlsFiles | None) -> Endpoint:
    """Return *url* as an endpoint, with Docker's default port where a tcp address has none."""
    parts = urlsplit(url.strip())
    try:
        port = parts.port
    except ValueError:
        raise _unusable(url, origin, "its port is no number from 0 to 65535") from None
    if parts.scheme not in SCHEMES:
        raise _unusable(url, origin, f"it is none of the addresses allowed: {ALLOWED}")
    if parts.scheme == "unix":
        path = url.strip().removeprefix("unix://")
        if not path.startswith("/"):
            raise _unusable(url, origin, "the path of a socket must be absolute: unix:///path")
        return Endpoint(url=f"unix://{path}", origin=origin)
    if not parts.hostname:
        raise _unusable(url, origin, f"it names no host; allowed: {ALLOWED}")
    if parts.scheme == "ssh":
        return Endpoint(url=url.strip(), origin=origin)
    if parts.scheme == "https":
        tls = tls or TlsFiles()
    elif parts.scheme == "http":
        tls = None
    netloc = parts.netloc if port else f"{parts.netloc.rstrip(':')}:{2376 if tls else 2375}"
    return Endpoint(url=f"{parts.scheme}://{netloc}", origin=origin, tls=tls)


def _tls_of_environment(environ: Mapping[str, str]) -> TlsFiles | None:
    """Return what DOCKER_CERT_PATH and DOCKER_TLS_VERIFY ask for; either of them turns TLS on."""
    verify = bool(environ.get("DOCKER_TLS_VERIFY"))
    folder = environ.get("DOCKER_CERT_PATH")
    if not verify and not folder:
        return None
    return _tls_of_folder(Path(folder) if folder else _docker_folder(environ), verify=verify)


def _tls_of_folder(folder: Path, *, verify: bool) -> TlsFiles:
    ca, cert, key = (str(path) if path.is_file() else "" for path in (folder / f"{n}.pem" for n in _PEM))
    return TlsFiles(ca=ca, cert=cert if key else "", key=key if cert else "", verify=verify)


_PEM = ("ca", "cert", "key")


def _home(environ: Mapping[str, str]) -> str:
    return environ.get("HOME") or str(Path.home())


def _docker_folder(environ: Mapping[str, str]) -> Path:
    return Path(environ.get("DOCKER_CONFIG") or f"{_home(environ)}/.docker")


def _current_context(file: Path) -> str:
    try:
        text = file.read_text(encoding="utf-8")
    except OSError:
        # As with Docker's own command: a file that is absent or not ours to read names no context.
        return ""
    try:
        data: Any = json.loads(text)
    except ValueError as error:
        raise EngineUnavailableError(
            f"{file} is no JSON: {error}",
            ("Docker's settings may name the engine to use: correct them, or name one with --clnrm-engine.",),
        ) from None
    name = data.get("currentContext", "") if isinstance(data, dict) else ""
    return name if isinstance(name, str) else ""


def _context(folder: Path, name: str, origin: str) -> Endpoint:
    """Return the endpoint of the Docker context *name*, read from Docker's store in *folder*."""
    key = hashlib.sha256(name.encode()).hexdigest()
    file = folder / "meta" / key / "meta.json"
    label = f"Docker context {name!r}, {origin}"
    try:
        endpoint = json.loads(file.read_text(encoding="utf-8"))["Endpoints"]["docker"]
        host, skip_verify = str(endpoint["Host"]), bool(endpoint.get("SkipTLSVerify", False))
    except FileNotFoundError:
        raise EngineUnavailableError(
            f"there is no Docker context {name!r}, which {origin} names",
            (
                f"looked for {file}",
                "See `docker context ls`; name an engine with --clnrm-engine, or unset the context.",
            ),
        ) from None
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise EngineUnavailableError(
            f"the Docker context {name!r}, which {origin} names, cannot be read",
            (f"{file}: {type(error).__name__}: {error}",),
        ) from None
    tls_folder = folder / "tls" / key / "docker"
    tls = _tls_of_folder(tls_folder, verify=not skip_verify) if tls_folder.is_dir() else None
    return _endpoint(host, label, tls)


def _unusable(url: str, origin: str, why: str) -> EngineUnavailableError:
    return EngineUnavailableError(f"{origin} names {url!r}, which cannot be a container engine: {why}")
