"""Errors that end a scenario as its failures: what place, service or step each is about."""

from __future__ import annotations

import os.path
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_clnrm.errors import (
    ClnrmError,
    ContainerError,
    EngineUnavailableError,
    ServiceError,
    UnsharedError,
)
from pytest_clnrm.model.key_path import file_and_path
from pytest_clnrm.model.result import Failure

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from pytest_clnrm.model.key_path import KeyPath
    from pytest_clnrm.model.result import StepResult
    from pytest_clnrm.model.scenario import Scenario
    from pytest_clnrm.model.service import Service
    from pytest_clnrm.settings.settings import Settings
    from pytest_clnrm.util.redaction import Redactor


@dataclass(kw_only=True)
class Blame:
    """Makes failures of the errors of one run of a scenario.

    :param file: the scenario's file as it is shown.
    :param locate: returns line and column of a key path in that file.
    """

    scenario: Scenario
    file: str
    locate: Callable[[KeyPath], tuple[int, int]]
    settings: Settings
    redactor: Redactor
    _guilty: list[tuple[ClnrmError, Service, KeyPath]] = field(default_factory=list)

    def where(self, at: KeyPath) -> str:
        """Name file and line of a key path."""
        line, _ = self.locate(at)
        other, _ = file_and_path(at)
        if not other:
            return f"{self.file}:{line}"
        # As seen from the same folder as the scenario's own file.
        way = os.path.relpath(other, Path(self.scenario.file).parent)
        return f"{os.path.normpath(Path(self.file).parent / way)}:{line}"

    @contextmanager
    def about(self, service: Service) -> Iterator[None]:
        """Remember of an error which service it is about."""
        try:
            yield
        except EngineUnavailableError:
            raise
        except UnsharedError as error:
            at = next((each.at for each in service.volumes if each.source == error.source), service.at)
            told = ContainerError(str(error))
            self._guilty.append((told, service, at))
            raise told from error
        except ClnrmError as error:
            self._guilty.append((error, service, service.at))
            raise

    def failure_of(self, error: ClnrmError, steps: Sequence[StepResult]) -> Failure:
        """Return an error as a failure, with its place in the file, and its service or step.

        :param steps: what is known of the steps so far.
        """
        failure = replace(self.cut_off(str(error), steps), is_infrastructure=error.is_infrastructure)
        if isinstance(error, ServiceError):
            failure = replace(failure, details=self.redactor.end_of_text(error.logs))
        about = next(((service, at) for each, service, at in self._guilty if each is error), None)
        if failure.step or about is None:
            return failure
        service, at = about
        if isinstance(error, ServiceError):
            service = next((each for each in self.scenario.services if each.name == error.service), service)
            at = error.at or service.at
        named = f"service {service.name!r}"
        if service.name and not (service.implicit or named in failure.message):
            failure = replace(failure, message=f"{named}: {failure.message}")
        return replace(failure, where=self.where(at)) if at else failure

    def cut_off(self, message: str, steps: Sequence[StepResult]) -> Failure:
        """Return the failure that the scenario has ended before its end, with the step that ran."""
        ran = [pair for pair in zip(self.scenario.steps, steps, strict=False) if pair[1].outcome != "not run"]
        if ran and ran[-1][1].outcome in {"timeout", "error"}:
            step = ran[-1][0]
            return Failure(kind="error", message=message, where=self.where(step.at), step=step.name)
        return Failure(kind="error", message=message, where=f"{self.file}:{self.scenario.line}")

    def timed_out(self, timeout_s: float, during: str, steps: Sequence[StepResult]) -> Failure:
        """Return the failure that the scenario's time was over."""
        own = self.scenario.timeout_s is not None
        source = f"timeout of {self.file}" if own else self.settings.origin("timeout_s")
        return self.cut_off(f"Scenario timeout after {timeout_s:g}s ({source}) while {during}", steps)
