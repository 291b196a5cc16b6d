"""Registries: credential helpers, and whether the engine reaches the one of the default image."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

from pytest_clnrm.doctor.finding import Finding, broken, good, not_tried, warning
from pytest_clnrm.engine.connect.about import credential_helpers
from pytest_clnrm.errors import ImageError, PullError
from pytest_clnrm.model.service import Service
from pytest_clnrm.runner.launch import image_name
from pytest_clnrm.util.terminal_text import one_line

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_clnrm.doctor.patient import Patient

_HELPER_S = 10
_SAID_CHARS = 200


def credentials(patient: Patient) -> Finding:
    """Call the credential helpers that Docker's configuration names."""
    try:
        file, helpers = credential_helpers(patient.environ)
    except (OSError, ValueError) as error:
        return warning(f"Docker's configuration cannot be read ({error})", "mend or remove its config.json")
    wrong = [problem for name in sorted(helpers) for problem in _problems(name, patient)]
    if wrong:
        return warning(
            f"{'; '.join(wrong)}: private images cannot be pulled",
            f"install it, or take it out of {file}",
        )
    if not helpers:
        return good("no credential helper is named")
    return good(f"credential helpers answer: {', '.join(sorted(helpers))}")


def _problems(name: str, patient: Patient) -> Iterator[str]:
    program = shutil.which(f"docker-credential-{name}", path=patient.environ.get("PATH"))
    if program is None:
        yield f"the credential helper docker-credential-{one_line(name)} is not on PATH"
        return
    try:
        done = subprocess.run(
            [program, "list"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_HELPER_S,
            check=False,
            errors="replace",
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        yield f"{program} does not answer ({error})"
        return
    if done.returncode:
        said = one_line((done.stderr or done.stdout).strip())[:_SAID_CHARS]
        yield f"{program} fails ({said or f'exit code {done.returncode}'})"


def registry(patient: Patient) -> Finding:
    """Have the engine ask the registry of the default image, without pulling it."""
    image = image_name(patient.settings, Service(name="default"))
    is_there = _has(patient, image)
    if patient.facts.kind == "podman":
        has = f"it has {image}" if is_there else f"it does not have {image}"
        return not_tried(f"Podman asks no registry without pulling; {has}")
    try:
        patient.asked.ask_registry(image)
    except PullError as error:
        remedy = "log in (docker login), set the engine's proxy or a mirror, or use --clnrm-image-map"
        if is_there:
            return warning(f"{error}; the engine has that image already", remedy)
        return broken(str(error), remedy)
    except ImageError as error:
        if is_there:
            return good(f"{image} is there; no registry has it")
        return broken(str(error), "name another image: clnrm_default_image")
    return good(f"the engine reaches the registry of {image}{', and has the image' if is_there else ''}")


def _has(patient: Patient, image: str) -> bool:
    try:
        patient.engine().ensure_image(image, "never")
    except ImageError:
        return False
    return True
