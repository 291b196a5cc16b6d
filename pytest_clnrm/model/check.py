"""``[[check]]``: what is looked at from outside of the containers, and what it must be: frozen values.

They come validated out of :mod:`pytest_clnrm.scenario.loading`; judged by :mod:`pytest_clnrm.expect.checks`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from pytest_clnrm.model.expectations import Condition
from pytest_clnrm.model.key_path import KeyPath
from pytest_clnrm.model.text import LinesExpect, TextExpect

FileKind = Literal["file", "directory", "symlink", "fifo", "socket", "device"]
Executor = Literal["any", "owner", "group", "other"]


@dataclass(frozen=True, slots=True, kw_only=True)
class FileCheck:
    """What lies at a path in a container; all that is set must hold.

    A symbolic link is followed, but for ``kind`` and ``target``: these are of what lies at the path itself.

    :param exists: False if nothing may lie there; then nothing else is set.
    :param mode: the permissions with set-uid, set-gid and sticky bit, None for any.
    :param executable_by: who may execute it; "any": whoever of them.
    :param owner: a number, or a name of the container's own /etc/passwd; "" for any.
    :param group: the same of /etc/group.
    :param size: tests of its bytes.
    :param target: of a symbolic link, as it is written there.
    :cvar blank_fields: of which an empty text says something.
    :cvar handed_fields: of which strings name what is there, and hold no NUL.
    :cvar file_keys: field -> its keys in a file, where these are not its name.
    """

    blank_fields: ClassVar = ("target",)
    handed_fields: ClassVar = ("path",)
    file_keys: ClassVar = {"path": ("file",)}

    service: str
    path: str
    exists: bool = True
    kind: FileKind | None = None
    mode: int | None = None
    executable_by: Executor | None = None
    owner: str = ""
    group: str = ""
    size: tuple[Condition, ...] = ()
    target: str | None = None
    sha256: str = ""
    content: TextExpect | None = None
    at: KeyPath = ()

    @property
    def title(self) -> str:
        """Return what it is about, for messages and names."""
        return f"file {self.path}"

    @property
    def of_itself(self) -> bool:
        """Tell whether it is about a symbolic link itself, wherever that leads."""
        return self.kind == "symlink" or self.target is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class LogCheck:
    """What a service has printed; all that is set must hold.

    :param stream: None for both, as they came.
    :param since: name of the step since whose start it is looked at; "" for all of it.
    :param order: regular expressions; each must match a line behind that of the one before.
    :cvar regex_fields: which strings are regular expressions.
    """

    regex_fields: ClassVar = ("order",)

    service: str
    stream: Literal["stdout", "stderr"] | None = None
    since: str = ""
    content: TextExpect | None = None
    count: tuple[LinesExpect, ...] = ()
    order: tuple[str, ...] = ()
    at: KeyPath = ()

    @property
    def title(self) -> str:
        """Return what it is about, for messages and names."""
        return f"log of service {self.service!r}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageCheck:
    """What an image says of itself, and holds; all that is set must hold.

    :param image: name of a service, whose image it is, or a reference.
    :param entrypoint: all of it; () for none, None for any. So is ``cmd``.
    :param env: what a variable is; True and False: it must, and must not, be there. So are ``labels``.
    :param exposed: ports such as "8080/tcp", all of which must be exposed.
    :param volumes: all of which must be there.
    :param size: tests of its bytes.
    :param layers: tests of their number.
    :param no_setuid: no file of it may have the set-uid bit.
    :param no_secrets: no variable of it may look like a secret.
    :cvar blank_fields: of which an empty text says something.
    """

    blank_fields: ClassVar = ("entrypoint", "cmd", "workdir", "user")

    image: str
    entrypoint: tuple[str, ...] | None = None
    cmd: tuple[str, ...] | None = None
    env: Mapping[str, bool | TextExpect] = field(default_factory=dict)
    labels: Mapping[str, bool | TextExpect] = field(default_factory=dict)
    workdir: str | None = None
    user: str | None = None
    exposed: tuple[str, ...] = ()
    not_exposed: tuple[str, ...] = ()
    volumes: tuple[str, ...] = ()
    not_volumes: tuple[str, ...] = ()
    size: tuple[Condition, ...] = ()
    layers: tuple[Condition, ...] = ()
    no_setuid: bool = False
    no_secrets: bool = False
    at: KeyPath = ()

    @property
    def title(self) -> str:
        """Return what it is about, for messages and names."""
        return f"image {self.image!r}"


@dataclass(frozen=True, slots=True, kw_only=True)
class UserCheck:
    """A user of a container, by its /etc/passwd and /etc/group; all that is set must hold.

    :param gid: of its own group.
    :param groups: names of groups that it must be in; its own counts.
    :cvar blank_fields: of which an empty text says something.
    :cvar handed_fields: as of :class:`FileCheck`.
    """

    blank_fields: ClassVar = ("home", "shell")
    handed_fields: ClassVar = ("user",)

    service: str
    user: str
    exists: bool = True
    uid: int | None = None
    gid: int | None = None
    home: str | None = None
    shell: str | None = None
    groups: tuple[str, ...] = ()
    at: KeyPath = ()

    @property
    def title(self) -> str:
        """Return what it is about, for messages and names."""
        return f"user {self.user!r}"


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupCheck:
    """A group of a container, by its /etc/group; all that is set must hold.

    :cvar handed_fields: as of :class:`FileCheck`.
    """

    handed_fields: ClassVar = ("group",)

    service: str
    group: str
    exists: bool = True
    gid: int | None = None
    at: KeyPath = ()

    @property
    def title(self) -> str:
        """Return what it is about, for messages and names."""
        return f"group {self.group!r}"


@dataclass(frozen=True, slots=True, kw_only=True)
class PackageCheck:
    """A package of a container, by the lists that dpkg and apk keep; all that is set must hold.

    :param version: what its version must be, or that of one of several of its name.
    :cvar handed_fields: as of :class:`FileCheck`.
    """

    handed_fields: ClassVar = ("package",)

    service: str
    package: str
    installed: bool = True
    version: TextExpect | None = None
    at: KeyPath = ()

    @property
    def title(self) -> str:
        """Return what it is about, for messages and names."""
        return f"package {self.package!r}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessCheck:
    """The processes of a name in a container; all that is set must hold.

    :param number: tests of how many there are.
    :param user: a number, or a name of the container's own /etc/passwd; "" for any.
    :cvar handed_fields: as of :class:`FileCheck`.
    """

    handed_fields: ClassVar = ("process", "user")

    service: str
    process: str
    number: tuple[Condition, ...] = (Condition(op="gte", value=1),)
    user: str = ""
    at: KeyPath = ()

    @property
    def title(self) -> str:
        """Return what it is about, for messages and names."""
        return f"process {self.process!r}"


@dataclass(frozen=True, slots=True, kw_only=True)
class PortCheck:
    """Who listens on a port within a container; all that is set must hold.

    :param listening: False if nothing may listen on it; then nothing else is set.
    :param address: on which it is listened on, among others; "any" for all addresses, "" for whatever.
    :param process: name of one that listens, "" for whatever.
    """

    service: str
    port: int
    protocol: Literal["tcp", "udp"] = "tcp"
    listening: bool = True
    address: str = ""
    process: str = ""
    at: KeyPath = ()

    @property
    def title(self) -> str:
        """Return what it is about, for messages and names."""
        return f"port {self.port}/{self.protocol}"


Check = FileCheck | LogCheck | ImageCheck | PortCheck | UserCheck | GroupCheck | PackageCheck | ProcessCheck
"""What is checked; :mod:`pytest_clnrm.runner.checks` has a module for each kind."""
