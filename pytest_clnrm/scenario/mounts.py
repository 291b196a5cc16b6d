"""Which files and folders of the host a scenario may reach."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path

__all__ = ["allowed_source"]

_ENGINE_SOCKETS = ("/var/run/docker.sock", "/run/docker.sock", "/run/podman/podman.sock")
_PROC = "/proc"
_USER_SOCKETS = ("docker.sock", "podman/podman.sock")


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
    roots = [os.path.realpath(each) for each in (rootdir, *allowed)]
    if not any(_below(real, root) for root in roots):
        raise ValueError(
            f"lies outside of the project{leads}; allowed are paths below {', '.join(roots)} "
            "(clnrm_allow_mounts adds to them)"
        )
    return real


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
