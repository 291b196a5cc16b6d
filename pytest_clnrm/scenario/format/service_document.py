"""``[service.NAME]`` of a scenario file, see :mod:`pytest_clnrm.scenario.format.document`."""

from functools import partial
from typing import Annotated, Literal

from msgspec import Meta

from pytest_clnrm.model.capabilities import ALL, capability
from pytest_clnrm.model.key_path import KeyPath
from pytest_clnrm.model.service import (
    Artifact,
    Build,
    Copy,
    Limits,
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
)
from pytest_clnrm.scenario.format.ready_document import ReadyDoc, built_ready


class LimitsDoc(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Limits of one container."""

    memory: (
        Annotated[
            Size,
            Meta(
                description="Memory, /dev/shm and scratch folders among it; default: --clnrm-memory.",
                examples=["256m"],
            ),
        ]
        | None
    ) = None
    cpu: (
        Annotated[
            float,
            Meta(
                ge=0.01,
                le=4096,
                description="CPUs, 0.5 is half of one; default: --clnrm-cpu.",
                examples=[0.5],
            ),
        ]
        | None
    ) = None
    pids: (
        Annotated[
            int, Meta(ge=1, le=4194304, description="Processes and threads; default: 512.", examples=[100])
        ]
        | None
    ) = None
    gpus: Annotated[int, Meta(ge=0, le=1024, description="How many; default: none.", examples=[1])] | None = (
        None
    )

    def built(self) -> Limits:
        """Return the limits."""
        memory_bytes = None if self.memory is None else parse_size_bytes(self.memory)
        return Limits(memory_bytes=memory_bytes, cpus=self.cpu, pids=self.pids, gpus=self.gpus)


class BuildDoc(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An image built from a folder."""

    context: Annotated[
        Text, Meta(description="The folder, relative to the file's and below rootdir.", examples=["./app"])
    ]
    dockerfile: (
        Annotated[
            Text,
            Meta(description="Relative to the context; default: Dockerfile.", examples=["test.Dockerfile"]),
        ]
        | None
    ) = None
    target: (
        Annotated[Text, Meta(description="The stage that is built; default: the last.", examples=["runtime"])]
        | None
    ) = None
    args: Annotated[
        Env, Meta(description="Values of ARG in the Dockerfile.", examples=[{"VERSION": "2"}])
    ] = {}
    network: Annotated[
        Literal["none", "bridge"],
        Meta(description="Which network the commands of the build have.", examples=["bridge"]),
    ] = "none"

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
    target: Annotated[AbsolutePath, Meta(description="Where it is in the container.", examples=["/data"])]
    read_only: (
        Annotated[
            bool,
            Meta(
                description="Default: false for a `name`, true for a `source`; for false the ini option "
                "clnrm_allow_writable lists its folder.",
                examples=[False],
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
    target: Annotated[
        AbsolutePath, Meta(description="The path of the file in the container.", examples=["/etc/app.conf"])
    ]
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


class ArtifactDoc(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Files of the container that are kept beside the report when the scenario is over."""

    path: Annotated[
        AbsolutePath,
        Meta(
            description="A file, a folder with all that is in it, or a glob; ** is any number of folders.",
            examples=["/app/coverage.xml", "/var/log/*.log"],
        ),
    ]
    when: Annotated[
        Literal["always", "failure"],
        Meta(description="failure: only if the scenario has failed.", examples=["failure"]),
    ] = "always"

    def built(self, at: KeyPath) -> Artifact:
        """Return the artifact."""
        return Artifact(path=self.path, only_failed=self.when == "failure", at=at)


class UlimitDoc(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A limit of the kernel on each process."""

    soft: Annotated[int, Meta(ge=-1, description="What holds; -1 is no limit.", examples=[1024])]
    hard: Annotated[
        int, Meta(ge=-1, description="To which a program may raise it; -1 is no limit.", examples=[4096])
    ]


Ulimit = Annotated[int, Meta(ge=-1, description="Both limits.")] | UlimitDoc


class UlimitsDoc(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Limits of the kernel on each process; those that raise a priority over the host's are none of them."""

    core: Annotated[Ulimit, Meta(description="Bytes of a core dump.", examples=[0])] | None = None
    cpu: Annotated[Ulimit, Meta(description="Seconds of CPU time.", examples=[60])] | None = None
    data: Annotated[Ulimit, Meta(description="Bytes of the data segment.", examples=[1073741824])] | None = (
        None
    )
    fsize: Annotated[Ulimit, Meta(description="Bytes of a file.", examples=[1073741824])] | None = None
    locks: Annotated[Ulimit, Meta(description="Locks of files.", examples=[100])] | None = None
    memlock: Annotated[Ulimit, Meta(description="Bytes that are kept in memory.", examples=[-1])] | None = (
        None
    )
    msgqueue: Annotated[Ulimit, Meta(description="Bytes of message queues.", examples=[819200])] | None = None
    nofile: (
        Annotated[Ulimit, Meta(description="Open files.", examples=[{"soft": 1024, "hard": 4096}])] | None
    ) = None
    nproc: Annotated[Ulimit, Meta(description="Processes of its user.", examples=[512])] | None = None
    rss: Annotated[Ulimit, Meta(description="Bytes in memory; Linux ignores it.", examples=[-1])] | None = (
        None
    )
    sigpending: Annotated[Ulimit, Meta(description="Signals that wait.", examples=[100])] | None = None
    stack: Annotated[Ulimit, Meta(description="Bytes of the stack.", examples=[8388608])] | None = None

    def built(self) -> dict[str, tuple[int, int]]:
        """Return soft and hard limit of each that is given."""
        given = {name: getattr(self, name) for name in self.__struct_fields__}
        return {
            name: (limit.soft, limit.hard) if isinstance(limit, UlimitDoc) else (limit, limit)
            for name, limit in given.items()
            if limit is not None
        }


class ServiceDoc(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A container of the scenario."""

    ONE_OF = ("image", "build")
    REMEDY = 'write image = "name:tag", or build = "./folder"'

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
            artifacts=tuple(
                each.built(at("artifacts", index)) for index, each in enumerate(self.artifact_tables)
            ),
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
