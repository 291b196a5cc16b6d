"""Which files and folders of the host a scenario may reach."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path

from pytest_clnrm.util.beneath import open_beneath
from pytest_clnrm.util.walk import TooMuchError, walk

LOADED = (
    "conftest.py",
    "__init__.py",
    ".git",
    ".clnrm",
    ".pytest.ini",
    ".pytest.toml",
    "pyproject.toml",
    "pytest.ini",
    "pytest.toml",
    "setup.cfg",
    "tox.ini",
)
"""Names of what pytest loads, and of what it, Git and this plugin read their settings from."""

_IMPORTED = (".py", ".pyc", ".pyi", ".pth", ".so", ".pyd")
_REMEDY = "the ini option clnrm_allow_writable lists the folders that may be writable"
_OF_TOOLS = (".git", ".clnrm")

_ENGINE_SOCKETS = ("/var/run/docker.sock", "/run/docker.sock", "/run/podman/podman.sock")
_PROC = "/proc"
_USER_SOCKETS = ("docker.sock", "podman/podman.sock")


@dataclass(frozen=True, kw_only=True)
class VolumeRules:
    """Which of the files and folders that a scenario may reach are no volumes all the same.

    :param writable: absolute folders below which volumes may be writable.
    :param private: absolute path -> what it is: no volume shows it, or what lies in it.
    :param temporary: absolute folders in which runs keep theirs: no volume shows them whole.
    :param marks: names of files by which our own folders are known.
    :param loaded: globs of the names of what pytest and others load from the project.
    """

    writable: tuple[str, ...] = ()
    private: Mapping[str, str] = field(default_factory=dict)
    temporary: tuple[str, ...] = ()
    marks: tuple[str, ...] = ()
    loaded: tuple[str, ...] = ()


class NotWritableError(ValueError):
    """A volume is to be writable, and may be read-only alone."""


def check_volume(real: str, *, read_only: bool, rules: VolumeRules) -> None:
    """Refuse a volume that would open what keeps scenarios apart from the host.

    :param real: its source, absolute, links resolved.
    :raises NotWritableError: if only its being writable is wrong.
    :raises ValueError: if no volume may show it; both say why.
    """
    for path, what in rules.private.items():
        private = os.path.realpath(path)
        if _below(private, real) or _below(real, private):
            where = "lies below it" if _below(private, real) else "holds it"
            raise ValueError(f"{what} {private} {where}: no container may see it")
    for path in map(os.path.realpath, rules.temporary):
        if _below(path, real):
            raise ValueError(
                f"the folder for temporary files, {path}, in which runs keep theirs lies below it"
            )
    for folder in (Path(real), *Path(real).parents):
        if any(Path(folder, mark).is_file() for mark in rules.marks):
            raise ValueError(f"{folder} is a folder of pytest-clnrm's own")
    if not read_only:
        _check_writable(real, rules)


def _check_writable(real: str, rules: VolumeRules) -> None:
    allowed = [os.path.realpath(each) for each in rules.writable]
    if not any(_below(real, folder) for folder in allowed):
        listed = f" (now: {', '.join(allowed)})" if allowed else ""
        raise NotWritableError(f"{real} may be mounted read-only alone: {_REMEDY}{listed}")
    if own := next((each for each in Path(real).parts if each in _OF_TOOLS), None):
        raise NotWritableError(f"it lies in {own}: no container may change that")
    try:
        with open_beneath("/", real) as opened:
            found = next((each.shown for each in walk(opened) if is_loaded(each.name, rules.loaded)), None)
    except TooMuchError as error:
        raise NotWritableError(f"it holds {error}, which is more than is looked through") from None
    except OSError as error:
        raise NotWritableError(f"{error.filename or real}: {error.strerror}") from None
    name = Path(real).name
    if found is None and is_loaded(name, rules.loaded):
        found = name
    if found is not None:
        raise NotWritableError(
            f"it holds {found}, which is loaded on this host: mount a folder without such files, or read-only"
        )


def is_loaded(name: str, globs: tuple[str, ...]) -> bool:
    """Tell whether a file or folder of that name is one of those that are loaded from the project."""
    return any(fnmatchcase(name, glob.rpartition("/")[2]) for glob in globs)


def may_be_loaded(name: str, globs: Sequence[str]) -> bool:
    """Tell whether something may load what is new under that name, on a file system without cases too.

    :param globs: as of :func:`is_loaded`.
    """
    low = name.lower()
    return low.endswith(_IMPORTED) or any(fnmatchcase(low, glob.rpartition("/")[2].lower()) for glob in globs)


def allowed_file(path: str, *, rootdir: str, allowed: tuple[str, ...]) -> str:
    """Return the path of a scenario file, links resolved.

    A file outside of *rootdir* was named on the command line, which is trusted; that it leads elsewhere was
    said by the file alone.

    :param path: absolute, as it was collected.
    :param allowed: folders beside *rootdir* below which it may lie.
    :raises ValueError: if a link leads out of the project.
    """
    real = os.path.realpath(path)
    own = rootdir if _below(os.path.normpath(path), rootdir) else os.path.dirname(path)  # noqa: PTH120
    if roots := _outside(real, (own, *allowed)):
        raise ValueError(f"it leads out of the project, to {real}; a scenario file lies below {roots}")
    return real


def allowed_source(
    source: str,
    *,
    folder: str,
    rootdir: str,
    allowed: tuple[str, ...],
    environ: Mapping[str, str],
    sockets: tuple[str, ...] = (),
) -> str:
    """Return the absolute path that *source* means, links resolved.

    :param source: as written in the file.
    :param folder: to which it is relative.
    :param allowed: folders beside *rootdir* below which it may lie.
    :param environ: where the engine's socket may be named.
    :param sockets: at which an engine may listen too.
    :raises ValueError: if it does not exist, or may not be reached; says why.
    """
    if "\0" in source:
        raise ValueError("a path cannot hold a NUL character")
    real = os.path.realpath(Path(folder) / source)
    try:
        mode = os.stat(real).st_mode  # noqa: PTH116 of the path that realpath gave
    except OSError as error:
        raise ValueError(f"{real}: {error.strerror}") from None
    leads = "" if real == os.path.normpath(Path(folder) / source) else f" (it leads to {real})"
    if stat.S_ISSOCK(mode):
        raise ValueError(f"a socket cannot be given to a container{leads}")
    if not (stat.S_ISDIR(mode) or stat.S_ISREG(mode)):
        raise ValueError(f"only files and folders can be given to a container{leads}")
    if _below(real, _PROC):
        raise ValueError(f"{_PROC} leads to every file of the host{leads}")
    for socket in (*_engine_sockets(environ), *map(os.path.realpath, sockets)):
        if _below(socket, real):
            raise ValueError(f"the engine's socket {socket} lies below it{leads}")
    if roots := _outside(real, (rootdir, *allowed)):
        raise ValueError(f"lies outside of the project{leads}; allowed are paths below {roots}")
    return real


def _outside(real: str, folders: Iterable[str]) -> str:
    """Return the folders in words if *real* lies below none of them, "" if it does."""
    roots = list(map(os.path.realpath, folders))
    if any(_below(real, root) for root in roots):
        return ""
    return f"{', '.join(roots)} (clnrm_allow_mounts adds to them)"


def _engine_sockets(environ: Mapping[str, str]) -> Iterator[str]:
    """Yield the paths, links resolved, at which an engine may listen."""
    named = environ.get("DOCKER_HOST", "")
    runtime = environ.get("XDG_RUNTIME_DIR") or f"/run/user/{os.getuid()}"
    yield from map(os.path.realpath, _ENGINE_SOCKETS)
    yield from (os.path.realpath(Path(runtime) / each) for each in _USER_SOCKETS)
    if named.startswith("unix://"):
        yield os.path.realpath(named.removeprefix("unix://"))


def _below(path: str, folder: str) -> bool:
    return path == folder or path.startswith(f"{folder.rstrip('/')}/")
