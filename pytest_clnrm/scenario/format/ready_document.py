"""When a service is ready, see :mod:`pytest_clnrm.scenario.format.document`."""

from typing import Annotated

from msgspec import Meta

from pytest_clnrm.model.key_path import KeyPath
from pytest_clnrm.model.service import HealthCheck, HttpProbe, Ready
from pytest_clnrm.scenario.format.parts import (
    AbsolutePath,
    At,
    CommandLine,
    Duration,
    ExitCodes,
    HttpPath,
    HttpStatus,
    Port,
    Table,
    Text,
    argv_of,
    seconds,
    several,
    status_range,
)


class HealthCheckDoc(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A command that must exit with 0 in the container; it may fail for a while."""

    command: Annotated[
        CommandLine,
        Meta(description="Must exit with 0.", examples=["pg_isready -h 127.0.0.1", ["/app", "--health"]]),
    ]
    interval: (
        Annotated[Duration, Meta(description="The most between two runs; default: 1 s.", examples=["500ms"])]
        | None
    ) = None
    timeout: (
        Annotated[Duration, Meta(description="How long one run may take; default: 30 s.", examples=["5s"])]
        | None
    ) = None
    start_period: (
        Annotated[Duration, Meta(description="In which failures do not count; default: 0.", examples=["10s"])]
        | None
    ) = None
    retries: (
        Annotated[
            int,
            Meta(
                ge=1,
                le=100_000,
                description="So many failures in a row are the end; default: 30.",
                examples=[5],
            ),
        ]
        | None
    ) = None

    def built(self) -> HealthCheck:
        """Return the health check."""
        return HealthCheck(
            command=argv_of(self.command),
            **seconds(interval=self.interval, timeout=self.timeout, start_period=self.start_period),
            **({} if self.retries is None else {"retries": self.retries}),
        )


class ReadyDoc(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A condition under which the service is ready: exactly one kind, and what goes with it."""

    ONE_OF = ("command", "log", "port", "http", "https", "file", "exit", "span", "healthcheck")

    command: (
        Annotated[
            CommandLine,
            Meta(
                description="Run in the container; it holds when it exits with 0.",
                examples=["pg_isready -h 127.0.0.1", ["redis-cli", "ping"]],
            ),
        ]
        | None
    ) = None
    log: (
        Annotated[
            Text,
            Meta(
                description="A regular expression, searched in each line of its output.",
                examples=["ready to accept connections"],
            ),
        ]
        | None
    ) = None
    times: (
        Annotated[
            int, Meta(ge=1, le=1_000_000, description="So many lines match `log`; default: 1.", examples=[2])
        ]
        | None
    ) = None
    port: Annotated[Port, Meta(description="It accepts a connection.", examples=[5432])] | None = None
    http: (
        Annotated[
            HttpPath,
            Meta(
                description="A GET of it is answered with a status below 400.",
                examples=["/health", ":8080/health"],
            ),
        ]
        | None
    ) = None
    https: Annotated[HttpPath, Meta(description="As `http`, over TLS.", examples=[":8443/health"])] | None = (
        None
    )
    status: (
        Annotated[
            HttpStatus | list[HttpStatus],
            Meta(description="Which status holds; default: below 400.", examples=["2xx", [200, 401]]),
        ]
        | None
    ) = None
    headers: Annotated[
        dict[Text, str], Meta(description="Sent with the request.", examples=[{"Host": "api"}])
    ] = {}
    verify: (
        Annotated[
            bool,
            Meta(
                description="true: the certificate must be trusted, and valid for the service's name.",
                examples=[True],
            ),
        ]
        | None
    ) = None
    file: (
        Annotated[
            AbsolutePath,
            Meta(description="Something lies at this path in the container.", examples=["/run/app/up"]),
        ]
        | None
    ) = None
    exit: (
        Annotated[ExitCodes, Meta(description="With which it must end: it is a job.", examples=[0, [0, 3]])]
        | None
    ) = None
    span: (
        Annotated[
            Text,
            Meta(
                description="A program of the scenario has exported a span of this name, a glob.",
                examples=["worker.started"],
            ),
        ]
        | None
    ) = None
    healthcheck: (
        Annotated[
            Annotated[bool, Meta(description="The image's own; only true has a meaning.")] | HealthCheckDoc,
            Meta(
                description="true: the health check of the image says healthy; or one of its own.",
                examples=[True, {"command": "pg_isready", "interval": "2s"}],
            ),
        ]
        | None
    ) = None
    timeout: (
        Annotated[
            Duration,
            Meta(
                description="How long it is waited for since the start of the service; default: 30 s.",
                examples=["60s"],
            ),
        ]
        | None
    ) = None
    interval: (
        Annotated[Duration, Meta(description="At most between two tries; default: 200 ms.", examples=["1s"])]
        | None
    ) = None

    def built(self, at: KeyPath) -> Ready:
        """Return the condition."""
        check = self.healthcheck
        return Ready(
            command=None if self.command is None else argv_of(self.command),
            log=self.log,
            times=self.times or 1,
            port=self.port,
            http=self._http(),
            file=self.file,
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
            status=tuple(map(status_range, several(self.status))) or HttpProbe(target="").status,
            headers=dict(self.headers),
        )


def built_ready(ready: ReadyDoc | list[ReadyDoc] | None, at: At) -> tuple[Ready, ...]:
    """Return the conditions under which a service is ready."""
    if isinstance(ready, list):
        return tuple(each.built(at(index)) for index, each in enumerate(ready))
    return () if ready is None else (ready.built(at()),)
