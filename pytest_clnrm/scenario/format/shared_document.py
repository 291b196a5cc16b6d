"""What is done before a service is used, see :mod:`pytest_clnrm.scenario.format.document`."""

from typing import Annotated, Literal

from msgspec import Meta

from pytest_clnrm.model.key_path import KeyPath
from pytest_clnrm.model.service import Prepare
from pytest_clnrm.scenario.format.parts import CommandLine, Table, argv_of


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
