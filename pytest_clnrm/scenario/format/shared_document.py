"""What keeps the users of a shared service apart, see :mod:`pytest_clnrm.scenario.format.document`."""

from typing import Annotated, Literal

from msgspec import Meta

from pytest_clnrm.model.key_path import KeyPath
from pytest_clnrm.model.service import Prepare
from pytest_clnrm.scenario.format.parts import CommandLine, Table, argv_of


class PrepareDoc(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is run in a shared service before it is used; `{{ worker }}`, `{{ scenario_id }}` say for whom."""

    command: Annotated[
        CommandLine,
        Meta(
            description="Run in the container; it must exit with 0.",
            examples=["createdb -T template_app {{ scenario_id }}"],
        ),
    ]
    each: Annotated[
        Literal["start", "worker", "scenario"],
        Meta(
            description="Once when it has started, once for each worker that uses it, or for each scenario.",
            examples=["scenario"],
        ),
    ] = "start"

    def built(self, at: KeyPath) -> Prepare:
        """Return it."""
        return Prepare(command=argv_of(self.command), each=self.each, at=at)


class ResetDoc(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is run in a shared service between two scenarios, which use it one at a time then."""

    command: Annotated[
        CommandLine,
        Meta(description="Run in the container; it must exit with 0.", examples=["redis-cli flushall"]),
    ]
