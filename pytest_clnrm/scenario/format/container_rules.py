"""What types cannot say of how a service's container is made: what is in it, and what it may."""

from __future__ import annotations

import ipaddress
import os
import posixpath
import stat
from collections.abc import Callable, Iterator, Mapping
from difflib import get_close_matches

import msgspec

from pytest_clnrm.model.capabilities import ALL, capability
from pytest_clnrm.model.key_path import KeyPath
from pytest_clnrm.model.service import HOST_NAME, OURS
from pytest_clnrm.model.units import parse_size_bytes
from pytest_clnrm.scenario.env_files import read_env
from pytest_clnrm.scenario.format.parts import Table, several
from pytest_clnrm.scenario.format.problems import Problem, duration, exactly_one, texts
from pytest_clnrm.scenario.format.service_document import ServiceDoc
from pytest_clnrm.scenario.format.service_files_document import CopyDoc
from pytest_clnrm.scenario.mounts import NotWritableError
from pytest_clnrm.toml.positions import leaves

MAX_COPIED_BYTES = 16 << 20
"""Of all files of a service together: they are held in memory."""

_ENGINES_OWN = ("/etc/hosts", "/etc/hostname", "/etc/resolv.conf", "/proc", "/sys", "/dev")
_OURS = "/.clnrm"
_NO_LIMIT = -1
_LAST_REAL_TIME = 30
# Of Linux, on whatever system this runs.
_SIGNALS = frozenset(
    f"SIG{name}"
    for name in """
        ABRT ALRM BUS CHLD CONT FPE HUP ILL INT IO IOT KILL PIPE POLL PROF PWR QUIT RTMAX RTMIN SEGV STKFLT
        STOP SYS TERM TRAP TSTP TTIN TTOU URG USR1 USR2 VTALRM WINCH XCPU XFSZ
    """.split()  # noqa: SIM905 (easier to read)
)


def check_container(doc: ServiceDoc, path: KeyPath, source: Callable[..., str]) -> Iterator[Problem]:
    """Yield the mistakes of what a container is made with.

    :param source: returns the absolute path of a path in the file, or its text, or raises ValueError.
    """
    yield from _volumes(doc, path, source)
    yield from _files(doc, path, source)
    yield from _env_files(doc, path, source)
    yield from texts(doc, ("hostname", "labels", "extra_hosts"), path)
    yield from duration(doc.stop_grace, (*path, "stop_grace"))
    if doc.read_only and doc.files:
        message = "cannot be copied into a container whose file system is read-only"
        yield Problem((*path, "files"), message, "mount them with `volumes`, or leave out `read_only`")
    yield from _sizes(doc, path)
    yield from _capabilities(doc, path)
    yield from _names(doc, path)
    if doc.network == "none":
        yield from names_host(doc, path)
    if doc.stop_signal is not None and not _is_signal(doc.stop_signal):
        yield Problem(
            (*path, "stop_signal"), f"there is no signal {doc.stop_signal}", _meant(doc.stop_signal)
        )


def _sizes(doc: ServiceDoc, path: KeyPath) -> Iterator[Problem]:
    if doc.shm_size is not None:
        try:
            parse_size_bytes(doc.shm_size)
        except ValueError as error:
            yield Problem((*path, "shm_size"), str(error))
    for name, (soft, hard) in (doc.ulimits.built() if doc.ulimits else {}).items():
        if hard != _NO_LIMIT and (soft == _NO_LIMIT or soft > hard):
            yield Problem((*path, "ulimits", name), f"the soft limit {soft} is above the hard one, {hard}")


def _capabilities(doc: ServiceDoc, path: KeyPath) -> Iterator[Problem]:
    found: dict[str, set[str]] = {"cap_add": set(), "cap_drop": set()}
    for key, seen in found.items():
        for index, name in enumerate(getattr(doc, key)):
            below = (*path, key, index)
            if name == ALL:
                if key == "cap_add":
                    yield Problem(below, "ALL is all that root may do: name those that are needed")
                continue
            try:
                plain = capability(name)
            except ValueError as error:
                yield Problem(below, str(error))
                continue
            if plain in seen:
                yield Problem(below, f"{name} is there twice")
            elif plain in found["cap_add"]:
                yield Problem(below, f"{name} is in `cap_add` too: one of both is meant")
            seen.add(plain)


def _names(doc: ServiceDoc, path: KeyPath) -> Iterator[Problem]:
    if doc.aliases and doc.network == "none":
        yield Problem((*path, "aliases"), 'nothing reaches it with network = "none"')
    for name, address in doc.extra_hosts.items():
        if not _is_address(address):
            message = f'"{address}" is no address: expected one such as 10.0.0.5 or fd00::5'
            yield Problem((*path, "extra_hosts", name), message)
    for name in doc.labels:
        if name.partition(".")[0] == OURS:
            yield Problem(
                (*path, "labels", name), f"labels that begin with {OURS} are ours: take another name"
            )


def names_host(doc: Table, path: KeyPath) -> Iterator[Problem]:
    """Yield a mistake for each text that names this host; it is not reached from where it is used."""
    for at, text in leaves(msgspec.to_builtins(doc), path):
        if isinstance(text, str) and HOST_NAME in text:
            yield Problem(at, f'{HOST_NAME} is not reached with network = "none"')


def check_aliases(services: Mapping[str, ServiceDoc]) -> Iterator[Problem]:
    """Yield where a name is not one service's alone: which of them answers would be chance."""
    owners = {name.casefold(): name for name in services}
    for service, doc in services.items():
        for index, alias in enumerate(doc.aliases):
            path: KeyPath = ("service", service, "aliases", index)
            owner = owners.setdefault(alias.casefold(), service)
            if alias.casefold() == service.casefold():
                yield Problem(path, "is its name already")
            elif owner != service:
                yield Problem(path, f'is a name of service "{owner}" already, and only one can answer')


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _is_signal(name: str) -> bool:
    if name.startswith("SIGRTMIN+"):
        return int(name.removeprefix("SIGRTMIN+")) <= _LAST_REAL_TIME
    return name in _SIGNALS


def _meant(name: str) -> str:
    close = get_close_matches(name, _SIGNALS, 1)
    return f'did you mean "{close[0]}"?' if close else 'such as "SIGINT"'


def _volumes(doc: ServiceDoc, path: KeyPath, source: Callable[..., str]) -> Iterator[Problem]:
    targets = set(doc.scratch)
    for index, volume in enumerate(doc.volumes):
        below = (*path, "volumes", index)
        yield from exactly_one(volume, below)
        try:
            if volume.source is not None:
                source(volume.source, read_only=volume.read_only is not False)
        except NotWritableError as error:
            yield Problem((*below, "read_only"), str(error))
        except ValueError as error:
            yield Problem((*below, "source"), str(error))
        target = volume.target.rstrip("/")
        if not target or "\0" in target:
            yield Problem((*below, "target"), "expected a path below / in the container")
        elif (own := _engines_own(target)) is not None:
            message = f"{volume.target} is in the way of {own}, which the engine mounts"
            yield Problem((*below, "target"), message, "mount it elsewhere, such as below /mnt")
        elif target in targets:
            yield Problem((*below, "target"), f"{volume.target} is there twice")
        targets.add(target)


def _files(doc: ServiceDoc, path: KeyPath, source: Callable[..., str]) -> Iterator[Problem]:
    mounted = [
        *((each, "the tmpfs") for each in doc.scratch),
        *((each.target, "the volume") for each in doc.volumes),
    ]
    targets: dict[str, int] = {}
    size = 0
    for index, each in enumerate(doc.files):
        below = (*path, "files", index)
        yield from exactly_one(each, below)
        yield from texts(each, ("content",), below)
        if each.source is not None:
            try:
                size += _size_of(source(each.source, read_only=True))
            except ValueError as error:
                yield Problem((*below, "source"), str(error))
        size += len((each.content or "").encode())
        yield from _file_target(each, (*below, "target"), mounted)
        target = posixpath.normpath(each.target)
        for other in targets:
            if other == target:
                yield Problem((*below, "target"), f"{each.target} is there twice")
            elif other.startswith(f"{target}/") or target.startswith(f"{other}/"):
                yield Problem((*below, "target"), f"{other} is a file, so one of both cannot be there")
        targets[target] = index
    if size > MAX_COPIED_BYTES:
        yield Problem(
            (*path, "files"),
            f"{size} bytes are more than is copied: at most {MAX_COPIED_BYTES >> 20} MiB together",
            "mount them with `volumes`, or put them into an image",
        )


def _size_of(real: str) -> int:
    """Return the size of a file, bytes.

    :param real: absolute, links resolved.
    :raises ValueError: if it is none.
    """
    try:
        status = os.stat(real)  # noqa: PTH116
    except OSError as error:
        raise ValueError(f"{real}: {error.strerror}") from None
    if stat.S_ISDIR(status.st_mode):
        raise ValueError("is a folder: mount it with `volumes`, or name its files one by one")
    return status.st_size


def _file_target(doc: CopyDoc, path: KeyPath, mounted: list[tuple[str, str]]) -> Iterator[Problem]:
    target = posixpath.normpath(f"/{doc.target.lstrip('/')}")
    if target == "/" or doc.target.endswith("/") or "\0" in target:
        yield Problem(path, "expected the path of a file in the container, such as /etc/app.conf")
    elif (own := _engines_own(target) or _overlapping(target, _OURS)) is not None:
        what = "which is ours" if own == _OURS else "which the engine mounts"
        yield Problem(path, f"{doc.target} is in the way of {own}, {what}")
    else:
        for place, what in mounted:
            if (found := _overlapping(target, place)) is not None:
                message = f"{doc.target} would not be seen, or be in the way: {what} {found} is there"
                yield Problem(path, message)
                return


def _env_files(doc: ServiceDoc, path: KeyPath, source: Callable[..., str]) -> Iterator[Problem]:
    for index, name in enumerate(several(doc.env_file)):
        at = (*path, "env_file", index) if isinstance(doc.env_file, list) else (*path, "env_file")
        try:
            found = read_env(source(name, read_only=True, text=True))
        except ValueError as error:
            yield Problem(at, f"{name}: {error}")
            continue
        for key, value in found.items():
            if "\0" in value:
                yield Problem(at, f"{name}: {key}: a NUL character cannot be passed to a program")


def _engines_own(target: str) -> str | None:
    """Return what the engine mounts itself at, above or below a path in the container, None if nothing."""
    return next((own for own in _ENGINES_OWN if _overlapping(target, own) is not None), None)


def _overlapping(target: str, place: str) -> str | None:
    """Return *place* if a path in the container is at, above or below it."""
    real, other = (posixpath.normpath(f"/{each.lstrip('/')}") for each in (target, place))
    at_or_around = real == other or other.startswith(f"{real.rstrip('/')}/") or real.startswith(f"{other}/")
    return place if at_or_around else None
