"""Who listens in a container, from the tables of its network namespace; see proc_net_tcp(5).

They are read from outside where the container runs on this host, by a ``cat`` of its own elsewhere.
"""

from __future__ import annotations

import ipaddress
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Literal

from pytest_clnrm.engine.api import ContainerState, ExecOutcome, ExecSpec
from pytest_clnrm.engine.docker.cgroups import is_process_of
from pytest_clnrm.errors import ContainerError
from pytest_clnrm.model.seen import ProcessSeen, SocketSeen

_TABLES = ("net/tcp", "net/tcp6", "net/udp", "net/udp6")
# UDP has no connections: what is not connected takes whatever comes.
_LISTENS = {"tcp": "0A", "udp": "07"}
_SOCKET = re.compile(r"socket:\[(\d+)\]")
_COLUMNS = 10
_WORD_DIGITS = 8


def listeners_outside(state: ContainerState, *, proc: Path = Path("/proc")) -> tuple[SocketSeen, ...] | None:
    """Return the sockets on which a container that runs on this host listens; None where it does not.

    Whose they are is told as far as this process may see that.
    """
    first = proc / str(state.pid)
    if not state.pid or not is_process_of(state.pid, state.id, proc=proc):
        return None
    try:
        texts = [(first / name).read_text("ascii") for name in _TABLES if (first / name).exists()]
    except OSError:
        return None
    if not texts or not is_process_of(state.pid, state.id, proc=proc):
        return None
    owners = dict(_owners(state.id, proc))
    return tuple(replace(each, process=owners.get(inode)) for each, inode in _listening("\n".join(texts)))


Run = Callable[[ExecSpec, Callable[[str, bytes], None]], ExecOutcome]
"""Runs a command, and hands on what it prints: the stream and a piece."""


def listeners_inside(run: Run) -> tuple[SocketSeen, ...]:
    """Return the sockets on which a container listens, as its own ``cat`` shows; not whose they are.

    :param run: runs a command in it.
    :raises ContainerError: if it has none.
    """
    said = bytearray()
    spec = ExecSpec(argv=("cat", *(f"/proc/{name}" for name in _TABLES)))
    outcome = run(spec, lambda stream, data: said.extend(data) if stream == "stdout" else None)
    if not said:
        how = "has no `cat`" if not outcome.started else "does not show them"
        raise ContainerError(f"its sockets cannot be seen from outside on this host, and it {how}")
    return tuple(each for each, _ in _listening(said.decode("ascii", "replace")))


def _listening(text: str) -> Iterator[tuple[SocketSeen, str]]:
    """Yield each listening socket of the tables, and its inode."""
    protocol: Literal["tcp", "udp"] = "tcp"
    for line in text.split("\n"):
        columns = line.split()
        if "local_address" in columns:
            # Only UDP counts what it drops.
            protocol = "udp" if "drops" in columns else "tcp"
        elif len(columns) >= _COLUMNS and columns[3] == _LISTENS[protocol]:
            address, _, port = columns[1].rpartition(":")
            seen = SocketSeen(protocol=protocol, address=_address(address), port=int(port, 16))
            yield seen, columns[9]


def _address(digits: str) -> str:
    """Return an address as people write it: the kernel shows words of four bytes in the machine's order."""
    words = (bytes.fromhex(digits[at : at + _WORD_DIGITS]) for at in range(0, len(digits), _WORD_DIGITS))
    packed = b"".join(word[::-1] if sys.byteorder == "little" else word for word in words)
    address = ipaddress.ip_address(packed)
    return str(getattr(address, "ipv4_mapped", None) or address)


def _owners(container: str, proc: Path) -> Iterator[tuple[str, ProcessSeen]]:
    """Yield the inode of each socket of a container's processes, and one that has it."""
    for folder in proc.iterdir():
        if not folder.name.isdecimal() or not is_process_of(int(folder.name), container, proc=proc):
            continue
        try:
            links = [str(each.readlink()) for each in (folder / "fd").iterdir()]
            name = (folder / "comm").read_text("utf-8", "replace").rstrip("\n")
            command = (folder / "cmdline").read_bytes().decode("utf-8", "replace").replace("\0", " ").rstrip()
        except OSError:
            # It has ended, or is another user's.
            continue
        process = ProcessSeen(pid=int(folder.name), user="", name=name, command=command)
        yield from ((found[1], process) for link in links if (found := _SOCKET.fullmatch(link)))
