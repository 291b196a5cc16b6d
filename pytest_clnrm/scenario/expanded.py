"""Where the steps of a file are written once those of blocks stand in place of their uses."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

from pytest_clnrm.model.key_path import KeyPath, in_file


class Written(NamedTuple):
    """Where something of the expanded file is written.

    :param file: absolute path of the other file, "" for the file itself.
    :param path: in that file.
    :param used: where the block is used, in the file itself; () for what is in no block.
    """

    file: str
    path: KeyPath
    used: KeyPath = ()


class Wrong(NamedTuple):
    """A mistake."""

    at: Written
    message: str
    hint: str = ""


@dataclass
class Expanded:
    """A file with the steps of blocks in place of their uses.

    :ivar raw: without ``[steps]``.
    :ivar origins: path in ``raw`` -> where that is written, of all that are not at their own place: steps of
        blocks, and keys of presets.
    :ivar typed: path in ``raw`` of a text that is one argument -> what was given for it, if that is no text.
    """

    raw: dict[str, Any] = field(default_factory=dict)
    origins: dict[KeyPath, Written] = field(default_factory=dict)
    typed: dict[KeyPath, Any] = field(default_factory=dict)
    wrong: list[Wrong] = field(default_factory=list)

    def written(self, path: KeyPath) -> Written:
        """Return where *path* of the expanded file is written."""
        for size in (2, 3, 4):
            if found := self.origins.get(path[:size]):
                return found._replace(path=found.path + path[size:])
        return Written("", path)

    def at(self, path: KeyPath) -> KeyPath:
        """Return that as a key path of the model."""
        found = self.written(path)
        return in_file(found.file, found.path) if found.file else found.path

    def of_blocks(self) -> list[KeyPath]:
        """Return the paths of the steps that are those of blocks."""
        return [path for path, at in self.origins.items() if at.used]
