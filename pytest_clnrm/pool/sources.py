"""The host's files and folders that a container mounts, held open while it lives.

A path that was checked when the scenario's file was read may lead elsewhere later. So a source is opened,
without following links, right before the container is created; once it runs, what the engine has mounted is
compared with that; and what a scenario left in a writable volume is looked for in what was opened.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_clnrm.engine.docker.mounted import identity_in
from pytest_clnrm.errors import ContainerError, UnsharedError
from pytest_clnrm.scenario.mounts import is_loaded
from pytest_clnrm.util.beneath import Opened, open_beneath
from pytest_clnrm.util.walk import Entry, TooMuchError, walk

if TYPE_CHECKING:
    from pytest_clnrm.engine.api import ContainerState, Engine
    from pytest_clnrm.model.seen import PathFacts
    from pytest_clnrm.model.service import Service, Volume

_SHOWN = 5
_COMPARED = 8
"""Entries of a folder that are compared with what an engine has that cannot be looked into from here."""


@dataclass
class Sources:
    """The open sources of one container's volumes; to be closed."""

    _held: list[tuple[Volume, Opened]] = field(default_factory=list)

    def are_mounted(self, engine: Engine, container: str) -> bool:
        """Tell whether the container has mounted what is held."""
        if not self._held:
            return True
        state = engine.state(container)
        return all(_is_shown(engine, state, *each) is not False for each in self._held)

    def check_shared(self, engine: Engine, container: str) -> None:
        """Compare what a container shows, by what the engine tells, with what is held; it need not run.

        Of what the engine itself has copied there is nothing to be compared.

        :raises UnsharedError: if the engine has something else there.
        """
        if engine.facts.copies_volumes:
            return
        for volume, opened in self._held:
            if why := _difference(engine, container, volume.target, opened):
                raise UnsharedError(volume.source, why)

    def check(self, engine: Engine, container: str) -> None:
        """Compare what a container has mounted with what is held, and close the read-only sources.

        :raises ContainerError: if it has mounted something else, and was removed for it; or if it is gone.
        """
        if not self._held:
            return
        state = engine.state(container)
        shown = [(volume, _is_shown(engine, state, volume, opened)) for volume, opened in self._held]
        wrong = next((volume for volume, is_shown in shown if is_shown is False), None)
        if wrong is not None:
            engine.remove([container])
            raise ContainerError(
                f"volume {wrong.target}: {wrong.source} was exchanged while the container was started, "
                "which shows something else there; the container was removed"
            )
        if any(is_shown is None for _, is_shown in shown):
            try:
                self.check_shared(engine, container)
            except UnsharedError:
                engine.remove([container])
                raise
        for volume, opened in self._held:
            if volume.read_only:
                opened.close()
        self._held = [(volume, opened) for volume, opened in self._held if not volume.read_only]

    def left(self, loaded: tuple[str, ...]) -> Iterator[str]:
        """Yield what is dangerous in the writable volumes of a container whose processes have ended.

        :param loaded: globs of the names of files that pytest loads from the project.
        """
        for volume, opened in self._held:
            if volume.read_only:
                continue
            about = f"volume {volume.target}"
            try:
                found = [
                    f"{volume.source}/{each.shown}".rstrip("/") + f" ({why})"
                    for each in walk(opened)
                    if (why := each.why_dangerous or _why_followed(each, opened, loaded))
                ]
            except TooMuchError as error:
                yield f"{about}: {volume.source} holds {error}: what was left there cannot be looked through"
            except OSError as error:
                yield f"{about}: {volume.source} cannot be looked through: {error.strerror}"
            else:
                if found:
                    more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
                    yield f"{about}: the scenario left {', '.join(found[:_SHOWN])}{more}"

    @property
    def writable(self) -> bool:
        """Tell whether a writable one is held."""
        return any(not volume.read_only for volume, _ in self._held)

    def close(self) -> None:
        """Close all; twice is no error."""
        held, self._held = self._held, []
        for _, opened in held:
            opened.close()


_LOADED = "which is loaded on this host"


def _why_followed(entry: Entry, source: Opened, loaded: tuple[str, ...]) -> str:
    """Return why this host would load or follow an entry of *source*, "" if it would not."""
    if is_loaded(entry.name, loaded):
        return _LOADED
    if not stat.S_ISLNK(entry.status.st_mode):
        return ""
    # Pytest walks through linked folders too. Nothing changes the link any more: all processes have ended.
    target, own = os.path.realpath(entry.reach), os.path.realpath(source.reach)
    inside = target == own or target.startswith(f"{own}/")
    return "" if inside or Path(target).is_file() else "a link out of it, which is followed on this host"


def open_sources(service: Service) -> Sources:
    """Open the sources of a service's volumes without following links.

    :raises ContainerError: if one of them is not what it was when the scenario's file was read.
    """
    sources = Sources()
    for volume in service.volumes:
        try:
            opened = open_beneath("/", volume.source)
        except OSError as error:
            sources.close()
            raise ContainerError(
                f"volume {volume.target}: {error.filename or volume.source}: {error.strerror}; "
                "it was exchanged since the scenario's file was read"
            ) from None
        sources._held.append((volume, opened))  # noqa: SLF001 -- its own
        if not (opened.is_folder or opened.is_file):
            sources.close()
            raise ContainerError(
                f"volume {volume.target}: {volume.source} is neither a file nor a folder any more"
            )
    return sources


def _is_shown(engine: Engine, state: ContainerState, volume: Volume, opened: Opened) -> bool | None:
    """Tell whether a container shows what is held; None if the path leads there, and no more can be seen."""
    seen = identity_in(engine.facts, state, volume.target)
    if seen is not None:
        return seen == opened.identity
    # The container cannot be looked into from here: compare with what the path leads to now.
    try:
        with open_beneath("/", volume.source) as again:
            return None if again.identity == opened.identity else False
    except OSError:
        return False


def _difference(engine: Engine, container: str, target: str, opened: Opened) -> str:
    """Return how what the engine tells of a path in a container differs from what is held, "" if it does not.

    The engine may be on another machine, which shares some folders with this one, or none. A folder that it
    had to make for the mount is new, and empty.
    """
    if why := _differs(engine.look_at_path(container, target), opened):
        return why
    if not opened.is_folder:
        return ""
    for name in _some_names(opened):
        # One that is a link, or was removed meanwhile, tells nothing.
        with suppress(OSError), opened.beneath(name) as inner:
            seen = engine.look_at_path(container, f"{target.rstrip('/')}/{name}")
            if (inner.is_file or inner.is_folder) and (why := _differs(seen, inner)):
                return f"{name}: {why}"
    return ""


def _some_names(folder: Opened) -> list[str]:
    try:
        fd = folder.readable()
        try:
            return sorted(os.listdir(fd))[:_COMPARED]  # noqa: PTH208 of a descriptor
        finally:
            os.close(fd)
    except OSError:
        # It may not be read here.
        return []


def _differs(seen: PathFacts | None, opened: Opened) -> str:
    if seen is None:
        return "it has nothing there"
    kind = "folder" if opened.is_folder else "file"
    if seen.kind != kind:
        return f"there is no {kind}"
    before, after = opened.status, os.fstat(opened.fd)
    # Others may change it at any moment.
    if kind == "file" and not min(before.st_size, after.st_size) <= seen.size_bytes <= max(
        before.st_size, after.st_size
    ):
        return f"there is a file of {seen.size_bytes} bytes, not of {after.st_size}"
    if not int(before.st_mtime) <= seen.modified_s <= int(after.st_mtime):
        return f"the {kind} there was changed at another time"
    return ""
