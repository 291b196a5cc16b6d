"""What an engine tells of networks and paths, and which of it is here."""

from __future__ import annotations

import base64
import json
import socket
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from docker.errors import APIError, NotFound

from pytest_clnrm.engine.docker import networks
from pytest_clnrm.engine.docker.networks import gateway, shares_network
from pytest_clnrm.engine.docker.paths import look_at_path
from pytest_clnrm.errors import ContainerError
from pytest_clnrm.model.seen import PathFacts

ID = "0123456789abcdef" * 4


def client_of(pool: dict[str, str]) -> Any:
    """Return a client of an engine that has one network."""
    return SimpleNamespace(inspect_network=lambda _: {"Id": ID, "IPAM": {"Config": [pool]}})


def test_a_bridge_is_here_or_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """Docker names it by the network's id; that its address is ours too says nothing."""
    client = client_of({"Subnet": "127.0.0.0/8", "Gateway": "127.0.0.1"})
    assert gateway(client, "n", is_ours=None) == ""
    asked: list[str] = []
    monkeypatch.setattr(socket, "if_nametoindex", asked.append)
    assert gateway(client, "n", is_ours=None) == "127.0.0.1"
    assert asked == ["br-0123456789ab"]


@pytest.mark.parametrize(("is_ours", "found"), [(True, "10.0.0.1"), (False, "")])
def test_where_no_bridge_tells(*, is_ours: bool, found: str) -> None:
    """Podman makes it with the first container: then the engine itself is here, or it is not."""
    assert gateway(client_of({"Gateway": "10.0.0.1/24"}), "n", is_ours=is_ours) == found
    assert gateway(client_of({"Subnet": "10.0.0.0/24"}), "n", is_ours=is_ours) == ""


def test_who_listens_is_in_our_network_or_in_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The socket tells which process listens, and that its network; where it may not be asked it is this."""
    path = str(tmp_path / "s")
    assert not shares_network(path)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        assert shares_network(path)
        monkeypatch.setattr(networks, "_own_network", lambda: 1)
        assert not shares_network(path)

        def refuse() -> int:
            raise PermissionError

        monkeypatch.setattr(networks, "_own_network", refuse)
        assert shares_network(path)


def looking(status: int, facts: dict[str, object] | None = None, *, gone: bool = False) -> Any:
    """Return a client of an engine that answers so when it is asked for a path.

    :param gone: it does not have the container.
    """

    def inspect(_: str) -> None:
        if gone:
            raise NotFound("No such container: c")

    def refuse(_: object) -> None:
        if status >= 400:
            raise APIError(f"status {status}")

    told = base64.b64encode(json.dumps(facts).encode()).decode()
    answer = SimpleNamespace(status_code=status, headers={"X-Docker-Container-Path-Stat": told})
    return SimpleNamespace(
        base_url="b",
        api_version="1.41",
        timeout=1,
        head=lambda *_, **__: answer,
        _raise_for_status=refuse,
        inspect_container=inspect,
    )


@pytest.mark.parametrize(
    ("mode", "kind"),
    [
        (0o644, "file"),
        (1 << 31 | 0o755, "folder"),
        (1 << 27 | 0o777, "link"),
        (1 << 25 | 0o600, "other"),  # a pipe
        (1 << 26 | 1 << 21 | 0o666, "other"),  # a character device
        (1 << 23 | 0o4755, "file"),  # set-uid
    ],
)
def test_what_lies_at_a_path(mode: int, kind: Any) -> None:
    """Modes are Go's, and times may have a zone and any number of digits."""
    facts = {"name": "x", "size": 7, "mode": mode, "linkTarget": ""}
    for moment in ("2026-11-29T01:02:03Z", "2026-11-29T02:02:03.123456789+01:00"):
        found = look_at_path(looking(200, {**facts, "mtime": moment}), "c", "/x")
        assert found == PathFacts(kind=kind, size_bytes=7, modified_s=1795914123)


def test_a_path_that_is_not_there_or_cannot_be_told() -> None:
    """The one is an answer, the other an error: so is a container that is gone, of which nothing is told."""
    assert look_at_path(looking(404), "c", "/x") is None
    with pytest.raises(ContainerError, match="cannot look at /x in the container: No such container: c"):
        look_at_path(looking(404, gone=True), "c", "/x")
    with pytest.raises(ContainerError, match="cannot look at /x in the container: status 500"):
        look_at_path(looking(500), "c", "/x")
