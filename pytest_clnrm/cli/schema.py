"""``clnrm schema``: the JSON Schema of scenario files, for editors."""

from __future__ import annotations

import json
import os
import sys
from importlib.resources import files
from pathlib import Path

import click

from pytest_clnrm.cli.command import command, say
from pytest_clnrm.cli.new_file import write_new

COPY = Path(".clnrm/scenario.schema.json")
"""Where a project has its copy, relative to pytest's rootdir."""


def shipped() -> Path:
    """Return where the schema lies in the installed package."""
    return Path(str(files("pytest_clnrm.scenario.format"))) / "scenario.schema.json"


def copy_of_project(near: Path) -> Path:
    """Return where the project of *near* has its copy.

    :raises ClnrmError: if the project's ini file is wrong.
    """
    from pytest_clnrm.cli.project import rootdir_of

    return rootdir_of(near) / COPY


def write_copy(path: Path, *, force: bool = False) -> None:
    """Write the schema to *path*, over an older one of ours.

    :param force: over any file.
    :raises ClnrmError: if there is another file, or it cannot be written.
    """
    text = shipped().read_text(encoding="utf-8")
    write_new(path, text, force=force or _title(path) == _title(shipped()))


def _title(path: Path) -> object:
    try:
        document = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    return document.get("title") if isinstance(document, dict) else None


@command(
    "schema",
    examples=[
        ("schema --write", f"Write it to {COPY}, or bring that file up to date."),
        ("schema --path", "Where it lies, for the settings of an editor on this machine."),
        ("schema > scenario.schema.json", "By the shell, to any place."),
    ],
)
@click.option("--path", "show_path", is_flag=True, help="Show where it lies in the installed package.")
@click.option(
    "--write",
    is_flag=False,
    flag_value="",
    metavar="[FILE]",
    help=f"Write it to FILE (default: {COPY} of pytest's rootdir), over an earlier schema too.",
)
@click.option("--force", is_flag=True, help="Even if FILE is something else.")
def schema(*, show_path: bool, write: str | None, force: bool) -> None:
    """Show the JSON Schema of scenario files.

    Editors check and complete scenario files by it: with a first line such as "#:schema
    ../.clnrm/scenario.schema.json" in the file, relative to that, or with a rule for *.clnrm.toml in their
    settings.
    """
    if show_path and write is not None:
        raise click.UsageError("--path and --write do not go together")
    if show_path:
        say(str(shipped()))
    elif write is None:
        sys.stdout.write(shipped().read_text(encoding="utf-8"))
    else:
        place = Path(write or os.path.relpath(copy_of_project(Path())))
        if place.is_dir():
            raise click.UsageError(f"--write: {place} is a folder: it takes the path of a file")
        write_copy(place, force=force)
        say(f"wrote {place}")
