"""``[steps.NAME]`` of a scenario file or of a file of blocks: steps that ``use = "NAME"`` stands for."""

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from pytest_clnrm.scenario.format.parts import ServiceName, Table, VariableName

USE_KEYS = ("use", "with", "service", "name")
"""The keys of a step that uses a block."""

Argument = str | int | float | bool | list[Any] | dict[str, Any]
BlockName = ServiceName


class HeadDoc(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Steps that others use by the block's name."""

    args: Annotated[
        list[VariableName],
        Meta(
            description="Names that each use has to give; the steps, and nothing else, name them "
            "{{ args.user }}.",
            examples=[["user"]],
        ),
    ] = []
    defaults: Annotated[
        dict[VariableName, Argument],
        Meta(
            description="Those that a use may leave out, with what they are then.",
            examples=[{"role": "reader"}],
        ),
    ] = {}


class UseDoc(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A step that uses a block, without what goes with no use."""

    use: str
    arguments: dict[VariableName, Argument] = msgspec.field(default={}, name="with")
    service: str | None = None
    name: str | None = None


class LooseBlockDoc(HeadDoc, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A block whose steps are looked at where they are used."""

    step: Annotated[list[dict[str, Any]], Meta(min_length=1)]


class BlocksDoc(Table, frozen=True, kw_only=True):
    """What of a file is looked at for its blocks."""

    steps: dict[BlockName, LooseBlockDoc] = {}
