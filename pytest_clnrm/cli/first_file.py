"""The text of a first scenario file: an example, or what is proposed for an image."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Literal

from pytest_clnrm.util.terminal_text import one_line

if TYPE_CHECKING:
    from pytest_clnrm.engine.api import ImageFacts
    from pytest_clnrm.model.seen import ImageSeen

Kind = Literal["preset", "tool", "shell", "server"]

_HTTP_PORTS = (80, 3000, 5000, 8000, 8080, 8081, 8888, 9000, 9090)
"""On which images usually serve HTTP."""

EXAMPLE = """\
# A service in a container of its own, which is gone when the scenario is over.
[service.web]
image = "busybox:1.37"
command = ["httpd", "-f", "-p", "8080", "-h", "/etc"]
ready = { http = ":8080/hostname" }   # steps wait for this

# Steps run one after the other. This one runs in the container, and fails
# if its exit code is not 0.
[[step]]
name = "the service runs as root"
service = "web"
run = "id -un"
expect = { stdout = { equals = "root\\n" } }

# This one asks the service from outside.
[[step]]
name = "the page is there"
http = "GET http://web:8080/hostname"
expect = { status = 200 }
"""


def head(file: str, name: str, schema: str) -> str:
    """Return the first lines of a file.

    :param file: its path, as it is given to pytest.
    :param schema: path of the schema, relative to the file; "" for none.
    """
    lines = [f"#:schema {schema}"] if schema else []
    lines += [
        f"# Run it: pytest {one_line(file)}",
        f"# Check it without running it: clnrm check {one_line(file)}",
        "",
        "[meta]",
        f"name = {_text(name)}",
        'tags = ["first"]   # pytest -m first',
        "",
        "",
    ]
    return "\n".join(lines)


def preset_for(image: str) -> str:
    """Return the name of the preset that is made for images of this name, "" if there is none."""
    from pytest_clnrm.scenario.presets.library import names, preset
    from pytest_clnrm.scenario.presets.users import NO_PRESETS

    repository = _repository(image)
    for name in names(NO_PRESETS):
        if _repository(str(preset(name, NO_PRESETS).keys.get("image", ""))) == repository:
            return name
    return ""


def kind_of(reference: str, facts: ImageFacts) -> Kind:
    """Tell how scenarios use an image."""
    from pytest_clnrm.model.service import Service
    from pytest_clnrm.runner.services import effective_command, stands_for_tool

    if preset_for(reference):
        return "preset"
    service = Service(name="x", image=reference, only_steps=True)
    if stands_for_tool(service, facts):
        return "tool"
    return "server" if effective_command(service, facts)[0] is None else "shell"


def proposal(reference: str, facts: ImageFacts, seen: ImageSeen) -> str:
    """Return what is proposed for an image: its service, and a step that uses it.

    :param reference: as the user wrote it.
    """
    kind = kind_of(reference, facts)
    lines = {"preset": _preset, "tool": _tool, "shell": _shell, "server": _server}[kind](
        reference, facts, seen
    )
    return "\n".join([*_about(seen), *lines, ""])


def _about(seen: ImageSeen) -> Iterator[str]:
    """Yield what the image says of itself."""
    words = [*seen.entrypoint, *seen.cmd]
    program = _text_list(words) if words else "nothing by itself"
    yield f"# The image runs {program}, as {_plain(seen.user) or 'root'}"
    for what, values in (("port", seen.exposed), ("volume", seen.volumes)):
        if values:
            yield f"#   {what}{'s' if len(values) > 1 else ''}: {', '.join(map(_plain, values))}"


def _preset(reference: str, _facts: ImageFacts, _seen: ImageSeen) -> list[str]:
    name = preset_for(reference)
    return [
        "# A preset brings variables, port, readiness, memory and url; keys beside it win.",
        f"[service.{name}]",
        f"preset = {_text(name)}",
        f"image = {_text(reference)}",
        "",
        "[[step]]",
        f"service = {_text(name)}",
        """run = 'echo "{{ service.%s.url }}"'""" % name,  # noqa: UP031 (braces of a template)
    ]


def _tool(reference: str, _facts: ImageFacts, seen: ImageSeen) -> list[str]:
    arguments = seen.cmd or ("--help",)
    return [
        "# It is a program that is called: each step runs it once, with these arguments of its entry point.",
        "[[step]]",
        f"image = {_text(reference)}",
        f"run = {_text_list(list(map(_literal, arguments)))}",
        "expect = { exit = 0 }",
    ]


def _shell(reference: str, facts: ImageFacts, _seen: ImageSeen) -> list[str]:
    return [
        "# It runs no service: its container waits for steps.",
        "[service.box]",
        f"image = {_text(reference)}",
        "",
        "[[step]]",
        'service = "box"',
        'run = "echo hello"'
        if facts.command
        else 'run = ["/program", "--version"]   # a list needs no shell',
        'expect = { stdout = { contains = "hello" } }',
    ]


def _server(reference: str, facts: ImageFacts, seen: ImageSeen) -> list[str]:
    return [
        "[service.app]",
        f"image = {_text(reference)}",
        *_entry_point(seen),
        *_ready(facts, seen),
        "",
        *_use(seen),
    ]


def _entry_point(seen: ImageSeen) -> Iterator[str]:
    if seen.entrypoint:
        yield f"# command = {_text_list(seen.cmd)}   # the arguments of its entry point, which stays"
    yield '# env = { NAME = "value" }'


def _tcp(seen: ImageSeen) -> list[int]:
    """Return the ports of TCP that the image exposes, those that usually serve HTTP first."""
    ports = [
        int(number) for number, _, kind in (each.partition("/") for each in seen.exposed) if kind != "udp"
    ]
    return sorted(ports, key=lambda port: (port not in _HTTP_PORTS, port))


def _ready(facts: ImageFacts, seen: ImageSeen) -> Iterator[str]:
    ports = _tcp(seen)
    if facts.healthcheck_s:
        yield "ready = { healthcheck = true }   # the image's own health check says so"
    elif ports:
        yield f"ready = {{ port = {ports[0]} }}   # it accepts connections"
    else:
        yield '# ready = { log = "a regular expression" }   # else steps begin once it is started'
    if ports and ports[0] in _HTTP_PORTS:
        yield f'# ready = {{ http = ":{ports[0]}/health" }}   # better, where it has such a path'


def _use(seen: ImageSeen) -> list[str]:
    ports = _tcp(seen)
    if ports and ports[0] in _HTTP_PORTS:
        return [
            "# Asked from outside: the image needs no client for it.",
            "[[step]]",
            f'http = "GET http://app:{ports[0]}/"',
            'expect = { status = "2xx" }',
        ]
    if ports:
        return ["[[check]]", 'service = "app"', f"port = {ports[0]}   # something listens there"]
    return ["[[check]]", 'log = "app"', 'content = { not_contains = "Traceback" }']


def _repository(image: str) -> str:
    """Return the last part of an image's name, without tag and digest."""
    return image.partition("@")[0].rpartition("/")[2].partition(":")[0]


def _text(value: str) -> str:
    # A string of JSON is one of TOML, but for DEL.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _text_list(values: Sequence[str]) -> str:
    return f"[{', '.join(map(_text, values))}]"


def _literal(value: str) -> str:
    """Return a value of which nothing is a template."""
    return f"{{% raw %}}{value}{{% endraw %}}" if "{{" in value or "{%" in value else value


def _plain(value: str) -> str:
    """Return a value as it may stand in a comment."""
    return _text(value)[1:-1]
