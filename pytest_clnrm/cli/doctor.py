"""``clnrm doctor``: does everything fit together on this machine."""

from __future__ import annotations

from collections import Counter
from contextlib import closing
from pathlib import Path

import click

from pytest_clnrm.cli.command import DONE, FAILED, USAGE, command, json_option, say, say_json

FORMAT = 1


@command(
    "doctor",
    examples=[
        ("doctor", "Try what a run would need, with the settings of this project."),
        ("doctor --engine unix:///run/podman/podman.sock", "With another engine."),
        ("doctor --json", "One JSON document, for a bug report or a program."),
    ],
    exits={
        DONE: "nothing is broken; there may be warnings",
        FAILED: "something is broken, or the project's settings are wrong",
        USAGE: "wrong arguments",
    },
)
@json_option("As one JSON document.")
@click.option(
    "--engine", metavar="auto|embedded|kubernetes|URL", help="As --clnrm-engine (default: the project's)."
)
@click.option(
    "--ledger-dir",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="As clnrm_ledger_dir (default: the project's).",
)
def doctor(*, as_json: bool, engine: str | None, ledger_dir: Path | None) -> int:
    """Try what runs of this project need on this machine.

    Engine, limits, memory, disks, networks, DNS, the way from containers to this process, registry, ledger
    and neighbours: one line each, with a remedy where something is not as it should be. A network and small
    containers are made on the engine, and removed; no image is pulled.
    """
    from pytest_clnrm.cli.project import project_of
    from pytest_clnrm.doctor.examine import examine
    from pytest_clnrm.doctor.patient import Patient

    words = [f"--clnrm-engine={engine}"] if engine else []
    words += [f"-oclnrm_ledger_dir={ledger_dir.absolute()}"] if ledger_dir else []
    project = project_of([Path.cwd()], words)
    findings = []
    with closing(Patient(project.settings, project.rootdir)) as patient:
        for name, finding in examine(patient):
            findings.append((name, finding))
            if not as_json:
                say(f"{finding.state:9}  {name}: {finding.describe()}")
    counts = Counter(finding.state for _, finding in findings)
    if as_json:
        checks = [
            {"check": name, "state": finding.state, "text": finding.text, "remedy": finding.remedy}
            for name, finding in findings
        ]
        say_json({"format": FORMAT, "checks": checks})
    else:
        say(f"{counts['broken']} broken, {counts['warning']} warnings, {counts['good']} good")
    return FAILED if counts["broken"] else DONE
