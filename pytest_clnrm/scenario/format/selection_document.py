"""Keys of ``[meta]`` and ``[[scenario]]`` that say which scenarios run, and as what their outcome counts."""

from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal

from msgspec import Meta

from pytest_clnrm.model.selection import Mark, Selection, SkipIf, Xfail
from pytest_clnrm.scenario.format.marks import Marks, marks_of
from pytest_clnrm.scenario.format.parts import (
    Argv,
    Duration,
    Priority,
    ServiceName,
    Table,
    Tags,
    Text,
    several,
)

Platform = Literal["linux", "darwin", "win32"]
EngineKind = Literal["docker", "podman", "kubernetes"]
GroupName = Text
Reason = Annotated[Text, Meta(description="Shown with the outcome.", examples=["needs a display"])]
TRUTH = {"true": True, "True": True, "false": False, "False": False}
"""What a template gives for true and false, in the words of TOML and of Jinja."""


class SkipIfDoc(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A condition under which a scenario is skipped: all of it must hold."""

    CONDITIONS: ClassVar[tuple[str, ...]] = ("env", "missing_env", "platform", "engine", "when")

    env: (
        Annotated[
            Text | Argv,
            Meta(description="Environment variables that are set, and not empty.", examples=["CI"]),
        ]
        | None
    ) = None
    missing_env: (
        Annotated[
            Text | Argv,
            Meta(
                description="Environment variables of which one is not set, or empty.",
                examples=["REGISTRY_TOKEN"],
            ),
        ]
        | None
    ) = None
    platform: (
        Annotated[
            Platform | Annotated[list[Platform], Meta(min_length=1)],
            Meta(description="Where pytest runs, as sys.platform has it.", examples=["darwin"]),
        ]
        | None
    ) = None
    engine: (
        Annotated[
            EngineKind | Annotated[list[EngineKind], Meta(min_length=1)],
            Meta(description="The engine that is used.", examples=["podman"]),
        ]
        | None
    ) = None
    when: (
        Annotated[
            str | bool,
            Meta(
                description="A template that gives true or false.",
                examples=["{{ matrix.database == 'mysql' }}"],
            ),
        ]
        | None
    ) = None
    reason: Reason | None = None

    def built(self) -> SkipIf:
        """Return the condition."""
        when = TRUTH[self.when] if isinstance(self.when, str) else self.when
        return SkipIf(
            env=_names(self.env),
            missing_env=_names(self.missing_env),
            platform=_names(self.platform),
            engine=_names(self.engine),
            when=when,
            reason=self.reason or "",
        )


class XfailDoc(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Why a scenario is expected to fail, and what that takes."""

    reason: Reason
    strict: Annotated[bool, Meta(description="It is a failure that it passes.", examples=[False])] = True
    errors: Annotated[
        bool,
        Meta(
            description="It may as well not run to its end: no image, no service, no time left.",
            examples=[True],
        ),
    ] = False

    def built(self) -> Xfail:
        """Return the expectation."""
        return Xfail(reason=self.reason, strict=self.strict, errors=self.errors)


class ItemDoc(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a file says of all its scenarios, and a scenario of itself."""

    name: (
        Annotated[str, Meta(description="Unique in its file, without :: and ##[.", examples=["orders"])]
        | None
    ) = None
    description: (
        Annotated[
            str, Meta(description="What it is about, for the report.", examples=["An order is paid once."])
        ]
        | None
    ) = None
    tags: Annotated[
        Tags,
        Meta(
            description="Each is a marker of pytest, and a keyword for -k.", examples=[["smoke", "database"]]
        ),
    ] = []
    priority: (
        Annotated[
            Priority,
            Meta(
                description="What is of a higher one starts first; default: by its tags and folder.",
                examples=["high"],
            ),
        ]
        | None
    ) = None
    timeout: (
        Annotated[
            Duration, Meta(description="Of the whole scenario; default: --clnrm-timeout.", examples=["90s"])
        ]
        | None
    ) = None
    service: (
        Annotated[
            ServiceName,
            Meta(description="Of steps and checks that name none; a scenario's own wins.", examples=["api"]),
        ]
        | None
    ) = None
    skip: (
        Annotated[
            Text,
            Meta(description="Why it is not run; it is reported as skipped.", examples=["needs a licence"]),
        ]
        | None
    ) = None
    skip_if: (
        Annotated[
            SkipIfDoc | Annotated[list[SkipIfDoc], Meta(min_length=1)] | str | bool,
            Meta(
                description="Skipped if one of these holds; a text is a template that gives true or false.",
                examples=[
                    {"env": "CI", "reason": "needs a display"},
                    [{"platform": "darwin"}, {"engine": "podman"}],
                    "{{ matrix.database == 'mysql' }}",
                ],
            ),
        ]
        | None
    ) = None
    xfail: (
        Annotated[
            Text | XfailDoc,
            Meta(
                description="Why it is expected to fail; that it passes is a failure, unless strict = false.",
                examples=["rounding is off by one", {"reason": "depends on the kernel", "strict": False}],
            ),
        ]
        | None
    ) = None
    retry: (
        Annotated[
            int,
            Meta(
                ge=0,
                le=100,
                description="How often it is tried again, in new containers, when it fails; default: "
                "--clnrm-retries.",
                examples=[2],
            ),
        ]
        | None
    ) = None
    flaky: (
        Annotated[
            int,
            Meta(
                ge=0,
                le=100,
                description="How often it is run again when it fails, by pytest-rerunfailures.",
                examples=[2],
            ),
        ]
        | None
    ) = None
    marks: Annotated[
        Marks,
        Meta(
            description="Marks of pytest: a name, or { name = argument } of timeout, flaky and order, and of "
            "those in the ini option markers.",
            examples=[["slow", {"timeout": 30}, {"order": "first"}]],
        ),
    ] = []
    group: (
        Annotated[
            GroupName | Annotated[list[GroupName], Meta(min_length=1)],
            Meta(
                description="Of a group only so many run at the same time on this host: 1, or what "
                "clnrm_groups says.",
                examples=["database", ["database", "licence"]],
            ),
        ]
        | None
    ) = None
    exclusive: (
        Annotated[
            bool,
            Meta(
                description="Nothing else with containers runs at the same time on this host.",
                examples=[True],
            ),
        ]
        | None
    ) = None


def _names(given: str | Sequence[str] | None) -> tuple[str, ...]:
    return (given,) if isinstance(given, str) else tuple(given or ())


def _conditions(doc: ItemDoc) -> list[SkipIfDoc]:
    given = doc.skip_if
    return [SkipIfDoc(when=given)] if isinstance(given, (str, bool)) else several(given)


def selection(shared: ItemDoc, own: ItemDoc) -> Selection:
    """Return what a file says of its scenarios, and one of itself: that wins, and conditions add up."""
    xfail = own.xfail or shared.xfail
    if isinstance(xfail, str):
        xfail = XfailDoc(reason=xfail)
    return Selection(
        skip=own.skip or shared.skip or "",
        skip_if=tuple(each.built() for doc in (shared, own) for each in _conditions(doc)),
        xfail=xfail.built() if xfail else None,
        marks=_marks(shared, own),
        groups=tuple(dict.fromkeys(_names(shared.group if own.group is None else own.group))),
        retries=_retries(shared, own),
        exclusive=bool(shared.exclusive if own.exclusive is None else own.exclusive),
    )


def _retries(shared: ItemDoc, own: ItemDoc) -> int | None:
    if own.retry is None and own.flaky is not None:
        # What is nearer wins: pytest-rerunfailures runs this one again.
        return None
    return shared.retry if own.retry is None else own.retry


def _marks(shared: ItemDoc, own: ItemDoc) -> tuple[Mark, ...]:
    """Return the marks of a file and of one of its scenarios: of two with one name the scenario's."""
    found: dict[str, Mark] = {}
    for doc in (shared, own):
        found |= {each.name: each for each in marks_of(doc.marks)}
        if doc.flaky is not None:
            found["flaky"] = Mark(name="flaky", kwargs={"reruns": doc.flaky})
    return tuple(each for each in found.values() if each.kwargs.get("reruns") != 0)
