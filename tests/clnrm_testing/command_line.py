"""The help of each command in docs/command-line.md, as the command line shows it.

``python -m clnrm_testing.command_line``, started in ``tests``, writes it.
"""

from __future__ import annotations

from pathlib import Path

import click

from pytest_clnrm.cli.main import COMMANDS

DOCS = Path(__file__).parents[2] / "docs" / "command-line.md"
_BEGIN = "<!-- commands: made by clnrm_testing.command_line -->\n"
_END = "<!-- end of commands -->\n"
_WIDTH = 100


def with_help(text: str) -> str:
    """Return the text of the docs with the help of each command between its marks."""
    before, found, behind = text.partition(_BEGIN)
    assert found, f"{DOCS} lacks the line {_BEGIN}"
    return "".join((before, found, *map(_section, COMMANDS), "\n", _END, behind.partition(_END)[2]))


def _section(command: click.Command) -> str:
    parent = click.Context(click.Group("clnrm"), info_name="clnrm")
    names = ["-h", "--help"]
    context = click.Context(
        command,
        parent,
        command.name,
        terminal_width=_WIDTH,
        max_content_width=_WIDTH,
        help_option_names=names,
    )
    return f"\n## `clnrm {command.name}`\n\n```text\n{command.get_help(context)}\n```\n"


if __name__ == "__main__":
    DOCS.write_text(with_help(DOCS.read_text(encoding="utf-8")), encoding="utf-8")
