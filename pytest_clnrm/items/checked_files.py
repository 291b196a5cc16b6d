"""Scenario files as they were checked: each once in a run, by whichever worker comes to it first.

Every xdist worker collects every file. Files that stand next to each other are a bundle, of which there is a
file in the run's own folder. Whoever locks it first checks the bundle, and leaves there what the files hold;
the others meanwhile check bundles further on, and wait only for those that they need next. As many workers
check as there are processors: more would only import, each for itself, what it takes to check. The rest wait
for them, and check too if nothing comes. A lock goes with its process: what one left undone, the next one
does. Who sees another file (another inode, size or time of
change), another environment or other marks than the one who checked, checks by itself. So does everybody
where a file has mistakes, or secrets, which are not written down.

The folder belongs to this user and this run alone, and goes with it: nothing in it is older than the run.
That is why pickle may read it.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import pickle
import stat
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from pytest_clnrm.errors import ScenarioFileError
from pytest_clnrm.imports import no_garbage_collection
from pytest_clnrm.items.outline import Outline, outline_of
from pytest_clnrm.items.tags import known_marks
from pytest_clnrm.util.processors import count_processors, is_among_first

if TYPE_CHECKING:
    from pytest_clnrm.model.scenario import Scenario
    from pytest_clnrm.runtime.runtime import Runtime
    from pytest_clnrm.scenario.options import LoadOptions

NO_VALUES: Mapping[str, object] = MappingProxyType({})
BUNDLE = 32
"""How many files are checked at a time: few enough that nobody waits long for who has the last ones."""
_LENGTH_BYTES = 8
_WAIT_S = 10.0
"""After so long without a bundle a worker that left checking to others checks, too."""
_POLL_S = 0.005
_OF_WORKERS = ("PYTEST_XDIST_WORKER", "PYTEST_CURRENT_TEST")
"""Variables that differ between workers, and that no template may read."""


class CheckedFile:
    """What a file holds.

    :ivar outlines: of its scenarios, in the order of the file.
    :param fetch: returns the scenarios, in the same order.
    """

    def __init__(self, outlines: Sequence[Outline], fetch: Callable[[], tuple[Scenario, ...]]) -> None:
        self.outlines = outlines
        self._fetch = fetch

    @cached_property
    def scenarios(self) -> tuple[Scenario, ...]:
        """Return the scenarios, fetched when one is first asked for."""
        return self._fetch()

    def scenario(self, index: int) -> Scenario:
        """Return one of the scenarios."""
        return self.scenarios[index]


def checked_files(config: pytest.Config, runtime: Runtime) -> CheckedFiles:
    """Return the checked files of this process."""
    if _checked_files_key not in config.stash:
        told = getattr(config, "workerinput", {})
        folder = runtime.run_folder() if told.get("workercount", 1) > 1 and runtime.run_folder else None
        if folder is not None and not _is_private(folder):
            folder = None
        config.stash[_checked_files_key] = CheckedFiles(config, runtime, folder)
    return config.stash[_checked_files_key]


class _Seen(NamedTuple):
    """By what a file is known not to have changed since it was read."""

    device: int
    inode: int
    size: int
    modified_ns: int
    changed_ns: int


class _Entry(NamedTuple):
    """A file of a bundle.

    :param at: where its scenarios begin, from the end of the head.
    """

    seen: _Seen
    outlines: tuple[Outline, ...]
    at: int
    length: int


@dataclass(kw_only=True, eq=False)
class _Bundle:
    """Files that are checked together.

    :param place: where what is known of them lies.
    :ivar entries: of files that need not be checked again; None until that is known.
    """

    paths: tuple[str, ...]
    place: Path
    entries: dict[str, _Entry] | None = None
    start: int = 0


@dataclass
class CheckedFiles:
    """The scenario files of one process's session.

    :param folder: the run's own folder, None where no other process of the run collects.
    """

    config: pytest.Config
    runtime: Runtime
    folder: Path | None
    _asked_for: dict[str, bool] = field(default_factory=dict)
    _coming: dict[str, None] = field(default_factory=dict)
    _bundles: dict[str, _Bundle] = field(default_factory=dict)
    _checks: bool = field(init=False)

    def __post_init__(self) -> None:
        self._checks = is_among_first(self.runtime.worker, count_processors())

    def expect(self, path: Path, session: pytest.Session) -> None:
        """Note that a file is going to be collected, if it is: pytest makes nodes of files beside it, too."""
        if self.folder is None:
            return
        folder = os.path.dirname(path)  # noqa: PTH120 (thousands of files)
        if folder not in self._asked_for:
            self._asked_for[folder] = any(map(session.isinitpath, path.parents))
        if self._asked_for[folder] or session.isinitpath(path):
            self._coming[str(path)] = None

    def get(self, path: str, variables: Mapping[str, object] = NO_VALUES) -> CheckedFile:
        """Return what the file at *path* holds.

        :param variables: values in place of those that the file's own variables have.
        :raises ScenarioFileError: with all its mistakes.
        """
        if variables:
            return self._checked(path, variables)
        entry, bundle = None, None
        if self.folder is not None:
            if path not in self._bundles:
                self._bundle(self.folder)
            bundle = self._bundles.get(path)
        if bundle is not None:
            if bundle.entries is None:
                self._learn(bundle)
            entry = (bundle.entries or {}).get(path)
        if bundle is None or entry is None or not _is_as_seen(path, entry.seen):
            return self._checked(path)
        place, at, length = bundle.place, bundle.start + entry.at, entry.length
        return CheckedFile(entry.outlines, lambda: _scenarios_at(place, at, length))

    def _bundle(self, folder: Path) -> None:
        """Make bundles of what is going to be collected: the same ones in each worker."""
        coming, self._coming = list(self._coming), {}
        for begin in range(0, len(coming), BUNDLE):
            paths = tuple(coming[begin : begin + BUNDLE])
            name = hashlib.sha256("\0".join(paths).encode("utf-8", "surrogatepass")).hexdigest()
            bundle = _Bundle(paths=paths, place=folder / f"checked-{name[:32]}")
            self._bundles.update(dict.fromkeys(paths, bundle))

    def _learn(self, bundle: _Bundle) -> None:
        """Check a bundle, or learn of it from who does, and check others meanwhile."""
        try:
            if not self._checks:
                self._checks = not self._comes(bundle)
            if bundle.entries is not None or self._try(bundle):
                return
            for other in dict.fromkeys(self._bundles.values()):
                if other.entries is None and other is not bundle:
                    self._try(other)
                    if self._try(bundle):
                        return
            self._try(bundle, wait=True)
        except OSError:
            # Where the disk is full or the folder is gone each process is on its own.
            bundle.entries = {}

    def _comes(self, bundle: _Bundle) -> bool:
        """Wait until another worker has checked a bundle, and read it; return False if none does."""
        ends_s = time.monotonic() + _WAIT_S
        while not (_is_begun(bundle.place) and self._try(bundle)):
            if time.monotonic() >= ends_s:
                return False
            time.sleep(_POLL_S)
        return True

    def _try(self, bundle: _Bundle, *, wait: bool = False) -> bool:
        """Check a bundle if this worker does that, or read what is known of it; else return False.

        :param wait: until no other worker is at it.
        :raises OSError: if the run's folder cannot be used.
        """
        # Reading one makes thousands of objects, at which Python would look through all items each time.
        with _locked(bundle.place, wait=wait) as fd, no_garbage_collection():
            if fd is None:
                return False
            with open(fd, "rb", closefd=False) as file:
                known = file.read()
            if known:
                self._read(bundle, known)
            elif self._checks:
                self._check(bundle, fd)
            return bundle.entries is not None

    def _check(self, bundle: _Bundle, fd: int) -> None:
        entries: dict[str, _Entry] = {}
        scenarios = bytearray()
        same = _SameValues()
        for path in bundle.paths:
            try:
                seen = _seen(path)
                checked = self._checked(path)
            except (OSError, ScenarioFileError):
                # Whoever collects it tells what is wrong.
                continue
            if any(each.secrets for each in checked.outlines):
                continue
            written = pickle.dumps(checked.scenarios)
            outlines = tuple(map(same.outline, checked.outlines))
            entries[path] = _Entry(seen, outlines, len(scenarios), len(written))
            scenarios += written
        head = pickle.dumps((self._circumstances(), len(scenarios), entries))
        with open(fd, "wb", closefd=False) as file:
            file.write(len(head).to_bytes(_LENGTH_BYTES, "big") + head + scenarios)
        bundle.start, bundle.entries = _LENGTH_BYTES + len(head), entries

    def _read(self, bundle: _Bundle, known: bytes) -> None:
        bundle.entries = {}
        start = _LENGTH_BYTES + int.from_bytes(known[:_LENGTH_BYTES], "big")
        # Of who died while writing there may be a part.
        if len(known) < max(start, _LENGTH_BYTES + 1):
            return
        circumstances, length, entries = pickle.loads(known[_LENGTH_BYTES:start])  # noqa: S301 (this run's)
        if len(known) == start + length and circumstances == self._circumstances():
            bundle.start, bundle.entries = start, entries

    def _circumstances(self) -> tuple[bytes, object]:
        """Return by what else than the file's bytes a file is judged, and may differ between workers."""
        environ = {name: value for name, value in os.environ.items() if name not in _OF_WORKERS}
        told = repr((sorted(environ.items()), str(self.runtime.rootdir))).encode("utf-8", "surrogatepass")
        return hashlib.sha256(told).digest(), known_marks(self.config)

    def _checked(self, path: str, variables: Mapping[str, object] = NO_VALUES) -> CheckedFile:
        """Check a file in this process.

        :raises ScenarioFileError: with all its mistakes.
        """
        from pytest_clnrm.scenario.loading import load

        options, marks = self._options, known_marks(self.config)
        if variables or marks != options.marks:
            options = replace(options, marks=marks, variables=dict(variables))
        scenarios = load(path, options)
        return CheckedFile([outline_of(self.runtime, each) for each in scenarios], lambda: scenarios)

    @cached_property
    def _options(self) -> LoadOptions:
        from pytest_clnrm.items.load_options import load_options

        return load_options(self.runtime, self.config)


_checked_files_key: pytest.StashKey[CheckedFiles] = pytest.StashKey()


def _is_begun(place: Path) -> bool:
    """Tell whether somebody has begun to write what a bundle holds, without getting in his way by a lock."""
    try:
        return place.stat().st_size > 0
    except FileNotFoundError:
        return False


def _seen(path: str) -> _Seen:
    """Return by what the file at *path* is known.

    :raises OSError: if it cannot be looked at.
    """
    found = os.stat(path)  # noqa: PTH116 (thousands of files)
    return _Seen(found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)


def _is_as_seen(path: str, seen: _Seen) -> bool:
    try:
        return _seen(path) == seen
    except OSError:
        return False


def _is_private(folder: Path) -> bool:
    """Tell whether only this user can have put something there: on another host it may be anybody's."""
    try:
        found = folder.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid() and not found.st_mode & 0o077


class _SameValues:
    """Makes equal parts of outlines one object: neighbours are alike, and pickle writes and makes it once."""

    def __init__(self) -> None:
        self._known: dict[str, dict[str, Any]] = {}

    def outline(self, outline: Outline) -> Outline:
        """Return an equal outline."""
        return outline._replace(
            **{name: self._one(name, getattr(outline, name)) for name in ("tags", "selection", "demand")}
        )

    def _one(self, name: str, value: Any) -> Any:
        # Some hold mappings, and have no hash.
        return self._known.setdefault(name, {}).setdefault(repr(value), value)


@contextmanager
def _locked(place: Path, *, wait: bool) -> Iterator[int | None]:
    """Hold the file at *place*, made if it is not there; yield None if another process holds it."""
    fd = os.open(place, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            yield None
            return
        yield fd
    finally:
        os.close(fd)


def _scenarios_at(place: Path, at: int, length: int) -> tuple[Scenario, ...]:
    with place.open("rb") as file:
        file.seek(at)
        scenarios: tuple[Scenario, ...] = pickle.loads(file.read(length))  # noqa: S301 (this run's)
    return scenarios
