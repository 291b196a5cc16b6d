"""A scenario file in its canonical form: the tables and keys that it may hold.

This and the documents beside it are the one description of the format: a file is converted to it, its
mistakes are told from it (:mod:`pytest_clnrm.toml.checking`), and the JSON Schema is generated from it. What
types cannot say is checked by the rules beside them. ``extra["allowed"]`` says what a pattern allows.

They do without ``from __future__ import annotations``: msgspec would compile every annotation, a text then,
in each process that reads a file.

What a file may say in several ways, the model says in one: ``built()`` of a table in which no mistake was
found returns its part of :class:`~pytest_clnrm.model.scenario.Scenario`.
"""

from typing import Annotated, Any

from msgspec import Meta

from pytest_clnrm.scenario.format.block_document import BlockName, HeadDoc
from pytest_clnrm.scenario.format.end_check_document import EndCheckDoc
from pytest_clnrm.scenario.format.expect_document import ExpectDoc
from pytest_clnrm.scenario.format.limits_document import LimitsDoc
from pytest_clnrm.scenario.format.parts import ServiceName, Table, VariableName
from pytest_clnrm.scenario.format.reset_document import FileServiceDoc
from pytest_clnrm.scenario.format.selection_document import ItemDoc
from pytest_clnrm.scenario.format.step_document import StepDoc


class MetaDoc(ItemDoc, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the file is about; holds for each of its scenarios."""

    name: (
        Annotated[
            str,
            Meta(
                description="Unique in its file, without :: and ##[; default: the file's stem.",
                examples=["orders"],
            ),
        ]
        | None
    ) = None
    description: Annotated[
        str, Meta(description="What it is about, for the report.", examples=["An order is paid once."])
    ] = ""


class BlockDoc(HeadDoc, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Steps that others use by the block's name."""

    step: Annotated[
        list[StepDoc],
        Meta(min_length=1, description="What a use stands for.", examples=[[{"run": "true"}]]),
    ]


FinalChecks = Annotated[
    list[EndCheckDoc],
    Meta(
        min_length=1,
        description="Made after the steps, one after the other.",
        examples=[[{"file": "/app/out.csv", "size": {"gt": 0}}]],
    ),
]
SetupSteps = Annotated[
    list[StepDoc],
    Meta(
        min_length=1,
        description="Run before the steps; one that fails is an error.",
        examples=[[{"run": "createdb orders"}]],
    ),
]
CleanupSteps = Annotated[
    list[StepDoc],
    Meta(
        min_length=1,
        description="Run after steps and checks, whatever came of them.",
        examples=[[{"run": "dropdb orders"}]],
    ),
]


class ScenarioDoc(ItemDoc, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One of several scenarios of a file."""

    name: Annotated[
        str, Meta(description="Unique in its file, without :: and ##[.", examples=["an order is paid once"])
    ]
    setup: SetupSteps | None = None
    step: (
        Annotated[
            list[StepDoc],
            Meta(
                min_length=1, description="What is done, one after the other.", examples=[[{"run": "true"}]]
            ),
        ]
        | None
    ) = None
    cleanup: CleanupSteps | None = None
    check: FinalChecks | None = None
    expect: (
        Annotated[
            ExpectDoc,
            Meta(
                description="What its spans must look like.",
                examples=[{"span": [{"select": {"name": "GET *"}}]}],
            ),
        ]
        | None
    ) = None


Scalar = str | int | float | bool
Row = dict[VariableName, Scalar]
Matrix = Annotated[
    dict[VariableName, Annotated[list[Scalar | Row], Meta(min_length=1)]],
    Meta(
        description="One item for every combination; {{ matrix.axis }}. Tables in include add to "
        "combinations, or make more; those in exclude take combinations away.",
        examples=[
            {"database": ["15", "16"], "tls": [True, False], "exclude": [{"database": "15", "tls": True}]}
        ],
    ),
]
Rows = Annotated[
    list[Row],
    Meta(
        min_length=1,
        description="One item for every row; {{ param.name }}. The id is shown in the item's name.",
        examples=[[{"id": "empty", "text": "", "words": 0}, {"id": "two", "text": "a b", "words": 2}]],
    ),
]


class AxesDoc(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is needed before the rest can be rendered; the matrix without its include and exclude."""

    matrix: dict[VariableName, Annotated[list[Scalar], Meta(min_length=1)]] = {}
    parametrize: Rows | None = None


class MatrixRulesDoc(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``include`` and ``exclude`` of the matrix by themselves."""

    matrix: dict[str, list[Row]]


class FileDoc(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A scenario file."""

    ONE_OF = ("step", "scenario")
    REMEDY = 'write [[step]] with run = "..."'

    meta: Annotated[
        MetaDoc,
        Meta(
            description="What the file is about, and which of its scenarios run.",
            examples=[{"name": "orders", "tags": ["smoke"], "timeout": "90s"}],
        ),
    ] = MetaDoc()
    vars: Annotated[
        dict[str, Any],
        Meta(
            description="{{ name }} in any string of the file; { value, secret } for what is shown nowhere.",
            examples=[{"customer": "Ada", "token": {"value": "t0p", "secret": True}}],
        ),
    ] = {}
    matrix: Matrix = {}
    parametrize: Rows | None = None
    limits: Annotated[
        LimitsDoc,
        Meta(
            description="What each container may use; a service's own win.",
            examples=[{"memory": "256m", "cpu": 0.5}],
        ),
    ] = LimitsDoc()
    steps: Annotated[
        dict[BlockName, BlockDoc],
        Meta(
            description='Blocks of steps, for steps with use = "NAME".',
            examples=[{"login": {"args": ["user"], "step": [{"run": "login {{ args.user }}"}]}}],
        ),
    ] = {}
    service: Annotated[
        dict[ServiceName, FileServiceDoc],
        Meta(
            description="Containers, by the names under which they reach one another.",
            examples=[{"db": {"image": "postgres:16", "ready": {"port": 5432}}}],
        ),
    ] = {}
    setup: SetupSteps | None = None
    step: (
        Annotated[
            list[StepDoc],
            Meta(
                min_length=1, description="What is done, one after the other.", examples=[[{"run": "true"}]]
            ),
        ]
        | None
    ) = None
    cleanup: CleanupSteps | None = None
    scenario: (
        Annotated[
            list[ScenarioDoc],
            Meta(
                min_length=1,
                description="Several scenarios, in place of `step`.",
                examples=[[{"name": "empty", "step": [{"run": "true"}]}]],
            ),
        ]
        | None
    ) = None
    check: FinalChecks | None = None
    expect: (
        Annotated[
            ExpectDoc,
            Meta(
                description="What the spans of each scenario must look like.",
                examples=[{"span": [{"select": {"name": "GET *"}}]}],
            ),
        ]
        | None
    ) = None
