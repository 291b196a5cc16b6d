"""Where an engine is looked for."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from pytest_clnrm.engine.connect.endpoints import Endpoint, TlsFiles, named_endpoint, usual_endpoints
from pytest_clnrm.errors import EngineUnavailableError


def docker_config(home: Path, current: str) -> None:
    """Write Docker's settings with *current* as the current context."""
    (home / ".docker").mkdir(exist_ok=True)
    (home / ".docker/config.json").write_text(json.dumps({"currentContext": current}))


def docker_context(home: Path, name: str, endpoint: object) -> Path:
    """Write a Docker context and return the folder for its certificates."""
    key = hashlib.sha256(name.encode()).hexdigest()
    meta = home / ".docker/contexts/meta" / key
    meta.mkdir(parents=True)
    (meta / "meta.json").write_text(json.dumps({"Name": name, "Endpoints": {"docker": endpoint}}))
    return home / ".docker/contexts/tls" / key / "docker"


@pytest.mark.parametrize("choice", ["auto", "embedded"])
def test_nothing_named(choice: str, tmp_path: Path) -> None:
    """Without an option, variables and a Docker context no engine is named."""
    assert named_endpoint(choice, {"HOME": str(tmp_path), "DOCKER_HOST": ""}) is None


def test_default_context_names_nothing(tmp_path: Path) -> None:
    """Docker's context "default" is its word for the usual socket."""
    docker_config(tmp_path, "default")
    assert named_endpoint("auto", {"HOME": str(tmp_path)}) is None


def test_order_of_names(tmp_path: Path) -> None:
    """The option wins over DOCKER_HOST, that over DOCKER_CONTEXT, that over the current context."""
    docker_config(tmp_path, "one")
    docker_context(tmp_path, "one", {"Host": "unix:///one.sock"})
    docker_context(tmp_path, "two", {"Host": "unix:///two.sock"})
    environ = {"HOME": str(tmp_path)}
    one = named_endpoint("auto", environ)
    assert one is not None
    assert one.url == "unix:///one.sock"
    assert one.origin == f"Docker context 'one', currentContext in {tmp_path}/.docker/config.json"
    environ["DOCKER_CONTEXT"] = "two"
    assert named_endpoint("auto", environ) == Endpoint(
        url="unix:///two.sock", origin="Docker context 'two', DOCKER_CONTEXT"
    )
    environ["DOCKER_HOST"] = "tcp://dind:2375"
    assert named_endpoint("embedded", environ) == Endpoint(url="tcp://dind:2375", origin="DOCKER_HOST")
    assert named_endpoint("unix:///mine.sock", environ) == Endpoint(
        url="unix:///mine.sock", origin="--clnrm-engine"
    )


@pytest.mark.parametrize(
    ("url", "complete", "tls"),
    [
        ("tcp://dind", "tcp://dind:2375", None),
        ("tcp://dind:99/", "tcp://dind:99", None),
        ("http://dind", "http://dind:2375", None),
        ("https://dind", "https://dind:2376", TlsFiles()),
        ("tcp://[::1]:2375", "tcp://[::1]:2375", None),
        ("ssh://me@host", "ssh://me@host", None),
        (" unix:///a b.sock ", "unix:///a b.sock", None),
    ],
)
def test_addresses(url: str, complete: str, tls: TlsFiles | None) -> None:
    """Addresses are completed with Docker's ports."""
    assert named_endpoint(url, {}) == Endpoint(url=complete, origin="--clnrm-engine", tls=tls)


@pytest.mark.parametrize(
    ("url", "why"),
    [
        (
            "npipe:////./pipe/docker_engine",
            "it is none of the addresses allowed: unix:///path, tcp://host:port",
        ),
        ("dockr", "it is none of the addresses allowed"),
        ("unix://docker.sock", "the path of a socket must be absolute: unix:///path"),
        ("tcp://:2375", "it names no host"),
        ("tcp://dind:port", "its port is no number from 0 to 65535"),
    ],
)
def test_wrong_addresses(url: str, why: str) -> None:
    """An address that no engine can have is refused with its origin and what is allowed."""
    with pytest.raises(EngineUnavailableError) as caught:
        named_endpoint("auto", {"DOCKER_HOST": url})
    assert str(caught.value).startswith(
        f"DOCKER_HOST names {url!r}, which cannot be a container engine: {why}"
    )


def test_tls_of_environment(tmp_path: Path) -> None:
    """DOCKER_CERT_PATH turns TLS on, DOCKER_TLS_VERIFY the check of the engine's certificate."""
    for name in ("ca", "cert", "key"):
        (tmp_path / f"{name}.pem").touch()
    ca, cert, key = (str(tmp_path / f"{name}.pem") for name in ("ca", "cert", "key"))
    environ = {"DOCKER_HOST": "tcp://dind", "DOCKER_CERT_PATH": str(tmp_path)}
    unverified = named_endpoint("auto", environ)
    assert unverified is not None
    assert (unverified.url, unverified.tls) == (
        "tcp://dind:2376",
        TlsFiles(ca=ca, cert=cert, key=key, verify=False),
    )
    verified = named_endpoint("auto", {**environ, "DOCKER_TLS_VERIFY": "1"})
    assert verified is not None
    assert verified.tls == TlsFiles(ca=ca, cert=cert, key=key)


def test_tls_without_a_key(tmp_path: Path) -> None:
    """A certificate without its key is not used; the folder's default is Docker's own."""
    (tmp_path / "cert.pem").touch()
    named = named_endpoint("tcp://dind", {"DOCKER_TLS_VERIFY": "1", "DOCKER_CONFIG": str(tmp_path)})
    assert named is not None
    assert named.tls == TlsFiles()


def test_context_with_certificates(tmp_path: Path) -> None:
    """A context's own certificates are used, and its word on verification."""
    folder = docker_context(tmp_path, "lab", {"Host": "tcp://lab:2376", "SkipTLSVerify": True})
    folder.mkdir(parents=True)
    (folder / "ca.pem").touch()
    named = named_endpoint("auto", {"HOME": str(tmp_path), "DOCKER_CONTEXT": "lab"})
    assert named is not None
    assert named.tls == TlsFiles(ca=str(folder / "ca.pem"), verify=False)


def test_unknown_context(tmp_path: Path) -> None:
    """A context that does not exist is an error, not a fallback."""
    with pytest.raises(
        EngineUnavailableError, match="there is no Docker context 'lab', which DOCKER_CONTEXT"
    ):
        named_endpoint("auto", {"HOME": str(tmp_path), "DOCKER_CONTEXT": "lab"})


@pytest.mark.parametrize("endpoint", [{}, None, [1]])
def test_broken_context(endpoint: object, tmp_path: Path) -> None:
    """A context without an address says which file is wrong."""
    docker_context(tmp_path, "lab", endpoint)
    with pytest.raises(
        EngineUnavailableError, match="'lab', which DOCKER_CONTEXT names, cannot be read"
    ) as caught:
        named_endpoint("auto", {"HOME": str(tmp_path), "DOCKER_CONTEXT": "lab"})
    assert "meta.json" in caught.value.details[0]


def test_broken_docker_settings(tmp_path: Path) -> None:
    """Docker's settings that are no JSON are named: they may have named an engine."""
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(EngineUnavailableError, match=r"config\.json is no JSON") as caught:
        named_endpoint("auto", {"DOCKER_CONFIG": str(tmp_path)})
    assert "--clnrm-engine" in caught.value.details[0]


@pytest.mark.parametrize("content", ["[]", '{"currentContext": 3}', "{}"])
def test_docker_settings_without_context(content: str, tmp_path: Path) -> None:
    """Docker's settings of any shape name nothing if they name no context."""
    (tmp_path / "config.json").write_text(content)
    assert named_endpoint("auto", {"DOCKER_CONFIG": str(tmp_path)}) is None


def test_usual_sockets() -> None:
    """Docker's sockets come before Podman's, the machine's before the user's."""
    found = usual_endpoints({"XDG_RUNTIME_DIR": "/run/user/7", "HOME": "/home/me"})
    assert [endpoint.path for endpoint in found] == [
        "/var/run/docker.sock",
        "/run/user/7/docker.sock",
        "/home/me/.docker/run/docker.sock",
        "/home/me/.docker/desktop/docker.sock",
        "/run/podman/podman.sock",
        "/run/user/7/podman/podman.sock",
    ]


def test_parts_of_an_endpoint() -> None:
    """An endpoint tells its host or its path, and shows where it was named."""
    remote = Endpoint(url="ssh://me@there:22", origin="DOCKER_HOST")
    assert (remote.host, remote.path, str(remote)) == ("there", "", "ssh://me@there:22 (DOCKER_HOST)")
    local = Endpoint(url="unix:///a.sock")
    assert (local.host, local.path, str(local)) == ("", "/a.sock", "unix:///a.sock")
