"""Wild services: ``[services.x]`` and ``[service.x]`` with plugins, health checks and resources."""

from __future__ import annotations

import re
from typing import Any

from pytest_clnrm.scenario.dialects.commands import argv
from pytest_clnrm.scenario.dialects.reader import MISSING, Reader, is_number

_CANONICAL = ("build", "depends_on", "fresh", "image", "may_end", "preset", "scratch", "url", "user")
_SHELLS = frozenset({"ash", "bash", "dash", "sh"})
_NETWORKS = {
    "bridge": "bridge",
    "host": "bridge",
    "internal": "isolated",
    "isolated": "isolated",
    "none": "none",
}
_CONTAINERS = frozenset({"alpine", "container", "docker", "generic", "generic_container", "testcontainers"})


def service(reader: Reader) -> None:
    """Read a wild service."""
    plugin = reader.take("plugin")
    kind = reader.take("type")
    reader.skip("name", "description", "version", "author")
    if not any(key in reader for key in ("image", "build", "preset")):
        _refuse(reader, plugin if isinstance(plugin, str) else kind)
    _command(reader)
    for key in ("env", "environment", "env_vars"):
        environment(reader, key)
    reader.move("workdir")
    reader.move("working_dir", "workdir")
    _ports(reader)
    _volumes(reader)
    _ready(reader)
    for key in ("limits", "resources"):
        limits(reader, key)
    _network(reader)
    reader.finish(*_CANONICAL)


def environment(reader: Reader, key: str) -> None:
    """Read a table or a list of ``NAME=value`` into ``env``; values that are no text become text."""
    raw = reader.take(key)
    if isinstance(raw, list) and all(isinstance(each, str) for each in raw):
        for index, entry in enumerate(raw):
            name, _, value = entry.partition("=")
            reader.put(("env", name), value, (key, index))
    elif isinstance(raw, dict):
        reader.child(key, {}, "env")
        for name, value in raw.items():
            text = _text(value)
            reader.put(("env", name), text, (key, name), alike=text is value)
    elif raw is not MISSING:
        reader.put(("env",), raw, (key,), alike=True)


def limits(reader: Reader, key: str, *, to_timeout: bool = False) -> None:
    """Read limits in the units of their names into ``limits``.

    :param to_timeout: True where a limit of time is the file's timeout.
    """
    raw = reader.take_if(dict, key, to="limits")
    if raw is None:
        return
    below = reader.child(key, raw, "limits")
    for wild, canonical in (("memory_mb", "memory"), ("memory_limit", "memory"), ("pids_limit", "pids")):
        below.move(wild, canonical)
    below.move("cpu_millicores", "cpu", by=lambda value: value / 1000 if is_number(value) else value)
    below.move("cpu_limit", "cpu", by=_number)
    longest = below.take("max_duration_seconds") if to_timeout else MISSING
    if longest is not MISSING:
        reader.put(("meta", "timeout"), longest, (key, "max_duration_seconds"))
    below.finish("memory", "cpu", "pids", "gpus")


def _refuse(reader: Reader, plugin: Any) -> None:
    if not isinstance(plugin, str) or plugin in _CONTAINERS:
        message = 'a service needs an image: give image = "..."'
    else:
        message = f'the plugin {plugin!r} is not supported: a service is a container; give image = "..."'
    reader.notes.mistakes.append((reader.at, message))
    # Filled in, so that validation does not ask for an image once more.
    reader.put_default(("image",), "unknown", ())


def _command(reader: Reader) -> None:
    given = {key: reader.take(key) for key in ("command", "args") if key in reader}
    parts = {key: argv(part) if isinstance(part, str) else part for key, part in given.items()}
    if not parts:
        return
    source = next(iter(parts))
    if all(isinstance(part, list) for part in parts.values()):
        whole = [word for part in parts.values() for word in part]
        reader.put(("command",), _kept_alive(whole) if source == "args" else whole, (source,))
    else:
        reader.put(
            ("command",), next(part for part in parts.values() if not isinstance(part, list)), (source,)
        )


def _kept_alive(arguments: list[Any]) -> list[Any]:
    """Return *arguments*; a script among them that succeeds is followed by waiting.

    ``args = ["sh", "-c", "echo ready"]`` prepares a container in which steps run: their author does not mean
    that it is over after that.
    """
    if len(arguments) < 3 or not all(isinstance(word, str) for word in arguments):  # noqa: PLR2004 sh -c script
        return arguments
    shell, flags, script, *rest = arguments
    if shell.rpartition("/")[2] not in _SHELLS or not re.fullmatch("-[a-z]*c", flags):
        return arguments
    return [shell, flags, f"(\n{script}\n) && exec tail -f /dev/null", *rest]


def _ports(reader: Reader) -> None:
    ports = reader.take_if(list, "ports", to="ports")
    if ports is None:
        return
    reader.put_default(("ports",), [], ("ports",), alike=True)
    for index, port in enumerate(ports):
        match = re.fullmatch(r"(?:.*:)?([0-9]{1,9})(?:/tcp)?", port) if isinstance(port, str) else None
        if match and ":" in match[0]:
            reader.give_up("ports", index)  # a port of the host that is free is chosen instead
        reader.append("ports", int(match[1]) if match else port, ("ports", index))


def _volumes(reader: Reader) -> None:
    volumes = reader.take_if(list, "volumes", to="volumes")
    if volumes is None:
        return
    reader.put_default(("volumes",), [], ("volumes",), alike=True)
    for index, volume in enumerate(volumes):
        if isinstance(volume, str):
            source, _, rest = volume.partition(":")
            target, _, mode = rest.partition(":")
            if not target or not re.match(r"[./~{]", source):
                reader.give_up("volumes", index)  # a named volume would outlive the scenario
                continue
            modes = mode.split(",")
            entry = {"source": source, "target": target, "read_only": "ro" in modes or "rw" not in modes}
            reader.append("volumes", entry, ("volumes", index))
        elif isinstance(volume, dict):
            names = {"host_path": "source", "container_path": "target", "readonly": "read_only"}
            position = reader.append(
                "volumes", {names.get(key, key): each for key, each in volume.items()}, ("volumes", index)
            )
            for key in volume:
                to = (*reader.to, "volumes", position, str(names.get(key, key)))
                reader.notes.came(to, (*reader.at, "volumes", index, key), alike=True)
        else:
            reader.append("volumes", volume, ("volumes", index))


def _ready(reader: Reader) -> None:
    given = "ready" in reader
    reader.move("ready")
    _healthcheck(reader, given=given)
    command = reader.take_if(str, "health_check")
    if command is not None:
        reader.put(("ready",), {"command": argv(command)}, ("health_check",))
    strategy = reader.take("wait_strategy")
    message = reader.take("wait_log_message")
    by_log = strategy is MISSING or strategy == "log"
    if by_log and isinstance(message, str):
        reader.put(("ready",), {"log": re.escape(message)}, ("wait_log_message",))
    else:
        for key, value in (("wait_strategy", strategy), ("wait_log_message", message)):
            if value is not MISSING:
                reader.give_up(key)


def _healthcheck(reader: Reader, *, given: bool) -> None:
    """Read a health check, which is what the service is waited for unless the file says that by itself."""
    check = reader.take("healthcheck")
    if given and check is not MISSING:
        reader.give_up("healthcheck")
    elif isinstance(check, dict) and check.get("test") in ("NONE", ["NONE"]):
        return  # one of the image is switched off, and none is waited for
    elif isinstance(check, dict):
        for to in (("ready",), ("ready", "healthcheck")):
            reader.notes.came((*reader.to, *to), (*reader.at, "healthcheck"))
        _healthcheck_table(reader.child("healthcheck", check, "ready", "healthcheck"))
    elif check is not MISSING:
        reader.put(("ready",), {"healthcheck": check}, ("healthcheck",))


def _healthcheck_table(reader: Reader) -> None:
    key = "command" if "command" in reader else "test"
    command = reader.take(key)
    words = argv(command) if isinstance(command, str) else command
    if isinstance(words, list) and words[:1] == ["CMD"]:
        words = words[1:]
    elif isinstance(words, list) and words[:1] == ["CMD-SHELL"]:
        words = ["sh", "-c", *words[1:]]
    if command is not MISSING:
        reader.put(("command",), words, (key,), alike=words is command)
    reader.finish("interval", "timeout", "retries", "start_period")


def _network(reader: Reader) -> None:
    network = reader.take("network")
    if isinstance(network, dict):
        below = Reader(reader.notes, network, (*reader.at, "network"), {}, (*reader.to, "network"))
        mode, external = below.take("mode"), below.take("external_access")
        if isinstance(mode, str) and mode in _NETWORKS:
            reader.put(("network",), _NETWORKS[mode], ("network", "mode"))
        elif mode is not MISSING:
            below.give_up("mode")
        if isinstance(external, bool):
            reader.put(("network",), "bridge" if external else "isolated", ("network", "external_access"))
        below.finish()
    elif network is not MISSING:
        known = _NETWORKS.get(network, network) if isinstance(network, str) else network
        reader.put(("network",), known, ("network",), alike=True)


def _number(value: Any) -> Any:
    try:
        return float(value) if isinstance(value, str) else value
    except ValueError:
        return value


def _text(value: Any) -> Any:
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, (int, float)) else value
