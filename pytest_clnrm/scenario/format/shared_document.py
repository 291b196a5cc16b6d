"""What keeps the users of a shared service apart, see :mod:`pytest_clnrm.scenario.format.document`."""

from typing import Annotated, Literal

from msgspec import Meta

from pytest_clnrm.model.key_path import KeyPath
from pytest_clnrm.model.service import Prepare, ResetStep
from pytest_clnrm.scenario.format.parts import CommandLine, Table, Text, argv_of


class PrepareDoc(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is done before a service is used; `{{ worker }}`, `{{ scenario_id }}` say for whom."""

    command: (
        Annotated[
            CommandLine,
            Meta(
                description="Run in the container; it must exit with 0.",
                examples=["createdb -T template_app {{ scenario_id }}"],
            ),
        ]
        | None
    ) = None
    each: Annotated[
        Literal["start", "worker", "scenario"],
        Meta(
            description="Once when it has started, and then kept as an image; once for each worker that uses "
            "it, or for each scenario.",
            examples=["scenario"],
        ),
    ] = "start"
    secrets: Annotated[
        bool, Meta(description="true: it is kept also if a secret is in it.", examples=[True])
    ] = False


def built_prepare(doc: bool | str | list[str] | PrepareDoc | None, at: KeyPath) -> Prepare | None:  # noqa: FBT001
    """Return what is done before a service is used, None for nothing."""
    if doc is None or doc is False:
        return None
    if isinstance(doc, PrepareDoc):
        command = () if doc.command is None else argv_of(doc.command)
        return Prepare(command=command, each=doc.each, secrets=doc.secrets, at=at)
    return Prepare(command=() if doc is True else argv_of(doc), at=at)


class ResetStepDoc(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A command of several that reset a shared service."""

    name: Annotated[
        str, Meta(description="As which it is shown; default: its number.", examples=["empty"])
    ] = ""
    run: Annotated[
        CommandLine,
        Meta(description="Run in the container; it must exit with 0.", examples=["redis-cli flushall"]),
    ]
    user: (
        Annotated[
            Text, Meta(description="User as whom it runs; default: the service's.", examples=["postgres"])
        ]
        | None
    ) = None


class ResetDoc(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is run in a shared service between two scenarios, which use it one at a time then."""

    command: (
        Annotated[
            CommandLine,
            Meta(description="Run in the container; it must exit with 0.", examples=["redis-cli flushall"]),
        ]
        | None
    ) = None
    steps: Annotated[
        list[ResetStepDoc],
        Meta(
            description="Several commands, one after the other, instead.",
            examples=[[{"name": "empty", "run": "redis-cli flushall"}]],
        ),
    ] = []

    def built(self) -> tuple[ResetStep, ...]:
        """Return what is run."""
        if self.command is not None:
            return (ResetStep(command=argv_of(self.command)),)
        return tuple(
            ResetStep(command=argv_of(each.run), name=each.name or str(number), user=each.user)
            for number, each in enumerate(self.steps, 1)
        )
