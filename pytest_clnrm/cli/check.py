"""``clnrm check``: all mistakes of scenario files, without a run of pytest."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from pytest_clnrm.cli.command import DONE, FAILED, USAGE, command, json_option, say, say_json
from pytest_clnrm.errors import ClnrmError
from pytest_clnrm.util.counted import counted

if TYPE_CHECKING:
    from pytest_clnrm.cli.project import Project
    from pytest_clnrm.errors import ScenarioFileError

FORMAT = 1


@dataclass(frozen=True)
class Checked:
    """What was found in a file.

    :param path: as it is shown.
    :param scenarios: their names, one for each combination of a matrix.
    :param unchecked: the paths of claims that are not checked.
    :param told: the mistakes as pytest shows them.
    """

    path: str
    scenarios: tuple[str, ...] = ()
    unchecked: tuple[str, ...] = ()
    mistakes: tuple[dict[str, Any], ...] = ()
    told: str = ""


@command(
    "check",
    examples=[
        ("check tests/login.clnrm.toml", "One file."),
        ("check tests", "All scenario files below a folder."),
        ("check --json tests", "The mistakes for a program: file, line, column, key, message."),
    ],
    exits={
        DONE: "no mistake",
        FAILED: "there are mistakes, or the project's settings are wrong",
        USAGE: "wrong arguments, or no scenario file",
    },
)
@click.argument(
    "files", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path), metavar="FILE..."
)
@json_option("As one JSON document.")
@click.option("--strict", is_flag=True, help="What is not checked is a mistake, as clnrm_strict = true.")
def check(*, files: tuple[Path, ...], as_json: bool, strict: bool) -> int:
    """Check scenario files, and those below folders.

    Each mistake is told as pytest tells it, with file, line, column and remedy. No engine is needed, and
    nothing of the project is run. Settings are those of the project's ini file and .clnrm/config.toml; of
    markers that other plugins register nothing is known.
    """
    from pytest_clnrm.cli.project import project_of

    project = project_of(files, ["-oclnrm_strict=true"] if strict else [])
    found = list(scenario_files(files, project))
    if not found:
        raise click.UsageError(f"there is no {' or '.join(project.settings.files)} below {files[0]}")
    checked = [_checked(path, project) for path in found]
    if as_json:
        say_json(_data(checked))
    else:
        say(_text(checked))
    return FAILED if any(each.mistakes for each in checked) else DONE


def scenario_files(named: Iterable[Path], project: Project) -> Iterator[Path]:
    """Yield the named files, and those below named folders, each once.

    :raises ClnrmError: if a folder cannot be read.
    """
    seen: set[Path] = set()
    for path in named:
        below = _below(path, project) if path.is_dir() else [path]
        for each in below:
            if each.absolute() not in seen:
                seen.add(each.absolute())
                yield each


def _below(folder: Path, project: Project) -> Iterator[Path]:
    """Yield the files of scenarios below a folder, where pytest looks for them.

    :raises ClnrmError: if a folder cannot be read.
    """
    for place, folders, names in os.walk(folder, onerror=_refuse):
        folders[:] = sorted(each for each in folders if not project.is_left_out(Path(place, each)))
        yield from (Path(place, name) for name in sorted(names) if project.settings.matches(name))


def _refuse(error: OSError) -> NoReturn:
    raise ClnrmError(f"{error.filename}: {error.strerror}")


def _checked(path: Path, project: Project) -> Checked:
    from pytest_clnrm.errors import Mistake, ScenarioFileError
    from pytest_clnrm.items.scenario_file import BAD_PATH, can_be_shown
    from pytest_clnrm.scenario.loading import load
    from pytest_clnrm.util.terminal_text import one_line

    shown = one_line(os.path.relpath(path))
    absolute = path.absolute()
    if not can_be_shown(absolute, project.rootdir):
        return _wrong(shown, ScenarioFileError(shown, (Mistake(0, 0, "", BAD_PATH),)), project)
    try:
        scenarios = load(str(absolute), project.options)
    except ScenarioFileError as error:
        return _wrong(shown, error, project)
    unchecked = dict.fromkeys(claim.path for each in scenarios for claim in each.unchecked)
    return Checked(shown, tuple(each.name for each in scenarios), tuple(unchecked))


def _wrong(shown: str, error: ScenarioFileError, project: Project) -> Checked:
    from pytest_clnrm.util.redaction import Redactor

    redact = Redactor({*error.secrets, *(os.environ.get(name, "") for name in project.settings.secrets)})
    mistakes: tuple[dict[str, Any], ...] = redact.data([each._asdict() for each in error.mistakes])
    return Checked(shown, mistakes=tuple(mistakes), told=redact.text(error.render(shown)))


def _data(checked: Sequence[Checked]) -> dict[str, Any]:
    files = [
        {
            "file": each.path,
            "scenarios": each.scenarios,
            "mistakes": each.mistakes,
            "unchecked": each.unchecked,
        }
        for each in checked
    ]
    return {"format": FORMAT, "files": files}


def _text(checked: Sequence[Checked]) -> str:
    from pytest_clnrm.items.scenario_file import UNCHECKED_REMEDY

    lines = []
    for each in checked:
        if each.told:
            lines.append(each.told)
        if each.unchecked:
            lines.append(f"{each.path}: not checked: {', '.join(each.unchecked)} ({UNCHECKED_REMEDY})")
    mistakes = sum(len(each.mistakes) for each in checked)
    lines.append(
        f"{counted(len(checked), 'file')}, "
        f"{counted(sum(len(each.scenarios) for each in checked), 'scenario')}, "
        f"{counted(mistakes, 'mistake') if mistakes else 'no mistake'}"
    )
    return "\n".join(lines)
