"""``[service.NAME]`` of a scenario file, see :mod:`pytest_clnrm.scenario.format.document`."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Literal

from msgspec import Meta

from pytest_clnrm.model.capabilities import ALL, capability
from pytest_clnrm.model.key_path import KeyPath
from pytest_clnrm.model.service import (
    Build,
    Copy,
    HealthCheck,
    HttpProbe,
    Limits,
    Ready,
    Service,
    SharedVolume,
    Volume,
)
from pytest_clnrm.model.units import parse_size_bytes
from pytest_clnrm.scenario.env_files import read_env
from pytest_clnrm.scenario.format.parts import (
    AbsolutePath,
    At,
    CommandLine,
    Duration,
    Env,
    ExitCodes,
    FileMode,
    HostName,
    HttpPath,
    HttpStatus,
    Platform,
    Port,
    PortOf,
    Signal,
    Size,
    Source,
    Table,
    Text,
    VolumeName,
    argv_of,
    env_of,
    port_of,
    seconds,
    several,
    status_range,
)


class LimitsDoc(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Limits of one container."""

    memory: Size | None = None
    cpu: Annotated[float, Meta(ge=0.01, le=4096, description="CPUs; 0.5 is half of one.")] | None = None
    pids: Annotated[int, Meta(ge=1, le=4194304)] | None = None
    gpus: Annotated[int, Meta(ge=0, le=1024)] | None = None

    def built(self) -> Limits:
        """Return the limits."""
        memory_bytes = None if self.memory is None else parse_size_bytes(self.memory)
        return Limits(memory_bytes=memory_bytes, cpus=self.cpu, pids=self.pids, gpus=self.gpus)


class BuildDoc(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
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
            args=env_of(self.args),
            network=self.network,
            at=at,
        )


class VolumeDoc(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A file or folder of the host inside the container, or a volume that services of the scenario share."""

    ONE_OF = ("source", "name")
    REMEDY = 'write source = "./folder", or name = "data" for a volume that services share'

    source: (
        Annotated[Text, Meta(description="Relative to the file's folder.", examples=["./seed"])] | None
    ) = None
    name: (
        Annotated[
            VolumeName,
            Meta(
                description="Of a volume of the scenario: empty at its start, removed at its end.",
                examples=["data"],
            ),
        ]
        | None
    ) = None
    target: Annotated[AbsolutePath, Meta(examples=["/data"])]
    read_only: (
        Annotated[
            bool,
            Meta(
                description="Default: false for a `name`, true for a `source`, of which the ini option "
                "clnrm_allow_writable lists the folder for false."
            ),
        ]
        | None
    ) = None

    def built(self, source: Source, at: KeyPath) -> Volume:
        """Return the volume of the host."""
        read_only = self.read_only is not False
        real = source(self.source, read_only=read_only)
        return Volume(source=real, target=self.target, read_only=read_only, at=at)

    def shared(self, name: str, at: KeyPath) -> SharedVolume:
        """Return the volume of the scenario.

        :param name: its own.
        """
        return SharedVolume(name=name, target=self.target, read_only=bool(self.read_only), at=at)


class CopyDoc(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A file that is copied into the container before it starts; it belongs to root there."""

    ONE_OF = ("source", "content")
    REMEDY = 'write source = "./app.conf", or content = "..."'

    source: (
        Annotated[Text, Meta(description="Relative to the file's folder.", examples=["./app.conf"])] | None
    ) = None
    content: Annotated[str, Meta(description="Its text.", examples=["listen 8080\n"])] | None = None
    target: Annotated[AbsolutePath, Meta(examples=["/etc/app.conf"])]
    mode: (
        Annotated[FileMode, Meta(description="Default: 0644, or 0755 for a program.", examples=["0600"])]
        | None
    ) = None

    def built(self, source: Source, at: KeyPath) -> Copy:
        """Return the file."""
        return Copy(
            source=None if self.source is None else source(self.source, read_only=True),
            content=self.content,
            target=self.target,
            mode=None if self.mode is None else int(self.mode, 8),
            at=at,
        )


class UlimitDoc(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A limit of the kernel on each process."""

    soft: Annotated[int, Meta(ge=-1, description="What holds; -1 is no limit.", examples=[1024])]
    hard: Annotated[
        int, Meta(ge=-1, description="To which a program may raise it; -1 is no limit.", examples=[4096])
    ]


Ulimit = Annotated[int, Meta(ge=-1, description="Both limits.")] | UlimitDoc


class UlimitsDoc(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Limits of the kernel on each process; those that raise a priority over the host's are none of them."""

    core: Ulimit | None = None
    cpu: Ulimit | None = None
    data: Ulimit | None = None
    fsize: Ulimit | None = None
    locks: Ulimit | None = None
    memlock: Ulimit | None = None
    msgqueue: Ulimit | None = None
    nofile: Ulimit | None = None
    nproc: Ulimit | None = None
    rss: Ulimit | None = None
    sigpending: Ulimit | None = None
    stack: Ulimit | None = None

    def built(self) -> dict[str, tuple[int, int]]:
        """Return soft and hard limit of each that is given."""
        given = {name: getattr(self, name) for name in self.__struct_fields__}
        return {
            name: (limit.soft, limit.hard) if isinstance(limit, UlimitDoc) else (limit, limit)
            for name, limit in given.items()
            if limit is not None
        }


class HealthCheckDoc(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A command that must exit with 0 in the container; it may fail for a while."""

    command: CommandLine
    interval: Duration | None = None
    timeout: Annotated[Duration, Meta(description="Of one run.")] | None = None
    start_period: Annotated[Duration, Meta(description="In which failures do not count.")] | None = None
    retries: (
        Annotated[int, Meta(ge=1, le=100_000, description="So many failures in a row are the end.")] | None
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

    ONE_OF = ("command", "log", "port", "http", "https", "exit", "span", "healthcheck")

    command: CommandLine | None = None
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
            command=None if self.command is None else argv_of(self.command),
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
            status=tuple(map(status_range, several(self.status))) or HttpProbe(target="").status,
            headers=dict(self.headers),
        )


class ServiceDoc(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A container of the scenario."""

    ONE_OF = ("image", "build")
    REMEDY = 'write image = "name:tag", or build = "./folder"'

    image: Text | None = None
    build: Text | BuildDoc | None = None
    entrypoint: (
        Annotated[
            list[str],
            Meta(
                description="Replaces the image's entry point and command; [] has neither.",
                examples=[[], ["/app/serve", "--verbose"]],
            ),
        ]
        | None
    ) = None
    command: CommandLine | None = None
    env: Env = {}
    env_file: (
        Annotated[
            Text | Annotated[list[Text], Meta(min_length=1)],
            Meta(
                description="Files of lines NAME=value, relative to the file's folder; `env` wins.",
                examples=["test.env", ["common.env", "test.env"]],
            ),
        ]
        | None
    ) = None
    workdir: AbsolutePath | None = None
    user: Text | None = None
    ports: Annotated[
        list[Port | PortOf],
        Meta(description="Each published on a free port of 127.0.0.1.", examples=[[8080, "53/udp"]]),
    ] = []
    volumes: list[VolumeDoc] = []
    files: Annotated[list[CopyDoc], Meta(description="Copied in before the start.")] = []
    depends_on: list[str] = []
    ready: ReadyDoc | Annotated[list[ReadyDoc], Meta(min_length=1, description="All must hold.")] | None = (
        None
    )
    may_end: Annotated[ExitCodes, Meta(description="With which it may end.")] | None = None
    limits: LimitsDoc | None = None
    network: Literal["isolated", "bridge", "none"] = "isolated"
    fresh: Annotated[bool, Meta(description="true: never a reused container.")] = False
    scratch: Annotated[list[AbsolutePath], Meta(description="Each a tmpfs.")] = []
    shm_size: (
        Annotated[Size, Meta(description="Of /dev/shm, within its memory.", examples=["256m"])] | None
    ) = None
    ulimits: Annotated[UlimitsDoc, Meta(examples=[{"nofile": 65536}])] | None = None
    cap_add: Annotated[
        list[Text],
        Meta(
            description="Only those that the ini option clnrm_allow_cap_add lists.", examples=[["NET_ADMIN"]]
        ),
    ] = []
    cap_drop: Annotated[
        list[Text],
        Meta(description='Capabilities that it does not get, or "ALL".', examples=[["ALL"], ["NET_RAW"]]),
    ] = []
    no_new_privileges: Annotated[
        bool,
        Meta(description="false only with the ini option clnrm_allow_new_privileges.", examples=[True]),
    ] = True
    read_only: Annotated[
        bool, Meta(description="Of its own file system; scratch folders are not.", examples=[True])
    ] = False
    hostname: Annotated[HostName, Meta(description="What it calls itself.", examples=["db.local"])] | None = (
        None
    )
    aliases: Annotated[
        list[HostName],
        Meta(description="More names under which the others reach it.", examples=[["postgres"]]),
    ] = []
    extra_hosts: Annotated[
        dict[HostName, Text],
        Meta(description="Name and address, in its /etc/hosts.", examples=[{"api.local": "10.0.0.5"}]),
    ] = {}
    labels: Annotated[
        dict[Text, str], Meta(description="Of its container.", examples=[{"com.example.team": "orders"}])
    ] = {}
    platform: Annotated[Platform, Meta(description="Of its image.", examples=["linux/arm64"])] | None = None
    stop_signal: (
        Annotated[Signal, Meta(description="By which it is asked to end.", examples=["SIGINT"])] | None
    ) = None
    stop_grace: (
        Annotated[Duration, Meta(description="After which it is killed then.", examples=["30s"])] | None
    ) = None

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
        ports = [port_of(each) for each in self.ports]
        return Service(
            name=name,
            image=self.image,
            build=build.built(source, at("build")) if build else None,
            entrypoint=None if self.entrypoint is None else tuple(self.entrypoint),
            command=None if self.command is None else argv_of(self.command),
            env={**self._env_of_files(source), **env_of(self.env)},
            env_files=tuple(source(each, read_only=True) for each in several(self.env_file)),
            workdir=self.workdir,
            user=self.user,
            ports=tuple(number for number, protocol in ports if protocol == "tcp"),
            udp_ports=tuple(number for number, protocol in ports if protocol == "udp"),
            volumes=tuple(
                each.built(source, at("volumes", index))
                for index, each in enumerate(self.volumes)
                if each.name is None
            ),
            shared_volumes=tuple(
                each.shared(each.name, at("volumes", index))
                for index, each in enumerate(self.volumes)
                if each.name is not None
            ),
            files=tuple(each.built(source, at("files", index)) for index, each in enumerate(self.files)),
            depends_on=tuple(self.depends_on),
            ready=ready,
            may_end=(*several(self.may_end), *(code for each in ready for code in each.exit)),
            limits=self.limits.built().over(limits) if self.limits else limits,
            network=self.network,
            fresh=self.fresh,
            scratch=tuple(self.scratch),
            shm_bytes=None if self.shm_size is None else parse_size_bytes(self.shm_size),
            ulimits={} if self.ulimits is None else self.ulimits.built(),
            cap_add=tuple(map(capability, self.cap_add)),
            cap_drop=tuple(each if each == ALL else capability(each) for each in self.cap_drop),
            new_privileges=not self.no_new_privileges,
            read_only=self.read_only,
            hostname=self.hostname,
            aliases=tuple(self.aliases),
            extra_hosts=dict(self.extra_hosts),
            labels=dict(self.labels),
            platform=self.platform,
            stop_signal=self.stop_signal,
            **seconds(stop_grace=self.stop_grace),
            at=at(),
        )

    def _env_of_files(self, source: Source) -> dict[str, str]:
        found: dict[str, str] = {}
        for each in several(self.env_file):
            found |= read_env(source(each, read_only=True, text=True))
        return found


def built_ready(ready: ReadyDoc | list[ReadyDoc] | None, at: At) -> tuple[Ready, ...]:
    """Return the conditions under which a service is ready."""
    if isinstance(ready, list):
        return tuple(each.built(at(index)) for index, each in enumerate(ready))
    return () if ready is None else (ready.built(at()),)
