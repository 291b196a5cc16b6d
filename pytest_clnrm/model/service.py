"""The services of a scenario: frozen values that every room may import.

They come validated out of :mod:`pytest_clnrm.scenario.loading`: templates are rendered, units are in the
names.
``at`` is the path of keys in the file, see :mod:`pytest_clnrm.model.scenario`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from pytest_clnrm.model.key_path import KeyPath
from pytest_clnrm.model.limits import Limits

if TYPE_CHECKING:
    from pytest_clnrm.model.step import Step

READY_TIMEOUT_S = 30.0
"""How long a service is waited for where neither the file nor a health check says."""

OURS = "pytest-clnrm"
"""With which the names of our own labels begin."""

NetworkMode = Literal["isolated", "bridge", "none"]
Scope = Literal["scenario", "file", "module", "run"]


HOST_NAME = "host.clnrm.internal"
"""By which containers reach the host that runs pytest, on networks that lead there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Build:
    """An image built from a folder.

    :param context: the folder, absolute.
    :param dockerfile: path below the context; None means the engine's default.
    :param network: what the commands of the build reach.
    """

    context: str
    dockerfile: str | None = None
    target: str | None = None
    args: Mapping[str, str] = field(default_factory=dict)
    network: Literal["none", "bridge"] = "none"
    at: KeyPath = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Volume:
    """A folder or file of the host inside a container.

    :param source: absolute path on the host, links resolved, judged to be allowed by
        :func:`pytest_clnrm.scenario.mounts.allowed_source`.
    :param target: absolute path in the container.
    """

    source: str
    target: str
    read_only: bool = True
    at: KeyPath = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedVolume:
    """A volume of the scenario, which its services share; it is new each time, and goes with the scenario.

    :param target: absolute path in the container.
    """

    name: str
    target: str
    read_only: bool = False
    at: KeyPath = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Copy:
    """A file that is copied into the container before it starts; exactly one of source and content is set.

    :param source: absolute path on the host, links resolved, judged as a volume's is.
    :param target: absolute path in the container.
    :param mode: its permissions; None: 0755 if the source may be executed, else 0644.
    """

    source: str | None = None
    content: str | None = None
    target: str
    mode: int | None = None
    at: KeyPath = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """Files of the container that are kept when the scenario is over.

    :param path: absolute path in the container of a file or folder, or a glob of such paths.
    :param only_failed: they are kept only if the scenario has failed.
    """

    path: str
    only_failed: bool = False
    at: KeyPath = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpProbe:
    """A request that must be answered.

    :param target: path, with an optional port in front: ``:8080/health``.
    :param tls: over TLS.
    :param verify: the certificate must be valid for the service's name, and trusted by this host.
    :param status: which statuses are meant: lowest and highest of each range.
    :param headers: sent with it.
    """

    target: str
    tls: bool = False
    verify: bool = False
    status: tuple[tuple[int, int], ...] = ((100, 399),)
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthCheck:
    """A health check that the file gives: a command that must exit with 0 inside the container.

    :param interval_s: the longest pause between two runs; failures that count are so far apart.
    :param timeout_s: of one run.
    :param start_period_s: seconds from the start in which failures do not count.
    :param retries: so many failures in a row are the end of the wait.
    """

    command: tuple[str, ...]
    interval_s: float = 1.0
    timeout_s: float = 30.0
    start_period_s: float = 0.0
    retries: int = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """A condition under which a service counts as ready: exactly one kind is set.

    :param command: argv that must exit with 0 inside the container.
    :param log: regular expression searched in each line of its output since its start.
    :param times: how many lines must match.
    :param port: TCP port that must accept a connection.
    :param exit: codes with one of which it must have ended; () if it is no job.
    :param file: absolute path at which something must lie in it.
    :param span: name of a span, or a glob, that programs of the scenario must have exported.
    :param healthcheck: True: the image's own must say healthy.
    :param timeout_s: seconds from the service's start; None: the time that a health check takes by itself,
        else :data:`READY_TIMEOUT_S`.
    :param interval_s: the longest pause between two tries, seconds.
    """

    command: tuple[str, ...] | None = None
    log: str | None = None
    times: int = 1
    port: int | None = None
    http: HttpProbe | None = None
    exit: tuple[int, ...] = ()
    file: str | None = None
    span: str | None = None
    healthcheck: bool | HealthCheck = False
    timeout_s: float | None = None
    interval_s: float = 0.2
    at: KeyPath = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepare:
    """What is done to a service before it is used.

    :param command: argv, whose templates may name who uses it; () for none.
    :param each: once when it has started, once for each worker, or for each scenario. What has
        started once is kept as an image, from which others start.
    :param secrets: it is kept also if it holds a secret.
    """

    command: tuple[str, ...] = ()
    each: Literal["start", "worker", "scenario"] = "start"
    secrets: bool = False
    at: KeyPath = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """A container that a scenario uses.

    :param image: image reference as written; None if it is built.
    :param entrypoint: replaces the image's entry point, and drops its command; () has none, None the image's.
    :param command: replaces the image's command; None keeps the image's own, and a bare shell is kept alive.
    :param env: those of its files of variables too.
    :param env_files: absolute paths of these files.
    :param ports: container ports (TCP) published on a free port of the loopback address.
    :param udp_ports: the same of UDP.
    :param scratch: absolute paths, each a tmpfs.
    :param ready: all of it must hold at one time; () is ready once it is started.
    :param may_end: exit codes with which it may end before the steps are over.
    :param shm_bytes: size of its /dev/shm; None for the engine's usual one.
    :param ulimits: name -> (soft, hard); -1 is no limit.
    :param cap_add: capabilities beside those that engines give, without "CAP_", in capitals.
    :param cap_drop: those that it does not get, or "ALL".
    :param new_privileges: its programs may gain privileges, as set-uid ones do.
    :param read_only: its own file system is.
    :param hostname: what it calls itself; None for the engine's choice.
    :param aliases: more names under which the others reach it.
    :param extra_hosts: name -> address, in its /etc/hosts.
    :param labels: of its container, beside ours.
    :param platform: of its image, such as "linux/arm64"; None for the engine's own.
    :param stop_signal: by which it is asked to end; None for its image's.
    :param stop_grace_s: seconds after which it is killed when it is asked to end; None for the usual time.
    :param scope: who uses its container: one scenario, those of a file or a module, or all of the run.
    :param url: where others reach it, with {host} and {port} to be filled in; "" if it says nothing of that.
    :param prepare: what is run in it before it is used; None for nothing.
    :param reset: what is done between two users, who use it one at a time then; () for never.
    :param only_steps: steps run in it, and nothing says that others need it, or that it does more.
    :param implicit: True for the container of the default image that steps without a service share.
    """

    name: str
    image: str | None = None
    build: Build | None = None
    entrypoint: tuple[str, ...] | None = None
    command: tuple[str, ...] | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    env_files: tuple[str, ...] = ()
    workdir: str | None = None
    user: str | None = None
    ports: tuple[int, ...] = ()
    udp_ports: tuple[int, ...] = ()
    volumes: tuple[Volume, ...] = ()
    shared_volumes: tuple[SharedVolume, ...] = ()
    files: tuple[Copy, ...] = ()
    artifacts: tuple[Artifact, ...] = ()
    depends_on: tuple[str, ...] = ()
    ready: tuple[Ready, ...] = ()
    may_end: tuple[int, ...] = ()
    limits: Limits = field(default_factory=Limits)
    network: NetworkMode = "isolated"
    fresh: bool = False
    scratch: tuple[str, ...] = ()
    shm_bytes: int | None = None
    ulimits: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    cap_add: tuple[str, ...] = ()
    cap_drop: tuple[str, ...] = ()
    new_privileges: bool = False
    read_only: bool = False
    hostname: str | None = None
    aliases: tuple[str, ...] = ()
    extra_hosts: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    platform: str | None = None
    stop_signal: str | None = None
    stop_grace_s: float | None = None
    scope: Scope = "scenario"
    url: str = ""
    prepare: Prepare | None = None
    reset: tuple[Step, ...] = ()
    only_steps: bool = False
    implicit: bool = False
    at: KeyPath = ()

    @property
    def is_shared(self) -> bool:
        """Tell whether several scenarios or tests use its container."""
        return self.scope != "scenario"

    @property
    def is_prepared(self) -> bool:
        """Tell whether its first start is done once, and kept as an image."""
        return self.prepare is not None and self.prepare.each == "start"

    @property
    def is_job(self) -> bool:
        """Tell whether it is waited for until it has ended."""
        return any(each.exit for each in self.ready)

    def url_at(self, host: str, port: int) -> str:
        """Return its url where its first port is reached at *port* of *host*; "" if it has none."""
        shown = f"[{host}]" if ":" in host else host
        return self.url.replace("{host}", shown).replace("{port}", str(port))

    @property
    def own_url(self) -> str:
        """Return its url as other services of the scenario use it; "" if it has none."""
        return self.url_at(self.name, self.ports[0] if self.ports else 0)
