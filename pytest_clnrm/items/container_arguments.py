"""From the arguments of ``clnrm.container(...)`` to a service: each refusal says what to write instead.

They become the table of a scenario file that says the same, so that its rules and caps hold here too. Only
what people write in Python by habit, and no file can say, is told here.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, get_args

from pytest_clnrm.items.service_arguments import LIMITS, NOT_ARGUMENTS, ServiceArguments
from pytest_clnrm.model.service import NetworkMode, Service
from pytest_clnrm.scenario.format.one_service import TooMuchError, read_service
from pytest_clnrm.scenario.presets.library import PresetError, over, preset
from pytest_clnrm.scenario.presets.users import NO_PRESETS, UsersPresets
from pytest_clnrm.toml.checking import suggestion

if TYPE_CHECKING:
    from pytest_clnrm.model.key_path import KeyPath
    from pytest_clnrm.model.policy import Policy
    from pytest_clnrm.scenario.format.parts import Source

MAX_PORT = 65535
ARGUMENTS = frozenset({*ServiceArguments.__annotations__, "preset"})
_SHOWN_CHARS = 200
_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?")
_MAPPED = re.compile(r"(?:.*:)?(\d+)(?:/(tcp|udp|sctp))?")
_AS_IN_FILES = re.compile(r"\b([a-z_]+) = (?=[\"\[{0-9]|true\b|false\b)")


def service_of(
    image: object,
    name: object,
    given: Mapping[str, object],
    *,
    source: Source,
    policy: Policy,
    presets: UsersPresets = NO_PRESETS,
) -> Service:
    """Return the service that the arguments of ``container(...)`` describe.

    :param given: all but image and name.
    :param source: judges paths of the host.
    :param policy: what may be asked for at most.
    :param presets: the user's own.
    :raises TypeError: if there is no such argument.
    :raises ValueError: naming the arguments that are wrong, and what to write.
    """
    check_names(given)
    if (
        (image is None and given.keys().isdisjoint({"build", "preset"}))
        or not isinstance(image, str | None)
        or image == ""
    ):
        raise _refusal(f'image={image!r}: it is the reference of an image, such as "redis:7"')
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise _refusal(
            f"name={name!r}: it is a host name of at most 63 letters, digits, '-', '_' and '.', such as "
            'name="db"'
        )
    table: dict[str, Any] = {} if image is None else {"image": image}
    limits: dict[str, Any] = {}
    for argument, value in given.items():
        check = _IN_PYTHON.get(argument)
        plain = as_in_files(value if check is None else check(value))
        if plain is not None:
            (limits if argument in LIMITS else table)[argument] = plain
    if limits:
        table["limits"] = limits
    if "preset" in table:
        table = _over_preset(table, presets)
    try:
        service, problems = read_service(table, name=name, source=source, policy=policy)
    except TooMuchError as error:
        raise _refusal(
            "; ".join(_told(path, text, _setting(hint), {}) for path, text, hint in error.found)
        ) from None
    if service is None:
        raise _refusal("; ".join(_told(path, text, hint, given) for path, text, hint in problems))
    return service


def _over_preset(table: dict[str, Any], presets: UsersPresets) -> dict[str, Any]:
    """Return a table of arguments with the keys of its preset below it."""
    name = table["preset"]
    try:
        return dict(over(table, preset(name, presets)).keys) if isinstance(name, str) else table
    except PresetError as error:
        raise _refusal(f"preset={name!r}: {in_python((), str(error), error.hint)}") from None


def check_names(given: Mapping[str, object]) -> None:
    """Check that all of *given* are names of arguments.

    :raises TypeError: if one is not, with the one that may be meant.
    """
    for argument in given:
        if argument in NOT_ARGUMENTS:
            raise TypeError(f"{argument}={given[argument]!r} is no argument: {NOT_ARGUMENTS[argument]}")
        if argument not in ARGUMENTS:
            near = suggestion(argument, (*ARGUMENTS, "image", "name"))
            raise TypeError(f"there is no argument {argument!r}{near and f': {near}'}")


def as_in_files(value: Any) -> Any:
    """Return a value as a file could hold it: paths as texts, tuples as lists."""
    if isinstance(value, Mapping):
        return {key: as_in_files(each) for key, each in value.items() if each is not None}
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    return [as_in_files(each) for each in value] if isinstance(value, (list, tuple)) else value


def in_python(path: KeyPath, message: str, hint: str) -> str:
    """Return what is said of a key below an argument, in the words of Python."""
    place = ".".join(map(str, path))
    text = f"{place}: {message}" if place else message
    return _AS_IN_FILES.sub(r"\1=", f"{text} ({hint})" if hint else text)


def _setting(hint: str) -> str:
    """Return a hint if it names a setting: the message says already what has set a cap."""
    return hint if "ini option" in hint else ""


def _told(path: KeyPath, message: str, hint: str, given: Mapping[str, object]) -> str:
    """Return a mistake with the argument in which it is, and its value if that is among *given*."""
    keys = path[1:] if path[:1] == ("limits",) and len(path) > 1 else path
    if not keys:
        return in_python((), message, hint)
    argument = str(keys[0])
    value = repr(given.get(argument)) if argument in given else "..."
    if len(value) > _SHOWN_CHARS:
        value = f"{value[:_SHOWN_CHARS]}..."
    return f"{argument}={value}: {in_python(keys[1:], message, hint)}"


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


def _ports(ports: object) -> list[object]:
    if isinstance(ports, Mapping):
        inside = [_inside(each) for each in ports]
        wanted = ", ".join("8080" if each is None else str(each) for each in inside)
        raise _refusal(
            f"ports={ports!r}: a free port of this host is chosen for each: write ports=[{wanted}], and ask "
            f"box.port({wanted.split(',', 1)[0]}) or box.url(...) which"
        )
    if isinstance(ports, (int, str)):
        raise _refusal(
            f"ports={ports!r}: it is a list of container ports: write ports=[{_inside(ports) or 8080}]"
        )
    if not isinstance(ports, Sequence):
        raise _refusal(f"ports={ports!r}: it is a list of container ports: write ports=[8080]")
    return [_port(ports, each) for each in ports]


def _port(ports: Sequence[object], port: object) -> object:
    if isinstance(port, int) and not isinstance(port, bool):
        if 0 < port <= MAX_PORT:
            return port
        raise _refusal(f"ports={ports!r}: {port} is no port: 1 to {MAX_PORT}")
    if isinstance(port, str) and re.fullmatch(r"\d+/udp", port):
        return port
    inside = _inside(port)
    if isinstance(port, str) and port.endswith("/sctp"):
        raise _refusal(
            f"ports={ports!r}: only ports of TCP and UDP are published: leave {port!r} out, and reach it "
            'from another container, which finds it by its name (name="...")'
        )
    if isinstance(port, tuple):
        inside = _inside(port[-1]) if port else None
    raise _refusal(
        f"ports={ports!r}: {port!r} is no number of a container port: write {inside or 8080}; the port of "
        "this host is a free one, which box.port(...) tells"
    )


def _inside(port: object) -> int | None:
    """Return the container port that is meant."""
    if isinstance(port, int):
        return int(port)
    found = _MAPPED.fullmatch(port) if isinstance(port, str) else None
    return int(found[1]) if found else None


def _number(value: object) -> object:
    if value is None or (isinstance(value, (int, float)) and not isinstance(value, bool) and value > 0):
        return value
    raise _refusal(f"cpu={value!r}: it is a number above 0: write cpu=0.5")


def _count(name: str) -> Callable[[object], object]:
    def check(value: object) -> object:
        if value is None or (isinstance(value, int) and not isinstance(value, bool) and value >= 0):
            return value
        raise _refusal(f"{name}={value!r}: it is a whole number: write {name}=1")

    return check


def _text(name: str, such_as: str) -> Callable[[object], object]:
    def check(value: object) -> object:
        if value is None or (isinstance(value, str) and value):
            return value
        written = such_as if value == "" else str(value)
        raise _refusal(f"{name}={value!r}: it is text: write {name}={_quoted(written)}")

    return check


def _network(value: object) -> object:
    if value in get_args(NetworkMode):
        return value
    raise _refusal(f'network={value!r}: write "isolated", "bridge" or "none"')


def _words(name: str) -> Callable[[object], object]:
    def check(value: object) -> object:
        return (
            value
            if value is None or (value == [] and name == "entrypoint")
            else list(command_line(name, value))
        )

    return check


def _volumes(value: object) -> object:
    """Refuse the forms of ``docker run -v``, Compose and docker-py."""
    if isinstance(value, Mapping):
        tables = [{"source": str(source), **_target(str(source), each)} for source, each in value.items()]
        raise _refusal(f"volumes={value!r}: it is a list of tables: write volumes={tables!r}")
    for each in value if isinstance(value, (list, tuple)) else [value]:
        if isinstance(each, (str, os.PathLike)):
            table = _target("", os.fspath(each))
            raise _refusal(
                f"volumes={value!r}: each is a table: write volumes=[{table!r}], which is read-only"
            )
    return value


def _target(source: str, written: object) -> dict[str, str]:
    """Return the source, if it is not known yet, and the target of a volume that is written otherwise."""
    if isinstance(written, Mapping):
        return {"target": str(written.get("bind", "/data"))}
    parts = str(written).split(":")
    if source:
        return {"target": parts[0]}
    return {"source": parts[0], "target": parts[1] if len(parts) > 1 else "/data"}


_IN_PYTHON: dict[str, Callable[[object], object]] = {
    "command": _words("command"),
    "entrypoint": _words("entrypoint"),
    "env": lambda value: None if value is None else variables(value),
    "ports": _ports,
    "cpu": _number,
    "pids": _count("pids"),
    "gpus": _count("gpus"),
    "workdir": _text("workdir", "/app"),
    "user": _text("user", "1000"),
    "network": _network,
    "volumes": _volumes,
}
"""Argument -> returns its value, or refuses what people write in Python by habit."""


def _list(words: Sequence[str]) -> str:
    return f"[{', '.join(map(_quoted, words))}]"


def _quoted(text: str) -> str:
    """Return *text* as Python source, in double quotes where that takes no more escapes."""
    return repr(text) if '"' in text or "\\" in text or not text.isprintable() else f'"{text}"'
