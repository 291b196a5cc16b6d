"""``[service.NAME]`` of a scenario file, see :mod:`pytest_clnrm.scenario.format.document`."""

from functools import partial
from typing import Annotated, Literal

from msgspec import Meta

from pytest_clnrm.model.capabilities import ALL, capability
from pytest_clnrm.model.limits import Limits
from pytest_clnrm.model.service import Service
from pytest_clnrm.model.units import parse_size_bytes
from pytest_clnrm.scenario.env_files import read_env
from pytest_clnrm.scenario.format.limits_document import LimitsDoc, UlimitsDoc
from pytest_clnrm.scenario.format.parts import (
    AbsolutePath,
    At,
    CommandLine,
    Duration,
    Env,
    ExitCodes,
    HostName,
    Platform,
    Port,
    PortOf,
    Signal,
    Size,
    Source,
    Table,
    Text,
    argv_of,
    env_of,
    port_of,
    seconds,
    several,
)
from pytest_clnrm.scenario.format.ready_document import ReadyDoc, built_ready
from pytest_clnrm.scenario.format.service_files_document import ArtifactDoc, BuildDoc, CopyDoc, VolumeDoc
from pytest_clnrm.scenario.format.shared_document import PrepareDoc, built_prepare
from pytest_clnrm.scenario.format.urls import url_of


class ServiceDoc(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A container of the scenario."""

    ONE_OF = ("image", "build")
    REMEDY = 'write image = "name:tag", build = "./folder", or preset = "postgres"'

    preset: (
        Annotated[
            Text,
            Meta(
                description="A ready-made definition; the service's own keys replace what they name.",
                examples=["postgres"],
            ),
        ]
        | None
    ) = None
    image: (
        Annotated[
            Text,
            Meta(
                description="A reference; no id, or start of one: a hexadecimal name needs a tag.",
                examples=["postgres:16"],
            ),
        ]
        | None
    ) = None
    build: (
        Annotated[
            Text | BuildDoc,
            Meta(
                description="A folder of which the image is built, or a table.",
                examples=["./app", {"context": "./app", "target": "test"}],
            ),
        ]
        | None
    ) = None
    entrypoint: (
        Annotated[
            list[str],
            Meta(
                description="Replaces the image's entry point and command; []: `command` runs by itself.",
                examples=[[], ["/app/serve", "--verbose"]],
            ),
        ]
        | None
    ) = None
    command: (
        Annotated[
            CommandLine,
            Meta(
                description="Replaces the image's command; the arguments of `entrypoint`.",
                examples=[["serve", "--port", "8080"], "nginx -g 'daemon off;'"],
            ),
        ]
        | None
    ) = None
    env: Annotated[
        Env, Meta(description="Environment variables.", examples=[{"MODE": "test", "PORT": 8080}])
    ] = {}
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
    workdir: (
        Annotated[
            AbsolutePath,
            Meta(description="Folder in which it runs; default: the image's.", examples=["/app"]),
        ]
        | None
    ) = None
    user: (
        Annotated[Text, Meta(description="User as whom it runs; default: the image's.", examples=["nobody"])]
        | None
    ) = None
    ports: Annotated[
        list[Port | PortOf],
        Meta(
            description="Of the container; each is published on a free port of 127.0.0.1, of an engine "
            "elsewhere on all its addresses.",
            examples=[[8080, "53/udp"]],
        ),
    ] = []
    volumes: Annotated[
        list[VolumeDoc],
        Meta(
            description="Files and folders of the host, read-only, and volumes that services share.",
            examples=[[{"source": "./seed", "target": "/seed"}], [{"name": "data", "target": "/data"}]],
        ),
    ] = []
    files: Annotated[
        list[CopyDoc],
        Meta(
            description="Copied in before the start.",
            examples=[[{"content": "listen 8080\n", "target": "/etc/app.conf"}]],
        ),
    ] = []
    artifacts: Annotated[
        list[AbsolutePath | ArtifactDoc],
        Meta(
            max_length=100,
            description="Kept beside the report when the scenario is over: files, folders, globs.",
            examples=[["/app/coverage.xml", {"path": "/var/log/*.log", "when": "failure"}]],
        ),
    ] = []
    depends_on: Annotated[
        list[str], Meta(description="Services that must be ready first.", examples=[["db"]])
    ] = []
    ready: (
        Annotated[
            ReadyDoc | Annotated[list[ReadyDoc], Meta(min_length=1)],
            Meta(
                description="When others may use it: all of this holds; default: once it is started.",
                examples=[
                    {"port": 5432},
                    [{"log": "ready to accept", "times": 2}, {"command": "pg_isready"}],
                ],
            ),
        ]
        | None
    ) = None
    may_end: (
        Annotated[
            ExitCodes,
            Meta(
                description="With which it may end before the steps are over; default: it must not.",
                examples=[0, [0, 143]],
            ),
        ]
        | None
    ) = None
    limits: (
        Annotated[
            LimitsDoc,
            Meta(
                description="Of this container; what it does not name is as in the file's.",
                examples=[{"memory": "1g"}],
            ),
        ]
        | None
    ) = None
    network: Annotated[
        Literal["isolated", "bridge", "none"],
        Meta(description="Without a way out, with one, or no network at all.", examples=["bridge"]),
    ] = "isolated"
    scope: Annotated[
        Literal["scenario", "file", "run"],
        Meta(
            description="Who uses its one container: each scenario by itself, those of this file, or all of "
            "the run whose files say the same of it (docs/shared-services.md).",
            examples=["run"],
        ),
    ] = "scenario"
    fresh: Annotated[
        bool, Meta(description="true: never a container that has served another scenario.", examples=[True])
    ] = False
    scratch: Annotated[
        list[AbsolutePath],
        Meta(description="Folders on a tmpfs, empty when a scenario starts.", examples=[["/scratch"]]),
    ] = []
    shm_size: (
        Annotated[
            Size, Meta(description="Of /dev/shm; it counts as memory; default: 64 MB.", examples=["256m"])
        ]
        | None
    ) = None
    ulimits: (
        Annotated[
            UlimitsDoc,
            Meta(
                description="Limits of the kernel on each process; -1 is no limit.",
                examples=[{"nofile": 65536}],
            ),
        ]
        | None
    ) = None
    cap_add: Annotated[
        list[Text],
        Meta(
            description="More capabilities, of those that the ini option clnrm_allow_cap_add lists.",
            examples=[["NET_ADMIN"]],
        ),
    ] = []
    cap_drop: Annotated[
        list[Text],
        Meta(description='Capabilities that it does not get, or "ALL".', examples=[["ALL"], ["NET_RAW"]]),
    ] = []
    no_new_privileges: Annotated[
        bool,
        Meta(
            description="false: set-uid programs work; only with the ini option clnrm_allow_new_privileges.",
            examples=[True],
        ),
    ] = True
    read_only: Annotated[
        bool,
        Meta(
            description="Of its own file system; scratch folders and writable volumes are not.",
            examples=[True],
        ),
    ] = False
    hostname: (
        Annotated[
            HostName,
            Meta(
                description="What it calls itself; others reach it by its NAME and `aliases`.",
                examples=["db.local"],
            ),
        ]
        | None
    ) = None
    aliases: Annotated[
        list[HostName],
        Meta(
            description="More names under which the others reach it, of no other service.",
            examples=[["postgres"]],
        ),
    ] = []
    extra_hosts: Annotated[
        dict[HostName, Text],
        Meta(
            description="Name and address, for its /etc/hosts; what is reached is up to `network`.",
            examples=[{"api.local": "10.0.0.5"}],
        ),
    ] = {}
    labels: Annotated[
        dict[Text, str],
        Meta(
            description="Of its container; none that begins with pytest-clnrm.",
            examples=[{"com.example.team": "orders"}],
        ),
    ] = {}
    platform: (
        Annotated[
            Platform,
            Meta(
                description="Of its image; another one than the engine's takes an emulator.",
                examples=["linux/arm64"],
            ),
        ]
        | None
    ) = None
    prepare: (
        Annotated[
            bool | CommandLine | PrepareDoc,
            Meta(
                description="Its first start, and a command then, are done once and kept as an image; or "
                "what is run in a shared service for each worker or scenario.",
                examples=[True, "psql -f /all.sql", {"command": "createdb {{ worker }}", "each": "worker"}],
            ),
        ]
        | None
    ) = None
    stop_signal: (
        Annotated[
            Signal,
            Meta(description="By which it is asked to end; default: the image's.", examples=["SIGINT"]),
        ]
        | None
    ) = None
    stop_grace: (
        Annotated[
            Duration,
            Meta(
                description="After which it is killed then; default: 10 s, and 5 s for its spans.",
                examples=["30s"],
            ),
        ]
        | None
    ) = None

    url: (
        Annotated[
            Text,
            Meta(
                description="Where it is reached: {NAME} is a variable of its `env`, {host} and {port} its "
                "name and the first of its `ports`.",
                examples=["postgresql://{POSTGRES_USER}:{POSTGRES_PASSWORD}@{host}:{port}/{POSTGRES_DB}"],
            ),
        ]
        | None
    ) = None

    @property
    def is_job(self) -> bool:
        """Tell whether it is waited for until it has ended."""
        return any(each.exit is not None for each in several(self.ready))

    @property
    def build_table(self) -> BuildDoc | None:
        """Return its build as a table: a text alone is the context."""
        return BuildDoc(context=self.build) if isinstance(self.build, str) else self.build

    @property
    def artifact_tables(self) -> list[ArtifactDoc]:
        """Return its artifacts as tables: a text alone is the path."""
        return [ArtifactDoc(path=each) if isinstance(each, str) else each for each in self.artifacts]

    def built(self, name: str, limits: Limits, source: Source, at: At) -> Service:
        """Return the service.

        :param limits: of the file, for what its own leave open.
        """
        build = self.build_table
        ready = built_ready(self.ready, partial(at, "ready"))
        ports = [port_of(each) for each in self.ports]
        env = {**self._env_of_files(source), **env_of(self.env)}
        return Service(
            name=name,
            image=self.image,
            build=build.built(source, at("build")) if build else None,
            entrypoint=None if self.entrypoint is None else tuple(self.entrypoint),
            command=None if self.command is None else argv_of(self.command),
            env=env,
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
            artifacts=tuple(
                each.built(at("artifacts", index)) for index, each in enumerate(self.artifact_tables)
            ),
            depends_on=tuple(self.depends_on),
            ready=ready,
            may_end=(*several(self.may_end), *(code for each in ready for code in each.exit)),
            limits=self.limits.built().over(limits) if self.limits else limits,
            network=self.network,
            fresh=self.fresh,
            scope=self.scope,
            prepare=built_prepare(self.prepare, at("prepare")),
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
            url="" if self.url is None else url_of(self.url, env),
            at=at(),
        )

    def _env_of_files(self, source: Source) -> dict[str, str]:
        found: dict[str, str] = {}
        for each in several(self.env_file):
            found |= read_env(source(each, read_only=True, text=True))
        return found
