"""The steps of a scenario, and what is expected of each: frozen values that every room may import.

They come validated out of :mod:`pytest_clnrm.scenario.loading`, as those of
:mod:`pytest_clnrm.model.service`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from pytest_clnrm.model.check import Check
from pytest_clnrm.model.fault import AwaitExit, Fault
from pytest_clnrm.model.http import HttpExpect, HttpRequest
from pytest_clnrm.model.key_path import KeyPath
from pytest_clnrm.model.limits import Limits
from pytest_clnrm.model.text import TextExpect


@dataclass(frozen=True, slots=True, kw_only=True)
class StepExpect:
    """What a step must do. Exit codes: it must be in ``exit_in`` and not in ``exit_not_in``.

    :param service_ends: the step ends its own service, as its ``may_end`` says, and may be cut off by that
        before it has told its exit code.
    :param http: of a step that makes a request, whose only expectation it is.
    """

    exit_in: tuple[int, ...] = (0,)
    exit_not_in: tuple[int, ...] = ()
    service_ends: bool = False
    stdout: TextExpect | None = None
    stderr: TextExpect | None = None
    http: HttpExpect | None = None
    at: KeyPath = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """A step is run again while it fails.

    :param times: how many further runs there are at most, None if only time limits them.
    :param delay_s: seconds between two runs.
    :param timeout_s: for all runs together; one that has not ended by then is ended. None: the scenario's.
    """

    times: int | None = 0
    delay_s: float = 0.0
    timeout_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Capture:
    """A value taken from what a step gave, named in later steps as ``{{ name }}``.

    :param regex: its first group (or the whole match if it has none), searched in what the others name.
    :param json: a JSON pointer (RFC 6901).
    :param header: of an answer.
    :param cookie: that an answer sets.
    :param stream: of a command; an answer's body stands for both.
    :param default: the value where there is none.
    """

    name: str
    regex: str | None = None
    json: str | None = None
    header: str | None = None
    cookie: str | None = None
    stream: Literal["stdout", "stderr"] = "stdout"
    default: str | None = None
    secret: bool = False
    at: KeyPath = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """A command in the container of the step's service.

    :param run: a string runs under ``sh -c``; a tuple is an argv.
    :cvar handed_fields: of which strings are handed to a program, and hold no NUL.
    """

    handed_fields: ClassVar = ("run", "env", "workdir", "user")

    run: str | tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    workdir: str | None = None
    user: str | None = None
    stdin: str | None = None
    at: KeyPath = ()

    @property
    def blank_fields(self) -> tuple[str, ...]:
        """Return the fields of which an empty text says something."""
        return ("env", "stdin") if isinstance(self.run, str) else ("run", "env", "stdin")


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageRun:
    """A container of an image that runs once, on the scenario's network.

    :param run: arguments of the entry point; None for the image's own.
    :param entrypoint: in place of the image's; () for none, None for the image's own.
    :param limits: of the container, as far as the file names them.
    :cvar blank_fields: of which an empty text says something.
    :cvar handed_fields: as of :class:`Command`.
    """

    blank_fields: ClassVar = ("run", "entrypoint", "env")
    handed_fields: ClassVar = ("run", "entrypoint", "env", "workdir", "user")

    image: str
    run: tuple[str, ...] | None = None
    entrypoint: tuple[str, ...] | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    workdir: str | None = None
    user: str | None = None
    limits: Limits = field(default_factory=Limits)
    at: KeyPath = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Nothing:
    """What a step does that only holds checks."""


Action = Command | ImageRun | HttpRequest | Fault | AwaitExit | Nothing
"""What a step does; :mod:`pytest_clnrm.runner.actions` has a module for each kind."""


Phase = Literal["setup", "test", "cleanup"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One thing that is done, and what is expected of it.

    :param service: in which it runs, or to which its request goes; "" where that is known only when it runs,
        and for a container of its own.
    :param checks: judged after the expectation.
    :param phase: a failure in "setup" is an error, no failed test; "cleanup" runs whatever failed before.
    :param templated: True if strings of its action, expectation or checks name captured values, which
        :func:`pytest_clnrm.scenario.templates.binding.bind_step` fills in before it runs.
    """

    name: str
    service: str
    action: Action
    timeout_s: float | None = None
    retry: Retry = field(default_factory=Retry)
    continue_on_failure: bool = False
    expect: StepExpect = field(default_factory=StepExpect)
    captures: tuple[Capture, ...] = ()
    checks: tuple[Check, ...] = ()
    phase: Phase = "test"
    templated: bool = False
    at: KeyPath = ()

    @property
    def env(self) -> Mapping[str, str]:
        """Return the variables that it sets for a program."""
        return self.action.env if isinstance(self.action, (Command, ImageRun)) else {}

    @property
    def captures_secrets(self) -> bool:
        """Tell whether what it captures must not be shown."""
        return any(each.secret for each in self.captures)
