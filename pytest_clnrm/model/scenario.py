"""The vocabulary of a scenario: frozen values that every room may import.

They come validated out of :mod:`pytest_clnrm.scenario.loading`; nothing here checks input. Templates
are rendered, units are in the names, and names of services are resolved. ``at`` is the path of keys and
indices in the file as its author wrote it (``("service", "db", "ports", 0)``), from which
:func:`pytest_clnrm.scenario.locating.locate` finds line and column when a message needs them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from pytest_clnrm.model.expectations import Expectations
from pytest_clnrm.model.key_path import KeyPath
from pytest_clnrm.model.priority import Priority
from pytest_clnrm.model.selection import Selection
from pytest_clnrm.model.service import Ready, Service
from pytest_clnrm.model.step import ImageRun, Step


@dataclass(frozen=True, slots=True, kw_only=True)
class Unchecked:
    """A claim of a file in a foreign dialect that we do not check, and say so.

    :param path: the key as its author wrote it (``assertions.execution_should_be_hermetic``).
    """

    path: str
    at: KeyPath = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """One runnable item of a scenario file.

    :param name: the item's name, unique in its file: ``[meta] name`` or ``[[scenario]] name``, followed
        by ``[axis=value,...]`` for a combination of the matrix.
    :param file: absolute path of the file.
    :param tags: in the order of the file, file-level ones first.
    :param priority: None if the file names none.
    :param timeout_s: seconds for the whole scenario; None if the file names none.
    :param services: in the order of the file; every step's service is among them.
    :param stdout_spans: True where the file says that programs print spans as JSON lines.
    :param variables: what ``{{ name }}`` may name in later steps besides captures.
    :param secrets: values that must not be shown anywhere.
    :param line: 1-based line at which the scenario starts.
    """

    name: str
    file: str
    description: str = ""
    tags: tuple[str, ...] = ()
    priority: Priority | None = None
    timeout_s: float | None = None
    services: tuple[Service, ...] = ()
    steps: tuple[Step, ...] = ()
    expect: Expectations = field(default_factory=Expectations)
    selection: Selection = field(default_factory=Selection)
    stdout_spans: bool = False
    unchecked: tuple[Unchecked, ...] = ()
    variables: Mapping[str, Any] = field(default_factory=dict)
    secrets: frozenset[str] = frozenset()
    matrix: Mapping[str, str] = field(default_factory=dict)
    line: int = 1
    at: KeyPath = ()

    @property
    def image_runs(self) -> tuple[ImageRun, ...]:
        """Return what its steps, and those of resets, run in containers of their own, one at a time."""
        return tuple(each.action for each in self._all_steps if isinstance(each.action, ImageRun))

    @property
    def captures_secrets(self) -> bool:
        """Tell whether a step, or one of a reset, captures what must not be shown."""
        return any(each.captures_secrets for each in self._all_steps)

    @property
    def _all_steps(self) -> Iterator[Step]:
        for each in self.services:
            yield from each.reset
        yield from self.steps


def service_of(run: ImageRun) -> Service:
    """Return a container that runs once as a service that ends.

    Its name is that of the image, without folders and tag.
    """
    return Service(
        name=run.image.rpartition("/")[2].partition("@")[0].partition(":")[0],
        image=run.image,
        entrypoint=run.entrypoint,
        command=run.run,
        env=run.env,
        workdir=run.workdir,
        user=run.user,
        limits=run.limits,
        ready=(Ready(exit=(0,)),),
        at=run.at,
    )
