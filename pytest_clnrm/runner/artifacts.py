"""Keeping files of a scenario's containers: copied out by the engine, without a program of the container.

Names and contents are a program's, which may be hostile. Only regular files are made on this host, from their
contents alone: no link, device or permission of theirs comes along.
"""

from __future__ import annotations

import codecs
import os
import re
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from pytest_clnrm.errors import ClnrmError, EngineUnavailableError
from pytest_clnrm.model.kept import KeptFile
from pytest_clnrm.names import ARTIFACTS_FOLDER
from pytest_clnrm.scenario.mounts import may_be_loaded
from pytest_clnrm.util.path_globs import PathGlob, components
from pytest_clnrm.util.redaction import MASK

if TYPE_CHECKING:
    from pytest_clnrm.model.seen import FileSeen
    from pytest_clnrm.model.service import Artifact
    from pytest_clnrm.pool.running import RunningContainer
    from pytest_clnrm.runtime.runtime import Runtime
    from pytest_clnrm.util.redaction import Redactor

TIME_S = 30.0
"""How long the files of a scenario are copied, beside its own time, which may be over."""

MAX_FILES = 1000
_MAX_NAME_BYTES = 200
_MAX_SAME = 100
_REFUSED = '<>:"|?*\\'
_SLUG_CHARS = 60
_NOT_LOADED = ".artifact"
_Made = TypeVar("_Made")


class ArtifactFolder:
    """Where the files of one item are put; it is made for the first of them.

    :param parent: the folder of all items of the run.
    :param name: of the item's scenario, as it may be shown.
    """

    def __init__(self, parent: Path, name: str, nodeid: str) -> None:
        plain = re.sub(r"[^A-Za-z0-9._=-]+", "-", name)[:_SLUG_CHARS].strip("-.")
        unique = sha256(nodeid.encode("utf-8", "surrogatepass")).hexdigest()[:8]
        self._parent = parent
        self._name = f"{plain or 'scenario'}-{unique}"
        self._made: Path | None = None

    def made(self) -> Path:
        """Return the folder.

        :raises OSError: if it cannot be made.
        """
        if self._made is None:
            self._parent.mkdir(parents=True, exist_ok=True)
            # Another item of its name may have one, or this one where it ran in a worker that has died.
            self._made, _ = _first_free(self._parent, self._name, Path.mkdir)
        return self._made

    def forget(self) -> None:
        """Remove what an earlier run of the item has left."""
        if self._made is not None:
            shutil.rmtree(self._made, ignore_errors=True)
            self._made = None


@dataclass(kw_only=True)
class Artifacts:
    """The artifacts of one run of a scenario.

    :param folder: where they are put; None: nowhere, as nothing says where.
    :param redactor: hides the scenario's secrets in names and contents.
    :ivar files: what was kept.
    :ivar notes: what was not, and why, a line each.
    """

    runtime: Runtime
    folder: ArtifactFolder | None
    redactor: Redactor
    files: list[KeptFile] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    _left_bytes: int = field(init=False)
    _is_full: bool = False
    _known: set[tuple[str, str]] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._left_bytes = self.runtime.settings.max_artifacts_bytes

    def keep(self, containers: Iterable[RunningContainer], *, failed: bool) -> None:
        """Copy the files out; what cannot be had is noted, and no failure.

        Where something foreign has broken it off, it may be called again: what is there stays.

        :param failed: the scenario has failed.
        """
        wanted = [
            (container, each)
            for container in containers
            for each in container.service.artifacts
            if failed or not each.only_failed
        ]
        if wanted and self.folder is None:
            self.notes.append("artifacts were not kept: --clnrm-report DIR says where")
            return
        deadline_s = time.monotonic() + TIME_S
        for container, artifact in wanted:
            if self._is_full:
                return
            about = f"artifact {artifact.path} of service {container.service.name!r}"
            try:
                self._keep(container, artifact, about, deadline_s)
            except EngineUnavailableError as error:
                self.notes.append(f"{about}: {error}")
                return
            except ClnrmError as error:
                self.notes.append(f"{about}: {error}")

    def _keep(self, container: RunningContainer, artifact: Artifact, about: str, deadline_s: float) -> None:
        """Copy the files that one artifact names.

        :raises ClnrmError: if the engine does not give them.
        """
        glob = PathGlob.of(artifact.path)
        number = left_out = 0
        engine = self.runtime.engine()
        with closing(engine.read_files(container.id, glob.folder, deadline_s=deadline_s)) as found:
            for below, seen, pieces in found:
                path = f"{glob.folder}/{below}".rstrip("/")
                if not glob.matches(components(below)):
                    continue
                number += 1
                if (container.service.name, path) in self._known:
                    continue
                if is_kept(seen):
                    self._known.add((container.service.name, path))
                    try:
                        self._store(container.service.name, path, pieces)
                    except OSError as error:
                        self.notes.append(f"{about}: {path}: {error.strerror or error}")
                        return
                elif seen.kind != "directory":
                    left_out += 1
                if self._is_full:
                    break
        if left_out:
            noun = (
                "a link, device or the like is"
                if left_out == 1
                else f"{left_out} links, devices and the like are"
            )
            self.notes.append(f"{about}: {noun} left out")
        if not number:
            self.notes.append(f"{about}: nothing lies there")

    def _store(self, service: str, path: str, pieces: Iterator[bytes]) -> None:
        """Write a file.

        :raises OSError: if it cannot be written.
        """
        settings = self.runtime.settings
        if len(self.files) == MAX_FILES:
            self._is_full = True
            self.notes.append(f"more than {MAX_FILES} files are artifacts: the rest is left out")
            return
        assert self.folder is not None  # noqa: S101 (keep looked)
        folder = self.folder.made()
        names = host_names(path, self.runtime.loaded, self.redactor)
        around = folder.joinpath(service, *names[:-1])
        around.mkdir(parents=True, exist_ok=True)
        place, descriptor = _first_free(around, names[-1], _create)
        size, whole = 0, False
        try:
            with open(descriptor, "wb") as file:  # noqa: PTH123 of a descriptor
                for piece in masked(self._fitting(pieces), self.redactor, lambda: self._is_full):
                    size += file.write(piece)
            whole = not self._is_full
        finally:
            shown = f"{ARTIFACTS_FOLDER}/{place.relative_to(folder.parent).as_posix()}"
            self.files.append(
                KeptFile(service=service, path=path, file=shown, size_bytes=size, is_cut=not whole)
            )
        if self._is_full:
            self.notes.append(
                f"artifacts of more than {settings.max_artifacts_bytes / 2**20:.10g} MB: {path} of service "
                f"{service!r} is cut there, and what comes after it is left out "
                f"(clnrm_max_artifacts: {settings.origin('max_artifacts_bytes')})"
            )

    def _fitting(self, pieces: Iterator[bytes]) -> Iterator[bytes]:
        """Yield what there is room for; beyond it nothing more is kept."""
        for piece in pieces:
            fits = fitting(piece, self._left_bytes)
            self._left_bytes -= len(fits)
            yield fits
            if len(fits) < len(piece):
                self._is_full = True
                return


def is_kept(seen: FileSeen) -> bool:
    """Tell whether something is copied: a file, and nothing that leads or stands for something else."""
    return seen.kind == "file"


def fitting(piece: bytes, left_bytes: int) -> bytes:
    """Return as much of *piece* as there is room for."""
    return piece[:left_bytes]


def masked(pieces: Iterable[bytes], redactor: Redactor, is_cut: Callable[[], bool]) -> Iterator[bytes]:
    """Yield a file's content with secrets masked, all other bytes as they are.

    :param is_cut: tells at the end whether there was more, so that the last bytes may begin a secret.
    """
    if not redactor:
        yield from pieces
        return
    decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")
    held = ""
    for piece in pieces:
        text, held = redactor.finished(held + decoder.decode(piece))
        yield text.encode("utf-8", "surrogateescape")
    held += decoder.decode(b"", final=True)
    if not is_cut():
        yield redactor.text(held).encode("utf-8", "surrogateescape")


def host_names(path: str, loaded: Sequence[str], redactor: Redactor) -> list[str]:
    """Return the names of folders and file under which a path of a container is kept on this host.

    None of them leads anywhere, holds what a terminal obeys or an archive of a CI service refuses, or is one
    that something on this host loads by itself.

    :param loaded: globs of what is loaded.
    """
    plain = redactor.text(path).replace(MASK, "---")
    return [_unloaded(harmless(each), loaded) for each in components(plain)]


def harmless(name: str) -> str:
    """Return a name of a container's file as one that leads nowhere else, and that can be shown."""
    if set(name) == {"."}:
        return name.replace(".", "%2E")
    made = "".join(each if each.isprintable() and each not in _REFUSED else _percent(each) for each in name)
    data = made.encode()
    if len(data) <= _MAX_NAME_BYTES:
        return made
    return f"{data[:_MAX_NAME_BYTES].decode(errors='ignore')}~{sha256(data).hexdigest()[:8]}"


def _percent(char: str) -> str:
    return "".join(f"%{each:02X}" for each in char.encode("utf-8", "surrogatepass"))


def _unloaded(name: str, loaded: Sequence[str]) -> str:
    return f"{name}{_NOT_LOADED}" if may_be_loaded(name, loaded) else name


def _create(path: Path) -> int:
    """Make a file, and return a descriptor to write it by: what is there already is never opened."""
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)


def _first_free(folder: Path, name: str, make: Callable[[Path], _Made]) -> tuple[Path, _Made]:
    """Return a path in *folder* that was free, and what *make* returned for it.

    :raises OSError: if it cannot be made.
    """
    number = 1
    while True:
        path = folder / (name if number == 1 else f"{name}~{number}")
        try:
            return path, make(path)
        except FileExistsError:
            number += 1
            if number > _MAX_SAME:
                raise
