"""Files of other tools with their ports (``tests/data/ports``), and which assertions each of them holds."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml

__all__ = ["ALL", "IMAGE", "PORTS", "Port"]

PORTS = Path(__file__).parents[1] / "data/ports"
IMAGE = PORTS / "image"
"""Of which the ports build; a static busybox has to be put there."""

_SAID = re.compile(r"(?<!^)\S.*#\s*(\d+(?:, \d+)*)$", re.MULTILINE)
_SAID_OTHERWISE = re.compile(r"^# Not natively: (\d+(?:, \d+)*): \S", re.MULTILINE)
_WHOLE = re.compile(r"(entrypoint|cmd|status_code)$")
"""Lists that are one assertion."""


@dataclass(frozen=True)
class Port:
    """A file of another tool, and the scenario file beside it that says the same.

    :param lines: of the text of a file of the tool -> the line of each assertion.
    """

    tool: str
    original: str
    lines: Callable[[str], Iterator[int]]

    @property
    def path(self) -> Path:
        """Return the scenario file."""
        return PORTS / self.tool / f"{self.original.split('.')[0].removeprefix('test_')}.clnrm.toml"

    @property
    def asserted(self) -> Counter[int]:
        """Return how many assertions there are in each line of the original."""
        return Counter(self.lines((PORTS / self.tool / self.original).read_text("utf-8")))

    @property
    def said(self) -> Counter[int]:
        """Return how often lines of the port say that they say a line of the original."""
        return _numbers(_SAID, self.path)

    @property
    def said_otherwise(self) -> Counter[int]:
        """Return the lines of the original for which there is nothing here, each with its reason."""
        return _numbers(_SAID_OTHERWISE, self.path)


def _numbers(pattern: re.Pattern[str], path: Path) -> Counter[int]:
    found = (each.split(", ") for each in pattern.findall(path.read_text("utf-8")))
    return Counter(int(number) for numbers in found for number in numbers)


def _in_yaml(pattern: str) -> Callable[[str], Iterator[int]]:
    """Return what finds values whose path of keys, joined by `` > ``, matches."""

    def lines(text: str) -> Iterator[int]:
        for document in yaml.compose_all(text, yaml.SafeLoader):
            for path, node in _nodes(document, ()):
                keys = " > ".join(path)
                if (isinstance(node, yaml.ScalarNode) or _WHOLE.search(keys)) and re.search(pattern, keys):
                    first = node.start_mark.line + 1
                    block = node.value.count("\n") if node.start_mark.line != node.end_mark.line else 0
                    # Of a text over several lines each is one.
                    yield from range(first + 1, first + 1 + block) if block else [first]

    return lines


def _nodes(node: yaml.Node, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], yaml.Node]]:
    yield path, node
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield from _nodes(value, (*path, str(key.value)))
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            yield from _nodes(value, (*path, str(index)))


def _in_lines(pattern: str) -> Callable[[str], Iterator[int]]:
    """Return what finds lines that match."""
    return lambda text: (
        number for number, line in enumerate(text.split("\n"), 1) if re.search(pattern, line)
    )


def _in_hurl(text: str) -> Iterator[int]:
    """Yield the lines of statuses, and behind them those of headers, of a body and of asserts."""
    section, body = "request", False
    for number, line in enumerate(text.split("\n"), 1):
        if re.match(r"[A-Z]+ http", line):
            section = "request"
        elif line.startswith("HTTP"):
            section = "answer"
        elif line.startswith("[") and section != "request":
            section = line
        counts = section in {"answer", "[Asserts]"} and line and line[0] not in "#["
        if counts and not body:
            yield number
        body = line == "{" or (body and line != "}")


_CST = (
    r"^commandTests > \d+ > ((expected|excluded)(Output|Error) > \d+|exitCode)$"
    r"|^fileExistenceTests > \d+ > (shouldExist|permissions|uid|gid|isExecutableBy)$"
    r"|^fileContentTests > \d+ > (expected|excluded)Contents > \d+$"
    r"|^metadataTest > ((envVars|labels) > \d+ > value|(unbound\w+|\w+Ports|\w*[vV]olumes) > \d+"
    r"|entrypoint|cmd|workdir|user)$"
)
ALL = (
    Port("container-structure-test", "app.yaml", _in_yaml(_CST)),
    Port("goss", "goss.yaml", _in_yaml(r"^(?!.* > (timeout|skip)$)")),
    Port("venom", "orders.yaml", _in_yaml(r"> assertions > \d+$")),
    Port("hurl", "orders.hurl", _in_hurl),
    Port(
        "tavern",
        "test_orders.tavern.yaml",
        _in_yaml(
            r"> response > (status_code$|cookies > |(json|headers) > |verify_\w+ > extra_kwargs > query)"
        ),
    ),
    Port("bats", "app.bats", _in_lines(r"^\s*(\[\[? |assert_|refute_|run -\d)")),
    Port("tracetest", "order.yaml", _in_yaml(r"> assertions > \d+$")),
    Port("commander", "commander.yaml", _in_yaml(r"^tests > [^>]+ > (exit-code|stdout|stderr)( > |$)")),
    Port("runn", "orders.yml", _in_yaml(r"^steps > \w+ > (test|loop > until)$")),
    Port("compose-smoke-test", "smoke.sh", _in_lines('fail "')),
)
