"""One service of a file of Docker Compose as ``[service.NAME]``; what is not taken over is noted."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from pytest_clnrm.compose.reading import Value
from pytest_clnrm.compose.variables import LeftOutError, Texts

_NO_COUNTERPART = "has no counterpart"
_HERE_TOO = {
    "container_name": "others reach a service by its own name",
    "expose": "services of a scenario reach all ports of one another",
    "restart": "a service that ends fails its scenario, or says may_end",
    "networks": 'services of a scenario are on one network; network = "bridge" adds a way out',
    "extends": "what it names is not looked up: write its keys here",
    "secrets": "write volumes or files for them",
    "configs": "write volumes or files for them",
    "privileged": "no container is",
    "init": "there is always an init",
    "cap_add": "write cap_add, and list them in the ini option clnrm_allow_cap_add",
}
_DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?)(h|ms|us|m|s)")
_SECONDS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001, "us": 0.000001}
_MAX_PORTS = 100
_LAST_PORT = 65535


class ServiceImport:
    """One service on its way.

    :param folder: of the file, to which its paths are relative.
    :ivar value: the service in the other file.
    :ivar keys: of the service as far as it is made.
    :ivar conditions: services that it depends on -> condition.
    :ivar notes: what is not taken over, and why.
    """

    def __init__(self, value: Value, texts: Texts, folder: Path) -> None:
        self.keys: dict[str, Any] = {}
        self.conditions: dict[str, tuple[Value, str]] = {}
        self.notes: list[tuple[Value, str]] = []
        self.value = value
        self._texts = texts
        self._folder = folder
        given = dict(self._map(value))
        build = given.pop("build", None)
        if build is not None and "image" in given:
            self.note(given.pop("image"), "is the name of what `build` builds: not needed")
        if build is not None:
            self._try(build, self._build)
        for key, each in given.items():
            if key.startswith("x-"):
                continue
            made: Callable[[Value], None] | None = getattr(self, f"_key_{key}", None)
            if made is None:
                self.note(each, _HERE_TOO.get(key, _NO_COUNTERPART))
            else:
                self._try(each, made)

    def note(self, value: Value, why: str) -> None:
        """Note that *value* is not taken over, or not as it is."""
        self.notes.append((value, why))

    def _try(self, value: Value, made: Callable[[Value], None]) -> None:
        try:
            made(value)
        except LeftOutError as error:
            self.note(error.value, str(error))

    def _each(self, value: Value, made: Callable[[Value], None], *, alone: bool = False) -> None:
        """Take each of a list by itself, so that one that is not understood leaves the others."""
        for each in [value] if alone and isinstance(value.data, str) else self._list(value):
            self._try(each, made)

    @staticmethod
    def _map(value: Value) -> dict[str, Value]:
        if not isinstance(value.data, dict):
            raise LeftOutError(value, "is no mapping")
        return value.data

    @staticmethod
    def _list(value: Value) -> list[Value]:
        if not isinstance(value.data, list):
            raise LeftOutError(value, "is no list")
        return value.data

    def _pairs(self, value: Value, separators: str = "=") -> Iterator[tuple[str, Value | None]]:
        """Yield name and value of a mapping, or of a list of ``name=value``."""
        if isinstance(value.data, dict):
            for name, each in value.data.items():
                yield name, None if each.data is None else each
            return
        for each in self._list(value):
            if not isinstance(each.data, str):
                self.note(each, "is not a single value")
                continue
            found = re.match(f"([^{separators}]+)[{separators}](.*)", each.data, re.DOTALL)
            if found is None:
                yield each.data, None
            else:
                yield found[1], Value(found[2], each.path, each.line, each.column)

    def _rest(self, given: dict[str, Value], *known: str) -> None:
        for key, each in given.items():
            if key not in known and not key.startswith("x-"):
                self.note(each, _NO_COUNTERPART)

    def _texted(self, key: str, value: Value) -> None:
        self.keys[key] = self._texts.text(value)

    def _path(self, value: Value) -> str:
        """Return a path of the host below the file's folder, beginning with ``./``."""
        text = self._texts.plain(value)
        path = os.path.relpath(self._folder / os.path.expanduser(text), self._folder)  # noqa: PTH111
        if path.startswith(".."):
            raise LeftOutError(value, f"{text} does not lie below the file's folder")
        if not os.path.exists(self._folder / path):  # noqa: PTH110 of a name that is too long False, too
            raise LeftOutError(value, f"there is no {text}")
        return path if path == "." else f"./{path}"

    def _whole(self, value: Value) -> int:
        text = self._texts.plain(value)
        if not re.fullmatch(r"-?[0-9]{1,18}", text):
            raise LeftOutError(value, f"{text!r} is no whole number")
        return int(text)

    def _is_true(self, value: Value) -> bool:
        text = self._texts.plain(value).lower()
        if text not in {"true", "false"}:
            raise LeftOutError(value, f"{text!r} is neither true nor false")
        return text == "true"

    def _duration(self, value: Value) -> str:
        text = self._texts.plain(value)
        parts = _DURATION.findall(text)
        if not parts or "".join(number + unit for number, unit in parts) != text:
            raise LeftOutError(value, f"{text!r} is no time")
        if len(parts) == 1 and parts[0][1] != "us":
            return text
        return f"{sum(float(number) * _SECONDS[unit] for number, unit in parts):g}s"

    def _size(self, value: Value) -> str:
        text = self._texts.plain(value)
        return f"{text}b" if text.isdecimal() else text

    def _argv(self, value: Value) -> list[str]:
        if isinstance(value.data, list):
            return [self._texts.text(each) for each in value.data]
        words = self._texts.words(value)
        if "$" in str(value.data).replace("$$", ""):
            self.note(value, "what a variable holds is one argument here, with its blanks")
        return words

    def _build(self, value: Value) -> None:
        if isinstance(value.data, str):
            self.keys["build"] = {"context": self._path(value), "network": "bridge"}
            return
        given = self._map(value)
        if "context" not in given:
            raise LeftOutError(value, "has no context")
        build: dict[str, Any] = {"context": self._path(given["context"])}
        for key in ("dockerfile", "target"):
            if key in given:
                build[key] = self._texts.text(given[key])
        if "args" in given:
            build["args"] = self._env(given["args"])
        build["network"] = "bridge"
        if "network" in given:
            network = self._texts.plain(given["network"])
            if network == "none":
                build["network"] = "none"
            else:
                self.note(given["network"], 'a build has "none" or "bridge": it has "bridge" here')
        self._rest(given, "context", "dockerfile", "target", "args", "network")
        self.keys["build"] = build

    def _env(self, value: Value) -> dict[str, str]:
        found: dict[str, str] = {}
        for name, each in self._pairs(value):
            if each is None:
                why = (
                    f'{name} is the host\'s: write {name} = "{{{{ env.{name} }}}}", and list it in clnrm_env'
                )
                self.note(value, why)
                continue
            try:
                found[name] = self._texts.text(each)
            except LeftOutError as error:
                self.note(each, f"{name}: {error}")
        return found

    def _key_image(self, value: Value) -> None:
        self._texted("image", value)

    def _key_user(self, value: Value) -> None:
        self._texted("user", value)

    def _key_working_dir(self, value: Value) -> None:
        self._texted("workdir", value)

    def _key_hostname(self, value: Value) -> None:
        self.keys["hostname"] = self._texts.plain(value)

    def _key_platform(self, value: Value) -> None:
        self.keys["platform"] = self._texts.plain(value)

    def _key_stop_signal(self, value: Value) -> None:
        self.keys["stop_signal"] = self._texts.plain(value)

    def _key_stop_grace_period(self, value: Value) -> None:
        self.keys["stop_grace"] = self._duration(value)

    def _key_shm_size(self, value: Value) -> None:
        self.keys["shm_size"] = self._size(value)

    def _key_read_only(self, value: Value) -> None:
        self.keys["read_only"] = self._is_true(value)

    def _key_command(self, value: Value) -> None:
        if value.data is not None:
            self.keys["command"] = self._argv(value)

    def _key_entrypoint(self, value: Value) -> None:
        if value.data is not None:
            self.keys["entrypoint"] = self._argv(value)

    def _key_environment(self, value: Value) -> None:
        self.keys["env"] = self._env(value)

    def _key_env_file(self, value: Value) -> None:
        files: list[str] = []

        def add(each: Value) -> None:
            path = each
            if isinstance(each.data, dict):
                self._rest(each.data, "path", "required")
                path = each.data.get("path", each)
            found = self._path(path)
            if not (self._folder / found).is_file():
                raise LeftOutError(path, f"{found} is no file")
            files.append(found)
            if "$" in (self._folder / files[-1]).read_text("utf-8", errors="replace"):
                self.note(path, "nothing is filled in for `$` in the file")

        self._each(value, add, alone=True)
        if files:
            self.keys["env_file"] = files

    def _key_ports(self, value: Value) -> None:
        ports: list[int | str] = []

        def add(each: Value) -> None:
            if isinstance(each.data, dict):
                target, protocol = each.data.get("target", each), each.data.get("protocol")
                text = self._texts.plain(target)
                kind = self._texts.plain(protocol) if protocol else "tcp"
                self._rest(each.data, "target", "protocol")
            elif isinstance(each.data, str):
                # What stands before the container's own port may name variables: it is not used.
                parts = re.match(r"(?:(.*):)?([^:]*?)(?:/(\w+))?$", each.data, re.DOTALL)
                before, last, protocol_text = parts.groups() if parts else (None, each.data, None)
                text = self._texts.plain(Value(last, each.path, each.line, each.column))
                kind = protocol_text or "tcp"
                if before is not None:
                    self.note(each, f"{before} of the host is not taken: a free port of 127.0.0.1 is")
            else:
                raise LeftOutError(each, "is no port")
            found = re.fullmatch(r"([0-9]{1,5})(?:-([0-9]{1,5}))?", text)
            first, last_port = (int(found[1]), int(found[2] or found[1])) if found else (0, 0)
            if not 0 < first <= last_port <= min(first + _MAX_PORTS, _LAST_PORT) or kind not in {
                "tcp",
                "udp",
            }:
                raise LeftOutError(each, f"{text}/{kind} is no port")
            for port in range(first, last_port + 1):
                made = port if kind == "tcp" else f"{port}/udp"
                if made not in ports:
                    ports.append(made)

        self._each(value, add)
        if ports:
            self.keys["ports"] = ports

    def _key_healthcheck(self, value: Value) -> None:
        given = self._map(value)
        test = given.get("test")
        if "disable" in given and self._is_true(given["disable"]):
            raise LeftOutError(value, "is switched off: nothing is waited for")
        if test is None:
            self.keys["ready"] = {"healthcheck": True}
            self._rest(given, "disable")
            return
        check: dict[str, Any] = {}
        if isinstance(test.data, list) and test.data:
            kind, *words = [self._texts.text(each) for each in test.data]
            if kind == "NONE":
                raise LeftOutError(value, "is switched off: nothing is waited for")
            if kind == "CMD" and words:
                check["command"] = words
            elif kind == "CMD-SHELL" and len(words) == 1:
                check["command"] = words[0]
            else:
                raise LeftOutError(test, "begins with none of CMD, CMD-SHELL and NONE, or has no command")
        else:
            check["command"] = self._texts.text(test)
        if "retries" in given and "interval" not in given:
            check["interval"] = "30s"  # Docker's own: so many times at that pace
        for key in ("interval", "timeout", "start_period"):
            if key in given:
                check[key] = self._duration(given[key])
        if "retries" in given:
            check["retries"] = self._whole(given["retries"])
        self._rest(given, "test", "disable", "interval", "timeout", "start_period", "retries")
        self.keys["ready"] = {"healthcheck": check}

    def _key_depends_on(self, value: Value) -> None:
        if isinstance(value.data, list):
            for each in value.data:
                self.conditions[self._texts.plain(each)] = (each, "service_started")
            return
        for name, each in self._map(value).items():
            given = self._map(each)
            condition = given.get("condition")
            self.conditions[name] = (each, self._texts.plain(condition) if condition else "service_started")
            self._rest(given, "condition")

    def _key_volumes(self, value: Value) -> None:
        volumes: list[dict[str, Any]] = []
        self._each(value, lambda each: self._volume(each, volumes))
        if volumes:
            self.keys["volumes"] = volumes

    def _volume(self, each: Value, volumes: list[dict[str, Any]]) -> None:
        if isinstance(each.data, dict):
            given = each.data
            kind = self._texts.plain(given["type"]) if "type" in given else "volume"
            target = self._texts.plain(given["target"]) if "target" in given else ""
            source = given.get("source")
            read_only = "read_only" in given and self._is_true(given["read_only"])
            self._rest(given, "type", "target", "source", "read_only")
        else:
            parts = self._texts.plain(each).split(":")
            source = Value(parts[0], each.path, each.line, each.column) if len(parts) > 1 else None
            target = parts[1] if len(parts) > 1 else parts[0]
            modes = [mode for part in parts[2:] for mode in part.split(",")]
            kind = "bind" if source is not None and re.match(r"[./~]", parts[0]) else "volume"
            read_only = "ro" in modes
            if others := [mode for mode in modes if mode not in {"ro", "rw"}]:
                self.note(each, f"{','.join(others)}: {_NO_COUNTERPART}")
        if kind == "tmpfs":
            self.keys.setdefault("scratch", []).append(target)
        elif source is None or kind not in {"bind", "volume"}:
            raise LeftOutError(each, "has no name: write scratch, or a volume with a name")
        elif kind == "bind":
            volumes.append({"source": self._path(source), "target": target})
            if not read_only:
                why = "is read-only here: read_only = false needs the ini option clnrm_allow_writable"
                self.note(each, why)
        else:
            shared = {"name": self._texts.plain(source), "target": target}
            volumes.append({**shared, **({"read_only": True} if read_only else {})})

    def _key_tmpfs(self, value: Value) -> None:
        def add(each: Value) -> None:
            target, colon, options = self._texts.plain(each).partition(":")
            self.keys.setdefault("scratch", []).append(target)
            if colon:
                self.note(each, f"{options}: {_NO_COUNTERPART}")

        self._each(value, add, alone=True)

    def _limit(self, name: str, value: Any) -> None:
        self.keys.setdefault("limits", {})[name] = value

    def _cpu(self, value: Value) -> None:
        try:
            self._limit("cpu", float(self._texts.plain(value)))
        except ValueError as error:
            raise LeftOutError(value, str(error)) from None

    def _key_cpus(self, value: Value) -> None:
        self._cpu(value)

    def _key_mem_limit(self, value: Value) -> None:
        self._limit("memory", self._size(value))

    def _key_pids_limit(self, value: Value) -> None:
        self._limit("pids", self._whole(value))

    def _key_deploy(self, value: Value) -> None:
        given = self._map(value)
        self._rest(given, "resources")
        resources = self._map(given["resources"]) if "resources" in given else {}
        self._rest(resources, "limits")
        limits = self._map(resources["limits"]) if "limits" in resources else {}
        self._rest(limits, "cpus", "memory", "pids")
        for key, made in (
            ("cpus", self._cpu),
            ("memory", self._key_mem_limit),
            ("pids", self._key_pids_limit),
        ):
            if key in limits:
                self._try(limits[key], made)

    def _key_network_mode(self, value: Value) -> None:
        mode = self._texts.plain(value)
        if mode not in {"none", "bridge"}:
            raise LeftOutError(value, f"{mode}: {_NO_COUNTERPART}")
        self.keys["network"] = mode

    def _key_cap_drop(self, value: Value) -> None:
        self.keys["cap_drop"] = [self._texts.plain(each) for each in self._list(value)]

    def _key_extra_hosts(self, value: Value) -> None:
        hosts: dict[str, str] = {}
        for name, each in self._pairs(value, ":="):
            text = "" if each is None else self._texts.plain(each).strip("[]")
            if each is None or text == "host-gateway":
                self.note(each or value, f"{name}: expected an address such as 10.0.0.5")
            else:
                hosts[name] = text
        if hosts:
            self.keys["extra_hosts"] = hosts

    def _key_labels(self, value: Value) -> None:
        self.keys["labels"] = {
            name: "" if each is None else self._texts.text(each) for name, each in self._pairs(value)
        }

    def _key_ulimits(self, value: Value) -> None:
        self.keys["ulimits"] = {
            name: {below: self._whole(limit) for below, limit in each.data.items()}
            if isinstance(each.data, dict)
            else self._whole(each)
            for name, each in self._map(value).items()
        }

    def _key_profiles(self, value: Value) -> None:
        """Judged by the file's import."""
