"""A scenario file in its canonical form: the tables and keys that it may hold.

This is the one description of the format: a file is converted to it, its mistakes are told from it
(:mod:`pytest_clnrm.toml.checking`), and the JSON Schema is generated from it. What types cannot say is
checked by :mod:`pytest_clnrm.scenario.format.rules`. ``extra["allowed"]`` says in words what a
pattern allows.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from pytest_clnrm.model.units import DURATION_ALLOWED, DURATION_PATTERN, SIZE_ALLOWED, SIZE_PATTERN
from pytest_clnrm.scenario.format.expect_document import ExpectDoc


def _words(allowed: str) -> dict[str, str]:
    return {"allowed": allowed}


Duration = (
    Annotated[float, Meta(ge=0, description="Seconds.")]
    | Annotated[str, Meta(pattern=DURATION_PATTERN, extra=_words(DURATION_ALLOWED))]
)
Size = (
    Annotated[int, Meta(ge=1, le=2**43 - 1, description="MB.")]
    | Annotated[str, Meta(pattern=SIZE_PATTERN, extra=_words(SIZE_ALLOWED))]
)
Text = Annotated[str, Meta(min_length=1)]
Argv = Annotated[list[str], Meta(min_length=1)]
Command = Annotated[str, Meta(min_length=1, description="Runs under sh -c.")] | Argv
Port = Annotated[int, Meta(ge=1, le=65535)]
AbsolutePath = Annotated[
    str, Meta(pattern="^/", extra=_words("an absolute path in the container such as /data"))
]
Tags = list[Text]
Priority = Literal["high", "normal", "low"]
StepFolder = Annotated[
    str, Meta(pattern="^/|{{", extra=_words("an absolute path in the container such as /data"))
]
ServiceName = Annotated[
    str,
    Meta(
        pattern="^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$",
        extra=_words("up to 63 letters, digits, '_', '.' and '-', a letter or digit first"),
    ),
]
VariableName = Annotated[
    str,
    Meta(
        pattern="^[A-Za-z_][A-Za-z0-9_]*$",
        extra=_words("letters, digits and '_', no digit first"),
    ),
]
EnvName = Annotated[str, Meta(pattern="^[^=\\u0000]+$", extra=_words("a name without '='"))]
Env = dict[EnvName, str | int | float | bool]
Patterns = str | Argv
HttpPath = Annotated[
    str,
    Meta(
        pattern="^(:[0-9]{1,5})?/",
        extra=_words('a path such as "/health", or with a port in front ":8080/health"'),
    ),
]
JsonPointer = Annotated[
    str,
    Meta(pattern="^(/|$)", extra=_words('a JSON pointer such as "/items/0/id", or "" for the whole')),
]
ExitCode = Annotated[int, Meta(ge=0, le=255)]
ExitCodes = ExitCode | Annotated[list[ExitCode], Meta(min_length=1)]
# No text with a pattern: of a union of one with a list msgspec 0.22 frees too much, and the process crashes.
HttpStatus = Annotated[int, Meta(ge=100, le=599)] | Literal["1xx", "2xx", "3xx", "4xx", "5xx"]


class _Table(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A table of the file."""


class MetaDoc(_Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the file is about; holds for each of its scenarios."""

    name: Annotated[str, Meta(description="Default: the file's name without its ending.")] | None = None
    description: str = ""
    tags: Annotated[Tags, Meta(description="Each is a marker of pytest.")] = []
    priority: Priority | None = None
    timeout: Annotated[Duration, Meta(description="Of the whole scenario.")] | None = None


class LimitsDoc(_Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Limits of one container."""

    memory: Size | None = None
    cpu: Annotated[float, Meta(ge=0.01, le=4096, description="CPUs; 0.5 is half of one.")] | None = None
    pids: Annotated[int, Meta(ge=1, le=4194304)] | None = None
    gpus: Annotated[int, Meta(ge=0, le=1024)] | None = None


class BuildDoc(_Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An image built from a folder."""

    context: Text
    dockerfile: Text | None = None
    target: Text | None = None
    args: Env = {}
    network: Annotated[Literal["none", "bridge"], Meta(description="Of the build's commands.")] = "none"


class VolumeDoc(_Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A file or folder of the host inside the container."""

    source: Annotated[Text, Meta(description="Relative to the file's folder.")]
    target: AbsolutePath
    read_only: Annotated[
        bool, Meta(description="false only where the ini option clnrm_allow_writable lists the folder.")
    ] = True


class HealthCheckDoc(_Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A command that must exit with 0 in the container; it may fail for a while."""

    command: Command
    interval: Duration | None = None
    timeout: Annotated[Duration, Meta(description="Of one run.")] | None = None
    start_period: Annotated[Duration, Meta(description="In which failures do not count.")] | None = None
    retries: (
        Annotated[int, Meta(ge=1, le=100_000, description="So many failures in a row are the end.")] | None
    ) = None


class ReadyDoc(_Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A condition under which the service is ready: exactly one kind, and what goes with it."""

    command: Command | None = None
    log: Annotated[Text, Meta(description="A regular expression, searched in each line.")] | None = None
    times: Annotated[int, Meta(ge=1, le=1_000_000, description="So many lines match `log`.")] | None = None
    port: Port | None = None
    http: HttpPath | None = None
    https: HttpPath | None = None
    status: HttpStatus | list[HttpStatus] | None = None
    headers: Annotated[dict[Text, str], Meta(description="Sent with the request.")] = {}
    verify: Annotated[bool, Meta(description="Whether the certificate must be trusted.")] | None = None
    exit: Annotated[ExitCodes, Meta(description="With which it must end: it is a job.")] | None = None
    span: Annotated[Text, Meta(description="A name, or a glob.")] | None = None
    healthcheck: (
        Annotated[bool, Meta(description="The image's own; only true has a meaning.")] | HealthCheckDoc | None
    ) = None
    timeout: Duration | None = None
    interval: Duration | None = None


class ServiceDoc(_Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A container of the scenario."""

    image: Text | None = None
    build: Text | BuildDoc | None = None
    command: Command | None = None
    env: Env = {}
    workdir: AbsolutePath | None = None
    user: Text | None = None
    ports: Annotated[list[Port], Meta(description="Each published on a free port of 127.0.0.1.")] = []
    volumes: list[VolumeDoc] = []
    depends_on: list[str] = []
    ready: ReadyDoc | Annotated[list[ReadyDoc], Meta(min_length=1, description="All must hold.")] | None = (
        None
    )
    may_end: Annotated[ExitCodes, Meta(description="With which it may end.")] | None = None
    limits: LimitsDoc | None = None
    network: Literal["isolated", "bridge", "none"] = "isolated"
    fresh: Annotated[bool, Meta(description="true: never a reused container.")] = False
    scratch: Annotated[list[AbsolutePath], Meta(description="Each a tmpfs.")] = []


class ExitDoc(_Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which exit codes are meant."""

    ne: ExitCode | None = None
    one_of: Annotated[list[ExitCode], Meta(min_length=1)] | None = None


class TextDoc(_Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a text must be; everything that is set must hold."""

    contains: Patterns | None = None
    not_contains: Patterns | None = None
    regex: Patterns | None = None
    not_regex: Patterns | None = None
    equals: str | None = None
    json: Any | UnsetType = UNSET


class StepExpectDoc(_Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a step must do."""

    exit: ExitCode | ExitDoc | None = None
    stdout: TextDoc | None = None
    stderr: TextDoc | None = None


class CaptureDoc(_Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A value taken from a step's output, named in later steps."""

    regex: Annotated[Text, Meta(description="Its first group, or the whole match.")] | None = None
    json: JsonPointer | None = None
    stream: Literal["stdout", "stderr"] = msgspec.field(default="stdout", name="from")
    secret: bool = False


class RetryDoc(_Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A step is run again while it fails."""

    times: Annotated[int, Meta(ge=0, le=1000, description="How many further runs at most.")]
    delay: Duration = 0.0


class StepDoc(_Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One command in one container."""

    name: str | None = None
    service: str | None = None
    run: Annotated[Command, Meta(description="Text runs under sh -c; a list is an argv.")]
    env: Env = {}
    workdir: StepFolder | None = None
    user: Text | None = None
    stdin: str | None = None
    timeout: Duration | None = None
    retry: RetryDoc | None = None
    continue_on_failure: bool = False
    expect: StepExpectDoc | None = None
    capture: dict[VariableName, CaptureDoc] = {}


class ScenarioDoc(_Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One of several scenarios of a file."""

    name: str
    description: str | None = None
    tags: Tags = []
    priority: Priority | None = None
    timeout: Duration | None = None
    step: Annotated[list[StepDoc], Meta(min_length=1)]
    expect: ExpectDoc | None = None


Matrix = Annotated[
    dict[VariableName, Annotated[list[str | int | float | bool], Meta(min_length=1)]],
    Meta(description="One item for every combination; {{ matrix.axis }}."),
]


class MatrixDoc(_Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The matrix by itself, which is needed before the rest can be rendered."""

    matrix: Matrix


class FileDoc(_Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A scenario file."""

    meta: MetaDoc = MetaDoc()
    vars: Annotated[dict[str, Any], Meta(description="{{ name }} in any string of the file.")] = {}
    matrix: Matrix = {}
    limits: Annotated[LimitsDoc, Meta(description="Of each container; a service's own win.")] = LimitsDoc()
    service: dict[ServiceName, ServiceDoc] = {}
    step: Annotated[list[StepDoc], Meta(min_length=1)] | None = None
    scenario: Annotated[list[ScenarioDoc], Meta(min_length=1)] | None = None
    expect: ExpectDoc | None = None


EXACTLY_ONE: dict[type[msgspec.Struct], tuple[str, ...]] = {
    FileDoc: ("step", "scenario"),
    ServiceDoc: ("image", "build"),
    ReadyDoc: ("command", "log", "port", "http", "https", "exit", "span", "healthcheck"),
    ExitDoc: ("ne", "one_of"),
    CaptureDoc: ("regex", "json"),
}
"""Tables of which exactly one of these keys must be given."""
