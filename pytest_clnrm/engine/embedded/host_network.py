"""What an engine leaves in the host's network when it ends: its bridge, and Docker's firewall rules."""

from __future__ import annotations

import contextlib
import fcntl
import json
import re
import shlex
import shutil
import socket
import struct
import subprocess
import time
from dataclasses import asdict, dataclass
from pathlib import Path

_BRIDGES = re.compile(r"docker0|br-[0-9a-f]{12}|(?:cni-)?podman\d+")
_TABLES = ("filter", "nat")
# The kernel takes up to a second to notice that the last interface has left a bridge.
IDLE_TIMEOUT_S = 3.0
_IFF_RUNNING = 0x40
_SIOCGIFFLAGS = 0x8913
_SIOCSIFFLAGS = 0x8914
_SIOCBRDELBR = 0x89A1


@dataclass(frozen=True, slots=True, kw_only=True)
class HostNetwork:
    """The host's network as it was before an engine ran.

    :param boot: id of the host's boot.
    :param bridges: engines' bridges that were there.
    :param rules: table -> its rules as ``iptables -S`` prints them; empty where rules are left alone.
    """

    boot: str
    bridges: list[str]
    rules: dict[str, list[str]]

    @classmethod
    def note(cls, file: Path, *, firewall: bool) -> HostNetwork:
        """Return what is there now, kept in *file* as well.

        If *file* tells of an earlier moment of this boot it wins: an engine ran since and was not cleaned up
        after, as its keeper was killed.

        :param firewall: whether firewall rules count.
        """
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        with contextlib.suppress(OSError, ValueError, TypeError):
            before = cls(**json.loads(file.read_text(encoding="utf-8")))
            if before.boot == boot:
                return before
        rules = {table: _rules(table) for table in _TABLES} if firewall else {}
        network = cls(boot=boot, bridges=_bridges(), rules=rules)
        file.write_text(json.dumps(asdict(network)), encoding="utf-8")
        return network

    def restore(self) -> None:
        """Take away what was not there before: idle bridges of engines, and Docker's chains and rules."""
        for name in _bridges():
            if name not in self.bridges:
                _delete_idle_bridge(name)
        for table, before in self.rules.items():
            for command in undo(before, _rules(table)):
                _iptables(table, *command)


def undo(before: list[str], after: list[str]) -> list[list[str]]:
    """Return iptables commands that take Docker's additions out of *after*: rules first, then chains.

    :param before: a table as ``iptables -S`` prints it; so is *after*.
    """
    added = [line for line in after if line not in before and ("DOCKER" in line or "docker0" in line)]
    rules = [["-D", *shlex.split(line)[1:]] for line in added if line.startswith("-A ")]
    chains = [["-X", line.split()[1]] for line in added if line.startswith("-N ")]
    policies = [
        ["-P", *line.split()[1:]] for line in before if line.startswith("-P FORWARD ") and line not in after
    ]
    return [*rules, *chains, *policies]


def dockerd_of_this_network(proc: Path = Path("/proc")) -> int | None:
    """Return the process id of a dockerd that runs in our network, None if there is none.

    Two of them would fight over Docker's bridge and firewall rules.
    """
    with contextlib.suppress(OSError):
        ours = (proc / "self/ns/net").readlink()
        for comm in proc.glob("[0-9]*/comm"):
            with contextlib.suppress(OSError):
                if comm.read_text().strip() == "dockerd" and (comm.parent / "ns/net").readlink() == ours:
                    return int(comm.parent.name)
    return None


def _bridges() -> list[str]:
    return [name for _, name in socket.if_nameindex() if _BRIDGES.fullmatch(name)]


def _delete_idle_bridge(name: str) -> None:
    """Delete a bridge unless a container is attached to it, or we are not allowed to."""
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        deadline = time.monotonic() + IDLE_TIMEOUT_S
        while _is_running(sock, name):
            if time.monotonic() > deadline:
                return
            time.sleep(0.05)
        fcntl.ioctl(sock, _SIOCSIFFLAGS, struct.pack("16sh22x", name.encode(), 0))
        fcntl.ioctl(sock, _SIOCBRDELBR, struct.pack("16s", name.encode()))


def _is_running(sock: socket.socket, name: str) -> bool:
    """Tell whether a bridge has an attached interface that is up.

    Asked of the socket and not of /sys, which may show another network namespace than ours.
    """
    answer = fcntl.ioctl(sock, _SIOCGIFFLAGS, struct.pack("16sh22x", name.encode(), 0))
    return bool(struct.unpack_from("h", answer, 16)[0] & _IFF_RUNNING)


def _rules(table: str) -> list[str]:
    return [line for line in _iptables(table, "-S").split("\n") if line]


def _iptables(table: str, *command: str) -> str:
    program = shutil.which("iptables", path="/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin")
    if program is None:
        return ""
    done = subprocess.run(
        [program, "-w", "-t", table, *command], capture_output=True, text=True, check=False, timeout=10
    )
    return done.stdout
