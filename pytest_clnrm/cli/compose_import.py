"""``clnrm import``: a scenario file from one of Docker Compose."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from pytest_clnrm.cli.command import command
from pytest_clnrm.cli.new_file import write_new


@command(
    "import",
    examples=[
        ("import docker-compose.yml", "Show what the scenario file would be."),
        ("import docker-compose.yml -o shop.clnrm.toml", "Write it."),
        ("import compose.yaml --profile debug", "With the services of a profile."),
    ],
)
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Write it there, in the folder of the other file (default: to stdout).",
)
@click.option("--force", is_flag=True, help="Even if there is such a file.")
@click.option("--profile", multiple=True, metavar="NAME", help="Take services of this profile too.")
def import_(*, file: Path, output: Path | None, force: bool, profile: tuple[str, ...]) -> None:
    """Make a scenario file from FILE of Docker Compose.

    What is understood of it, and a comment for each thing that is not. Several files are not merged.
    """
    from pytest_clnrm.compose.scenario_file import scenario_of
    from pytest_clnrm.errors import ClnrmError

    if output is None:
        sys.stdout.write(scenario_of(file, list(profile)))
        return
    if output.absolute().parent.resolve() != file.absolute().parent.resolve():
        raise ClnrmError(f"{output}: paths are relative to {file}: write it into the same folder")
    write_new(output, scenario_of(file, list(profile)), force=force)
