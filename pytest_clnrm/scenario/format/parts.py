"""What the tables of a scenario file have in common: forms of values, and the base of all tables."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any, ClassVar, Literal, TypeVar

import msgspec
from msgspec import Meta

from pytest_clnrm.model.key_path import KeyPath
from pytest_clnrm.model.units import (
    DURATION_ALLOWED,
    DURATION_PATTERN,
    SIZE_ALLOWED,
    SIZE_PATTERN,
    parse_duration_s,
)
from pytest_clnrm.scenario.matrix import as_text

_One = TypeVar("_One")
Source = Callable[..., str]
"""Path in the file -> absolute path on the host, or its text.

With `read_only`: a volume's, which may be less. With `text=True`: the content of that file.
"""
At = Callable[..., KeyPath]
"""Returns where the keys below a table of the canonical form are in the file as its author wrote it."""


def words(allowed: str) -> dict[str, str]:
    """Return what a pattern allows in words, for messages."""
    return {"allowed": allowed}


Sha256 = Annotated[
    str,
    Meta(
        pattern="^[0-9a-fA-F]{64}$",
        examples=["0" * 64],
        extra=words("64 hexadecimal digits, as sha256sum prints"),
    ),
]
Duration = (
    Annotated[float, Meta(ge=0, description="Seconds.")]
    | Annotated[str, Meta(pattern=DURATION_PATTERN, extra=words(DURATION_ALLOWED))]
)
Size = (
    Annotated[int, Meta(ge=1, le=2**43 - 1, description="MB.")]
    | Annotated[str, Meta(pattern=SIZE_PATTERN, extra=words(SIZE_ALLOWED))]
)
Text = Annotated[str, Meta(min_length=1)]
Argv = Annotated[list[str], Meta(min_length=1)]
CommandLine = Annotated[str, Meta(min_length=1, description="Runs under sh -c.")] | Argv
Port = Annotated[int, Meta(ge=1, le=65535)]
AbsolutePath = Annotated[
    str, Meta(pattern="^/", extra=words("an absolute path in the container such as /data"))
]
PortOf = Annotated[
    str, Meta(pattern="^[1-9][0-9]{0,4}/(tcp|udp)$", extra=words('a port such as 8080 or "53/udp"'))
]
HostName = Annotated[
    str,
    Meta(
        pattern="^[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?$",
        extra=words("a host's name of up to 63 letters, digits, '_', '.' and '-' such as db.local"),
    ),
]
NAME_PATTERN = "^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$"
VolumeName = Annotated[
    str,
    Meta(
        pattern=NAME_PATTERN,
        extra=words("a name of up to 63 letters, digits, '_', '.' and '-', not a path"),
    ),
]
Platform = Annotated[
    str, Meta(pattern="^linux/[a-z0-9]+(/v[0-9]+)?$", extra=words('a platform such as "linux/arm64"'))
]
Signal = Annotated[
    str, Meta(pattern="^SIG([A-Z]+[0-9]?|RTMIN[+][0-9]{1,2})$", extra=words('a signal such as "SIGINT"'))
]
FileMode = Annotated[str, Meta(pattern="^0?[0-7]{3}$", extra=words('permissions such as "0644"'))]
Tags = list[Text]
Priority = Literal["high", "normal", "low"]
StepFolder = Annotated[
    str, Meta(pattern="^/|{{", extra=words("an absolute path in the container such as /data"))
]
ServiceName = Annotated[
    str,
    Meta(
        pattern=NAME_PATTERN,
        extra=words("up to 63 letters, digits, '_', '.' and '-', a letter or digit first"),
    ),
]
VariableName = Annotated[
    str,
    Meta(
        pattern="^[A-Za-z_][A-Za-z0-9_]*$",
        extra=words("letters, digits and '_', no digit first"),
    ),
]
EnvName = Annotated[str, Meta(pattern="^[^=\\u0000]+$", extra=words("a name without '='"))]
Env = dict[EnvName, str | int | float | bool]
Patterns = str | Argv
HttpPath = Annotated[
    str,
    Meta(
        pattern="^(:[0-9]{1,5})?/",
        extra=words('a path such as "/health", or with a port in front ":8080/health"'),
    ),
]
JsonPointer = Annotated[
    str,
    Meta(pattern="^(/|$)", extra=words('a JSON pointer such as "/items/0/id", or "" for the whole')),
]
ExitCode = Annotated[int, Meta(ge=0, le=255)]
ExitCodes = ExitCode | Annotated[list[ExitCode], Meta(min_length=1)]
# No text with a pattern: of a union of one with a list msgspec 0.22 frees too much, and the process crashes.
HttpStatus = Annotated[int, Meta(ge=100, le=599)] | Literal["1xx", "2xx", "3xx", "4xx", "5xx"]


class Table(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A table of the file.

    :cvar ONE_OF: exactly one of these keys must be given, if there are any.
    :cvar REMEDY: what to write where none is.
    """

    ONE_OF: ClassVar[tuple[str, ...]] = ()
    REMEDY: ClassVar[str] = ""


def several(value: _One | list[_One] | None) -> list[_One]:
    """Return what may be given alone or in a list as a list."""
    if isinstance(value, list):
        return value
    return [] if value is None else [value]


def port_of(port: int | str) -> tuple[int, str]:
    """Return number and protocol of a port: ``53/udp``; a number is one of TCP."""
    number, _, protocol = str(port).partition("/")
    return int(number), protocol or "tcp"


def status_range(status: Any) -> tuple[int, int]:
    """Return the lowest and the highest status that is meant: ``"2xx"`` is a hundred of them."""
    if isinstance(status, int):
        return status, status
    lowest = int(status[0]) * 100
    return lowest, lowest + 99


def argv_of(command: str | list[str]) -> tuple[str, ...]:
    """Return a command as an argv: a text runs under ``sh -c``."""
    return ("sh", "-c", command) if isinstance(command, str) else tuple(command)


def env_of(env: Mapping[str, Any]) -> dict[str, str]:
    """Return variables with their values as text."""
    return {name: as_text(value) for name, value in env.items()}


def seconds(**times: float | str | None) -> dict[str, Any]:
    """Return the times that are given as arguments of the model, ``timeout`` as ``timeout_s``.

    For those that are not given, the model's own defaults hold.
    """
    return {f"{name}_s": parse_duration_s(value) for name, value in times.items() if value is not None}
