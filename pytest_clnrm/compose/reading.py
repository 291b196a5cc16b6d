"""YAML with places: scalars stay the text that was written, ``22:22`` and ``yes`` too."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Union

from pytest_clnrm.errors import ClnrmError, Mistake, ScenarioFileError

if TYPE_CHECKING:
    from yaml import Node

MAX_BYTES = 1 << 20
MAX_VALUES = 100_000
"""With what aliases stand for counted each time that they are named."""
MAX_LEVELS = 50

Data = Union[None, str, "list[Value]", "dict[str, Value]"]


@dataclass(frozen=True)
class Value:
    """A value of the file.

    :param path: its keys, as ``services.web.ports[0]``.
    :param line: 1-based.
    :param column: 1-based.
    """

    data: Data
    path: str
    line: int
    column: int


class ComposeFile:
    """A file of Docker Compose that was read.

    :param path: as the user named it.
    :raises ScenarioFileError: if it cannot be read, with the place of what is wrong.
    :raises ClnrmError: where PyYAML is missing.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._count = 0
        self._lines: list[str] = []
        self.root = self._read()

    def error(self, value: Value, message: str) -> ScenarioFileError:
        """Return the error that *value* is."""
        return self._wrong(message, value.line, value.column, value.path)

    def _wrong(self, message: str, line: int = 0, column: int = 0, path: str = "") -> ScenarioFileError:
        source = self._lines[line - 1] if 0 < line <= len(self._lines) else ""
        return ScenarioFileError(str(self.path), (Mistake(line, column, path, message, source),))

    def _read(self) -> Value:
        try:
            import yaml
        except ImportError:
            raise ClnrmError("import needs PyYAML: pip install 'pytest-clnrm[compose]'") from None
        try:
            with self.path.open("rb") as file:
                raw = file.read(MAX_BYTES + 1)
        except OSError as error:
            raise self._wrong(f"cannot be read: {error.strerror}") from None
        if len(raw) > MAX_BYTES:
            raise self._wrong("is larger than 1 MiB")
        try:
            text = raw.decode("utf-8-sig")
        except UnicodeDecodeError:
            raise self._wrong("is not UTF-8") from None
        self._lines = text.splitlines()
        try:
            node = yaml.compose(text, yaml.SafeLoader)
            value = self._value(node, "", 0) if node is not None else None
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            line, column = (mark.line + 1, mark.column + 1) if mark else (0, 0)
            raise self._wrong(f"is no valid YAML: {error.problem or error.context}", line, column) from None
        except yaml.YAMLError as error:
            raise self._wrong(f"is no valid YAML: {str(error).partition(chr(10))[0]}") from None
        except RecursionError:
            raise self._wrong(f"is nested more than {MAX_LEVELS} levels deep") from None
        if value is None or not isinstance(value.data, dict):
            raise self._wrong("is no file of Docker Compose: expected a mapping with `services`", 1, 1)
        return value

    def _value(self, node: Node, path: str, level: int) -> Value:
        import yaml

        line, column = node.start_mark.line + 1, node.start_mark.column + 1
        self._count += 1
        if self._count > MAX_VALUES:
            raise self._wrong(f"holds more than {MAX_VALUES} values, its aliases filled in", line, column)
        if level > MAX_LEVELS:
            raise self._wrong(f"is nested more than {MAX_LEVELS} levels deep", line, column)
        if not node.tag.startswith("tag:yaml.org,2002:"):
            raise self._wrong(f"the tag {node.tag} is not understood", line, column, path)
        data: Data
        if isinstance(node, yaml.MappingNode):
            data = self._mapping(node, path, level)
        elif isinstance(node, yaml.SequenceNode):
            data = [self._value(each, f"{path}[{index}]", level + 1) for index, each in enumerate(node.value)]
        else:
            data = None if node.tag.endswith(":null") else str(node.value)
        return Value(data, path, line, column)

    def _mapping(self, node: Node, path: str, level: int) -> dict[str, Value]:
        own: dict[str, Value] = {}
        merged: dict[str, Value] = {}
        for key, below in node.value:
            line, column = key.start_mark.line + 1, key.start_mark.column + 1
            if not isinstance(key.value, str):
                raise self._wrong("a key has to be a text", line, column, path)
            if key.tag.endswith(":merge"):
                for name, value in self._merged(below, path, level):
                    merged.setdefault(name, value)
                continue
            if key.value in own:
                raise self._wrong(f'the key "{key.value}" is there twice', line, column, path)
            value = self._value(below, f"{path}.{key.value}" if path else key.value, level + 1)
            # The key's line is where a reader looks for it.
            own[key.value] = Value(value.data, value.path, line, column)
        return {**{name: each for name, each in merged.items() if name not in own}, **own}

    def _merged(self, node: Node, path: str, level: int) -> Iterator[tuple[str, Value]]:
        """Yield the keys of what `<<` names: those that come first win."""
        value = self._value(node, path, level + 1)
        for each in value.data if isinstance(value.data, list) else [value]:
            if not isinstance(each.data, dict):
                raise self._wrong("`<<` takes a mapping, or a list of them", each.line, each.column, path)
            yield from each.data.items()
