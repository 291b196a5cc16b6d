"""The machine: memory, CPUs and disks against what runs may take."""

from __future__ import annotations

import os
import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_clnrm.doctor.finding import Finding, broken, good, megabytes, not_tried, warning

if TYPE_CHECKING:
    from pytest_clnrm.doctor.patient import Patient

_MIB = 1024**2
MEMINFO = Path("/proc/meminfo")
OF_ENGINE = (500 * _MIB, 5000 * _MIB)
"""Free on the engine's disk: with less than the first, images do not fit; than the second, soon not."""
OF_RUNS = (20 * _MIB, 200 * _MIB)
"""The same of folders in which runs keep notes, spans and artifacts."""


def memory(patient: Patient) -> Finding:
    """Compare containers' memory with the budget, and the budget with the machine."""
    settings, facts = patient.settings, patient.facts
    budget = patient.runtime.budget()
    each, total = settings.memory_bytes, budget.memory_bytes
    if each > total:
        return broken(
            f"a container of {megabytes(each)} does not fit into the budget of {megabytes(total)}",
            "lower --clnrm-memory, or raise --clnrm-memory-budget: "
            f"the engine has {megabytes(facts.memory_bytes)}",
        )
    if total > facts.memory_bytes:
        return warning(
            f"the budget of {megabytes(total)} is more than the engine's {megabytes(facts.memory_bytes)}",
            "lower --clnrm-memory-budget",
        )
    free = _available_bytes() if patient.is_here else None
    if free is not None and free < each:
        return warning(
            f"only {megabytes(free)} of memory are free here, and a container may take {megabytes(each)}",
            "end what is not needed, or lower --clnrm-memory",
        )
    fit = min(settings.max_containers, total // each)
    return good(
        f"{megabytes(total)} for all containers: {fit} of {megabytes(each)} at the same time "
        f"(at most {settings.max_containers})"
    )


def _available_bytes() -> int | None:
    """Return how much memory is free on this machine, None if that is not told."""
    try:
        found = re.search(r"^MemAvailable:\s+(\d+) kB", MEMINFO.read_text(encoding="ascii"), re.MULTILINE)
    except OSError:
        return None
    return int(found[1]) * 1024 if found else None


def cpus(patient: Patient) -> Finding:
    """Compare containers' CPUs with the engine's and the budget."""
    settings, facts = patient.settings, patient.facts
    if settings.cpus > facts.cpus:
        return broken(
            f"each container gets {settings.cpus:g} CPUs, and the engine has {facts.cpus}",
            f"--clnrm-cpu {facts.cpus} at most",
        )
    if settings.cpu_budget is not None and settings.cpus > settings.cpu_budget:
        return broken(
            f"each container gets {settings.cpus:g} CPUs, and all together have {settings.cpu_budget:g}",
            "lower --clnrm-cpu, or raise --clnrm-cpu-budget",
        )
    shared = "shared by all" if settings.cpu_budget is None else f"of which all have {settings.cpu_budget:g}"
    return good(f"the engine has {facts.cpus}, {shared}; each container gets {settings.cpus:g} at most")


def engine_disk(patient: Patient) -> Finding:
    """Look at the free space where the engine keeps images and containers."""
    root = patient.asked.about.root
    if not patient.is_here or not root or not Path(root).exists():
        return not_tried("the engine's disk is not this machine's")
    return _room(Path(root), "the engine's folder", OF_ENGINE, "docker system prune, or a larger disk")


def disks(patient: Patient) -> Finding:
    """Look at the free space where runs keep what they note."""
    places = {
        "temporary files (TMPDIR)": Path(tempfile.gettempdir()),
        "the ledger": patient.runtime.folder().path,
        "the project": patient.rootdir,
    }
    found = [_room(path, f"the folder of {what}", OF_RUNS, "make room") for what, path in places.items()]
    worst = next((each for state in ("broken", "warning") for each in found if each.state == state), None)
    return worst or good(
        f"there is room in {', '.join(dict.fromkeys(str(each) for each in places.values()))}"
    )


def _room(path: Path, what: str, least: tuple[int, int], remedy: str) -> Finding:
    facts = os.statvfs(path)
    free = facts.f_bavail * facts.f_frsize
    text = f"{megabytes(free)} free in {what}, {path}"
    if facts.f_files and not facts.f_favail:
        return broken(f"{what}, {path}, can hold no more files", remedy)
    if free < least[0]:
        return broken(text, remedy)
    return warning(text, remedy) if free < least[1] else good(text)


def writable(patient: Patient) -> Finding:
    """Make files where runs make theirs."""
    told = [_why_not_writable(folder) for folder in (Path(tempfile.gettempdir()), patient.rootdir)]
    if wrong := [each for each in told if each]:
        return warning(
            "; ".join(wrong), "give write access, or choose other folders (TMPDIR, --clnrm-report)"
        )
    return good("temporary files and reports can be written")


def _why_not_writable(folder: Path) -> str:
    """Return why no file can be made in a folder, "" if one can."""
    try:
        with tempfile.TemporaryFile(dir=folder):
            return ""
    except OSError as error:
        return f"{folder}: {error.strerror}"
