"""A scenario file from one of Docker Compose, with a comment for each thing that is not understood."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pytest_clnrm.compose.reading import ComposeFile, Value
from pytest_clnrm.compose.service import ServiceImport
from pytest_clnrm.compose.toml_text import toml_key, toml_lines, toml_value
from pytest_clnrm.compose.variables import LeftOutError, Texts

_CONDITIONS = ("service_started", "service_healthy", "service_completed_successfully")
_HEAD = """\
# From {file}. What is not taken over stands in a comment with its line.
# Services of a scenario have no way out of their network: write network = "bridge" where one is needed.
# A service that others depend on has to be ready first, whatever condition is named."""
_STEP = """\
# That all services get ready and run is checked. What they must do Compose does not say: write steps for it.
[[step]]
name = "services run\""""


def scenario_of(path: Path, profiles: Sequence[str] = ()) -> str:
    """Return the text of a scenario file.

    :param path: of the file of Docker Compose; the scenario file belongs into the same folder.
    :param profiles: services of these are taken too.
    :raises ClnrmError: if the file cannot be read; says where.
    """
    return "\n".join(_Import(ComposeFile(path), frozenset(profiles)).lines()) + "\n"


class _Import:
    def __init__(self, file: ComposeFile, profiles: frozenset[str]) -> None:
        self._file = file
        self._texts = Texts()
        self._profiles = profiles
        self._notes: list[tuple[Value, str]] = []
        self._services: dict[str, ServiceImport] = {}
        top = file.root.data
        assert isinstance(top, dict)  # noqa: S101 ComposeFile has looked at it
        services = top.get("services")
        if services is None:
            raise file.error(file.root, "has no `services`")
        if not isinstance(services.data, dict):
            raise file.error(services, "`services` has to be a mapping")
        for key, value in top.items():
            if key != "services" and not key.startswith("x-"):
                self._top(key, value)
        for name, value in services.data.items():
            if not name.startswith("x-"):
                self._service(name, value)
        self._depend()

    def _top(self, key: str, value: Value) -> None:
        if key == "volumes" and isinstance(value.data, dict):
            for each in value.data.values():
                if each.data:
                    self._notes.append((each, "a volume of a scenario is new each time, without options"))
            return
        reasons = {"version": "not needed", "networks": "services of a scenario are on one network"}
        self._notes.append((value, reasons.get(key, "has no counterpart")))

    def _service(self, name: str, value: Value) -> None:
        if not isinstance(value.data, dict):
            raise self._file.error(value, "a service has to be a mapping")
        profiles = value.data.get("profiles")
        if profiles is not None:
            listed = profiles.data if isinstance(profiles.data, list) else [profiles]
            try:
                names = {self._texts.plain(each) for each in listed}
            except LeftOutError as error:
                raise self._file.error(error.value, f"profiles: {error}") from None
            if not names & self._profiles:
                shown = ", ".join(sorted(names))
                self._notes.append((value, f"left out: only with --profile {shown}"))
                return
        made = ServiceImport(value, self._texts, self._file.path.absolute().parent)
        self._judge(name, value, made)
        if "image" not in made.keys and "build" not in made.keys:
            self._notes += [*made.notes, (value, "left out: it has no image that is understood")]
            return
        self._services[name] = made

    def _judge(self, name: str, value: Value, made: ServiceImport) -> None:
        """Leave out what the format does not allow, with its own words for it."""
        from pytest_clnrm.scenario.format.service_document import ServiceDoc
        from pytest_clnrm.scenario.format.service_rules import check_service
        from pytest_clnrm.toml.checking import convert

        assert isinstance(value.data, dict)  # noqa: S101 _service has looked at it
        for key, each in list(made.keys.items()):
            if "{{" in toml_value(each):
                continue
            _, findings = convert({"image": "x", key: each} if key != "build" else {key: each}, ServiceDoc)
            for finding in findings[:1]:
                del made.keys[key]
                made.note(_origin(value, key), f"{key}: {finding.message}")
        doc, _ = convert(made.keys, ServiceDoc)
        for problem in list(check_service(doc, ("service", name), self._source)) if doc else ():
            key = str(problem.path[2]) if len(problem.path) > 2 else ""  # noqa: PLR2004
            if key in made.keys:
                del made.keys[key]
                made.note(_origin(value, key), f"{key}: {problem.message}")

    def _source(self, source: str, *, read_only: bool | None = None, text: bool = False) -> str:  # noqa: ARG002
        real = os.path.realpath(self._file.path.absolute().parent / source)
        if not Path(real).exists():
            raise ValueError(f"there is no {source}")
        return Path(real).read_text("utf-8", errors="replace") if text else real

    def _depend(self) -> None:
        jobs: set[str] = set()
        for made in self._services.values():
            needed = []
            for other, (value, condition) in made.conditions.items():
                if condition not in _CONDITIONS:
                    made.note(value, f'"{condition}" is no condition: expected {", ".join(_CONDITIONS)}')
                elif other not in self._services:
                    made.note(value, f"{other} is left out, or not there")
                else:
                    needed.append(other)
                    if condition == _CONDITIONS[2]:
                        jobs.add(other)
            if needed:
                made.keys["depends_on"] = needed
        for name in jobs:
            job = self._services[name]
            if "ready" in job.keys:
                job.note(job.value, "healthcheck: others wait for its end, so it is no more asked than that")
            job.keys["ready"] = {"exit": 0}
        self._jobs = jobs

    def lines(self) -> Iterator[str]:
        """Yield the lines of the scenario file."""
        yield _HEAD.format(file=_in_comment(self._file.path.name))
        if self._texts.names:
            yield f"# It names variables of the environment: clnrm_env = {' '.join(self._texts.names)}"
        if self._texts.required:
            told = [f"{name} ({why})" if why else name for name, why in self._texts.required.items()]
            yield f"# Without these it cannot be read: {_in_comment(', '.join(told))}"
        yield from self._comments(self._notes)
        for name, made in self._services.items():
            yield ""
            yield from self._comments(made.notes)
            yield f"[service.{toml_key(name)}]"
            for key, value in made.keys.items():
                yield from toml_lines(key, value)
        yield ""
        yield _STEP
        running: dict[str, Any] = {name: None for name in self._services if name not in self._jobs}
        if running:
            yield f"service = {toml_value(next(reversed(running)))}"
        yield 'run = "true"'

    def _comments(self, notes: list[tuple[Value, str]]) -> Iterator[str]:
        for value, why in sorted(notes, key=lambda each: each[0].line):
            yield "# " + _in_comment(f"{self._file.path.name}:{value.line}: {value.path}: {why}")


def _origin(value: Value, key: str) -> Value:
    """Return where a key of the format comes from, the service itself if that is not known."""
    names = {"env": "environment", "workdir": "working_dir", "scratch": "tmpfs", "ready": "healthcheck",
             "stop_grace": "stop_grace_period", "network": "network_mode", "limits": "deploy"}  # fmt: skip
    assert isinstance(value.data, dict)  # noqa: S101
    return value.data.get(names.get(key, key), value)


def _in_comment(text: str) -> str:
    """Return a text as one line without control characters."""
    return "".join(each if each.isprintable() else " " for each in text)
