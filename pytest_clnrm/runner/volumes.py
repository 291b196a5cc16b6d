"""Writable volumes: what a scenario left in them, and whether others use what they hold."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_clnrm.errors import ClnrmError
from pytest_clnrm.model.result import Failure

if TYPE_CHECKING:
    from pytest_clnrm.model.scenario import Scenario
    from pytest_clnrm.pool.running import RunningContainer
    from pytest_clnrm.runtime.runtime import Runtime


def problems_left(
    runtime: Runtime, containers: Iterable[RunningContainer], *, failed: bool
) -> Iterator[Failure]:
    """Yield what is dangerous in what a scenario left in its writable volumes.

    Unless they are kept its containers are ended first, so that nothing can write there any more.

    :param failed: the scenario has failed for other reasons.
    """
    writable = [each for each in containers if each.sources.writable]
    if not (failed and runtime.settings.keep == "failed"):
        yield from (Failure(kind="error", message=each) for each in _not_ended(runtime, writable))
    for each in writable:
        yield from (Failure(kind="error", message=problem) for problem in each.sources.left(runtime.loaded))


def _not_ended(runtime: Runtime, containers: Iterable[RunningContainer]) -> Iterator[str]:
    """End containers, and yield why some could not be ended."""
    for each in containers:
        try:
            runtime.engine().stop(each.id, grace_s=0)
        except ClnrmError as error:  # noqa: PERF203 (the others are ended all the same)
            yield str(error)


def named_files(scenario: Scenario) -> Iterator[tuple[str, str, object, bool]]:
    """Yield the path of each file and folder of the host that a scenario names.

    With it: what it is, in words; where it is named; and whether it is a writable volume.
    """
    for service in scenario.services:
        for volume in service.volumes:
            what = f"a volume of service {service.name!r} of {Path(scenario.file).name}"
            yield volume.source, what, (scenario.file, volume.at), not volume.read_only
        for copy in service.files:
            if copy.source is not None:
                what = f"a file of service {service.name!r} of {Path(scenario.file).name}"
                yield copy.source, what, (scenario.file, copy.at), False
        for path in service.env_files:
            what = f"a file of variables of service {service.name!r} of {Path(scenario.file).name}"
            yield path, what, (scenario.file, (*service.at, "env_file")), False
        if service.build is not None:
            what = f"the build context of service {service.name!r} of {Path(scenario.file).name}"
            yield service.build.context, what, (scenario.file, service.build.at), False


def shared_with(scenario: Scenario, others: Iterable[Scenario], loaded: Mapping[str, str]) -> str:
    """Return which writable volume of *scenario* holds what others use, "" if none does.

    Whoever can write into a folder decides what the paths in it lead to. The same entry of the same file, in
    another combination of its matrix, does not count as another's.

    :param others: all scenarios of the session.
    :param loaded: what is loaded on this host: absolute path -> what it is, in words.
    """
    own = [(path, at) for path, _, at, writable in named_files(scenario) if writable]
    if not own:
        return ""
    needed = [(path, what, at) for each in others for path, what, at, _ in named_files(each)]
    needed += [(path, what, None) for path, what in loaded.items()]
    for folder, at in own:
        for path, what, where in needed:
            if where != at and (path == folder or path.startswith(f"{folder.rstrip('/')}/")):
                return (
                    f"{folder} is to be writable, but {path} is {what}: "
                    "a writable volume holds nothing that others use"
                )
    return ""


def imported() -> dict[str, str]:
    """Return the folders that Python imports from."""
    return {str(Path(each).resolve()): "a folder that Python imports from" for each in sys.path if each}
