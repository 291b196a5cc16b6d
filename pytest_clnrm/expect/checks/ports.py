"""Judging who listens on a port of a container."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pytest_clnrm.expect.checks.processes import is_called
from pytest_clnrm.expect.text_checks import TextFault
from pytest_clnrm.expect.texts import visible
from pytest_clnrm.model.check import PortCheck
from pytest_clnrm.model.seen import SocketSeen

_ANY = frozenset({"0.0.0.0", "::"})  # noqa: S104 nothing is bound here


def judge_port(check: PortCheck, seen: Sequence[SocketSeen], title: str) -> Iterator[TextFault]:
    """Yield why a port is something else than expected."""
    found = [each for each in seen if (each.port, each.protocol) == (check.port, check.protocol)]
    if not check.listening:
        if found:
            message = f"{title} must not be listened on, but is: {_shown(found)}"
            yield TextFault(message, "", (*check.at, "listening"))
        return
    if not found:
        yield TextFault(f"nothing listens on {title}", f"listened on: {_shown(seen) or 'none'}", check.at)
        return
    if check.address and not any(_is_at(each, check.address) for each in found):
        wanted = "any address" if check.address == "any" else check.address
        message = f"{title} is listened on at {_shown(found)}, expected {wanted}"
        yield TextFault(message, "", (*check.at, "address"))
    if check.process:
        known = [each.process for each in found if each.process is not None]
        if any(is_called(each, check.process) for each in known):
            return
        if len(known) < len(found):
            message = f"whose {title} is cannot be seen from here, expected {check.process}"
        else:
            message = f"{title} is listened on by {_shown(found)}, expected {check.process}"
        yield TextFault(message, "", (*check.at, "process"))


def _is_at(socket: SocketSeen, address: str) -> bool:
    return socket.address in _ANY if address == "any" else socket.address == address


def _shown(seen: Sequence[SocketSeen]) -> str:
    return ", ".join(sorted({_one(each) for each in seen}))


def _one(socket: SocketSeen) -> str:
    host = f"[{socket.address}]" if ":" in socket.address else socket.address
    who = f" ({visible(socket.process.name)})" if socket.process else ""
    return f"{host}:{socket.port}/{socket.protocol}{who}"
