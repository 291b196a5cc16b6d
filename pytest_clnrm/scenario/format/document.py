"""A scenario file in its canonical form: the tables and keys that it may hold.

This is the one description of the format: a file is converted to it, its mistakes are told from it
(:mod:`pytest_clnrm.toml.checking`), and the JSON Schema is generated from it. What types cannot say is
checked by :mod:`pytest_clnrm.scenario.format.rules`. ``extra["allowed"]`` says in words what a
pattern allows.

What a file may say in several ways, the model says in one: ``built()`` of a table in which no mistake was
found returns its part of :class:`~pytest_clnrm.model.scenario.Scenario`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import UNSET, Meta, UnsetType

from pytest_clnrm.model.scenario import (
    Build,
    Capture,
    HealthCheck,
    HttpProbe,
    KeyPath,
    Limits,
    Ready,
    Retry,
    Service,
    Step,
    StepExpect,
    TextExpect,
    Volume,
)
from pytest_clnrm.model.units import (
    DURATION_ALLOWED,
    DURATION_PATTERN,
    SIZE_ALLOWED,
    SIZE_PATTERN,
    parse_size_bytes,
)
from pytest_clnrm.scenario.format.expect_document import At, ExpectDoc, seconds
from pytest_clnrm.scenario.matrix import as_text

_One = TypeVar("_One")
Source = Callable[..., str]
"""Path in the file (and of a volume, whether it is read-only) -> absolute path on the host."""


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

    def built(self) -> Limits:
        """Return the limits."""
        memory_bytes = None if self.memory is None else parse_size_bytes(self.memory)
        return Limits(memory_bytes=memory_bytes, cpus=self.cpu, pids=self.pids, gpus=self.gpus)


class BuildDoc(_Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An image built from a folder."""

    context: Text
    dockerfile: Text | None = None
    target: Text | None = None
    args: Env = {}
    network: Annotated[Literal["none", "bridge"], Meta(description="Of the build's commands.")] = "none"

    def built(self, source: Source, at: KeyPath) -> Build:
        """Return the build."""
        return Build(
            context=source(self.context),
            dockerfile=self.dockerfile,
            target=self.target,
            args=_env(self.args),
            network=self.network,
            at=at,
        )


class VolumeDoc(_Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A file or folder of the host inside the container."""

    source: Annotated[Text, Meta(description="Relative to the file's folder.")]
    target: AbsolutePath
    read_only: Annotated[
        bool, Meta(description="false only where the ini option clnrm_allow_writable lists the folder.")
    ] = True

    def built(self, source: Source, at: KeyPath) -> Volume:
        """Return the volume."""
        real = source(self.source, read_only=self.read_only)
        return Volume(source=real, target=self.target, read_only=self.read_only, at=at)


class HealthCheckDoc(_Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A command that must exit with 0 in the container; it may fail for a while."""

    command: Command
    interval: Duration | None = None
    timeout: Annotated[Duration, Meta(description="Of one run.")] | None = None
    start_period: Annotated[Duration, Meta(description="In which failures do not count.")] | None = None
    retries: (
        Annotated[int, Meta(ge=1, le=100_000, description="So many failures in a row are the end.")] | None
    ) = None

    def built(self) -> HealthCheck:
        """Return the health check."""
        return HealthCheck(
            command=_argv(self.command),
            **seconds(interval=self.interval, timeout=self.timeout, start_period=self.start_period),
            **({} if self.retries is None else {"retries": self.retries}),
        )


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

    def built(self, at: KeyPath) -> Ready:
        """Return the condition."""
        check = self.healthcheck
        return Ready(
            command=None if self.command is None else _argv(self.command),
            log=self.log,
            times=self.times or 1,
            port=self.port,
            http=self._http(),
            exit=tuple(several(self.exit)),
            span=self.span,
            healthcheck=check.built() if isinstance(check, HealthCheckDoc) else bool(check),
            at=at,
            **seconds(timeout=self.timeout, interval=self.interval),
        )

    def _http(self) -> HttpProbe | None:
        target = self.http or self.https
        if target is None:
            return None
        return HttpProbe(
            target=target,
            tls=self.https is not None,
            verify=bool(self.verify),
            status=tuple(map(_range_of, several(self.status))) or HttpProbe(target="").status,
            headers=dict(self.headers),
        )


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

    @property
    def is_job(self) -> bool:
        """Tell whether it is waited for until it has ended."""
        return any(each.exit is not None for each in several(self.ready))

    @property
    def build_table(self) -> BuildDoc | None:
        """Return its build as a table: a text alone is the context."""
        return BuildDoc(context=self.build) if isinstance(self.build, str) else self.build

    def built(self, name: str, limits: Limits, source: Source, at: At) -> Service:
        """Return the service.

        :param limits: of the file, for what its own leave open.
        """
        build = self.build_table
        ready = built_ready(self.ready, partial(at, "ready"))
        return Service(
            name=name,
            image=self.image,
            build=build.built(source, at("build")) if build else None,
            command=None if self.command is None else _argv(self.command),
            env=_env(self.env),
            workdir=self.workdir,
            user=self.user,
            ports=tuple(self.ports),
            volumes=tuple(
                each.built(source, at("volumes", index)) for index, each in enumerate(self.volumes)
            ),
            depends_on=tuple(self.depends_on),
            ready=ready,
            may_end=(*several(self.may_end), *(code for each in ready for code in each.exit)),
            limits=self.limits.built().over(limits) if self.limits else limits,
            network=self.network,
            fresh=self.fresh,
            scratch=tuple(self.scratch),
            at=at(),
        )


class ExitDoc(_Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which exit codes are meant."""

    ne: ExitCode | None = None
    one_of: Annotated[list[ExitCode], Meta(min_length=1)] | None = None

    def built(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Return the codes of which it must be one, and those that it must not be."""
        return tuple(self.one_of or ()), () if self.ne is None else (self.ne,)


class TextDoc(_Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a text must be; everything that is set must hold."""

    contains: Patterns | None = None
    not_contains: Patterns | None = None
    regex: Patterns | None = None
    not_regex: Patterns | None = None
    equals: str | None = None
    json: Any | UnsetType = UNSET

    def built(self, at: KeyPath) -> TextExpect:
        """Return the expectation."""
        return TextExpect(
            contains=tuple(several(self.contains)),
            not_contains=tuple(several(self.not_contains)),
            regex=tuple(several(self.regex)),
            not_regex=tuple(several(self.not_regex)),
            equals=self.equals,
            json=None if self.json is UNSET else self.json,
            has_json=self.json is not UNSET,
            at=at,
        )


class StepExpectDoc(_Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a step must do."""

    exit: ExitCode | ExitDoc | None = None
    stdout: TextDoc | None = None
    stderr: TextDoc | None = None

    def built(self, at: At) -> StepExpect:
        """Return the expectation."""
        code = 0 if self.exit is None else self.exit
        exit_in, exit_not_in = ((code,), ()) if isinstance(code, int) else code.built()
        return StepExpect(
            exit_in=exit_in,
            exit_not_in=exit_not_in,
            stdout=self.stdout.built(at("stdout")) if self.stdout else None,
            stderr=self.stderr.built(at("stderr")) if self.stderr else None,
            at=at(),
        )


class CaptureDoc(_Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A value taken from a step's output, named in later steps."""

    regex: Annotated[Text, Meta(description="Its first group, or the whole match.")] | None = None
    json: JsonPointer | None = None
    stream: Literal["stdout", "stderr"] = msgspec.field(default="stdout", name="from")
    secret: bool = False

    def built(self, name: str, at: KeyPath) -> Capture:
        """Return the capture."""
        return Capture(
            name=name, regex=self.regex, json=self.json, stream=self.stream, secret=self.secret, at=at
        )


class RetryDoc(_Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A step is run again while it fails."""

    times: Annotated[int, Meta(ge=0, le=1000, description="How many further runs at most.")]
    delay: Duration = 0.0

    def built(self) -> Retry:
        """Return how it is run again."""
        return Retry(times=self.times, **seconds(delay=self.delay))


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

    def built(self, index: int, service: str, at: At) -> Step:
        """Return the step.

        :param index: among the steps of its scenario.
        :param service: that it runs in.
        """
        return Step(
            name=f"step {index + 1}" if self.name is None else self.name,
            service=service,
            run=self.run if isinstance(self.run, str) else tuple(self.run),
            env=_env(self.env),
            workdir=self.workdir,
            user=self.user,
            stdin=self.stdin,
            retry=self.retry.built() if self.retry else Retry(),
            continue_on_failure=self.continue_on_failure,
            expect=(self.expect or StepExpectDoc()).built(partial(at, "expect")),
            captures=tuple(each.built(name, at("capture", name)) for name, each in self.capture.items()),
            at=at(),
            **seconds(timeout=self.timeout),
        )


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


def several(value: _One | list[_One] | None) -> list[_One]:
    """Return what may be given alone or in a list as a list."""
    if isinstance(value, list):
        return value
    return [] if value is None else [value]


def built_ready(ready: ReadyDoc | list[ReadyDoc] | None, at: At) -> tuple[Ready, ...]:
    """Return the conditions under which a service is ready."""
    if isinstance(ready, list):
        return tuple(each.built(at(index)) for index, each in enumerate(ready))
    return () if ready is None else (ready.built(at()),)


def _argv(command: str | list[str]) -> tuple[str, ...]:
    """Return a command as an argv: a text runs under ``sh -c``."""
    return ("sh", "-c", command) if isinstance(command, str) else tuple(command)


def _env(env: Mapping[str, Any]) -> dict[str, str]:
    return {name: as_text(value) for name, value in env.items()}


def _range_of(status: Any) -> tuple[int, int]:
    """Return the lowest and the highest status that is meant: ``"2xx"`` is a hundred of them."""
    if isinstance(status, int):
        return status, status
    lowest = int(status[0]) * 100
    return lowest, lowest + 99
