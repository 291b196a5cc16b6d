"""The arguments of ``clnrm.container(...)``, for type checkers and for whoever hands them on."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal, TypedDict

if TYPE_CHECKING:
    from pytest_clnrm.items.container_network import ContainerNetwork

StrPath = str | os.PathLike[str]


class ServiceArguments(TypedDict, total=False):
    """What a Python test may say of a container beside its image or preset, and its name.

    Each is the key of ``[service.NAME]`` of that name, but ``memory``, ``cpu``, ``pids`` and ``gpus``, which
    are its ``limits``. Paths of the host are relative to the file whose code names them. None, where it is
    allowed, is as if the argument was left out.
    """

    build: StrPath | Mapping[str, object] | None
    entrypoint: Sequence[str] | None
    command: Sequence[str] | None
    env: Mapping[str, str] | None
    env_file: StrPath | Sequence[StrPath] | None
    workdir: str | None
    user: str | None
    ports: Sequence[int | str]
    volumes: Sequence[Mapping[str, object]]
    files: Sequence[Mapping[str, object]]
    ready: Mapping[str, object] | Sequence[Mapping[str, object]] | None
    may_end: int | Sequence[int] | None
    memory: str | int | None
    cpu: float | None
    pids: int | None
    gpus: int | None
    network: Literal["isolated", "bridge", "none"] | ContainerNetwork
    scratch: Sequence[str]
    shm_size: str | int | None
    ulimits: Mapping[str, int | Mapping[str, int]] | None
    cap_add: Sequence[str]
    cap_drop: Sequence[str]
    no_new_privileges: bool
    read_only: bool
    hostname: str | None
    aliases: Sequence[str]
    extra_hosts: Mapping[str, str]
    labels: Mapping[str, str]
    platform: str | None
    prepare: bool | Sequence[str] | Mapping[str, object] | None
    reset: Mapping[str, object] | None
    stop_signal: str | None
    stop_grace: str | float | None
    url: str | None


class Condition(TypedDict, total=False):
    """What a container may be waited for: one kind of condition, and what goes with it."""

    command: str | Sequence[str]
    log: str
    times: int
    port: int
    http: str
    https: str
    status: int | str | Sequence[int | str]
    headers: Mapping[str, str]
    verify: bool
    file: str
    exit: int | Sequence[int]
    span: str
    healthcheck: bool | Mapping[str, object]
    timeout: str | float
    interval: str | float


NOT_ARGUMENTS = {
    "artifacts": "copy what is to be kept out before the block ends: box.copy_out(path, folder)",
    "depends_on": "a block begins once its container is ready: begin that of what it needs first",
    "fresh": "each container of a Python test is a new one: leave it out",
    "scope": "a container lives as long as its block: begin it in a fixture of that scope, by clnrm_factory, "
    "or share it: clnrm.shared(...)",
    "limits": "write memory=, cpu=, pids= and gpus= themselves",
}
"""Keys of a service that are none, and what to do instead."""

LIMITS = ("memory", "cpu", "pids", "gpus")
"""Arguments that are keys of ``limits``."""
