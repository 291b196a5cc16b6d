"""Checks the arguments of ``clnrm.container(...)``: each refusal says what to write instead."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from typing import Literal, get_args

from pytest_clnrm.model.service import Limits, Service
from pytest_clnrm.model.units import parse_size_bytes
from pytest_clnrm.scenario.format.readiness import parse_ready

MAX_PORT = 65535
Network = Literal["isolated", "bridge", "none"]
_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?")
_MAPPED = re.compile(r"(?:.*:)?(\d+)(?:/(tcp|udp|sctp))?")


def service_of(
    *,
    image: object,
    name: object,
    command: object,
    env: object,
    ports: object,
    memory: str | int | None,
    cpu: object,
    gpus: object,
    ready: Mapping[str, object] | Sequence[Mapping[str, object]] | None,
    may_end: int | Sequence[int],
    workdir: object,
    user: object,
    network: Network,
) -> Service:
    """Return the service that the arguments of ``container(...)`` describe.

    :raises ValueError: naming the argument that is wrong, and what to write.
    """
    if not isinstance(image, str) or not image:
        raise _refusal(f'image={image!r}: it is the reference of an image, such as "redis:7"')
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise _refusal(
            f"name={name!r}: it is a host name of at most 63 letters, digits, '-', '_' and '.', such as "
            'name="db"'
        )
    if network not in get_args(Network):
        raise _refusal(f'network={network!r}: write "isolated", "bridge" or "none"')
    conditions = () if ready is None else parse_ready(ready)
    return Service(
        name=name,
        image=image,
        command=None if command is None else command_line("command", command),
        env=variables(env),
        ports=_ports(ports),
        limits=Limits(
            memory_bytes=_memory(memory),
            cpus=_number("cpu", cpu, 0.5),
            gpus=_count("gpus", gpus),
        ),
        ready=conditions,
        may_end=(
            *((may_end,) if isinstance(may_end, int) else may_end),
            *(code for each in conditions for code in each.exit),
        ),
        workdir=_text("workdir", workdir, "/app"),
        user=_text("user", user, "1000"),
        network=network,
    )


def command_line(argument: str, command: object) -> tuple[str, ...]:
    """Return an argv.

    :param argument: what it is called.
    :raises ValueError: unless it is a list of words.
    """
    if isinstance(command, str):
        try:
            words = shlex.split(command)
        except ValueError:
            words = ["sh", "-c", command]
        shell = ["sh", "-c", command]
        either = "" if words == shell else f", or for a shell {argument}={_list(shell)}"
        raise _refusal(
            f"{argument}={command!r}: it is a list of words: write {argument}={_list(words)}{either}"
        )
    if (
        not isinstance(command, (list, tuple))
        or not command
        or not all(isinstance(each, str) for each in command)
    ):
        words = [str(each) for each in command] if isinstance(command, (list, tuple)) else ["sleep", "1d"]
        raise _refusal(
            f"{argument}={command!r}: it is a list of words, each of them text: write "
            f"{argument}={_list(words or ['sleep', '1d'])}"
        )
    return tuple(command)


def variables(env: object) -> dict[str, str]:
    """Return environment variables.

    :raises ValueError: unless it maps names to texts.
    """
    if env is None:
        return {}
    if isinstance(env, (list, tuple)) and all(isinstance(each, str) and "=" in each for each in env):
        pairs = dict(each.split("=", 1) for each in env)
        raise _refusal(f"env={env!r}: it maps names to texts: write env={pairs!r}")
    if not isinstance(env, Mapping):
        raise _refusal(f'env={env!r}: it maps names to texts: write env={{"NAME": "value"}}')
    for key, value in env.items():
        if not isinstance(key, str) or not key or "=" in key or "\0" in key:
            raise _refusal(f"env={{{key!r}: ...}}: the name of a variable is text without '='")
        if not isinstance(value, str):
            raise _refusal(
                f"env={{{key!r}: {value!r}}}: its value is text: write env={{{key!r}: {str(value)!r}}}, "
                "or leave it out"
            )
    return dict(env)


def _refusal(message: str) -> ValueError:
    """Return the error of an argument, of a wrong type too: what to write is what counts."""
    return ValueError(message)


def _ports(ports: object) -> tuple[int, ...]:
    if isinstance(ports, Mapping):
        inside = [_inside(each) for each in ports]
        wanted = ", ".join("8080" if each is None else str(each) for each in inside)
        raise _refusal(
            f"ports={ports!r}: a free port of this host is chosen for each: write ports=[{wanted}], and ask "
            f"box.address({wanted.split(',', 1)[0]}) or box.url(...) which"
        )
    if isinstance(ports, (int, str)):
        raise _refusal(
            f"ports={ports!r}: it is a list of container ports: write ports=[{_inside(ports) or 8080}]"
        )
    if not isinstance(ports, Sequence):
        raise _refusal(f"ports={ports!r}: it is a list of container ports: write ports=[8080]")
    return tuple(_port(ports, each) for each in ports)


def _port(ports: Sequence[object], port: object) -> int:
    if isinstance(port, int) and not isinstance(port, bool):
        if 0 < port <= MAX_PORT:
            return port
        raise _refusal(f"ports={ports!r}: {port} is no port: 1 to {MAX_PORT}")
    inside = _inside(port)
    if isinstance(port, str) and port.endswith(("/udp", "/sctp")):
        raise _refusal(
            f"ports={ports!r}: only TCP ports are published: leave {port!r} out, and reach it from "
            'another container, which finds it by its name (name="...")'
        )
    if isinstance(port, tuple):
        inside = _inside(port[-1]) if port else None
    raise _refusal(
        f"ports={ports!r}: {port!r} is no number of a container port: write {inside or 8080}; the port of "
        "this host is a free one, which box.address(...) tells"
    )


def _inside(port: object) -> int | None:
    """Return the container port that is meant."""
    if isinstance(port, int):
        return int(port)
    found = _MAPPED.fullmatch(port) if isinstance(port, str) else None
    return int(found[1]) if found else None


def _memory(value: str | int | None) -> int | None:
    try:
        return None if value is None else parse_size_bytes(value)
    except ValueError as error:
        raise ValueError(f"memory={value!r}: {error}") from None


def _number(name: str, value: object, such_as: float) -> float | None:
    if value is None or (isinstance(value, (int, float)) and not isinstance(value, bool) and value > 0):
        return value
    raise _refusal(f"{name}={value!r}: it is a number above 0: write {name}={such_as}")


def _count(name: str, value: object) -> int | None:
    if value is None or (isinstance(value, int) and not isinstance(value, bool) and value >= 0):
        return value
    raise _refusal(f"{name}={value!r}: it is a whole number: write {name}=1")


def _text(name: str, value: object, such_as: str) -> str | None:
    if value is None or (isinstance(value, str) and value):
        return value
    written = such_as if value is None or value == "" else str(value)
    raise _refusal(f"{name}={value!r}: it is text: write {name}={_quoted(written)}")


def _list(words: Sequence[str]) -> str:
    return f"[{', '.join(map(_quoted, words))}]"


def _quoted(text: str) -> str:
    """Return *text* as Python source, in double quotes where that takes no more escapes."""
    return repr(text) if '"' in text or "\\" in text or not text.isprintable() else f'"{text}"'
