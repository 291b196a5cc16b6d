"""The images of a scenario: those that its services start from, and those that it only looks at."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from pytest_clnrm.errors import ImageError
from pytest_clnrm.model.check import ImageCheck
from pytest_clnrm.model.scenario import service_of
from pytest_clnrm.model.service import Service
from pytest_clnrm.runner.launch import get_image
from pytest_clnrm.runner.prepared import image_to_start

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from contextlib import AbstractContextManager

    from pytest_clnrm.engine.api import ImageFacts
    from pytest_clnrm.model.scenario import Scenario
    from pytest_clnrm.runtime.runtime import Runtime
    from pytest_clnrm.telemetry.tracing import ScenarioTrace


@dataclass(kw_only=True)
class ScenarioImages:
    """The images of one run of a scenario, once :meth:`get` has got them.

    :param about: remembers of an error within which service it is about.
    :param labels: returns the labels of a container that is started only to be kept as an image.
    :param hide: hides secrets in a text.
    :ivar of: those that services start from, by the services' names.
    :ivar checked: those that are looked at, by their own names, or why one cannot be had.
    :ivar notes: what is worth telling of how they were got.
    """

    scenario: Scenario
    runtime: Runtime
    trace: ScenarioTrace
    about: Callable[[Service], AbstractContextManager[None]]
    labels: Callable[[], Mapping[str, str]]
    hide: Callable[[str], str]
    of: dict[str, ImageFacts] = field(default_factory=dict)
    checked: dict[str, ImageFacts | ImageError] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def get(self) -> None:
        """Get them.

        :raises ClnrmError: if one cannot be had, or no engine answers.
        """
        for each in self.scenario.services:
            with self.about(each):
                self.of[each.name] = image_to_start(
                    each,
                    get_image(self.runtime, each, self.trace, self.scenario.timeout_s),
                    runtime=self.runtime,
                    trace=self.trace,
                    labels=self.labels,
                    hide=self.hide,
                    note=self.notes.append,
                    timeout_s=self.scenario.timeout_s,
                )
        for run in self.scenario.image_runs:
            if run.image not in self.checked:
                with self.about(replace(service_of(run), name="")):
                    self.checked[run.image] = get_image(self.runtime, service_of(run), self.trace)
        for check in self._checks():
            service = Service(name=check.image, image=check.image, at=check.at)
            try:
                self.checked[check.image] = get_image(self.runtime, service, self.trace)
            except ImageError as error:
                # That is the check's own failure.
                self.checked[check.image] = error

    def _checks(self) -> Iterator[ImageCheck]:
        """Yield the checks of images that are no service's."""
        for step in self.scenario.steps:
            for check in step.checks:
                if isinstance(check, ImageCheck) and not step.templated and check.image not in self.of:
                    yield check
