"""``[[check]]``: what is looked at from outside of the containers, and what it must be: frozen values.

They come validated out of :mod:`pytest_clnrm.scenario.loading`; judged by :mod:`pytest_clnrm.expect.checks`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from pytest_clnrm.model.expectations import Condition
from pytest_clnrm.model.key_path import KeyPath
from pytest_clnrm.model.text import TextExpect

FileKind = Literal["file", "directory", "symlink", "fifo", "socket", "device"]


@dataclass(frozen=True, slots=True, kw_only=True)
class FileCheck:
    """What lies at a path in a container; all that is set must hold.

    A symbolic link is followed, but for ``kind`` and ``target``: these are of what lies at the path itself.

    :param exists: False if nothing may lie there; then nothing else is set.
    :param mode: the permissions with set-uid, set-gid and sticky bit, None for any.
    :param owner: a number, or a name of the container's own /etc/passwd; "" for any.
    :param group: the same of /etc/group.
    :param size: tests of its bytes.
    :param target: of a symbolic link, as it is written there.
    """

    service: str
    path: str
    exists: bool = True
    kind: FileKind | None = None
    mode: int | None = None
    owner: str = ""
    group: str = ""
    size: tuple[Condition, ...] = ()
    target: str | None = None
    sha256: str = ""
    content: TextExpect | None = None
    at: KeyPath = ()

    in_service: ClassVar = True
    """Whether :attr:`title` leaves out in which service."""

    @property
    def title(self) -> str:
        """Return what it is about, for messages and names."""
        return f"file {self.path}"

    @property
    def of_itself(self) -> bool:
        """Tell whether it is about a symbolic link itself, wherever that leads."""
        return self.kind == "symlink" or self.target is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class LinesExpect:
    """How many lines match a regular expression."""

    regex: str
    number: tuple[Condition, ...]
    at: KeyPath = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class LogCheck:
    """What a service has printed; all that is set must hold.

    :param stream: None for both, as they came.
    :param since: name of the step since whose start it is looked at; "" for all of it.
    :param order: regular expressions; each must match a line behind that of the one before.
    """

    service: str
    stream: Literal["stdout", "stderr"] | None = None
    since: str = ""
    content: TextExpect | None = None
    count: tuple[LinesExpect, ...] = ()
    order: tuple[str, ...] = ()
    at: KeyPath = ()

    in_service: ClassVar = False

    @property
    def title(self) -> str:
        """Return what it is about, for messages and names."""
        return f"log of service {self.service!r}"


Check = FileCheck | LogCheck
"""What is checked; :mod:`pytest_clnrm.runner.checks` has a module for each kind."""
