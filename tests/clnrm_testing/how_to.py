"""The tutorial and the pages of docs/how-to: their files, and what they say of runs of these."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parents[2] / "docs" / "how-to"
PAGES = [FOLDER.parent / "tutorial.md", *sorted(FOLDER.glob("*.md"))]
_BLOCK = re.compile(r"(?:^<!-- ([^\n]*) -->\n)?^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_TIMES = re.compile(r"\b[0-9.]+ (m?s)\b")
_ITEM = re.compile(r"(?<=artifacts/)([\w-]+)-[0-9a-f]{8}\b")
_OPTIONS = re.compile(r"^(reproduce with: pytest) .*(?= \S+$)", re.MULTILINE)
_WORKER = re.compile(r"^\[gw[0-9]+\] .*\n", re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """A block of a page.

    :param mark: of the comment in front of it: ``file: NAME`` for a file of the page's project,
        ``made by: COMMAND > NAME`` for one that a command makes of the others, ``loads: NAME`` for a scenario
        file that is loaded but not run, as its images are not there.
    :param language: such as "toml"; "console" is a command, and a part of what it prints.
    """

    mark: str
    language: str
    text: str

    @property
    def file(self) -> str:
        """Return the name of the file that it is, "" if it is none."""
        return self.mark.rpartition(" ")[2] if self.mark.startswith(("file: ", "made by: ")) else ""

    @property
    def loads(self) -> str:
        """Return the name of the scenario file that it is, if that is not run, else ""."""
        return self.mark.removeprefix("loads: ") if self.mark.startswith("loads: ") else ""

    @property
    def command(self) -> str:
        """Return the command that makes it, or that it shows."""
        if self.mark.startswith("made by: "):
            return self.mark.removeprefix("made by: ").rpartition(" > ")[0]
        return self.text.partition("\n")[0].removeprefix("$ ") if self.language == "console" else ""

    @property
    def printed(self) -> str:
        """Return what its command prints."""
        return self.text.partition("\n")[2] if self.language == "console" else self.text


def blocks(page: Path) -> list[Block]:
    """Return the blocks of a page."""
    found = _BLOCK.findall(page.read_text(encoding="utf-8"))
    return [Block(mark=mark, language=language, text=text) for mark, language, text in found]


def files(page: Path) -> dict[str, str]:
    """Return the files of a page's project, with their texts."""
    return {block.file: block.text for block in blocks(page) if block.file}


def comparable(printed: str) -> str:
    """Return what was printed without times, workers, folders of items, options, and blanks at line ends."""
    printed = _OPTIONS.sub(r"\1", _ITEM.sub(r"\1-N", printed))
    said = _TIMES.sub(r"N \1", _WORKER.sub("", printed))
    return "\n".join(line.rstrip() for line in said.splitlines())
