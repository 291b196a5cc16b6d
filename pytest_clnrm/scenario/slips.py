"""What was probably meant by the usual slips in scenario files: the remedy, in the words of the format."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from pytest_clnrm.errors import MAX_MISTAKES
from pytest_clnrm.model.key_path import KeyPath
from pytest_clnrm.toml.positions import value_at

if TYPE_CHECKING:
    from pytest_clnrm.toml.checking import Finding

_RUN = 'write run = "..."'
_EXIT = "write expect = { exit = 0 }"
_OUTPUT = 'write expect = { stdout = { contains = "..." } }'
_ENV = 'write env = { NAME = "value" }'
_READY = 'write ready = { http = ":8080/health" }, or one of port, log and command'
_LIMITS = 'write limits = { memory = "512m", cpu = 1.0 }'


def _all(remedies: Mapping[str, str]) -> dict[str, str]:
    return {key: text for keys, text in remedies.items() for key in keys.split()}


_LISTS = frozenset(
    {"aliases", "cap_add", "cap_drop", "depends_on", "entrypoint", "ports", "scratch", "tags", "volumes"}
)
# TOML's 0o644 arrives as 420; 644 arrives as it is.
_USUAL_MODES = frozenset({0o400, 0o440, 0o444, 0o600, 0o640, 0o644, 0o660, 0o664, 0o700, 0o750, 0o755, 0o777})
_KEYS: dict[str, dict[str, str]] = {
    "step": _all({
        "cmd command commands exec script shell sh": _RUN,
        "code exit exit_code returncode status": _EXIT,
        "output stdout contains": _OUTPUT,
        "stderr": 'write expect = { stderr = { contains = "..." } }',
        "environment envs": _ENV,
        "retries attempts": 'write retry = { times = 3, delay = "1s" }',
        "container": 'write service = "NAME"',
        "depends_on needs": "steps run in the order of the file",
        "cwd dir directory working_dir working_directory": 'write workdir = "/folder"',
        "input": 'write stdin = "..."',
        "allow_failure continue_on_error ignore_errors": "write continue_on_failure = true",
        "sleep wait": 'write run = "sleep 1", or let a service say when it is ready',
    }),
    "service": _all({
        "environment envs": _ENV,
        "cpu cpus mem_limit memory pids gpus": _LIMITS,
        "health healthcheck health_check wait wait_for": _READY,
        "args cmd exec run": 'write command = ["program", "argument"]',
        "mount mounts volume": 'write volumes = [{ source = "./folder", target = "/folder" }]',
        "expose port": "write ports = [8080]",
        "depends needs requires": 'write depends_on = ["NAME"]',
        "tmpfs": 'write scratch = ["/folder"]',
        "container_name name": "others reach a service by the NAME in [service.NAME]",
        "network_mode networks": 'write network = "bridge" for a way out',
        "context dockerfile": 'write build = { context = "./folder", dockerfile = "Dockerfile" }',
        "cwd working_dir working_directory": 'write workdir = "/folder"',
    }),
    "check": _all({
        "path": 'write file = "/path"',
        "contains equals json not_contains not_regex regex text": 'write content = { contains = "..." }',
        "perm permission permissions": 'write mode = "0644"',
        "type": 'write kind = "file"',
        "state": "write exists = false for what must not be there",
        "command run": "a check runs nothing: write [[step]]",
        "container": 'write service = "NAME"',
        "logs": 'write log = "NAME", which is the service',
        "retries attempts": 'write retry = { times = 3, delay = "1s" }',
        "env_vars environment": 'write env = { NAME = "value" }',
        "ports": "write exposed = [8080]",
    }),
    "expect": _all({
        "code exit_code exitcode returncode status": "write exit = 0",
        "output out": 'write stdout = { contains = "..." }',
        "contains equals json not_contains not_regex regex": 'write stdout = { contains = "..." }',
        "error err": 'write stderr = { contains = "..." }',
    }),
    "output": _all({
        "eq equal exact is": 'write equals = "..."',
        "contain has include includes": 'write contains = "..."',
        "match matches pattern re": "write regex = '...'",
        "exclude excludes not_contain": 'write not_contains = "..."',
        "not_match not_matches": "write not_regex = '...'",
    }),
    "ready": _all({
        "url path": 'write http = ":8080/health"',
        "cmd exec test": 'write command = "..."',
        "delay sleep": 'write what is waited for: http, port, log or command, and timeout = "30s"',
    }),
    "all spans": _all({"exit stdout stderr": "it belongs to a step: write [step.expect] below its [[step]]"}),
    "file": _all({
        "description name priority skip skip_if tags timeout xfail": "it belongs to [meta]",
        "command run": 'write [[step]] with run = "..."',
        "image build": "it belongs to a [service.NAME]",
        "env environment": "it belongs to a [service.NAME] or a [[step]]",
        "var variables": "write [vars]",
        "container containers": "write [service.NAME]",
        "test tests": "write [[scenario]] or [[step]]",
        "span spans": "write [[expect.span]]",
    }),
}  # fmt: skip
"""Kind of table -> a key that it does not have -> what is written instead."""


def remedy(document: Any, path: KeyPath) -> str:
    """Return what is to be written in place of what stands at *path*, which is wrong; "" if nobody knows.

    :param document: the canonical form.
    """
    value = value_at(document, path)
    if value is None:
        return ""
    known = _KEYS.get(_kind(path[:-1]), {})
    if path and path[-1] in known:
        return known[str(path[-1])]
    return next((text for text in _of_value(path, value) if text), "")


def _kind(table: KeyPath) -> str:
    """Return what kind of table stands at a path, "" for one without usual slips."""
    if not table:
        return "file"
    in_step = "step" in table
    if len(table) == 2 and table[0] == "service":  # noqa: PLR2004 service.NAME
        return "service"
    if table[-2:-1] in {("step",), ("check",)}:
        return str(table[-2])
    if table[-1] == "expect":
        return "expect" if in_step else "all spans"
    if in_step and table[-1] in {"stdout", "stderr"}:
        return "output"
    return "ready" if table[-1] == "ready" else ""


def is_of_scenario(path: KeyPath) -> bool:
    """Tell whether a key is one that holds for a whole scenario, or for each of a file."""
    return path[:-1] == ("meta",) or (path[:1] == ("scenario",) and len(path) == len(("scenario", 0, "key")))


def _of_value(path: KeyPath, value: Any) -> Iterator[str]:
    """Yield what may be meant by a value of the wrong type."""
    names = [part for part in path if isinstance(part, str)]
    key = names[-1] if names else ""
    if isinstance(value, str):
        yield _of_text(path, key, value)
    if isinstance(value, bool) and key in {"skip", "xfail"}:
        yield f'write {key} = "why"' if value else "leave it out"
    if isinstance(value, int) and not isinstance(value, bool):
        yield {
            "retry": "" if is_of_scenario(path) else f'write retry = {{ times = {value}, delay = "1s" }}',
            "ready": f"write ready = {{ port = {value} }}",
            "ports": f"write ports = [{value}]",
            "mode": f'write mode = "{value:04{"o" if value in _USUAL_MODES else "d"}}"',
        }.get(key, "")
    if isinstance(value, dict):
        if path and path[-1] in {"step", "scenario", "check", "span", "edge", "window"}:
            yield f"write [[{'.'.join(names)}]] in two brackets: there may be several"
        if key == "volumes":
            yield 'write volumes = [{ source = "./folder", target = "/folder" }]'
    if isinstance(value, list):
        yield _of_list(key, value)
    if names[:1] == ["matrix"] and len(path) == 2 and isinstance(value, (str, int, float)):  # noqa: PLR2004
        yield f"write {key} = [{_toml(value)}]"
    if key in {"contains", "not_contains", "equals", "run", "command"} and isinstance(value, (int, float)):
        yield f'write "{str(value).lower()}", in quotes'


def _of_text(path: KeyPath, key: str, value: str) -> str:  # noqa: PLR0911 a slip each
    quoted = _toml(value)
    if path[-2:-1] == ("capture",):
        return f"write {key} = {{ regex = {quoted} }}"
    if key in _LISTS and path[-1] == key:
        found = (
            _of_text((*path, 0), key, value) if key in {"volumes", "ports"} else f"write {key} = [{quoted}]"
        )
        return re.sub(r"^write (\d+)", rf"write {key} = [\1]", found)
    if key == "volumes":
        source, _, rest = value.partition(":")
        target, _, mode = rest.partition(":")
        read_only = ", read_only = true" if mode == "ro" else ""
        return f"write {{ source = {_toml(source)}, target = {_toml(target or '/folder')}{read_only} }}"
    if key == "ports":
        port = value.rpartition(":")[2].removesuffix("/tcp")
        if port != value and port.removesuffix("/udp").isdecimal() and port.endswith("/udp"):
            return f'write "{port}", the container\'s port: it is published on a free one'
        return (
            f"write {port}, the container's port: it is published on a free one" if port.isdecimal() else ""
        )
    if key == "exit":
        return f"write exit = {value}" if value.isdecimal() else "write exit = { ne = 0 }"
    if key == "ready":
        way = "http" if re.match(r":\d+/|/", value) else "log"
        return f"write ready = {{ {way} = {quoted} }}, or one of command, port and http"
    if key == "cpu" and re.fullmatch(r"\d+m", value):
        return f"write cpu = {int(value[:-1]) / 1000:g}"
    if key in {"timeout", "delay", "interval", "wait", "settle"}:
        return _duration(value)
    if key == "retry" and value.isdecimal():
        of_step = f'write retry = {{ times = {value}, delay = "1s" }}'
        return f"write retry = {value}" if is_of_scenario(path) else of_step
    if path == ("service",):
        return f"write [service.NAME], or what names none uses it: [meta] with service = {quoted}"
    return {
        "stdout": f"write {key} = {{ contains = {quoted} }}, or equals for the whole",
        "stderr": f"write {key} = {{ contains = {quoted} }}, or equals for the whole",
        "limits": _LIMITS,
        "env": _ENV,
        "expect": _OUTPUT,
    }.get(key, "")


def _of_list(key: str, value: list[Any]) -> str:
    if key == "exit":
        return f"write exit = {{ one_of = {value} }}"
    if key in {"env", "args"}:
        pairs = [each.partition("=") for each in value if isinstance(each, str) and "=" in each]
        shown = ", ".join(f"{_key(name)} = {_toml(text)}" for name, _, text in pairs[:3]) or 'NAME = "value"'
        return f"write {key} = {{ {shown}{', ...' if len(pairs) > 3 else ''} }}"  # noqa: PLR2004 three show how
    if key == "service":
        return "write [service.NAME] for each, in single brackets"
    if key in {"stdout", "stderr"}:
        return f'write {key} = {{ contains = ["...", "..."] }}'
    return (
        f"write [{key}] in single brackets: there is one"
        if key in {"meta", "vars", "expect", "limits"}
        else ""
    )


def _duration(value: str) -> str:
    """Return how a time that is said in another way is written."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([a-z]+)\.?", value.strip().lower())
    unit = match and next(
        (short for short in ("ms", "s", "m", "h") if re.fullmatch(_UNITS[short], match[2])), ""
    )
    return f'write "{match[1]}{unit}"' if match and unit else ""


_UNITS = {
    "ms": "m(illi)?sec(ond)?s?|millis",
    "s": "sec(ond)?s?",
    "m": "min(ute)?s?",
    "h": "h(ou)?rs?",
}


def _toml(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else _toml(name)


def of_syntax(message: str, line: str, column: int) -> str:  # noqa: PLR0911 a slip each
    """Return what to do about a text that is no TOML, "" if that is not known.

    :param message: the parser's.
    :param line: at which it stopped, at that 1-based *column*.
    """
    rest = line[max(column - 1, 0) :].lstrip()
    before = line[: max(column - 1, 0)]
    if message.startswith(("Illegal character '\\n'", "Unterminated string")):
        return "a string is not closed; one of several lines stands between \"\"\" or '''"
    if message.startswith("Unescaped '\\'"):
        return "a backslash stands for itself in single quotes '...', and is doubled in \"...\""
    if message.startswith("Expected '='") and rest.startswith(":"):
        return "write key = value, with an equals sign"
    if message.startswith("Invalid value"):
        if re.match(r"(?i)(?:true|false)\b", rest):
            return "write true or false, in small letters"
        if rest[:1] in "\u201c\u201d\u2018\u2019\u00ab":
            return 'write straight quotes: "..."'
        return 'a text stands in quotes: "..."' if rest[:1].isalpha() or rest[:1] in "$/." else ""
    if message.startswith("Expected newline or end of document") and before.count("'") >= 2:  # noqa: PLR2004
        return "a ' cannot stand within '...': write \"...\" or '''...'''"
    if message.startswith(("Unclosed inline table", "Unclosed array")):
        return "a comma or the closing bracket is missing here"
    return ""


def with_remedies(document: dict[str, Any], findings: list[Finding]) -> list[tuple[KeyPath, str, str]]:
    """Return path, message and hint of each of *findings*: what to write, where a slip is a usual one."""
    return [
        (each.path, each.message, remedy(document, each.subject) or each.hint)
        for each in itertools.islice(findings, MAX_MISTAKES)
    ]
