"""What all commands have in common: examples and exit codes in their help, errors of one line, options.

What a command needs beside the library of the command line is imported when it runs: ``--help`` is at once.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO, TypeVar

import click

DONE, FAILED, USAGE = 0, 1, 2
EXITS: Mapping[int, str] = {
    DONE: "done",
    FAILED: "it could not be done; the reason is on stderr",
    USAGE: "wrong arguments",
}
"""What commands end with that say nothing else."""

_F = TypeVar("_F", bound=Callable[..., Any])


class Command(click.Command):
    """A command whose help has examples and exit codes.

    :param examples: (what is typed behind the program's name, what it does).
    :param exits: exit code -> what it means.
    """

    def __init__(
        self,
        *args: Any,
        examples: Sequence[tuple[str, str]],
        exits: Mapping[int, str] = EXITS,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.examples = examples
        self.exits = exits

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write examples and exit codes."""
        program = ctx.find_root().command_path
        with formatter.section("Examples"):
            for words, about in self.examples:
                formatter.write_text(f"{program} {words}")
                with formatter.indentation():
                    formatter.write_text(about)
        with formatter.section("Exit codes"):
            formatter.write_dl([(str(code), meaning) for code, meaning in self.exits.items()])


def command(
    name: str, *, examples: Sequence[tuple[str, str]], exits: Mapping[int, str] = EXITS
) -> Callable[[Callable[..., object]], Command]:
    """Return what makes a command of a function, see :class:`Command`."""
    return click.command(name, cls=Command, examples=examples, exits=exits)


def say(text: str, stream: TextIO | None = None) -> None:
    """Write *text*, of which others have written a part, as it may stand on a terminal."""
    from pytest_clnrm.util.terminal_text import shown

    stream = sys.stdout if stream is None else stream
    stream.write(f"{shown(text)}\n")
    stream.flush()


def say_json(data: object) -> None:
    """Write *data* as JSON on one line.

    Nothing in it moves a terminal's cursor, or is a command to CI services, which may stand in any line.
    """
    # It can only be within a text, where an escape means the same.
    sys.stdout.write(json.dumps(data).replace("##", r"\u0023\u0023") + "\n")
    sys.stdout.flush()


def json_option(about: str) -> Callable[[_F], _F]:
    """Return the option by which a machine reads what a command says."""
    return click.option("--json", "as_json", is_flag=True, help=about)


def ledger_dir_option(function: _F) -> _F:
    """Add the option that names the ledger's folder."""
    return click.option(
        "--ledger-dir",
        type=click.Path(path_type=Path),
        metavar="DIR",
        help="Folder in which runs share what they have reserved, as clnrm_ledger_dir (default: the user's "
        "runtime folder).",
    )(function)


def engine_option(function: _F) -> _F:
    """Add the option that names the engine."""
    return click.option(
        "--engine",
        callback=_engine,
        default="auto",
        metavar="auto|embedded|kubernetes|URL",
        help="As --clnrm-engine (default: auto).",
    )(function)


def _engine(_context: click.Context, _parameter: click.Parameter, value: str) -> str:
    from pytest_clnrm.settings import values

    try:
        return values.engine(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None
