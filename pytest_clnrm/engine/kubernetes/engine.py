"""A cluster as the engine: a pod for each container, in one namespace.

What a pod cannot do is refused, each with one sentence (docs/kubernetes.md has the table).
"""

from __future__ import annotations

import math
import secrets
import threading
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, NoReturn

from pytest_clnrm.engine.api import (
    RELAY_PORT,
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
from pytest_clnrm.engine.kubernetes import containers, networks, pods
from pytest_clnrm.engine.kubernetes.containers import Container
from pytest_clnrm.engine.kubernetes.copies import copies_of
from pytest_clnrm.engine.kubernetes.files import copy_in, look_at_file, look_at_path, read_files
from pytest_clnrm.engine.kubernetes.guests import Guests
from pytest_clnrm.engine.kubernetes.logs import FollowedLog, LastOutput, PastLog, follow_log, read_log
from pytest_clnrm.engine.kubernetes.owned import list_owned, pods_made_for, remove_owned
from pytest_clnrm.engine.kubernetes.owners import Owners
from pytest_clnrm.engine.kubernetes.policy_probe import IGNORED, ignores_policies
from pytest_clnrm.engine.kubernetes.relays import ClusterRelay
from pytest_clnrm.engine.kubernetes.rest import NOT_FOUND, RefusedError
from pytest_clnrm.engine.kubernetes.run_object import RunObject
from pytest_clnrm.engine.kubernetes.sockets import ExecStream, open_exec
from pytest_clnrm.engine.kubernetes.starts import START_S, create_pod, wait_answering, wait_started, watch
from pytest_clnrm.engine.kubernetes.steps import GoneError, Steps
from pytest_clnrm.engine.tool.program import relay_arguments
from pytest_clnrm.errors import (
    ContainerError,
    EngineError,
    EngineUnavailableError,
    ImageError,
    LostContainerError,
    UnobservableError,
)

if TYPE_CHECKING:
    import socket

    from pytest_clnrm.engine.api import OnOutput, OnProgress, PullPolicy
    from pytest_clnrm.engine.change_stream import ChangeStream
    from pytest_clnrm.engine.kubernetes.queueing import Queueing
    from pytest_clnrm.engine.kubernetes.rest import Rest
    from pytest_clnrm.engine.snapshot_spec import SnapshotSpec
    from pytest_clnrm.model.seen import FileSeen, ImageSeen, PathFacts, ProcessSeen, SocketSeen

_STOPPED_S = 30.0
_TOLD_S = 15.0
_LAST_S = 5.0


class KubernetesEngine(Engine):
    """The engine behind a cluster's API; its methods are described where they are declared.

    :param pull_secrets: names of Secrets of the namespace, by which images are pulled.
    :param queueing: how pods wait for room.
    :param grace_s: how long a pod has to end when it is removed.
    """

    def __init__(
        self,
        rest: Rest,
        facts: EngineFacts,
        *,
        architecture: str,
        pull_secrets: tuple[str, ...],
        queueing: Queueing,
        grace_s: int = 1,
    ) -> None:
        self._rest = rest
        self._facts = facts
        self._architecture = architecture
        self._pull_secrets = pull_secrets
        self._queueing = queueing
        self._grace_s = grace_s
        self._containers: dict[str, Container] = {}
        self._pulls: dict[str, PullPolicy] = {}
        self._relay: ClusterRelay | None = None
        self._guard = threading.RLock()
        self._guests = Guests(rest)
        self._owners = Owners(rest, self._pulls, architecture=architecture, pull_secrets=pull_secrets)
        self._steps = Steps(self._open_agent, self._how_ended)

    @property
    def facts(self) -> EngineFacts:
        return self._facts

    # images

    def ensure_image(
        self,
        reference: str,
        pull: PullPolicy,
        progress: OnProgress | None = None,
        platform: str | None = None,
    ) -> ImageFacts:
        if platform is not None and platform != f"linux/{self._architecture}":
            raise ImageError(
                f"platform {platform}: this cluster's nodes are linux/{self._architecture}; leave it out"
            )
        with self._guard:
            self._pulls[reference] = pull
        # Nodes pull it when a pod of it starts, which tells what is wrong with it.
        return ImageFacts(
            id=reference, reference=reference, architecture=self._architecture, knows_command=False
        )

    def image_names(self) -> frozenset[str]:
        return frozenset()

    def build_image(self, spec: BuildSpec) -> ImageFacts:
        raise ImageError(
            f"cannot build the image of {spec.context}: a cluster builds none; build it elsewhere, push it "
            "to a registry that the nodes reach, and name it (image, or --clnrm-image-map)"
        )

    def take_image(self, spec: SnapshotSpec) -> str:
        raise ContainerError("a cluster makes no images of its pods")

    def list_images(self, labels: Mapping[str, str]) -> tuple[str, ...]:
        return ()

    def remove_image(self, image: str) -> bool:
        return True

    def look_at_image(self, image: str) -> ImageSeen:
        raise ImageError(f"a cluster does not tell what {image} is like: check it on another engine")

    # networks

    def create_network(self, name: str, *, internal: bool, labels: Mapping[str, str]) -> str:
        return networks.create(self._rest, name, labels, self._owners.of(name, labels).job)

    def has_network(self, network: str) -> bool:
        run = self._owners.own
        return not (run is not None and run.lost) and networks.exists(self._rest, network)

    def take_names(self, network: str, container: str) -> None:
        with self._guard:
            found = self._containers.get(container)
            if found is not None:
                found.network = ""

    def gateway(self, network: str) -> str:
        return ""

    def open_relay(
        self,
        name: str,
        network: str,
        *,
        labels: Mapping[str, str],
        accept: Callable[[], socket.socket | None],
        on_end: Callable[[str], None],
    ) -> ClusterRelay:
        run = self._owners.of_process(name, labels)
        found = self._rest.call("start a relay", "GET", self._rest.path("pods", run.pod))
        argv = [f"{pods.TOOLS}/clnrm", *relay_arguments(RELAY_PORT)]
        stream = open_exec(self._rest, run.pod, pods.MAIN, argv)
        address = str(found["status"]["podIP"])
        self._relay = ClusterRelay(run.pod, address, stream, accept=accept, on_end=on_end)
        return self._relay

    def remove_network(self, network: str) -> None:
        networks.remove(self._rest, network)
        self._guests.forget(network=network)

    def create_volume(self, name: str, *, labels: Mapping[str, str]) -> None:
        raise ContainerError(
            f"a cluster cannot have the volume {name}: pods share none; let services exchange it over the "
            "network, or run this scenario on another engine"
        )

    def remove_volume(self, name: str) -> None:
        pass

    def disconnect(self, network: str, container: str) -> None:
        if not self._guests.are_on(network, container):
            _refuse("take a pod off its network")
        self._guests.remove(network, container)

    def connect(self, network: str, container: str, aliases: Sequence[str]) -> None:
        self._guests.add(network, self._look(container), aliases)
        self._settle_all(network)
        self._tell_names(network)

    # what a whole run shares

    def keep_run(self, name: str, labels: Mapping[str, str]) -> None:
        self._owners.keep_run(name, labels)

    # containers

    def create_container(self, spec: ContainerSpec) -> str:
        pods.refuse(spec)
        owner = self._owners.of(spec.name, spec.labels)
        # What a run shares may be begun anew while the last one of that name is being removed.
        suffix = f"-{secrets.token_hex(4)}" if owner.is_shared else ""
        name = pods.object_name(f"{spec.name}{suffix}")
        network = spec.networks[0] if spec.networks else ""
        # Its pod runs as soon as it is there: it is made when it is started.
        mine = Container(spec, network, copies_of(spec))
        with self._guard:
            self._containers[name] = mine
        return name

    def start(self, container: str, *, deadline_s: float | None = None) -> None:
        mine = self._mine(container)
        if mine.started:
            _refuse("start a container again: its pod, with all that it has written, is gone")
        owner = self._owners.of(mine.spec.name, mine.spec.labels)
        give_up_s = time.monotonic() + START_S if deadline_s is None else deadline_s
        give_up_s = self._create_pod(container, mine, owner, give_up_s)
        admission = mine.spec.admission
        is_single = admission is not None and admission.containers == 1 and pods.has_one_name(mine.spec)
        if is_single and not owner.is_shared and self._is_alone(mine):
            answers = partial(self._answers, container)
            found = wait_answering(self._rest, container, give_up_s, admission, answers)
            mine.answers = not pods.is_told(found)
            mine.address = "" if mine.answers else pods.address_of(found)
            # There is nobody to be told its address: who comes later asks for it.
            if self._is_alone(mine):
                return
        found = wait_started(self._rest, container, give_up_s, admission)
        mine.address, mine.answers = pods.address_of(found), False
        if "running" in pods.main_status(found):
            self._tell_names(mine.network)

    def state(self, container: str) -> ContainerState:
        with self._guard:
            mine = self._containers.get(container)
        if mine is not None and mine.last is not None:
            return mine.last
        if mine is not None and not mine.started:
            return ContainerState(id=container, running=False, exit_code=None, oom_killed=False)
        found = self._look(container)
        state = pods.state_of(found)
        if mine is None or not mine.answers or pods.is_told(found):
            return replace(state, addresses={**self._guests.addresses(container), **state.addresses})
        addresses = pods.LateAddress(mine.network, lambda: self._settle(container).address)
        return replace(state, running=True, error="", addresses=addresses)

    def exec(
        self, container: str, spec: ExecSpec, *, on_output: OnOutput, deadline_s: float | None
    ) -> ExecOutcome:
        return self._steps.run(container, spec, on_output=on_output, deadline_s=deadline_s)

    def logs(self, container: str, *, tail_bytes: int) -> str:
        return self._log(container, tail_bytes).decode("utf-8", "replace")

    def clock_s(self) -> float:
        # That of the API server; nodes of a cluster are kept in step with it.
        return self._rest.clock_s()

    def find_unenforced(self) -> tuple[str, ...]:
        run, relay = self._owners.own, self._relay
        if run is None or relay is None:
            raise EngineError("cannot try a NetworkPolicy: nothing of the run is there")
        return (IGNORED,) if ignores_policies(self._rest, run, relay) else ()

    def follow_log(
        self, container: str, *, until_now: bool = False, since_s: float | None = None
    ) -> FollowedLog | PastLog:
        mine = self._containers.get(container)
        if mine is not None and mine.printed is not None:
            return mine.printed.since(since_s)
        if mine is not None:
            self._settle(container)
        try:
            return follow_log(self._rest, container, until_now=until_now, since_s=since_s)
        except RefusedError as error:
            raise ContainerError(str(error)) from None

    def follow_changes(self, container: str) -> ChangeStream:
        raise ContainerError("changes of a pod are not followed")

    def stop(self, container: str, *, grace_s: float) -> None:
        mine = self._containers.get(container)
        if mine is None or not mine.started or mine.last is not None:
            return
        try:
            self._settle(container)
            found = self._look(container)
        except LostContainerError:
            return
        if "terminated" in pods.main_status(found):
            return
        printed = LastOutput(self._rest, container)
        self._rest.delete(
            f"stop the pod {container}", "pods", container, gracePeriodSeconds=max(1, math.ceil(grace_s))
        )
        last = self._wait_gone(found, time.monotonic() + grace_s + _STOPPED_S)
        printed.take(_LAST_S)
        self._steps.drop(container)
        # That it is being removed is our doing.
        about = {**last["metadata"], "deletionTimestamp": None}
        status = {**last["status"], "reason": None}
        state = pods.state_of({**last, "metadata": about, "status": status})
        if state.exit_code is None:
            raise LostContainerError(
                f"the pod {container} was stopped, and the cluster has not told how it ended"
            )
        mine.printed, mine.last = printed, state

    def control(self, container: str, what: Literal["kill", "pause", "unpause"]) -> None:
        _refuse(f"{what} a container: pods can be asked to end (stop), or removed")

    def remove(self, containers: Sequence[str]) -> None:
        with ExitStack() as rest_of_it:
            for container in containers:
                rest_of_it.callback(self._remove_one, container)
                if container not in self._containers:
                    for each in pods_made_for(self._rest, container):
                        rest_of_it.callback(self._remove_one, each)

    def list_owned(self, labels: Mapping[str, str]) -> tuple[OwnedObject, ...]:
        return list_owned(self._rest, labels)

    def remove_owned(self, objects: Sequence[OwnedObject]) -> None:
        remove_owned(self._rest, objects)

    # what is seen of containers

    def observe(
        self,
        container: str,
        *,
        scratch: Sequence[str] = (),
        before: Mapping[str, str] | None = None,
        inside: bool = False,
    ) -> dict[str, str]:
        raise UnobservableError("a cluster tells no list of changes of a pod")

    def look_at_path(self, container: str, path: str) -> PathFacts | None:
        return look_at_path(self._reader(container), path)

    def look_at_file(
        self, container: str, path: str, *, deadline_s: float, feed: Callable[[bytes], None] | None = None
    ) -> FileSeen | None:
        return look_at_file(self._reader(container), path, deadline_s=deadline_s, feed=feed)

    def read_files(
        self, container: str, path: str, *, deadline_s: float
    ) -> Generator[tuple[str, FileSeen, Iterator[bytes]]]:
        return read_files(self._reader(container), path, deadline_s=deadline_s)

    def list_files(self, container: str, *, deadline_s: float) -> Generator[tuple[str, FileSeen]]:
        raise ContainerError("a cluster does not list the files of an image: check them with another engine")

    def processes(self, container: str) -> tuple[ProcessSeen, ...]:
        raise ContainerError("processes of a pod are not told: check them by a step (ps)")

    def listeners(self, container: str, *, deadline_s: float) -> tuple[SocketSeen, ...]:
        raise ContainerError("sockets of a pod are not told: check them by a step (ss, netstat)")

    def peak_memory_bytes(self, state: ContainerState) -> int | None:
        return None

    def written_bytes(self, container: str) -> int:
        raise ContainerError("a cluster does not tell how much a pod has written")

    def copy_in(self, container: str, files: Sequence[CopiedFile]) -> None:
        copy_in(self._reader(container), files)

    def close(self) -> None:
        self._steps.close()
        self._owners.close()
        self._rest.close()

    # helpers

    def _mine(self, container: str) -> Container:
        with self._guard:
            found = self._containers.get(container)
        if found is None:
            raise LostContainerError(f"the pod {container} is gone")
        return found

    def _reader(self, container: str) -> Callable[..., ExecOutcome]:
        def run(argv: Sequence[str], **facts: Any) -> ExecOutcome:
            stdin = facts.pop("stdin", None)
            return self.exec(container, ExecSpec(argv=tuple(argv), stdin=stdin), **facts)

        return run

    def _create_pod(self, name: str, mine: Container, run: RunObject, give_up_s: float) -> float:
        """Make the pod of a container; return when the time is over now, as room may have been waited for."""
        spec = mine.spec
        if mine.copies:
            secret = pods.files_secret(name, spec, mine.copies, run.job)
            mine.copies.secret = secret["metadata"]["name"]
            self._rest.create(f"copy files into {spec.name}", "secrets", secret)

        def make() -> dict[str, Any]:
            self._settle_all(mine.network)
            with self._guard:
                guests = self._guests.names(mine.network)
                mine.known = {**guests, **containers.names_on(self._containers, mine.network)}
            made = pods.pod(
                name,
                spec,
                pull=self._pulls.get(spec.image, "missing"),
                owner=run.job,
                tools=run.tools,
                copies=mine.copies,
                hosts=pods.Hosts(mine.known),
                namespace=self._rest.access.namespace,
                pull_secrets=self._pull_secrets,
                grace_s=self._grace_s,
            )
            self._queueing.add_to(made, spec.admission, in_group=not run.is_shared)
            return made

        give_up_s = create_pod(
            self._rest,
            name,
            make,
            give_up_s=give_up_s,
            queueing=self._queueing,
            admission=spec.admission,
        )
        mine.started = True
        return give_up_s

    def _wait_gone(self, last: Mapping[str, Any], give_up_s: float) -> Mapping[str, Any]:
        """Return the last that was seen of a pod that is being removed."""
        for found in watch(self._rest, str(last["metadata"]["name"]), give_up_s, since=last):
            if found is None:
                break
            last = found
            if "terminated" in pods.main_status(found):
                break
        return last

    def _look(self, container: str) -> Mapping[str, Any]:
        try:
            return self._rest.call("look at the pod", "GET", self._rest.path("pods", container))
        except RefusedError as error:
            if error.status != NOT_FOUND:
                raise
            why = self._owners.own.lost if self._owners.own is not None else ""
            raise LostContainerError(
                f"the pod {container} is gone: " + (why or "removed, or with the node that it was on")
            ) from None

    def _log(self, container: str, tail_bytes: int) -> bytes:
        mine = self._containers.get(container)
        if mine is not None and mine.printed is not None:
            return b"".join(data for _, data in mine.printed.since(None).receive(0.0))[-tail_bytes:]
        if mine is not None:
            self._settle(container)
        try:
            return read_log(self._rest, container, tail_bytes=tail_bytes)
        except RefusedError as error:
            raise ContainerError(str(error)) from None

    def _answers(self, container: str) -> bool:
        """Tell whether our agent runs in a container that is being started."""
        try:
            stream = self._open_exec(container)
        except EngineError:
            return False
        return self._steps.adopt(container, stream)

    def _settle(self, container: str) -> Container:
        """Wait until the cluster has told of a container that it runs: it has an address and a log then.

        :raises LostContainerError: if it has been taken away.
        """
        mine = self._mine(container)
        if mine.answers:
            found = wait_started(self._rest, container, time.monotonic() + _TOLD_S)
            mine.address, mine.answers = pods.address_of(found), False
        return mine

    def _settle_all(self, network: str) -> None:
        """Wait until the cluster has told of all containers of a network that run."""
        with self._guard:
            there = containers.on_network(self._containers, network)
            unknown = [name for name, each in there if each.answers]
        for each in unknown:
            self._settle(each)

    def _open_exec(self, container: str) -> ExecStream:
        return open_exec(self._rest, container, pods.MAIN, [f"{pods.TOOLS}/agent", "steps", pods.JOURNAL])

    def _open_agent(self, container: str) -> ExecStream:
        try:
            return self._open_exec(container)
        except RefusedError as error:
            if self._how_ended(container) is not None:
                raise GoneError from None
            raise ContainerError(str(error)) from None

    def _how_ended(self, container: str) -> tuple[bool, bool] | None:
        """Tell whether a container has ended, and then whether out of memory; None while it runs."""
        try:
            state = self.state(container)
        except EngineUnavailableError:
            raise
        except ContainerError:
            return True, False
        return None if state.running else (True, state.oom_killed)

    def _remove_one(self, container: str) -> None:
        self._steps.drop(container)
        self._rest.delete(f"remove the pod {container}", "pods", container, gracePeriodSeconds=self._grace_s)
        self._guests.forget(pod=container)
        with self._guard:
            mine = self._containers.pop(container, None)
        if mine is None or mine.copies.secret:
            # Of what another process has made it is not known whether it has any.
            self._rest.delete(f"remove the files of {container}", "secrets", pods.files_name(container))

    # names

    def _is_alone(self, mine: Container) -> bool:
        with self._guard:
            return len(containers.on_network(self._containers, mine.network)) <= 1

    def _tell_names(self, network: str) -> None:
        """Write who has come into the files of hosts of all that are there."""
        with self._guard:
            todo = containers.missing_names(self._containers, network, self._guests.names(network))
        for name, missing in todo:
            self._add_hosts(name, missing)

    def _add_hosts(self, container: str, names: Mapping[str, str]) -> None:
        text = "".join(f"{address}\t{name}\n" for name, address in names.items())
        argv = (f"{pods.TOOLS}/agent", "append", "/etc/hosts", text)
        # One that is not root's may not: there the cluster's DNS has to tell the name.
        with suppress(EngineError):
            self.exec(
                container, ExecSpec(argv=argv), on_output=lambda *_: None, deadline_s=time.monotonic() + 10
            )


def _refuse(doing: str) -> NoReturn:
    raise ContainerError(f"a cluster cannot {doing}; run this scenario on another engine")
