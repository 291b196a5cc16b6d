"""What the rest of the package asks of a container engine: one small Protocol, no Docker type in it.

:mod:`pytest_clnrm.engine.docker.engine` is its implementation over Docker's API (Docker and Podman), and
:mod:`pytest_clnrm.engine.kubernetes.engine` that of a cluster; tests bring their own. All calls block; they
may be made from several threads at once. Errors are those of :mod:`pytest_clnrm.errors`; no exception of a
client library passes.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from pytest_clnrm.engine.admission_api import Admission
from pytest_clnrm.engine.change_stream import ChangeStream
from pytest_clnrm.engine.hand_over_api import HandOver
from pytest_clnrm.engine.log_stream import LogStream
from pytest_clnrm.engine.relay_api import Relay
from pytest_clnrm.engine.run_api import RunKeeping
from pytest_clnrm.engine.snapshot_spec import SnapshotSpec
from pytest_clnrm.model.demand import Cap
from pytest_clnrm.model.seen import FileSeen, ImageSeen, PathFacts, ProcessSeen, SocketSeen
from pytest_clnrm.util.exit_codes import exit_code_in_words

PullPolicy = Literal["always", "missing", "never"]
StreamName = Literal["stdout", "stderr"]
OnOutput = Callable[[StreamName, bytes], None]
OnProgress = Callable[[str], None]

LOOPBACK = "127.0.0.1"
ANYWHERE = "0.0.0.0"  # noqa: S104 -- a remote engine's ports have to be reached from here
RELAY_PORT = 4318
"""On which containers reach a relay, and over it this process."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineFacts:
    """What an engine is and has.

    :param identity: stays the same for all clients of the same engine, and differs between two engines.
    :param kind: "docker", "podman" or "kubernetes".
    :param url: how it is reached, as users would write it.
    :param host: name or address under which its published ports are reached.
    :param published_on: the address of its machine on which it publishes them.
    :param remote: True if its file system is not ours, by its address (tcp, ssh) or as we are in one of its
        containers.
    :param elsewhere: True if it names another host or kernel than ours: it may be in a virtual machine, or
        we in a container. What can be reached there is tried.
    :param memory_bytes: what its machine has.
    :param gpus: how many it can pass to containers.
    :param warnings: limits that it cannot enforce, each one sentence.
    :param loses_containers: it takes some away now and then, as a cluster whose nodes come and go: a scenario
        that fails by that is run again once.
    :param room_is_shared: others that our ledger does not know want its room too, as on a cluster.
    :param cap: how many containers it ever lets run at the same time, None if it does not tell.
    :param copies_volumes: what a container has of this host's files is a copy, made when it is created.
    :param ends_with_run: what a run has there ends with it: nothing can be left to the next one.
    :param merges_streams: it keeps what a container writes to stderr as its stdout, in one text.
    :param own_waiting: containers that only wait for commands need nothing of their images for that.
    """

    identity: str
    kind: str
    version: str
    url: str
    host: str
    remote: bool
    rootless: bool
    cpus: int
    memory_bytes: int
    elsewhere: bool = False
    gpus: int = 0
    warnings: tuple[str, ...] = ()
    published_on: str = LOOPBACK
    own_waiting: bool = False
    copies_volumes: bool = False
    ends_with_run: bool = False
    merges_streams: bool = False
    loses_containers: bool = False
    room_is_shared: bool = False
    cap: Cap | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageFacts:
    """An image that the engine has.

    :param command: what a container of it runs: entrypoint and command together.
    :param healthcheck_s: seconds that its own health check may take to say unhealthy, 0 if it has none.
    :param exposes: it says that it listens on ports.
    :param architecture: as the engine calls it: "amd64", "arm64"; "" if it does not tell.
    :param platform: with that: "linux/amd64", "linux/arm/v7".
    :param prepared: it holds what the first start of a service left; all else is as in the image before.
    :param knows_command: False where the engine does not tell what a container of it runs (a cluster): a
        service that others wait for or reach runs it, whatever it is, and one that has only steps does not.
    """

    id: str
    reference: str
    command: tuple[str, ...] = ()
    entrypoint: tuple[str, ...] = ()
    healthcheck_s: float = 0.0
    volumes: tuple[str, ...] = ()
    exposes: bool = False
    architecture: str = ""
    platform: str = ""
    prepared: bool = False
    knows_command: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildSpec:
    """An image to be built.

    :param context: absolute path of a folder, without a link on the way.
    :param dockerfile: below the context; None for its ``Dockerfile``.
    :param target: the stage to be built; None for the last.
    :param args: build arguments.
    :param network: what its commands reach.
    :param memory_bytes: limit of each of its commands, as are ``cpus`` and ``pids``.
    :param platform: such as "linux/arm64"; None for the engine's own.
    :param timeout_s: for the whole build, the reading of its context included.
    :param max_context_bytes: of the context as it is sent.
    :param labels: put on it. What differs from run to run would make another image each time.
    :param buildkit: True to build with Docker's command, whose BuildKit limits only network and time.
    """

    context: str
    dockerfile: str | None = None
    target: str | None = None
    args: Mapping[str, str] = field(default_factory=dict)
    network: Literal["none", "bridge"] = "none"
    platform: str | None = None
    memory_bytes: int
    cpus: float
    pids: int
    timeout_s: float
    max_context_bytes: int
    labels: Mapping[str, str] = field(default_factory=dict)
    buildkit: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Mount:
    """An absolute, existing source on the host or the name of a volume, and an absolute target in it."""

    source: str
    target: str
    read_only: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class CopiedFile:
    """A file that is copied into a container before it starts; it belongs to root there.

    :param target: absolute path in the container; folders on the way that are missing are made.
    :param mode: its permissions.
    """

    target: str
    content: bytes
    mode: int = 0o644


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerSpec:
    """A container to be created.

    :param image: id or reference of an image that the engine has.
    :param command: None for the image's own; else it replaces the image's command, and its entrypoint too
        if ``replace_entrypoint`` says so.
    :param networks: ids or names, the first one is the container's main network; empty: no network at all.
    :param aliases: its names on these networks (not on the engine's own default bridge, which has none).
    :param ports: container ports (TCP), each published on a free port of the engine's loopback address.
    :param udp_ports: the same of UDP.
    :param tmpfs: absolute paths.
    :param volumes: of :meth:`Engine.create_volume`, which several containers may have.
    :param own_volumes: absolute paths, each a volume that nothing else has, and that goes with the container.
    :param files: copied into it before it starts.
    :param shm_bytes: size of /dev/shm; 0 for the engine's usual one.
    :param ulimits: name -> (soft, hard); -1 is no limit.
    :param cap_add: capabilities beside the engine's usual ones; ``cap_drop`` are taken away.
    :param new_privileges: its programs may gain privileges.
    :param read_only: its own file system is read-only.
    :param hostname: None for the engine's choice.
    :param extra_hosts: name -> address, in its /etc/hosts.
    :param stop_signal: by which it is asked to end; None for the image's.
    :param more_labels: beside ``labels``, which are those of this package.
    :param log_bytes: what is kept of its output, the end of it; 0 for what the engine keeps by itself.
    :param no_proxy: names that its programs reach without a proxy, where the user's settings for Docker
        inject one; ``aliases`` always are.
    :param admission: of its scenario, asked where the engine has its room for others too; without one a
        container waits for room until the deadline of its start. It makes no container another one.
    :param outlives: another process may go on with it: its standard input stays open when this one goes.
    """

    name: str
    image: str
    memory_bytes: int
    cpus: float
    pids: int
    command: tuple[str, ...] | None = None
    replace_entrypoint: bool = False
    env: Mapping[str, str] = field(default_factory=dict)
    workdir: str | None = None
    user: str | None = None
    gpus: int = 0
    mounts: tuple[Mount, ...] = ()
    tmpfs: tuple[str, ...] = ()
    volumes: tuple[Mount, ...] = ()
    own_volumes: tuple[str, ...] = ()
    files: tuple[CopiedFile, ...] = ()
    networks: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    ports: tuple[int, ...] = ()
    udp_ports: tuple[int, ...] = ()
    log_bytes: int = 0
    no_proxy: tuple[str, ...] = ()
    shm_bytes: int = 0
    ulimits: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    cap_add: tuple[str, ...] = ()
    cap_drop: tuple[str, ...] = ()
    new_privileges: bool = False
    read_only: bool = False
    hostname: str | None = None
    extra_hosts: Mapping[str, str] = field(default_factory=dict)
    stop_signal: str | None = None
    more_labels: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    admission: Admission | None = field(default=None, compare=False, repr=False)
    outlives: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerState:
    """A container at one moment.

    :param health: "" if it has no health check, else "starting", "healthy" or "unhealthy".
    :param exit_code: None while it runs.
    :param ports: container port -> (host to connect to, port) of those of TCP that are published.
    :param udp_ports: the same of UDP.
    :param addresses: network name -> the container's address on it.
    :param pid: of its first process, on the engine's machine; 0 if it does not run.
    :param health_said: what its health check did last, in words; "" if that is not known.
    :param lived_s: seconds from its start to its end, by the engine's clock; None if it runs or never has.
    """

    id: str
    running: bool
    exit_code: int | None
    oom_killed: bool
    health: str = ""
    health_said: str = ""
    ports: Mapping[int, tuple[str, int]] = field(default_factory=dict)
    udp_ports: Mapping[int, tuple[str, int]] = field(default_factory=dict)
    addresses: Mapping[str, str] = field(default_factory=dict)
    error: str = ""
    pid: int = 0
    lived_s: float | None = None

    def describe_end(self) -> str:
        """Return how it ended: ``exit code 127 (command not found: serve)``."""
        if self.running:
            return "still running"
        if self.exit_code is None:
            return f"never started ({self.error})" if self.error else "never started"
        return exit_code_in_words(self.exit_code, self.error) + (", out of memory" if self.oom_killed else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecSpec:
    """A command to be run in a running container. ``argv`` is never joined or split."""

    argv: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    workdir: str | None = None
    user: str | None = None
    stdin: bytes | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecOutcome:
    """How a command ended.

    :param exit_code: None if it did not end by itself.
    :param timed_out: its deadline passed; its processes have been ended.
    :param container_lost: the container was removed, or ended, on the way.
    :param oom: a process of the container was killed for memory while the command ran.
    :param still_running: it timed out and its processes could not be ended (no shell in the container):
        remove the container, it is not to be used any more.
    :param started: False if there is no such program, folder or user; stderr says what is missing, and
        ``exit_code`` is 127 or 126, as a shell's.
    """

    exit_code: int | None
    timed_out: bool = False
    container_lost: bool = False
    oom: bool = False
    still_running: bool = False
    started: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnedObject:
    """A container, network or volume with the labels that were asked for.

    :param id: by which it is removed; a volume's is its name.
    :param ended: True for a container that ran and has ended.
    """

    kind: Literal["container", "network", "volume"]
    id: str
    name: str
    labels: Mapping[str, str]
    ended: bool = False


class Engine(HandOver, RunKeeping, Protocol):
    """A container engine."""

    @property
    def facts(self) -> EngineFacts:
        """Return what it is and has; asked for once, then remembered."""

    def ensure_image(
        self,
        reference: str,
        pull: PullPolicy,
        progress: OnProgress | None = None,
        platform: str | None = None,
    ) -> ImageFacts:
        """Return the image, pulled first if *pull* says so.

        Processes that ask for the same image at the same time pull it once.

        :param platform: such as "linux/arm64"; None for the engine's own, or whichever it has.
        :raises ImageError: with the engine's reason in words a user can act on.
        """

    def image_names(self) -> frozenset[str]:
        """Return the names, with tag or digest, of all images that the engine has, as it writes them."""

    def build_image(self, spec: BuildSpec) -> ImageFacts:
        """Return the image, built.

        :raises ImageError: with the end of the build's output.
        """

    def take_image(self, spec: SnapshotSpec) -> str:
        """Return the id of a new image of a container that has ended; its name is given last.

        :raises ContainerError: if the image would not be all of the container, or there cannot be one.
        """

    def list_images(self, labels: Mapping[str, str]) -> tuple[str, ...]:
        """Return the ids of all images with these labels, but those that others were built from."""

    def remove_image(self, image: str) -> bool:
        """Remove an image; one that is gone is no error. Return False if a container of it is there."""

    def create_network(self, name: str, *, internal: bool, labels: Mapping[str, str]) -> str:
        """Create a network of one scenario and return its id.

        This process has asked for an image before: of one are the pods that a cluster needs for it.
        """

    def has_network(self, network: str) -> bool:
        """Tell whether a network is there: somebody may have removed it."""

    def take_names(self, network: str, container: str) -> None:
        """Take all names away that a container has on a network."""

    def gateway(self, network: str) -> str:
        """Return the address under which containers of *network* reach this host, "" if they do not."""

    def open_relay(
        self,
        name: str,
        network: str,
        *,
        labels: Mapping[str, str],
        accept: Callable[[], socket.socket | None],
        on_end: Callable[[str], None],
    ) -> Relay:
        """Start a relay on a network; more with its ``join``.

        :param name: of its container.
        :param accept: called, in a thread of its own, for each connection that a container makes to it;
            returns the socket to which that is joined, None to refuse it.
        :param on_end: called with the reason if it ends by itself; all its connections are gone then.
        :raises EngineError: if there cannot be one, as on an architecture for which we have no program.
        """

    def remove_network(self, network: str) -> None:
        """Remove it; one that is gone already is no error."""

    def create_volume(self, name: str, *, labels: Mapping[str, str]) -> None:
        """Create an empty volume, which containers can have by its name."""

    def remove_volume(self, name: str) -> None:
        """Remove a volume that no container has any more; one that is gone already is no error."""

    def create_container(self, spec: ContainerSpec) -> str:
        """Create a container with the files that are copied into it, and return its id; it is not started.

        :raises ContainerError: with the engine's reason; no container is left then.
        """

    def start(self, container: str, *, deadline_s: float | None = None) -> None:
        """Start it.

        :param deadline_s: a ``time.monotonic()`` moment, till which a shell in it is waited for.
        :raises ContainerError: with the engine's reason (command not found, port taken, ...).
        :raises NoShellError: if it was to wait for commands in a shell, and its image has none.
        """

    def state(self, container: str) -> ContainerState:
        """Return what the engine says of it now.

        :raises ContainerError: if it is gone.
        """

    def exec(
        self, container: str, spec: ExecSpec, *, on_output: OnOutput, deadline_s: float | None
    ) -> ExecOutcome:
        """Run a command and wait for its end.

        :param on_output: gets each piece of output as it arrives, in the calling thread.
        :param deadline_s: a ``time.monotonic()`` moment; past it the command's processes are ended.
        """

    def observe(
        self,
        container: str,
        *,
        scratch: Sequence[str] = (),
        before: Mapping[str, str] | None = None,
        inside: bool = False,
    ) -> dict[str, str]:
        """Return what can be seen of a container at rest: the name of each thing, and what it is like.

        Where it returns the same twice, nothing was left behind in between.

        :param scratch: absolute paths of tmpfs mounts, which are emptied first.
        :param before: what this returned when the container was new. With it, the shells that run its
            commands are ended first, and it is also told whether its main process has printed something.
        :param inside: ask programs of the container where it cannot be looked at from outside.
        :raises UnobservableError: if it cannot be looked at from outside, and not *inside*.
        :raises ContainerError: if it cannot be told, or a process was left.
        """

    def look_at_path(self, container: str, path: str) -> PathFacts | None:
        """Return what lies at an absolute path in a container, which need not run; None if nothing does.

        :raises ContainerError: if it cannot be told.
        """

    def look_at_file(
        self, container: str, path: str, *, deadline_s: float, feed: Callable[[bytes], None] | None = None
    ) -> FileSeen | None:
        """Return what lies at an absolute path in a container, which need not run; None if nothing does.

        A symbolic link in the path is followed, one that is its last part is not. What is in memory (a
        tmpfs, ``/proc``) is not seen. Podman tells neither the owner nor what a symbolic link says.

        :param deadline_s: a ``time.monotonic()`` moment, till which its content is read.
        :param feed: gets the content of a regular file, piece by piece.
        :raises ContainerError: if it cannot be told.
        """

    def read_files(
        self, container: str, path: str, *, deadline_s: float
    ) -> Generator[tuple[str, FileSeen, Iterator[bytes]]]:
        """Yield what lies at an absolute path in a container, which need not run, and all below it.

        Of each: its path below *path* ("" for what lies at *path* itself), its facts, and the content of a
        regular file, to be read before the next one is asked for. Names are the container's, whatever they
        hold; what is in memory is not seen. Nothing is yielded if nothing lies there. A link at *path* is
        followed within the container, those below it are not.

        :param deadline_s: a ``time.monotonic()`` moment, till which they are read.
        :raises ContainerError: if they cannot be told.
        """

    def list_files(self, container: str, *, deadline_s: float) -> Generator[tuple[str, FileSeen]]:
        """Yield path and facts of each file of a container, which need not run; volumes are left out.

        :param deadline_s: a ``time.monotonic()`` moment, till which they are read.
        :raises ContainerError: if they cannot be told.
        """

    def look_at_image(self, image: str) -> ImageSeen:
        """Return what an image says of itself.

        :param image: id or reference of one that the engine has.
        :raises ImageError: if the engine does not have it.
        """

    def processes(self, container: str) -> tuple[ProcessSeen, ...]:
        """Return the processes of a container.

        :raises ContainerError: if it does not run, or they cannot be told.
        """

    def listeners(self, container: str, *, deadline_s: float) -> tuple[SocketSeen, ...]:
        """Return the sockets on which a container listens.

        :param deadline_s: a ``time.monotonic()`` moment, for a container that has to be asked itself.
        :raises ContainerError: if it does not run, or they cannot be seen.
        """

    def logs(self, container: str, *, tail_bytes: int) -> str:
        """Return the end of its output (stdout and stderr as they came), decoded, at most *tail_bytes*."""

    def clock_s(self) -> float:
        """Return the time by the engine's clock, in seconds since 1970."""

    def find_unenforced(self) -> tuple[str, ...]:
        """Return which limits it does not enforce that only trying tells, each one sentence.

        That may take seconds; it is asked once a run, beside the scenarios, with a relay open.

        :raises EngineError: if it cannot be tried.
        """

    def follow_log(
        self, container: str, *, until_now: bool = False, since_s: float | None = None
    ) -> LogStream:
        """Return its output from its start on, as it comes; to be closed.

        :param until_now: what it has printed so far, and then the end.
        :param since_s: a moment of :meth:`clock_s`; without what was printed before.
        """

    def follow_changes(self, container: str) -> ChangeStream:
        """Return what tells of its changes from now on; to be closed."""

    def peak_memory_bytes(self, state: ContainerState) -> int | None:
        """Return the most memory that a container has used since its start, None where that cannot be told.

        :param state: of a container that runs.
        """

    def written_bytes(self, container: str) -> int:
        """Return how much a container has written into its own layer; mounts do not count.

        :raises ContainerError: if it is gone.
        """

    def copy_in(self, container: str, files: Sequence[CopiedFile]) -> None:
        """Copy files into a container, running or not; not into memory (a tmpfs). Raises ContainerError."""

    def control(self, container: str, what: Literal["kill", "pause", "unpause"]) -> None:
        """Kill the main process of a running container, or stop all its processes where they are.

        :raises ContainerError: with the engine's reason.
        """

    def disconnect(self, network: str, container: str) -> None:
        """Take a container off a network; raises ContainerError with the engine's reason."""

    def connect(self, network: str, container: str, aliases: Sequence[str]) -> None:
        """Put a container on a network, under these names.

        :raises ContainerError: with the engine's reason.
        """

    def stop(self, container: str, *, grace_s: float) -> None:
        """Ask it to end (SIGTERM), kill it after *grace_s*; one that is gone or has ended is no error."""

    def remove(self, containers: Sequence[str]) -> None:
        """Kill and remove them with their anonymous volumes; those that are gone already are no error."""

    def list_owned(self, labels: Mapping[str, str]) -> tuple[OwnedObject, ...]:
        """Return all containers, networks and volumes with these labels; an empty value means any value."""

    def remove_owned(self, objects: Sequence[OwnedObject]) -> None:
        """Remove containers first, then networks and volumes; those that are gone already are no error.

        :raises EngineError: the first failure, after each has been tried.
        """

    def close(self) -> None:
        """Give up connections; containers stay."""
