"""``clnrm``: its commands, and how each of them ends."""

from __future__ import annotations

import io
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import click

from pytest_clnrm.cli.check import check
from pytest_clnrm.cli.command import DONE, FAILED, say
from pytest_clnrm.cli.compose_import import import_
from pytest_clnrm.cli.doctor import doctor
from pytest_clnrm.cli.merge import merge
from pytest_clnrm.cli.new import new
from pytest_clnrm.cli.schema import schema
from pytest_clnrm.cli.status import status
from pytest_clnrm.cli.sweep import sweep

COMMANDS = (new, check, doctor, schema, status, sweep, merge, import_)
"""In the order in which the help lists them."""
_SYSTEM = os.name
_WINDOWS = "not on Windows itself: run it in WSL 2 (https://learn.microsoft.com/windows/wsl)"


class _Commands(click.Group):
    """All commands; who reads their output may stop."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 (as click calls it)
        """Return the names in the order in which they were added."""
        return list(self.commands)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command that was named."""
        try:
            ended = super().invoke(ctx)
            sys.stdout.flush()
        except BrokenPipeError:
            # Who read our output has had enough.
            _give_up_stdout()
            return DONE
        return ended


def _give_up_stdout() -> None:
    """Let nothing more be flushed to it at the end."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@click.group(
    cls=_Commands,
    # Then a missing command is an error, in all versions of click.
    no_args_is_help=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Scenarios are run by pytest: pytest tests/first.clnrm.toml",
)
@click.version_option(package_name="pytest-clnrm", prog_name="pytest-clnrm", message="%(prog)s %(version)s")
def commands() -> None:
    """Make, check and look after scenarios of pytest-clnrm."""


for _command in COMMANDS:
    commands.add_command(_command)


def main(arguments: Sequence[str] | None = None, program: str = "clnrm") -> int:
    """Run a command and return its exit code.

    :param arguments: None for those of this process.
    :param program: how it was called, for its help.
    """
    from pytest_clnrm.errors import ClnrmError, EngineUnavailableError

    if _SYSTEM == "nt":
        say(f"clnrm: {_WINDOWS}", sys.stderr)
        return FAILED
    try:
        ended = commands.main(
            None if arguments is None else list(arguments), prog_name=program, standalone_mode=False
        )
    except click.ClickException as error:
        message = io.StringIO()
        error.show(message)
        say(message.getvalue().removesuffix("\n"), sys.stderr)
        return error.exit_code
    except click.Abort:
        return 128 + signal.SIGINT
    except (ClnrmError, OSError) as error:
        details = error.details if isinstance(error, EngineUnavailableError) else ()
        say("\n".join([f"clnrm: {error}", *details]), sys.stderr)
        if isinstance(error, OSError):
            # It may be of the output, and nothing is to be flushed into it at the end.
            _give_up_stdout()
        return FAILED
    return ended if isinstance(ended, int) else DONE
