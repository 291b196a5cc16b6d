"""``reset`` of a shared service, see :mod:`pytest_clnrm.scenario.format.document`.

It is of steps, of which Python tests know nothing unless they reset one: they import this only then.
"""

import dataclasses
from functools import partial
from typing import Annotated

from msgspec import Meta

from pytest_clnrm.model.limits import Limits
from pytest_clnrm.model.service import Service
from pytest_clnrm.model.step import Command, Step
from pytest_clnrm.scenario.format.parts import At, CommandLine, Source, Table, argv_of
from pytest_clnrm.scenario.format.service_document import ServiceDoc
from pytest_clnrm.scenario.format.step_document import StepDoc


class ResetDoc(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is done to a shared service between two scenarios, which use it one at a time then."""

    command: (
        Annotated[
            CommandLine,
            Meta(description="Run in the container; it must exit with 0.", examples=["redis-cli flushall"]),
        ]
        | None
    ) = None
    steps: Annotated[
        list[StepDoc],
        Meta(
            description="Steps, one after the other, instead.",
            examples=[
                [{"name": "empty", "run": "redis-cli flushall"}, {"http": "POST http://api:8080/seed"}]
            ],
        ),
    ] = []

    def built(self, service: str, limits: Limits, source: Source, at: At) -> tuple[Step, ...]:
        """Return what is done.

        :param service: that is reset.
        :param limits: of a container of a step's own.
        :param source: returns the path of a file that a step sends.
        """
        if self.command is not None:
            command = Command(run=argv_of(self.command), at=at())
            return (Step(name="", service=service, action=command, phase="setup", at=at()),)
        return tuple(
            each.built(
                f"step {index + 1}",
                "" if each.action == "image" else service,
                service,
                "setup",
                limits,
                source,
                partial(at, "steps", index),
            )
            for index, each in enumerate(self.steps)
        )


class FileServiceDoc(ServiceDoc, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A service of a scenario file: one that scenarios share may be reset between them."""

    reset: (
        Annotated[
            ResetDoc,
            Meta(
                description="Done to a shared service between two users; they take turns then.",
                examples=[{"command": "redis-cli flushall"}],
            ),
        ]
        | None
    ) = None

    def built(self, name: str, limits: Limits, source: Source, at: At) -> Service:
        """Return the service, as :meth:`ServiceDoc.built` does."""
        service = super().built(name, limits, source, at)
        if self.reset is None:
            return service
        return dataclasses.replace(
            service, reset=self.reset.built(name, service.limits, source, partial(at, "reset"))
        )
