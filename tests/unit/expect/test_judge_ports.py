"""Judging who listens on a port: each check holds, and fails with what was expected and got."""

from __future__ import annotations

from typing import Any

import pytest

from pytest_clnrm.expect.checks.ports import judge_port
from pytest_clnrm.model.check import PortCheck
from pytest_clnrm.model.seen import ProcessSeen, SocketSeen

NGINX = ProcessSeen(pid=1, user="", name="nginx", command="/usr/sbin/nginx -g x")
SEEN = (
    SocketSeen(protocol="tcp", address="::", port=80, process=NGINX),
    SocketSeen(protocol="tcp", address="127.0.0.1", port=9000),
    SocketSeen(protocol="udp", address="10.0.0.1", port=53, process=NGINX),
)


@pytest.mark.parametrize(
    ("port", "holds", "fails", "message", "key"),
    [
        (
            80,
            {},
            {"listening": False},
            "must not be listened on, but is: [::]:80/tcp (nginx)",
            ("listening",),
        ),
        (
            80,
            {"address": "any"},
            {"address": "127.0.0.1"},
            "is listened on at [::]:80/tcp (nginx), expected 127.0.0.1",
            ("address",),
        ),
        (
            9000,
            {"address": "127.0.0.1"},
            {"address": "any"},
            "is listened on at 127.0.0.1:9000/tcp, expected any address",
            ("address",),
        ),
        (
            80,
            {"process": "nginx"},
            {"process": "sshd"},
            "is listened on by [::]:80/tcp (nginx), expected sshd",
            ("process",),
        ),
    ],
)
def test_ports(port: int, holds: dict[str, Any], fails: dict[str, Any], message: str, key: Any) -> None:
    """The message has what was expected and what is there, and its place is the key."""
    assert wrong(port, **holds) == []
    assert wrong(port, **fails) == [(f"port {port}/tcp {message}", key, "")]


def wrong(port: int, **check: Any) -> list[tuple[str, Any, str]]:
    """Return message, key and details of what does not hold."""
    made = PortCheck(service="api", port=port, at=("check", 0), **check)
    return [(each.message, each.at[2:], each.details) for each in judge_port(made, SEEN, made.title)]


def test_nothing_listens() -> None:
    """What else is listened on is told; TCP and UDP are apart."""
    listened = "listened on: 10.0.0.1:53/udp (nginx), 127.0.0.1:9000/tcp, [::]:80/tcp (nginx)"
    assert wrong(53) == [("nothing listens on port 53/tcp", (), listened)]
    assert wrong(53, protocol="udp", process="/usr/sbin/nginx") == []
    assert wrong(53, listening=False) == []


def test_whose_port_it_is_may_not_be_seen() -> None:
    """Then it is not proven to be the expected process's."""
    told = "whose port 9000/tcp is cannot be seen from here, expected nginx"
    assert wrong(9000, process="nginx") == [(told, ("process",), "")]
