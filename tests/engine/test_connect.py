"""Connecting to a real engine, over its socket, TCP and TLS, and finding out where we are."""

from __future__ import annotations

import shutil
import ssl
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from clnrm_testing.engine_fixtures import IMAGE
from clnrm_testing.relay import Relay

from pytest_clnrm.engine.connect.connect import reach
from pytest_clnrm.engine.connect.endpoints import usual_endpoints
from pytest_clnrm.engine.connect.facts import default_gateway, own_container_ids
from pytest_clnrm.errors import EngineUnavailableError

if TYPE_CHECKING:
    from docker import APIClient

pytestmark = pytest.mark.engine


@pytest.fixture
def certificates(tmp_path: Path) -> Path:
    """Return a folder with an authority of our own, and a certificate of it for 127.0.0.1 and for us."""
    folder = tmp_path / "certs"
    folder.mkdir()
    script = """
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout ca-key.pem -out ca.pem \
        -subj /CN=ours -days 2
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout key.pem -out request.pem \
        -subj /CN=engine
    echo subjectAltName=IP:127.0.0.1 > extra
    openssl x509 -req -in request.pem -CA ca.pem -CAkey ca-key.pem -CAcreateserial -out cert.pem -days 2 \
        -extfile extra
    """
    subprocess.run(["sh", "-euc", script], cwd=folder, check=True, capture_output=True)
    return folder


def test_facts(socket_path: str, tmp_path: Path) -> None:
    """An engine at a socket tells what this machine has; one at a usual place is found there."""
    (tmp_path / "docker.sock").symlink_to(socket_path)
    environ = {"HOME": str(tmp_path), "XDG_RUNTIME_DIR": str(tmp_path)}
    client, facts = reach("auto", environ=environ, runtime_dir=tmp_path)
    client.close()
    assert facts.url in {each.url for each in usual_endpoints(environ)}
    assert facts.kind in {"docker", "podman"}
    assert facts.cpus >= 1
    assert facts.memory_bytes > 2**28
    assert (facts.host, facts.remote) == ("127.0.0.1", False) or facts.remote


def test_same_identity_over_tcp(socket_path: str, relay: Relay, tmp_path: Path) -> None:
    """An engine is the same whichever way it is reached."""
    client, facts = reach(f"unix://{socket_path}", environ={}, runtime_dir=tmp_path)
    client.close()
    client, over_tcp = reach(f"tcp://127.0.0.1:{relay(None)}", environ={}, runtime_dir=tmp_path)
    client.close()
    assert over_tcp.identity == facts.identity
    assert over_tcp.host == "127.0.0.1"


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes the certificates")
def test_tls_with_an_authority_of_our_own(
    relay: Relay, certificates: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Client certificates work, and REQUESTS_CA_BUNDLE does not replace the engine's authority."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates / "cert.pem", certificates / "key.pem")
    context.load_verify_locations(certificates / "ca.pem")
    context.verify_mode = ssl.CERT_REQUIRED
    port = relay(context)
    public = ssl.get_default_verify_paths().cafile or "/etc/ssl/certs/ca-certificates.crt"
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", public)
    monkeypatch.setenv("CURL_CA_BUNDLE", public)
    environ = {"DOCKER_HOST": f"tcp://127.0.0.1:{port}", "DOCKER_TLS_VERIFY": "1"}
    ours = {**environ, "DOCKER_CERT_PATH": str(certificates)}
    client, facts = reach("auto", environ=ours, runtime_dir=tmp_path)
    client.close()
    assert facts.cpus >= 1
    with pytest.raises(EngineUnavailableError, match=r"TLS failed: .*certificate"):
        reach("auto", environ={**environ, "HOME": str(tmp_path)}, runtime_dir=tmp_path)


def test_container_knows_itself(client: APIClient) -> None:
    """In a container of the engine its own id and its gateway to the host are found."""
    container = client.create_container(IMAGE, ["sh", "-c", "read line"], stdin_open=True)["Id"]

    def read(file: str) -> str:
        output: bytes = client.exec_start(client.exec_create(container, ["cat", file])["Id"])
        return output.decode()

    try:
        client.start(container)
        mountinfo, cgroup = read("/proc/self/mountinfo"), read("/proc/self/cgroup")
        (network,) = client.inspect_container(container)["NetworkSettings"]["Networks"].values()
        assert own_container_ids(mountinfo, cgroup) == (container,)
        assert default_gateway(read("/proc/net/route")) == network["Gateway"]
    finally:
        client.remove_container(container, force=True)
