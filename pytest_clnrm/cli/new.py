"""``clnrm new``: a first scenario file."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pytest_clnrm.cli.command import command, engine_option, say
from pytest_clnrm.cli.new_file import write_new
from pytest_clnrm.cli.schema import COPY, copy_of_project, write_copy

if TYPE_CHECKING:
    from pytest_clnrm.engine.api import Engine

_SUFFIX = ".clnrm.toml"
_FIRST = f"first{_SUFFIX}"


@command(
    "new",
    examples=[
        ("new tests/first.clnrm.toml", "An example that passes: one service, two steps."),
        (
            "new tests/shop.clnrm.toml --from nginx:1",
            "A start for that image, made of what it says of itself.",
        ),
        ("new --from postgres:17 --stdout", "Only show it."),
    ],
)
@click.argument("file", type=click.Path(path_type=Path), default=_FIRST)
@click.option(
    "--from",
    "image",
    metavar="IMAGE",
    help="Look at IMAGE, pulled if it is not there, and propose what fits it.",
)
@click.option("--stdout", is_flag=True, help="Write to stdout, no file.")
@click.option("--no-schema", is_flag=True, help=f"Without a line #:schema, and without {COPY}.")
@click.option("--force", is_flag=True, help="Even if there is such a file.")
@engine_option
def new(*, file: Path, image: str | None, stdout: bool, no_schema: bool, force: bool, engine: str) -> None:
    """Write a first scenario FILE with comments.

    FILE (default: first.clnrm.toml) ends in .clnrm.toml; in a folder it is first.clnrm.toml. Its first line
    tells editors where the schema is, which is written to .clnrm/scenario.schema.json of pytest's rootdir.
    """
    from pytest_clnrm.cli.first_file import EXAMPLE, head

    if file.is_dir():
        file /= _FIRST
    if not file.name.endswith(_SUFFIX) or file.name == _SUFFIX:
        raise click.UsageError(f"{file}: the name of a scenario file ends in {_SUFFIX}")
    if not (force or stdout) and file.exists():
        # Before an image is pulled in vain.
        write_new(file, "", force=False)
    body = EXAMPLE if image is None else _proposal(image, engine)
    copy = None if no_schema else copy_of_project(file.parent)
    schema = Path(os.path.relpath(copy, file.parent.resolve())).as_posix() if copy else ""
    text = head(str(file), file.name.removesuffix(_SUFFIX), schema) + body
    if stdout:
        sys.stdout.write(text)
        return
    if copy is not None:
        write_copy(copy)
    write_new(file, text, force=force)
    say(f"wrote {file}; run it: pytest {file}")


def _proposal(image: str, choice: str) -> str:
    from pytest_clnrm.cleanup.cleaner import connect_with_locks
    from pytest_clnrm.cli.first_file import proposal
    from pytest_clnrm.ledger.folder import open_folder

    engine: Engine = connect_with_locks(open_folder(None, os.environ), choice)
    try:
        facts = engine.ensure_image(image, "missing", _Progress().tell)
        return proposal(image, facts, engine.look_at_image(facts.id))
    finally:
        engine.close()


class _Progress:
    """Tells on stderr that an image is pulled, once: it may take minutes."""

    def __init__(self) -> None:
        self._is_told = False

    def tell(self, text: str) -> None:
        """Take what the engine says of the pull."""
        if not self._is_told:
            self._is_told = True
            say(f"clnrm: {text}", sys.stderr)
