"""The engine over Docker's API: Docker 20.10 and later, Podman 4.3 and later."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from docker.utils.config import load_general_config

from pytest_clnrm.engine.api import (
    BuildSpec,
    ContainerSpec,
    ContainerState,
    CopiedFile,
    Engine,
    EngineFacts,
    ExecOutcome,
    ExecSpec,
    ImageFacts,
    OwnedObject,
)
from pytest_clnrm.engine.docker.archive import list_files, look_at_file, read_files
from pytest_clnrm.engine.docker.cgroups import peak_memory_bytes
from pytest_clnrm.engine.docker.changes import FollowedChanges, follow_changes
from pytest_clnrm.engine.docker.clock import clock_s
from pytest_clnrm.engine.docker.containers import (
    create_container,
    disconnect_container,
    ended_without,
    for_each,
    remove_container,
    start_container,
    state_of,
    stop_container,
    written_bytes,
)
from pytest_clnrm.engine.docker.copied_files import copy_files
from pytest_clnrm.engine.docker.create_arguments import create_arguments, proxy_environment
from pytest_clnrm.engine.docker.images import Images, lock_name, look_at_image
from pytest_clnrm.engine.docker.listeners import listeners_inside, listeners_outside
from pytest_clnrm.engine.docker.logs import FollowedLog, follow_log, has_printed, read_logs
from pytest_clnrm.engine.docker.networks import (
    create_network,
    gateway,
    has_network,
    remove_network,
    shares_network,
    take_names,
)
from pytest_clnrm.engine.docker.owned import list_owned, remove_volume
from pytest_clnrm.engine.docker.paths import look_at_path
from pytest_clnrm.engine.docker.processes import processes
from pytest_clnrm.engine.docker.snapshots import list_images, remove_image, take_image
from pytest_clnrm.engine.exec.execs import Execs
from pytest_clnrm.engine.exec.main_shell import LOG_BYTES, new_end_mark, outside_frames
from pytest_clnrm.engine.exec.shells import ENDED
from pytest_clnrm.engine.exec.waiting import KEEP_SHELL
from pytest_clnrm.engine.plain_errors import plain_errors
from pytest_clnrm.engine.snapshot_spec import SnapshotSpec
from pytest_clnrm.errors import ContainerError, EngineError, ImageError, NoShellError, UnobservableError

if TYPE_CHECKING:
    from docker import APIClient

    from pytest_clnrm.engine.api import OnOutput, OnProgress, PullPolicy
    from pytest_clnrm.engine.docker.images import Locks
    from pytest_clnrm.engine.docker.relays import DockerRelay
    from pytest_clnrm.model.seen import FileSeen, ImageSeen, PathFacts, ProcessSeen, SocketSeen

# What is seen of a container that is looked at from outside.
_FIRST = "number of its first process on this host"

_UNIX = "unix://"


class DockerEngine(Engine):
    """The engine behind a client of Docker's API; its methods are described where they are declared.

    What few runs ask for is imported only then.

    :param client: connected; its pool should hold a connection for each thread.
    :param locks: gives a context manager by name, which one process of this machine holds at a time.
    :param in_shells: False to run each command by an exec of its own.
    """

    def __init__(
        self,
        client: APIClient,
        facts: EngineFacts,
        *,
        locks: Locks,
        in_shells: bool = True,
    ) -> None:
        self._client = client
        self._facts = facts
        self._locks = locks
        self._images = Images(client, locks)
        self._execs = Execs(client, is_podman=facts.kind == "podman", in_shells=in_shells)
        self._settings = load_general_config()
        self._selinux: bool | None = None
        self._is_ours: bool | None = None
        self._tells_changes = True
        self._guard = threading.Lock()

    @property
    def facts(self) -> EngineFacts:
        return self._facts

    def ensure_image(
        self,
        reference: str,
        pull: PullPolicy,
        progress: OnProgress | None = None,
        platform: str | None = None,
    ) -> ImageFacts:
        return self._images.ensure(reference, pull, progress, platform)

    def image_names(self) -> frozenset[str]:
        return self._images.names()

    def build_image(self, spec: BuildSpec) -> ImageFacts:
        from pytest_clnrm.engine.docker.builds import build_by_api, build_by_command, tag_of

        tag = tag_of(spec)
        # Who asks for the same at the same time comes after, and finds the layers.
        with self._locks(lock_name("build", tag)):
            if spec.buildkit:
                build_by_command(spec, tag, self._facts)
            else:
                build_by_api(self._client, spec, tag, watched=self._facts.kind == "docker")
            image = self._images.look(tag)
        if image is None:
            raise ImageError(
                f"cannot build the image of {spec.context}: it is not on the engine although it was built"
            )
        return image

    def take_image(self, spec: SnapshotSpec) -> str:
        if self._facts.kind != "docker":
            raise ContainerError("Podman does not tell whose the files of a volume are")
        return take_image(self._client, spec)

    def list_images(self, labels: Mapping[str, str]) -> tuple[str, ...]:
        return list_images(self._client, labels)

    def remove_image(self, image: str) -> bool:
        return remove_image(self._client, image)

    def create_network(self, name: str, *, internal: bool, labels: Mapping[str, str]) -> str:
        return create_network(self._client, name, internal=internal, labels=labels)

    def has_network(self, network: str) -> bool:
        return has_network(self._client, network)

    def take_names(self, network: str, container: str) -> None:
        take_names(self._client, network, container)

    def gateway(self, network: str) -> str:
        return gateway(self._client, network, is_ours=self._has_our_networks())

    def open_relay(
        self,
        name: str,
        network: str,
        *,
        labels: Mapping[str, str],
        accept: Callable[[], socket.socket | None],
        on_end: Callable[[str], None],
    ) -> DockerRelay:
        from pytest_clnrm.engine.docker.relays import open_relay

        return open_relay(
            self._client, self._locks, name, network, labels=labels, accept=accept, on_end=on_end
        )

    def remove_network(self, network: str) -> None:
        remove_network(self._client, network, is_podman=self._facts.kind == "podman")

    def create_volume(self, name: str, *, labels: Mapping[str, str]) -> None:
        with plain_errors(f"create the volume {name!r}"):
            self._client.create_volume(name, labels=dict(labels))

    def remove_volume(self, name: str) -> None:
        remove_volume(self._client, name)

    def create_container(self, spec: ContainerSpec) -> str:
        arguments = create_arguments(
            self._client,
            spec,
            proxies=proxy_environment(
                self._settings, self._facts.url, spec.env, (*spec.aliases, *spec.no_proxy)
            ),
            published_on=self._facts.published_on,
            relabel=bool(spec.mounts) and self._has_selinux(),
            is_shared=not (self._facts.elsewhere or self._facts.remote),
            is_podman=self._facts.kind == "podman",
            end_mark=(end_mark := new_end_mark() if spec.command == KEEP_SHELL else ""),
        )
        container = create_container(self._client, spec, arguments)
        self._execs.register_container(container, spec.image, end_mark)
        return container

    def start(self, container: str, *, deadline_s: float | None = None) -> None:
        # A command that the container's init process cannot run is no error here: its state tells. Our shell
        # has no init process before it.
        no_shell = NoShellError(f"the container {container[:12]} has no shell to wait for commands in")
        start = partial(start_container, self._client, container)
        # Of its life before, if it had one.
        self._execs.shells.drop(container)
        try:
            streams = self._execs.shells.start(container, start, deadline_s)
        except ContainerError as error:
            if self._execs.shells.has_main_shell(container) and ended_without(self._client, container):
                raise no_shell from error
            raise
        if not streams and ended_without(self._client, container):
            raise no_shell

    def state(self, container: str) -> ContainerState:
        return state_of(self._client, container, host=self._facts.host)

    def exec(
        self, container: str, spec: ExecSpec, *, on_output: OnOutput, deadline_s: float | None
    ) -> ExecOutcome:
        return self._execs.run(container, spec, on_output=on_output, deadline_s=deadline_s)

    def observe(
        self,
        container: str,
        *,
        scratch: Sequence[str] = (),
        before: Mapping[str, str] | None = None,
        inside: bool = False,
    ) -> dict[str, str]:
        from pytest_clnrm.engine.docker.observe import observe
        from pytest_clnrm.engine.docker.observe_inside import ask_inside

        shell = self._execs.shells.state_of_main_shell(container)
        # The process that waits is another one each time.
        renewed = shell not in {None, ENDED}
        if before is None:
            # Ours are none of what runs in it.
            self._execs.shells.end_execs(container)
            try:
                pid = state_of(self._client, container, host=self._facts.host).pid
                seen = {_FIRST: str(pid), **observe(pid, container, scratch=scratch, renewed=renewed)}
            except UnobservableError:
                if not inside:
                    raise
                seen = ask_inside(self._client, container, self.exec, scratch=scratch)
        elif _FIRST in before:
            pid = int(before[_FIRST])
            renew = partial(self._execs.shells.begin_anew, container)
            seen = {
                _FIRST: str(pid),
                **observe(pid, container, scratch=scratch, renewed=renewed, renew=renew),
            }
        else:
            seen = ask_inside(self._client, container, self.exec, scratch=scratch, before=before)
            shell = self._execs.shells.state_of_main_shell(container)
        if shell is not None:
            seen["shell that runs its commands"] = shell
            if shell == ENDED:
                seen["output of the container's main process"] = self.logs(container, tail_bytes=LOG_BYTES)
        elif before and has_printed(self._client, container):
            seen["output of the container's main process"] = "added"
        return seen

    def let_go(self, container: str) -> dict[str, Any]:
        return self._execs.shells.let_go(container)

    def take_up(self, container: str, told: Mapping[str, Any]) -> None:
        self._execs.shells.take_up(container, told)

    def is_connected_as(self, container: str, seen: Mapping[str, str]) -> bool:
        from pytest_clnrm.engine.docker.observe import has_interfaces

        return _FIRST in seen and has_interfaces(int(seen[_FIRST]), container, seen)

    def look_at_path(self, container: str, path: str) -> PathFacts | None:
        return look_at_path(self._client, container, path)

    def look_at_file(
        self, container: str, path: str, *, deadline_s: float, feed: Callable[[bytes], None] | None = None
    ) -> FileSeen | None:
        is_podman = self._facts.kind == "podman"
        return look_at_file(
            self._client, container, path, deadline_s=deadline_s, feed=feed, is_podman=is_podman
        )

    def read_files(
        self, container: str, path: str, *, deadline_s: float
    ) -> Generator[tuple[str, FileSeen, Iterator[bytes]]]:
        return read_files(self._client, container, path, deadline_s=deadline_s)

    def list_files(self, container: str, *, deadline_s: float) -> Generator[tuple[str, FileSeen]]:
        return list_files(self._client, container, deadline_s=deadline_s)

    def look_at_image(self, image: str) -> ImageSeen:
        return look_at_image(self._client, image)

    def processes(self, container: str) -> tuple[ProcessSeen, ...]:
        return processes(self._client, container, is_podman=self._facts.kind == "podman")

    def listeners(self, container: str, *, deadline_s: float) -> tuple[SocketSeen, ...]:
        state = self.state(container)
        if not state.running:
            raise ContainerError(f"the container {container[:12]} does not run")
        found = None if self._facts.remote else listeners_outside(state)
        if found is not None:
            return found
        return listeners_inside(
            lambda spec, hear: self.exec(container, spec, on_output=hear, deadline_s=deadline_s)
        )

    def logs(self, container: str, *, tail_bytes: int) -> str:
        said = read_logs(self._client, container, tail_bytes=tail_bytes)
        return outside_frames(said) if self._execs.shells.has_main_shell(container) else said

    def clock_s(self) -> float:
        # What has another host or kernel may have another clock.
        return clock_s(self._client) if self._facts.remote or self._facts.elsewhere else time.time()

    def find_unenforced(self) -> tuple[str, ...]:
        # It tells all of them when it is connected.
        return ()

    def follow_log(
        self, container: str, *, until_now: bool = False, since_s: float | None = None
    ) -> FollowedLog:
        return follow_log(self._client, container, until_now=until_now, since_s=since_s)

    def follow_changes(self, container: str) -> FollowedChanges:
        if not self._tells_changes:
            raise ContainerError("the engine does not tell of changes")
        try:
            return follow_changes(self._client, container)
        except EngineError:
            self._tells_changes = False
            raise

    def peak_memory_bytes(self, state: ContainerState) -> int | None:
        return None if self._facts.remote or not state.pid else peak_memory_bytes(state.pid, state.id)

    def written_bytes(self, container: str) -> int:
        return written_bytes(self._client, container)

    def copy_in(self, container: str, files: Sequence[CopiedFile]) -> None:
        copy_files(self._client, container, files)

    def control(self, container: str, what: Literal["kill", "pause", "unpause"]) -> None:
        with plain_errors(f"{what} the container", ContainerError):
            {"kill": self._client.kill, "pause": self._client.pause, "unpause": self._client.unpause}[what](
                container
            )

    def disconnect(self, network: str, container: str) -> None:
        disconnect_container(self._client, network, container)

    def connect(self, network: str, container: str, aliases: Sequence[str]) -> None:
        with plain_errors("put the container on its network", ContainerError):
            self._client.connect_container_to_network(container, network, aliases=list(aliases))

    def stop(self, container: str, *, grace_s: float) -> None:
        stop_container(self._client, container, grace_s=grace_s)

    def remove(self, containers: Sequence[str]) -> None:
        for_each(containers, self._remove_one)

    def list_owned(self, labels: Mapping[str, str]) -> tuple[OwnedObject, ...]:
        return list_owned(self._client, labels)

    def remove_owned(self, objects: Sequence[OwnedObject]) -> None:
        containers = [each.id for each in objects if each.kind == "container"]
        networks = [each.id for each in objects if each.kind == "network"]
        volumes = [each.id for each in objects if each.kind == "volume"]
        with ExitStack() as rest:
            # Run in the opposite order of their mention, each of them whatever became of the others.
            rest.callback(for_each, volumes, lambda volume: remove_volume(self._client, volume))
            rest.callback(for_each, networks, self.remove_network)
            rest.callback(self.remove, containers)

    def close(self) -> None:
        self._execs.close()
        self._client.close()

    def _remove_one(self, container: str) -> None:
        # First, as a main shell that ends by itself need not be killed.
        self._execs.forget(container)
        remove_container(self._client, container)

    def _has_our_networks(self) -> bool | None:
        """Tell whether its networks are this host's, None where each has a bridge that tells.

        Podman makes a network's bridge with its first container.
        """
        facts = self._facts
        if facts.kind != "podman":
            return None
        with self._guard:
            if self._is_ours is None:
                is_local = facts.url.startswith(_UNIX) and not (
                    facts.remote or facts.rootless or facts.elsewhere
                )
                self._is_ours = is_local and shares_network(facts.url.removeprefix(_UNIX))
            return self._is_ours

    def _has_selinux(self) -> bool:
        with self._guard:
            if self._selinux is None:
                with plain_errors("ask the engine for its security options"):
                    options = self._client.info().get("SecurityOptions") or ()
                self._selinux = any("selinux" in str(each) for each in options)
            return self._selinux
