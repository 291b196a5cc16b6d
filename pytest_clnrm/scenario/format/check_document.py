"""``[[check]]`` of a scenario file, see :mod:`pytest_clnrm.scenario.format.document`."""

import ipaddress
from collections.abc import Callable, Mapping
from functools import partial
from typing import Annotated, Any, ClassVar, Literal

import msgspec
from msgspec import Meta

from pytest_clnrm.model.check import (
    Check,
    FileCheck,
    GroupCheck,
    ImageCheck,
    LogCheck,
    PackageCheck,
    PortCheck,
    ProcessCheck,
    UserCheck,
)
from pytest_clnrm.model.expectations import Condition
from pytest_clnrm.model.key_path import KeyPath
from pytest_clnrm.model.text import LinesExpect, TextExpect
from pytest_clnrm.model.units import parse_size_bytes
from pytest_clnrm.scenario.format.comparisons import bounds_of
from pytest_clnrm.scenario.format.json_document import AmountBounds, AmountDoc, amount_conditions
from pytest_clnrm.scenario.format.parts import At, Port, Sha256, StepFolder, Table, Text, several, words
from pytest_clnrm.scenario.format.text_document import TextDoc
from pytest_clnrm.scenario.matrix import as_text

BYTES_PATTERN = r"^[0-9]+(\.[0-9]+)?([bB]|[kKmMgG]([iI]?[bB])?)$"
BYTES = 'a number of bytes such as 1024, or text such as "64k", "10m"'
Bytes = (
    Annotated[int, Meta(ge=0, description="Bytes.")]
    | Annotated[str, Meta(pattern=BYTES_PATTERN, extra=words(BYTES))]
)
Amount = Annotated[int, Meta(ge=0)]
PortName = Annotated[
    str, Meta(pattern="^[0-9]{1,5}/(tcp|udp|sctp)$", extra=words('a port such as 8080 or "53/udp"'))
]
Ports = list[Port | PortName]
Texts = dict[Text, str | int | float | bool | TextDoc]
_TEXTS = "What it is: a text, or a table as of stdout; true and false: whether it is there."
Mode = Annotated[
    str,
    Meta(
        pattern="^[0-7]{3,4}$",
        description='Permissions such as "0644", with set-uid, set-gid and sticky bit.',
        examples=["0644"],
        extra=words('permissions in octal digits such as "0644"'),
    ),
]
Account = (
    Annotated[int, Meta(ge=0)]
    | Annotated[str, Meta(min_length=1, description="A number, or a name of the container's own files.")]
)


class BytesDoc(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Bounds of a number of bytes; everything that is set must hold."""

    eq: Annotated[Bytes, Meta(description="So many.", examples=[1024])] | None = None
    ne: Annotated[Bytes, Meta(description="Any other number.", examples=[0])] | None = None
    lt: Annotated[Bytes, Meta(description="Fewer.", examples=["10m"])] | None = None
    lte: Annotated[Bytes, Meta(description="At most so many.", examples=["64k"])] | None = None
    gt: Annotated[Bytes, Meta(description="More.", examples=[0])] | None = None
    gte: Annotated[Bytes, Meta(description="At least so many.", examples=["1k"])] | None = None


class CountDoc(AmountDoc, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Bounds of a number of things; of a log, how many lines match a regular expression."""

    regex: (
        Annotated[Text, Meta(description="Searched anywhere in a line of a log.", examples=["GET /orders"])]
        | None
    ) = None

    def built(self, at: KeyPath) -> LinesExpect:
        """Return the expectation."""
        return LinesExpect(regex=self.regex or "", number=bounds_of(self, int), at=at)


class CheckDoc(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is looked at from outside of a container; everything that is set must hold."""

    KINDS: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "file": (
            "service", "exists", "kind", "mode", "executable_by", "owner", "group", "size", "target",
            "sha256", "content",
        ),
        "log": ("from", "since", "content", "count", "order"),
        "image": (
            "entrypoint", "cmd", "env", "labels", "workdir", "user", "exposed", "not_exposed", "volumes",
            "not_volumes", "size", "layers", "no_setuid", "no_secrets",
        ),
        "port": ("service", "listening", "address", "process"),
        "process": ("service", "running", "count", "user"),
        "user": ("service", "exists", "uid", "gid", "home", "shell", "groups"),
        "group": ("service", "exists", "gid"),
        "package": ("service", "installed", "version"),
    }  # fmt: skip
    """Exactly one of these keys says what is checked -> the keys that go with it."""

    service: (
        Annotated[
            str,
            Meta(
                description="In whose container; default: the step's; after the steps, the `service` of the "
                "[[scenario]] or of [meta], or the only one.",
                examples=["api"],
            ),
        ]
        | None
    ) = None
    file: (
        Annotated[
            StepFolder,
            Meta(description="What lies at this absolute path.", examples=["/etc/app.conf"]),
        ]
        | None
    ) = None
    log: Annotated[Text, Meta(description="What this service has printed.", examples=["api"])] | None = None
    image: (
        Annotated[
            Text,
            Meta(description="The image of this service, or of this reference.", examples=["api", "nginx:1"]),
        ]
        | None
    ) = None
    port: (
        Annotated[
            Port | PortName,
            Meta(description="Who listens on it in the container.", examples=[8080, "53/udp"]),
        ]
        | None
    ) = None
    process: (
        Annotated[
            Text,
            Meta(
                description="The processes of this name; of a port, one that has the socket.",
                examples=["nginx"],
            ),
        ]
        | None
    ) = None
    user: (
        Annotated[
            str,
            Meta(
                description="This user of the container; of an image or a process, as whom it runs.",
                examples=["app"],
            ),
        ]
        | None
    ) = None
    exists: Annotated[bool, Meta(description="false: it must not be there.", examples=[False])] | None = None
    kind: (
        Annotated[
            Literal["file", "directory", "symlink", "fifo", "socket", "device"],
            Meta(description="Of what lies at the path itself: a link is not followed.", examples=["file"]),
        ]
        | None
    ) = None
    mode: Mode | None = None
    executable_by: (
        Annotated[
            Literal["any", "owner", "group", "other"],
            Meta(description='Who may execute it; "any": whoever of them.', examples=["any"]),
        ]
        | None
    ) = None
    owner: Annotated[Account, Meta(description="Number or name.", examples=["app"])] | None = None
    group: (
        Annotated[
            Account,
            Meta(description="This group of the container; of a file, its number or name.", examples=["app"]),
        ]
        | None
    ) = None
    size: (
        Annotated[Bytes | BytesDoc, Meta(description="Bytes, or bounds.", examples=[{"lt": "64k"}])] | None
    ) = None
    target: (
        Annotated[str, Meta(description="Of a symbolic link, as it is written.", examples=["../lib/app"])]
        | None
    ) = None
    sha256: Annotated[Sha256, Meta(description="Of its content, as sha256sum prints it.")] | None = None
    content: (
        Annotated[
            TextDoc,
            Meta(
                description="What the file or log holds, as text.", examples=[{"contains": "debug = false"}]
            ),
        ]
        | None
    ) = None

    stream: Annotated[
        Literal["stdout", "stderr"] | None, Meta(description="Default: both.", examples=["stderr"])
    ] = msgspec.field(default=None, name="from")
    since: (
        Annotated[
            Text,
            Meta(
                description="Name of a step that no other has: what was printed since it began.",
                examples=["create an order"],
            ),
        ]
        | None
    ) = None
    count: (
        Annotated[
            Amount | CountDoc | Annotated[list[CountDoc], Meta(min_length=1)],
            Meta(
                description="How many lines of a log match, or how many processes there are.",
                examples=[{"regex": "GET /orders", "eq": 3}],
            ),
        ]
        | None
    ) = None
    order: (
        Annotated[
            list[Text],
            Meta(
                description="Regular expressions that match lines one after the other.",
                extra_json_schema={"minItems": 2},
                examples=[["starting", "ready"]],
            ),
        ]
        | None
    ) = None

    entrypoint: (
        Annotated[list[str], Meta(description="All of it; [] for none.", examples=[["/app"]])] | None
    ) = None
    cmd: Annotated[list[str], Meta(description="All of it; [] for none.", examples=[["--serve"]])] | None = (
        None
    )
    env: Annotated[Texts, Meta(description=_TEXTS, examples=[{"MODE": "prod", "DEBUG": False}])] | None = None
    labels: Annotated[Texts, Meta(description=_TEXTS, examples=[{"version": {"regex": "^2"}}])] | None = None
    workdir: Annotated[str, Meta(description="As the image has it.", examples=["/app"])] | None = None
    exposed: (
        Annotated[
            Ports, Meta(description="All of them are exposed, among others.", examples=[[8080, "53/udp"]])
        ]
        | None
    ) = None
    not_exposed: Annotated[Ports, Meta(description="None of them is exposed.", examples=[[22]])] | None = None
    volumes: (
        Annotated[
            list[Text], Meta(description="All of them are declared, among others.", examples=[["/data"]])
        ]
        | None
    ) = None
    not_volumes: (
        Annotated[list[Text], Meta(description="None of them is declared.", examples=[["/"]])] | None
    ) = None
    layers: (
        Annotated[AmountBounds, Meta(description="How many there are.", examples=[{"lte": 10}])] | None
    ) = None
    no_setuid: (
        Annotated[bool, Meta(description="true: no file of it has the set-uid bit.", examples=[True])] | None
    ) = None
    no_secrets: (
        Annotated[bool, Meta(description="true: no variable looks like a secret.", examples=[True])] | None
    ) = None
    listening: Annotated[bool, Meta(description="false: nothing listens on it.", examples=[False])] | None = (
        None
    )
    address: (
        Annotated[
            Text,
            Meta(
                description='At which it is listened on, among others; "any": all, 0.0.0.0 or ::.',
                examples=["127.0.0.1", "any"],
            ),
        ]
        | None
    ) = None
    running: (
        Annotated[bool, Meta(description="false: there is no such process.", examples=[False])] | None
    ) = None
    uid: Annotated[Amount, Meta(description="Its number.", examples=[1000])] | None = None
    gid: (
        Annotated[Amount, Meta(description="The number of the group, or of a user's own.", examples=[1000])]
        | None
    ) = None
    home: Annotated[str, Meta(description="Its home folder.", examples=["/home/app"])] | None = None
    shell: Annotated[str, Meta(description="Its login shell.", examples=["/sbin/nologin"])] | None = None
    groups: (
        Annotated[
            list[Text], Meta(description="It is in all of them, its own among them.", examples=[["staff"]])
        ]
        | None
    ) = None

    package: (
        Annotated[Text, Meta(description="This package of dpkg or apk.", examples=["openssl"])] | None
    ) = None
    installed: (
        Annotated[bool, Meta(description="false: it must not be installed.", examples=[False])] | None
    ) = None
    version: (
        Annotated[
            str | TextDoc,
            Meta(
                description="Of the package: a text, or a table as of stdout.",
                examples=["3.0.11-1", {"starts_with": "3."}],
            ),
        ]
        | None
    ) = None

    @property
    def about(self) -> str:
        """Return the key that says what is checked, "" if there is none."""
        return next((key for key in self.KINDS if getattr(self, key) is not None), "")

    def built(self, service: str, at: At) -> Check:
        """Return the check.

        :param service: that it is about if it names none.
        """
        builders: Mapping[str, Callable[[str, At], Check]] = {
            "file": self._file,
            "log": self._log,
            "image": self._image,
            "port": self._port,
            "process": self._process,
            "user": self._user,
            "group": self._group,
            "package": self._package,
        }
        return builders[self.about](service if self.service is None else self.service, at)

    @property
    def of_service(self) -> str | None:
        """Return the service that it names."""
        return self.service if self.log is None else self.log

    def _image(self, _service: str, at: At) -> ImageCheck:
        return ImageCheck(
            image=self.image or "",
            entrypoint=None if self.entrypoint is None else tuple(self.entrypoint),
            cmd=None if self.cmd is None else tuple(self.cmd),
            env=_texts(self.env, partial(at, "env")),
            labels=_texts(self.labels, partial(at, "labels")),
            workdir=self.workdir,
            user=self.user,
            exposed=tuple(map(_port, self.exposed or ())),
            not_exposed=tuple(map(_port, self.not_exposed or ())),
            volumes=tuple(self.volumes or ()),
            not_volumes=tuple(self.not_volumes or ()),
            size=() if self.size is None else _size(self.size),
            layers=amount_conditions(self.layers),
            no_setuid=self.no_setuid is True,
            no_secrets=self.no_secrets is True,
            at=at(),
        )

    def _port(self, service: str, at: At) -> PortCheck:
        number, _, protocol = _port(self.port or 0).partition("/")
        return PortCheck(
            service=service,
            port=int(number),
            protocol="udp" if protocol == "udp" else "tcp",
            listening=self.listening is not False,
            address=address_of(self.address or ""),
            process=self.process or "",
            at=at(),
        )

    def _process(self, service: str, at: At) -> ProcessCheck:
        return ProcessCheck(
            service=service,
            process=self.process or "",
            number=self._number(),
            user=self.user or "",
            at=at(),
        )

    def _number(self) -> tuple[Condition, ...]:
        """Return how many processes there are: at least one, unless one of both keys says otherwise."""
        if self.running is False:
            return (Condition(op="eq", value=0),)
        counted = () if isinstance(self.count, list) else amount_conditions(self.count)
        has_least = any(each.op in {"eq", "gt"} or (each.op == "gte" and each.value) for each in counted)
        if has_least or (counted and not self.running):
            return counted
        return (Condition(op="gte", value=1), *(each for each in counted if each.op != "gte"))

    def _user(self, service: str, at: At) -> UserCheck:
        return UserCheck(
            service=service,
            user=self.user or "",
            exists=self.exists is not False,
            uid=self.uid,
            gid=self.gid,
            home=self.home,
            shell=self.shell,
            groups=tuple(self.groups or ()),
            at=at(),
        )

    def _log(self, _service: str, at: At) -> LogCheck:
        return LogCheck(
            service=self.log or "",
            stream=self.stream,
            since=self.since or "",
            content=self.content.built(at("content")) if self.content else None,
            count=tuple(
                each.built(at("count", index) if isinstance(self.count, list) else at("count"))
                for index, each in enumerate(several(self.count))
                if isinstance(each, CountDoc)
            ),
            order=tuple(self.order or ()),
            at=at(),
        )

    def _group(self, service: str, at: At) -> GroupCheck:
        return GroupCheck(
            service=service, group=str(self.group), exists=self.exists is not False, gid=self.gid, at=at()
        )

    def _package(self, service: str, at: At) -> PackageCheck:
        version = self.version
        if isinstance(version, str):
            version = TextDoc(equals=version)
        return PackageCheck(
            service=service,
            package=self.package or "",
            installed=self.installed is not False,
            version=None if version is None else version.built(at("version")),
            at=at(),
        )

    def _file(self, service: str, at: At) -> FileCheck:
        return FileCheck(
            service=service,
            path=self.file or "",
            exists=self.exists is not False,
            kind=self.kind,
            mode=None if self.mode is None else int(self.mode, 8),
            executable_by=self.executable_by,
            owner="" if self.owner is None else str(self.owner),
            group="" if self.group is None else str(self.group),
            size=() if self.size is None else _size(self.size),
            target=self.target,
            sha256=(self.sha256 or "").lower(),
            content=self.content.built(at("content")) if self.content else None,
            at=at(),
        )


def _texts(given: Mapping[str, Any] | None, at: At) -> dict[str, bool | TextExpect]:
    """Return what texts must be: a plain value must be equal, a boolean says whether there is one."""
    return {
        name: value.built(at(name))
        if isinstance(value, TextDoc)
        else value
        if isinstance(value, bool)
        else TextExpect(equals=as_text(value), at=at(name))
        for name, value in (given or {}).items()
    }


def address_of(given: str) -> str:
    """Return an address as it is compared: "any" and "" are none.

    :raises ValueError: if it is no address.
    """
    return given if given in {"", "any"} else str(ipaddress.ip_address(given))


def _port(given: int | str) -> str:
    """Return a port as images name it: ``8080/tcp``."""
    return f"{given}/tcp" if isinstance(given, int) else given


def _size(given: int | str | BytesDoc) -> tuple[Condition, ...]:
    """Return what a number of bytes is compared with."""
    if isinstance(given, BytesDoc):
        return bounds_of(given, _bytes)
    return (Condition(op="eq", value=_bytes(given)),)


def _bytes(value: int | str) -> int:
    return value if isinstance(value, int) else parse_size_bytes(value)
