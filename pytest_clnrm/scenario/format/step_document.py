"""``[[step]]`` of a scenario file, see :mod:`pytest_clnrm.scenario.format.document`."""

from functools import partial
from typing import Annotated, ClassVar, Literal

import msgspec
from msgspec import Meta

from pytest_clnrm.model.captured import captured_text
from pytest_clnrm.model.fault import FAULTS, AwaitExit, Fault, FaultKind
from pytest_clnrm.model.http import HttpExpect
from pytest_clnrm.model.key_path import KeyPath
from pytest_clnrm.model.limits import Limits
from pytest_clnrm.model.step import Action, Capture, Command, ImageRun, Phase, Retry, Step, StepExpect
from pytest_clnrm.scenario.format.block_document import Argument
from pytest_clnrm.scenario.format.check_document import CheckDoc
from pytest_clnrm.scenario.format.http_document import (
    CertificateDoc,
    HeaderDoc,
    HttpDoc,
    TimesDoc,
    built_header,
    literal_host,
    table_of,
)
from pytest_clnrm.scenario.format.json_document import AmountBounds, amount_conditions
from pytest_clnrm.scenario.format.parts import (
    At,
    CommandLine,
    Duration,
    Env,
    ExitCode,
    HttpStatus,
    JsonPointer,
    ServiceName,
    Sha256,
    Source,
    StepFolder,
    Table,
    Text,
    VariableName,
    env_of,
    seconds,
    several,
    status_range,
)
from pytest_clnrm.scenario.format.text_document import TextDoc
from pytest_clnrm.scenario.matrix import as_text

Count = Annotated[int, Meta(ge=0)]


class ExitDoc(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which exit codes are meant."""

    ONE_OF = ("ne", "one_of")

    ne: Annotated[ExitCode, Meta(description="Any code but this.", examples=[0])] | None = None
    one_of: (
        Annotated[list[ExitCode], Meta(min_length=1, description="One of these.", examples=[[0, 3]])] | None
    ) = None

    def built(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Return the codes of which it must be one, and those that it must not be."""
        return tuple(self.one_of or ()), () if self.ne is None else (self.ne,)


class StepExpectDoc(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a step must do: of a command its exit code and output, of a request the answer."""

    OF_ACTION: ClassVar[dict[str, tuple[str, ...]]] = {
        "run": ("exit", "stdout", "stderr", "service_ends"),
        "image": ("exit", "stdout", "stderr"),
        "wait": ("exit", "stdout", "stderr"),
        "http": ("status", "headers", "body", "duration", "size", "sha256", "redirects", "certificate"),
    }

    exit: (
        Annotated[ExitCode | ExitDoc, Meta(description="Its exit code; default: 0.", examples=[3, {"ne": 0}])]
        | None
    ) = None
    stdout: (
        Annotated[TextDoc, Meta(description="What it prints.", examples=[{"contains": "ready"}])] | None
    ) = None
    stderr: (
        Annotated[TextDoc, Meta(description="What it prints to stderr.", examples=[{"equals": ""}])] | None
    ) = None
    service_ends: (
        Annotated[
            bool,
            Meta(
                description="true: the step ends its service, which `may_end` allows; not with `exit`.",
                examples=[True],
            ),
        ]
        | None
    ) = None
    status: (
        Annotated[
            HttpStatus | list[HttpStatus],
            Meta(
                description="A status, or a class of them; default: below 400.",
                examples=[201, "2xx", [200, 404]],
            ),
        ]
        | None
    ) = None
    headers: (
        Annotated[
            dict[Text, str | HeaderDoc],
            Meta(
                description="A text is the whole value; several headers of one name are joined by commas.",
                examples=[{"Content-Type": "application/json"}],
            ),
        ]
        | None
    ) = None
    body: (
        Annotated[TextDoc, Meta(description="Of the answer, unpacked.", examples=[{"json": {"name": "tea"}}])]
        | None
    ) = None
    duration: (
        Annotated[
            TimesDoc,
            Meta(
                description="From the connection to the last byte of the answer, with redirects.",
                examples=[{"lt": "2s"}],
            ),
        ]
        | None
    ) = None
    size: (
        Annotated[
            AmountBounds,
            Meta(description="Bytes of the body, unpacked.", examples=[{"gt": 0, "lt": 1000}]),
        ]
        | None
    ) = None
    sha256: Annotated[Sha256, Meta(description="Of the body, as sha256sum prints it.")] | None = None
    redirects: Annotated[AmountBounds, Meta(description="How many were followed.", examples=[1])] | None = (
        None
    )
    certificate: (
        Annotated[
            CertificateDoc,
            Meta(
                description="That of the server, of which it is verified.",
                examples=[{"names": ["api"], "days_left": {"gte": 30}}],
            ),
        ]
        | None
    ) = None

    def built(self, action: str, at: At) -> StepExpect:
        """Return the expectation of a step that has this action."""
        code = 0 if self.exit is None else self.exit
        exit_in, exit_not_in = ((code,), ()) if isinstance(code, int) else code.built()
        return StepExpect(
            exit_in=exit_in,
            exit_not_in=exit_not_in,
            service_ends=bool(self.service_ends),
            stdout=self.stdout.built(at("stdout")) if self.stdout else None,
            stderr=self.stderr.built(at("stderr")) if self.stderr else None,
            http=self._http(at) if action == "http" else None,
            at=at(),
        )

    def _http(self, at: At) -> HttpExpect:
        return HttpExpect(
            status=tuple(map(status_range, several(self.status))),
            headers={
                name: built_header(each, at("headers", name)) for name, each in (self.headers or {}).items()
            },
            body=self.body.built(at("body")) if self.body else None,
            duration=(self.duration or TimesDoc()).built(),
            size=amount_conditions(self.size),
            sha256=(self.sha256 or "").lower(),
            redirects=amount_conditions(self.redirects),
            certificate=self.certificate.built(partial(at, "certificate")) if self.certificate else None,
            at=at(),
        )


class CaptureDoc(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A value taken from what a step gave, named in later steps."""

    OF_ACTION: ClassVar[dict[str, tuple[str, ...]]] = {
        "run": ("stream",),
        "image": ("stream",),
        "http": ("header", "cookie"),
    }
    ONE_OF = ("regex", "json", "header", "cookie")
    """Only `regex` goes with another one: with `header` and with `cookie`."""
    REMEDY = "write regex = '...' or json = \"/pointer\""

    regex: (
        Annotated[Text, Meta(description="Its first group, or the whole match.", examples=["id=([0-9]+)"])]
        | None
    ) = None
    json: (
        Annotated[JsonPointer, Meta(description='A JSON pointer: "" is the whole.', examples=["/items/0/id"])]
        | None
    ) = None
    header: (
        Annotated[Text, Meta(description="Of an answer; with `regex` a part of it.", examples=["Location"])]
        | None
    ) = None
    cookie: (
        Annotated[Text, Meta(description="That an answer sets; with `regex` a part of it.", examples=["sid"])]
        | None
    ) = None
    stream: (
        Annotated[
            Literal["stdout", "stderr"],
            Meta(description="Where it is looked for; default: stdout.", examples=["stderr"]),
        ]
        | None
    ) = msgspec.field(default=None, name="from")
    default: (
        Annotated[
            str | int | float | bool,
            Meta(
                description="The value where there is none, not where that cannot be told.", examples=["none"]
            ),
        ]
        | None
    ) = None
    secret: Annotated[bool, Meta(description="true: it is shown nowhere.", examples=[True])] = False

    def _default(self) -> str | None:
        if self.default is None:
            return None
        return as_text(self.default) if self.json is None else captured_text(self.default)

    def built(self, name: str, at: KeyPath) -> Capture:
        """Return the capture."""
        return Capture(
            name=name,
            regex=self.regex,
            json=self.json,
            header=self.header,
            cookie=self.cookie,
            stream=self.stream or "stdout",
            default=self._default(),
            secret=self.secret,
            at=at,
        )


class RetryDoc(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A step is run again while it fails."""

    times: Annotated[int, Meta(ge=0, le=1000, description="How many further runs at most.", examples=[3])]
    delay: Annotated[Duration, Meta(description="Between two runs.", examples=["500ms"])] = 0.0

    def built(self) -> Retry:
        """Return how it is run again."""
        return Retry(times=self.times, **seconds(delay=self.delay))


class UntilDoc(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A step is run again until what it expects holds."""

    times: (
        Annotated[int, Meta(ge=2, le=100_000, description="How many runs at most, in all.", examples=[10])]
        | None
    ) = None
    timeout: (
        Annotated[Duration, Meta(description="For all runs together, the last one too.", examples=["30s"])]
        | None
    ) = None
    delay: Annotated[Duration, Meta(description="Between two runs.", examples=["1s"])] = 0.2

    def built(self) -> Retry:
        """Return how it is run again."""
        times = None if self.times is None else self.times - 1
        return Retry(times=times, **seconds(delay=self.delay, timeout=self.timeout))


def built_again(retry: RetryDoc | None, until: UntilDoc | None) -> Retry:
    """Return how a step is run again, by whichever of both is given."""
    given = until or retry
    return given.built() if given else Retry()


class StepDoc(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One thing that is done: a command in a container, a request to a service, or something done to one.

    :cvar OF_ACTION: the keys that go with each action, beside those that go with all.
    """

    ONE_OF = ("run", "image", "http", *FAULTS, "wait", "use")
    """Only `run` goes with another one: with `image`."""
    REMEDY = 'write run = "...", or http = "GET http://SERVICE:PORT/path"'
    OF_ACTION: ClassVar[dict[str, tuple[str, ...]]] = {
        "run": ("service", "env", "workdir", "user", "stdin", "expect", "capture"),
        "image": ("entrypoint", "env", "workdir", "user", "expect", "capture"),
        "http": ("expect", "capture"),
        **dict.fromkeys(FAULTS, ()),
        "wait": ("service", "expect"),
        "use": ("service", "arguments"),
    }

    name: (
        Annotated[
            str,
            Meta(
                description='What reports call it, and `since` of a check; default: "step 1" and so on.',
                examples=["create an order"],
            ),
        ]
        | None
    ) = None
    service: (
        Annotated[
            str,
            Meta(
                description="Where it runs; default: the `service` of its [[scenario]] or of [meta], else "
                "the only one, else a container of clnrm_default_image that such steps share.",
                examples=["db"],
            ),
        ]
        | None
    ) = None
    run: (
        Annotated[
            CommandLine,
            Meta(
                description="A text runs under sh -c; a list is an argv, never joined or split.",
                examples=["psql -c 'select 1'", ["/app/tool", "--check"]],
            ),
        ]
        | None
    ) = None
    http: (
        Annotated[
            Text | HttpDoc,
            Meta(
                description="A request to a service, `METHOD URL` or a table.",
                examples=[
                    "GET http://api:8080/orders",
                    {"method": "POST", "url": "http://api:8080/orders", "json": {"name": "tea"}},
                ],
            ),
        ]
        | None
    ) = None
    env: Annotated[
        Env,
        Meta(
            description="Environment variables for this step, beside the service's.", examples=[{"LANG": "C"}]
        ),
    ] = {}
    workdir: (
        Annotated[
            StepFolder,
            Meta(description="Folder in which it runs; default: the service's.", examples=["/app"]),
        ]
        | None
    ) = None
    user: (
        Annotated[
            Text, Meta(description="User as whom it runs; default: the service's.", examples=["nobody"])
        ]
        | None
    ) = None
    stdin: Annotated[str, Meta(description="What it reads; default: nothing.", examples=["yes\n"])] | None = (
        None
    )
    timeout: (
        Annotated[
            Duration,
            Meta(
                description="It is ended then, with its processes; default: the scenario's.", examples=["10s"]
            ),
        ]
        | None
    ) = None
    retry: (
        Annotated[
            RetryDoc, Meta(description="Run again while it fails.", examples=[{"times": 3, "delay": "1s"}])
        ]
        | None
    ) = None
    until: (
        Annotated[
            UntilDoc,
            Meta(
                description="Run again until what it expects holds; not with `retry`.",
                examples=[{"timeout": "30s"}],
            ),
        ]
        | None
    ) = None
    continue_on_failure: Annotated[
        bool,
        Meta(
            description="true: later steps run although it failed; the scenario fails all the same.",
            examples=[True],
        ),
    ] = False
    expect: (
        Annotated[
            StepExpectDoc,
            Meta(
                description="What must come of it; default: exit code 0, or a status below 400.",
                examples=[{"exit": 0, "stdout": {"contains": "ok"}}],
            ),
        ]
        | None
    ) = None
    capture: Annotated[
        dict[VariableName, CaptureDoc],
        Meta(
            description="Values that later steps name, as {{ id }}.",
            examples=[{"id": {"regex": "id=([0-9]+)"}}],
        ),
    ] = {}
    check: Annotated[
        list[CheckDoc],
        Meta(
            description="Made after the step; all are told.",
            examples=[[{"file": "/app/out.csv", "size": {"gt": 0}}]],
        ),
    ] = []
    stop: (
        Annotated[
            ServiceName,
            Meta(
                description="Told to end by its `stop_signal` (SIGTERM), and killed after its `stop_grace`.",
                examples=["web"],
            ),
        ]
        | None
    ) = None
    kill: Annotated[ServiceName, Meta(description="Ended at once, by SIGKILL.", examples=["web"])] | None = (
        None
    )
    start: (
        Annotated[
            ServiceName,
            Meta(
                description="Started again, once it has ended; ends when it is ready, as at its first start.",
                examples=["web"],
            ),
        ]
        | None
    ) = None
    restart: Annotated[ServiceName, Meta(description="Stopped and started.", examples=["web"])] | None = None
    pause: (
        Annotated[
            ServiceName,
            Meta(description="Its processes stay as they are; no step can run in it.", examples=["web"]),
        ]
        | None
    ) = None
    unpause: Annotated[ServiceName, Meta(description="Its processes go on.", examples=["web"])] | None = None
    disconnect: (
        Annotated[ServiceName, Meta(description="Taken off the scenario's network.", examples=["web"])] | None
    ) = None
    reconnect: (
        Annotated[ServiceName, Meta(description="Put back on it, under the same names.", examples=["web"])]
        | None
    ) = None
    wait: (
        Annotated[
            Literal["exit"],
            Meta(
                description="For the end of the step's `service`; its exit code and log are judged.",
                examples=["exit"],
            ),
        ]
        | None
    ) = None
    image: (
        Annotated[
            Text,
            Meta(
                description="Run once, in a container of its own on the scenario's network; `run` are the "
                "arguments of its entry point.",
                examples=["alpine/git:2"],
            ),
        ]
        | None
    ) = None
    entrypoint: (
        Annotated[
            list[str],
            Meta(
                description="Of `image`: in place of its entry point and command; [] for none.",
                examples=[["sh", "-c"], []],
            ),
        ]
        | None
    ) = None
    use: (
        Annotated[
            Text,
            Meta(
                description="The steps of a block [steps.NAME] of this file, or of another one.",
                examples=["login", "shared/login.toml#login"],
            ),
        ]
        | None
    ) = None
    arguments: Annotated[
        dict[VariableName, Argument],
        Meta(description="The arguments of the block.", examples=[{"user": "bob"}]),
    ] = msgspec.field(default={}, name="with")

    @property
    def fault(self) -> tuple[FaultKind, str] | None:
        """Return what is done to a service, and the service's name; None for another step."""
        given = ((kind, getattr(self, kind)) for kind in FAULTS)
        return next(((kind, name) for kind, name in given if name is not None), None)

    @property
    def action(self) -> str:
        """Return the key that says what it does."""
        if self.image is not None:
            return "image"
        return next((name for name in self.ONE_OF if getattr(self, name) is not None), "")

    @property
    def host(self) -> str:
        """Return the host to which its request goes, "" if that is known only when it runs."""
        return "" if self.http is None else literal_host(table_of(self.http).url)

    def built(  # noqa: PLR0917 what it is, then where it stands
        self, name: str, service: str, checked: str, phase: Phase, limits: Limits, source: Source, at: At
    ) -> Step:
        """Return the step.

        :param name: if it has none of its own.
        :param service: that it runs in or asks, or that something is done to.
        :param checked: that checks look at which name none.
        :param limits: of a container of its own.
        :param source: returns the path of a file that it sends.
        """
        return Step(
            name=name if self.name is None else self.name,
            phase=phase,
            service=service,
            action=self._action(limits, source, at),
            retry=built_again(self.retry, self.until),
            continue_on_failure=self.continue_on_failure,
            expect=(self.expect or StepExpectDoc()).built(self.action, partial(at, "expect")),
            captures=tuple(each.built(name, at("capture", name)) for name, each in self.capture.items()),
            checks=tuple(
                each.built(checked, partial(at, "check", index)) for index, each in enumerate(self.check)
            ),
            at=at(),
            **seconds(timeout=self.timeout),
        )

    def _action(self, limits: Limits, source: Source, at: At) -> Action:
        if self.http is not None:
            return table_of(self.http).built(source, partial(at, "http"))
        if self.fault:
            return Fault(kind=self.fault[0], at=at(self.fault[0]))
        if self.wait:
            return AwaitExit()
        if self.image is not None:
            return ImageRun(
                image=self.image,
                run=None if self.run is None else tuple(self.run),
                entrypoint=None if self.entrypoint is None else tuple(self.entrypoint),
                env=env_of(self.env),
                workdir=self.workdir,
                user=self.user,
                limits=limits,
                at=at(),
            )
        run = self.run or ""
        return Command(
            run=run if isinstance(run, str) else tuple(run),
            env=env_of(self.env),
            workdir=self.workdir,
            user=self.user,
            stdin=self.stdin,
            at=at(),
        )
