"""Files of a container, looked at through the engine: no program of the container is needed for that."""

from __future__ import annotations

import hashlib
import posixpath
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING

from pytest_clnrm.errors import ContainerError
from pytest_clnrm.expect.checks.accounts import Accounts, read_accounts
from pytest_clnrm.expect.checks.files import FileFacts, judge_file
from pytest_clnrm.util.output import BoundedOutput
from pytest_clnrm.util.path_globs import components

if TYPE_CHECKING:
    from pytest_clnrm.expect.text_checks import TextFault
    from pytest_clnrm.model.check import FileCheck
    from pytest_clnrm.model.seen import FileSeen
    from pytest_clnrm.pool.running import RunningContainer
    from pytest_clnrm.runner.actions.attempt import Setting

_IN_MEMORY = ("/proc", "/sys", "/dev")
_MAX_LINKS = 40


def check_file(check: FileCheck, setting: Setting, title: str) -> Iterator[TextFault]:
    """Yield why what lies at a path is something else than expected.

    :raises ClnrmError: if it cannot be told.
    """
    looking = Looking(setting, check.service)
    content, digest = BoundedOutput(), hashlib.sha256()

    def feed(data: bytes) -> None:
        content.feed(data)
        digest.update(data)

    read = feed if check.sha256 or check.content is not None else None
    itself = looking.at(check.path, read)
    end, end_path = itself, check.path
    if itself is not None and itself.kind == "symlink":
        itself, end_path = looking.completed(check.path, itself), itself.leads_to
        end = looking.at(end_path, read)
    if end is not None and (check.owner or check.group):
        end = looking.completed(end_path, end)
    facts = FileFacts(
        itself=itself,
        end=end,
        text=content.text(),
        omitted_bytes=content.omitted_bytes,
        sha256=digest.hexdigest(),
        accounts=looking.accounts() if check.owner or check.group else Accounts(),
    )
    return judge_file(check, facts, title)


class Looking:
    """Looks at files of the container of a service."""

    def __init__(self, setting: Setting, service: str) -> None:
        self._engine = setting.around.runtime.engine()
        self._container: RunningContainer = setting.around.containers[service]
        self._deadline_s = setting.deadline_s

    def at(self, path: str, feed: Callable[[bytes], None] | None = None) -> FileSeen | None:
        """Return what lies at a path, None if nothing does.

        :param feed: gets the content of a regular file.
        :raises ContainerError: if the engine cannot see it, or a captured value makes no absolute path.
        """
        if not path.startswith("/"):
            raise ContainerError(f"{path!r} is no absolute path in the container")
        # What lies below a mount is seen in place of what is in it.
        tmpfs = self._container.spec.tmpfs
        self._refuse_memory(self._without_links(path) if tmpfs else posixpath.normpath(path))
        seen = self._look(path, feed)
        if seen is None and not tmpfs:
            # Links may lead to memory, of which the engine says that nothing is there.
            self._refuse_memory(self._without_links(path))
        return seen

    def _look(self, path: str, feed: Callable[[bytes], None] | None = None) -> FileSeen | None:
        return self._engine.look_at_file(self._container.id, path, deadline_s=self._deadline_s, feed=feed)

    def completed(self, path: str, seen: FileSeen) -> FileSeen:
        """Return *seen*, which lies at *path*, with all that only a look at all files tells (Podman).

        Of what lies in a volume not even that does.
        """
        if seen.uid is not None or seen.kind == "socket":
            return seen
        real = self._without_links(path)
        with closing(self._engine.list_files(self._container.id, deadline_s=self._deadline_s)) as files:
            found = next((each for name, each in files if name == real), seen)
        return replace(seen, uid=found.uid, gid=found.gid, target=found.target)

    def contents(self, path: str) -> Iterator[Iterator[bytes]]:
        """Yield the content of the regular file at a path, or of each one below the folder there; see `at`.

        Each is read before the next one is asked for. A link at the path is followed.

        :raises ContainerError: if the engine cannot see one, or something else lies there.
        """
        seen = self.at(path)
        if seen is None:
            return
        if seen.kind == "symlink":
            path, link = seen.leads_to, path
            if self.at(path) is None:
                raise ContainerError(f"{link} leads to {path}, where nothing lies")
        with closing(self._engine.read_files(self._container.id, path, deadline_s=self._deadline_s)) as found:
            for below, each, content in found:
                if each.kind == "file":
                    yield content
                elif each.kind != "directory":
                    raise ContainerError(f"{posixpath.join(path, below)} is a {each.kind}, which is not read")

    def accounts(self) -> Accounts:
        """Return the users and groups of the container; none where it does not have the files."""
        return read_accounts(self._text("/etc/passwd"), self._text("/etc/group"))

    def _text(self, path: str) -> str:
        content = BoundedOutput()
        seen = self.at(path, content.feed)
        if seen is not None and seen.kind == "symlink":
            self.at(seen.leads_to, content.feed)
        if content.omitted_bytes:
            raise ContainerError(f"{path} is too large to be read")
        return content.text()

    def _refuse_memory(self, real: str) -> None:
        """Refuse a path whose file system is in memory: the engine would say that nothing lies there.

        :param real: the path without links.
        :raises ContainerError: with what to do instead.
        """
        for each in (*_IN_MEMORY, *self._container.spec.tmpfs):
            if real == each or real.startswith(f"{each.rstrip('/')}/"):
                raise ContainerError(f"{each} is in memory, which is not seen from outside: use a step")

    def _without_links(self, path: str) -> str:
        """Return a path as it is once the links among its folders are followed."""
        done, parts = "/", components(path)
        followed = 0
        while len(parts) > 1:
            done = posixpath.normpath(posixpath.join(done, parts.pop(0)))
            while (seen := self._look(done)) is not None and seen.kind == "symlink" and followed < _MAX_LINKS:
                if seen.leads_to == done:
                    # A link of the kernel's own, such as /proc/self (Podman).
                    break
                followed += 1
                done = seen.leads_to
        return posixpath.normpath(posixpath.join(done, *parts))
