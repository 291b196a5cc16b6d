"""Whether a scenario runs, and what its outcome counts as: what pytest says by its marks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

OF_PLUGINS = {"flaky": "pytest-rerunfailures", "order": "pytest-order", "timeout": "pytest-timeout"}
"""Marks with arguments that a file may set, and the plugin that each belongs to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SkipIf:
    """A condition under which a scenario is skipped: all that it names must hold.

    :param env: environment variables that must be set, and not empty.
    :param missing_env: of which at least one must not be set, or be empty.
    :param platform: as ``sys.platform`` has it; one of them must be ours.
    :param engine: kinds of engine, of which one must be the one that is used; known once that is asked.
    :param when: what a template gave, None if there is none.
    :param reason: "" for one in words of what holds.
    """

    env: tuple[str, ...] = ()
    missing_env: tuple[str, ...] = ()
    platform: tuple[str, ...] = ()
    engine: tuple[str, ...] = ()
    when: bool | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Xfail:
    """A scenario is expected to fail.

    :param strict: True if it is a failure that it passes.
    :param errors: True if it may as well be that it cannot be run to its end.
    """

    reason: str
    strict: bool = True
    errors: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """A mark of pytest with its arguments."""

    name: str
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """What decides whether a scenario runs, and as what its outcome counts.

    :param skip: why it does not run, "" if it does.
    :param skip_if: of which none must hold for it to run.
    :param groups: names of groups of which only so many run at the same time.
    :param exclusive: True if nothing else that has containers may run at the same time.
    :param retries: how many further attempts there are when it fails; None: as many as --clnrm-retries says.
    """

    skip: str = ""
    skip_if: tuple[SkipIf, ...] = ()
    xfail: Xfail | None = None
    marks: tuple[Mark, ...] = ()
    groups: tuple[str, ...] = ()
    exclusive: bool = False
    retries: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownMarks:
    """The names of marks that a run knows.

    :param project: those that the project's own configuration registers.
    :param taken: those of pytest and of plugins.
    :param plugins: those of :data:`OF_PLUGINS` whose plugin is loaded.
    """

    project: frozenset[str] = frozenset()
    taken: frozenset[str] = frozenset()
    plugins: frozenset[str] = frozenset()


NO_MARKS = KnownMarks()
