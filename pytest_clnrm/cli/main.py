"""``clnrm``: its commands, and how each of them ends."""

from __future__ import annotations

import io
import os
import signal
import sys
from collections.abc import Sequence
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


class _Commands(click.Group):
    """All commands; who reads their output may stop."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 (as click calls it)
        """Return the names in the order in which they were added."""
        return list(self.commands)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command that was named."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            # Who read our output has had enough; nothing is to be flushed into it at the end.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return DONE


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
    except EngineUnavailableError as error:
        say("\n".join([f"clnrm: {error.summary}", *error.details]), sys.stderr)
        return FAILED
    except ClnrmError as error:
        say(f"clnrm: {error}", sys.stderr)
        return FAILED
    return ended if isinstance(ended, int) else DONE
