"""What a Python test may say of a container, and what it is told to write instead."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pytest_clnrm.items.container_arguments import service_of
from pytest_clnrm.model.service import Limits

RIGHT: dict[str, Any] = {
    "image": "redis:7", "name": "db", "command": None, "env": None, "ports": (), "memory": None, "cpu": None,
    "gpus": None, "ready": None, "may_end": (), "workdir": None, "user": None, "network": "isolated",
}  # fmt: skip


def test_what_is_right_is_a_service() -> None:
    """Every argument reaches the service."""
    service = service_of(
        **{
            **RIGHT,
            "command": ["sleep", "1"],
            "env": {"A": "1"},
            "ports": [80],
            "memory": "64m",
            "cpu": 1,
            "gpus": 0,
            "may_end": 0,
            "user": "1000",
        }
    )
    assert (service.command, service.env, service.ports) == (("sleep", "1"), {"A": "1"}, (80,))
    assert service.limits == Limits(memory_bytes=64 << 20, cpus=1, gpus=0)
    assert (service.may_end, service.user) == ((0,), "1000")


@pytest.mark.parametrize(
    ("argument", "value", "message"),
    [
        ("command", "sleep 100", 'write command=["sleep", "100"], or for a shell command=["sh", "-c", "sl'),
        ("command", "echo 'a", "write command=[\"sh\", \"-c\", \"echo 'a\"]"),
        ("command", ["sleep", 100], 'write command=["sleep", "100"]'),
        ("command", [], 'write command=["sleep", "1d"]'),
        ("command", 5, 'write command=["sleep", "1d"]'),
        ("ports", {80: 5005}, "write ports=[80], and ask box.address(80)"),
        ("ports", {"80/tcp": None}, "write ports=[80], and ask box.address(80)"),
        ("ports", ["1812/udp"], "only TCP ports are published: leave '1812/udp' out"),
        ("ports", ["80/tcp"], "'80/tcp' is no number of a container port: write 80"),
        ("ports", ["8080:80"], "write 80"),
        ("ports", ["80"], "write 80"),
        ("ports", [(8080, 80)], "write 80"),
        ("ports", [True], "write "),
        ("ports", 80, "write ports=[80]"),
        ("ports", "8080:80", "write ports=[80]"),
        ("ports", None, "write ports=[8080]"),
        ("ports", [70000], "70000 is no port: 1 to 65535"),
        ("env", ["A=1"], "write env={'A': '1'}"),
        ("env", "A=1", 'write env={"NAME": "value"}'),
        ("env", {"A": 1}, "write env={'A': '1'}"),
        ("env", {"A": None}, "or leave it out"),
        ("env", {"A=B": "1"}, "without '='"),
        ("cpu", "1", "write cpu=0.5"),
        ("cpu", 0, "write cpu=0.5"),
        ("gpus", 0.5, "write gpus=1"),
        ("memory", "lots", "'lots' is not a size"),
        ("image", None, "image=None: it is the reference of an image"),
        ("name", "my db", "name='my db': it is a host name"),
        ("name", "", "name='': it is a host name"),
        ("workdir", Path("/app"), 'write workdir="/app"'),
        ("user", 1000, 'write user="1000"'),
        ("network", "host", 'write "isolated", "bridge" or "none"'),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told(argument: str, value: object, message: str) -> None:
    """The error names the argument, shows its value and says what to write."""
    with pytest.raises(ValueError, match=argument) as raised:
        service_of(**{**RIGHT, argument: value})
    assert message in str(raised.value)
