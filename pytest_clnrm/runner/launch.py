"""Starting the container of one service: its image, how it is made, and the wait until it is ready.

Scenarios and the ``clnrm`` fixture both start their containers here, so both have the same limits and labels.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from fnmatch import fnmatchcase
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING

from pytest_clnrm.cleanup.labels import image_labels, limit_labels
from pytest_clnrm.engine.api import ANYWHERE, BuildSpec, ContainerSpec, CopiedFile, ImageFacts, Mount
from pytest_clnrm.engine.exec.waiting import (
    KEEP_ALIVE,
    KEEP_SHELL,
    KEEP_TOOL,
    SLEEP_PATHS,
    TOOL_FOLDER,
    WAITING,
)
from pytest_clnrm.engine.tool.program import program
from pytest_clnrm.errors import (
    ContainerError,
    EngineError,
    ImageError,
    NoShellError,
    NotReadyError,
    UnobservableError,
)
from pytest_clnrm.model.limits import Limits
from pytest_clnrm.model.service import HOST_NAME, Build, Service
from pytest_clnrm.pool.proof import UNOBSERVABLE, why_not_reusable
from pytest_clnrm.pool.running import RunningContainer, span_attributes
from pytest_clnrm.pool.sources import open_sources
from pytest_clnrm.runner.copied_files import copied_files
from pytest_clnrm.runner.host import check_host, host_entry
from pytest_clnrm.runner.ready import wait_ready
from pytest_clnrm.runner.ready_conditions import NoSpans
from pytest_clnrm.runner.services import effective_command, given_to_entry_point
from pytest_clnrm.runner.sharing.upkeep import run_prepare
from pytest_clnrm.telemetry.environment import OF_STEP, SERVICE_NAME
from pytest_clnrm.telemetry.tracing import out_of_reach
from pytest_clnrm.util.patterns import matches_glob

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_clnrm.engine.admission_api import Admission
    from pytest_clnrm.engine.api import Engine
    from pytest_clnrm.runtime.network import Network
    from pytest_clnrm.runtime.runtime import Runtime
    from pytest_clnrm.settings.settings import Settings
    from pytest_clnrm.telemetry.tracing import ScenarioTrace

BRIDGE = "bridge"
"""The engine's own network, which has a way out and publishes ports."""

_NO_VOLUMES: Mapping[str, str] = MappingProxyType({})
_SHORT = 2
"""Letters of an image's name that may be the start of an id; longer ones are refused in the file."""


def effective_limits(settings: Settings, service: Service) -> Limits:
    """Return the limits of *service*, with the settings' where it has none: no field is None."""
    defaults = Limits(memory_bytes=settings.memory_bytes, cpus=settings.cpus, pids=settings.pids, gpus=0)
    return service.limits.over(defaults)


def image_name(settings: Settings, service: Service) -> str:
    """Return the name by which the image of *service* is asked for; ``--clnrm-image-map`` applies."""
    reference = service.image or settings.default_image
    for pattern, new in settings.image_map:
        if fnmatchcase(reference, pattern):
            before, _, behind = pattern.partition("*")
            return new.replace("*", reference[len(before) : len(reference) - len(behind)])
    return reference


def find_image(runtime: Runtime, service: Service, timeout_s: float) -> ImageFacts:
    """Return the image of *service*, built or pulled where it is missing; ``--clnrm-image-map`` applies.

    :param timeout_s: for a build.
    :raises ImageError: if it cannot be had.
    """
    engine, settings = runtime.engine(), runtime.settings
    if service.build is not None:
        with runtime.board.during("image", f"building {service.build.context}"):
            return engine.build_image(_build_spec(runtime, service, service.build, timeout_s))
    mapped = image_name(settings, service)
    with runtime.board.during("image"):
        image = engine.ensure_image(
            mapped, settings.pull, partial(runtime.board.at, "image"), service.platform
        )
    if len(mapped) <= _SHORT and mapped == service.image and image.id.startswith(f"sha256:{mapped}"):
        raise ImageError(f"image {mapped!r} is the start of an image's id: write its name with a tag")
    return image


def _build_spec(runtime: Runtime, service: Service, build: Build, timeout_s: float) -> BuildSpec:
    """Return what is built for *service*, under the limits of its container."""
    limits = effective_limits(runtime.settings, service)
    return BuildSpec(
        context=build.context,
        dockerfile=build.dockerfile,
        target=build.target,
        args=build.args,
        network=build.network,
        platform=service.platform,
        memory_bytes=limits.memory_bytes or 0,
        cpus=limits.cpus or 0.0,
        pids=limits.pids or 0,
        timeout_s=timeout_s,
        max_context_bytes=runtime.settings.max_context_bytes,
        labels=image_labels(runtime.folder().ledger_id),
        buildkit=runtime.settings.builder == "buildkit",
    )


def get_image(
    runtime: Runtime, service: Service, trace: ScenarioTrace, timeout_s: float | None = None
) -> ImageFacts:
    """Return the image of *service* as :func:`find_image` does, within a span of its own.

    :param timeout_s: for a build; None for ``--clnrm-timeout``.
    :raises ImageError: if it cannot be had.
    """
    asked = "" if service.build else service.image or runtime.settings.default_image
    with trace.span("clnrm.image.pull", {"container.image.name": asked or None}) as span:
        image = find_image(runtime, service, runtime.settings.timeout_s if timeout_s is None else timeout_s)
        # A mapped or built image is not the one that the file names.
        span.set("container.image.name", image.reference)
    return image


def launch(
    runtime: Runtime,
    service: Service,
    image: ImageFacts,
    *,
    name: str,
    labels: Mapping[str, str],
    deadline_s: float,
    on_created: Callable[[RunningContainer], None],
    trace: ScenarioTrace,
    network: Network | None,
    volumes: Mapping[str, str] = _NO_VOLUMES,
    idle: RunningContainer | None = None,
    may_be_reused: bool = False,
    on_started: Callable[[], None] = lambda: None,
    cancelled: Callable[[], bool] = lambda: False,
    alone: bool = False,
    room: Admission | None = None,
) -> None:
    """Create and start the container of *service*, and wait until it is ready.

    :param deadline_s: ``time.monotonic()`` moment at which the time is over.
    :param on_created: called when the container exists (so that it can be removed), and again with its
        fingerprint. If its image turns out to have no shell it is removed, and another one is created.
    :param trace: gets our spans of it, and the address to which its programs send theirs.
    :param network: the scenario's own; None if it has none.
    :param volumes: of the scenario: name in its file -> the engine's.
    :param idle: an idle container that :func:`fits`, to be used instead of a new one.
    :param may_be_reused: take the fingerprint of a new one, by which it can be proven later to be unchanged.
    :param on_started: called once it runs, before the wait.
    :param cancelled: tells that waiting makes no sense any more.
    :param alone: it is of no scenario: nothing of one is in its environment.
    :param room: of its scenario, where the engine has its room for others too.
    :raises ClnrmError: if it cannot be created or started, or is not ready.
    """
    engine = runtime.engine()
    spec, env = planned(
        runtime,
        service,
        image,
        name=name,
        labels=labels,
        network=network,
        trace=trace,
        volumes=volumes,
        admission=room,
    )
    if alone:
        spec, env = replace(spec, env=service.env), {}
    spec = _outliving(runtime, service, image, spec, may_be_reused=may_be_reused)
    check_host(service, service, spec.extra_hosts, engine.facts.url)
    sources = open_sources(service)

    def create(spec: ContainerSpec) -> RunningContainer:
        about = span_attributes(name, service, image, reused=False)
        with trace.span("clnrm.container.create", about) as span:
            try:
                container = engine.create_container(spec)
            except BaseException:
                sources.close()
                raise
            span.set("container.id", container)
            span.set("container.runtime.name", engine.facts.kind)
        if engine.facts.published_on == ANYWHERE:
            runtime.open_ports.update(
                (engine.facts.host, service.name, port) for port in (*spec.ports, *spec.udp_ports)
            )
        if network is not None and spec.networks:
            runtime.networks().joined(network, container, service.name)
        running = RunningContainer(
            id=container,
            name=name,
            service=service,
            image=image,
            spec=spec,
            env=env,
            created_s=time.monotonic(),
            never_reused=why_not_reusable(service, image, spec) if may_be_reused else "pool off",
            sources=sources,
        )
        on_created(running)
        return running

    if idle is not None:
        sources.close()
        running = replace(idle, service=service, image=image, env=env, reused=True)
        on_created(running)
    else:
        running = create(spec)
    runtime.board.count(1, spec.memory_bytes)
    with runtime.board.starting(service.name):
        if idle is None:
            if engine.facts.elsewhere or engine.facts.remote:
                sources.check_shared(engine, running.id)
            try:
                _check_can_wait(engine, running)
                deadline_s = _start(engine, running, trace, deadline_s)
            except NoShellError:
                runtime.without_shell.add(image.id)
                runtime.remove([running.id])
                running = create(_without_shell(spec, image))
                deadline_s = _start(engine, running, trace, deadline_s)
            sources.check(engine, running.id)
            on_started()
            if not running.never_reused:
                on_created(_with_fingerprint(engine, running, inside=runtime.settings.pool == "inside"))
        await_ready(
            runtime, running, network=network, trace=trace, deadline_s=deadline_s, cancelled=cancelled
        )
        if service.is_prepared and service.prepare and service.prepare.command and not image.prepared:
            run_prepare(
                runtime,
                running,
                service.prepare.command,
                users={},
                trace=trace,
                deadline_s=deadline_s,
                alone=alone,
            )


def _outliving(
    runtime: Runtime, service: Service, image: ImageFacts, spec: ContainerSpec, *, may_be_reused: bool
) -> ContainerSpec:
    """Return how a container is made that may outlive the run, if that is asked for."""
    if not (may_be_reused and runtime.keeps_warm) or why_not_reusable(service, image, spec):
        return spec
    return replace(spec, labels={**spec.labels, **runtime.labels_of_run()}, outlives=True)


def await_ready(
    runtime: Runtime,
    running: RunningContainer,
    *,
    network: Network | None,
    trace: ScenarioTrace,
    deadline_s: float,
    cancelled: Callable[[], bool] = lambda: False,
) -> None:
    """Return once the service in a container that was started is ready; at once where it does not say when.

    :raises ClnrmError: if it is not.
    """
    service = running.service
    if service.ready:
        with (
            trace.span("clnrm.container.ready", running.attributes),
            _ended_with_its_arguments(runtime, running),
        ):
            wait_ready(
                runtime.engine(),
                running.id,
                service,
                network=network if service.network != "none" else None,
                env=trace.probe_environment(running.spec.env, running.env),
                deadline_s=deadline_s,
                cancelled=cancelled,
                healthcheck_s=running.image.healthcheck_s,
                spans=_spans(runtime, network, trace),
            )


@contextmanager
def _ended_with_its_arguments(runtime: Runtime, running: RunningContainer) -> Iterator[None]:
    """Say of a service that has ended before it was ready what its entry point made of the file's command."""
    try:
        yield
    except NotReadyError as error:
        why = given_to_entry_point(running)
        with suppress(EngineError):  # it is not ready in any case
            if why and not runtime.engine().state(running.id).running:
                error.message += why
        raise


def fits(
    runtime: Runtime,
    idle: RunningContainer,
    service: Service,
    image: ImageFacts,
    *,
    network: Network | None,
    trace: ScenarioTrace,
) -> bool:
    """Tell whether an idle container is made as a new one of *service* would be, apart from its name.

    What it has mounted has to be what its volumes' paths lead to now.
    """
    spec, _ = planned(
        runtime, service, image, name=idle.name, labels=idle.spec.labels, network=network, trace=trace
    )
    with closing(open_sources(service)) as sources:
        return idle.serves(spec) and sources.are_mounted(runtime.engine(), idle.id)


def planned(
    runtime: Runtime,
    service: Service,
    image: ImageFacts,
    *,
    name: str,
    labels: Mapping[str, str],
    network: Network | None,
    trace: ScenarioTrace,
    volumes: Mapping[str, str] = _NO_VOLUMES,
    admission: Admission | None = None,
) -> tuple[ContainerSpec, dict[str, str]]:
    """Return how a container of *service* is made, and the variables that commands in it get besides."""
    settings = runtime.settings
    gateway = network.gateway if network is not None and service.network != "none" else ""
    command, replace_entrypoint = effective_command(service, image)
    if command == KEEP_SHELL and (service.is_shared or runtime.engine().facts.kind != "docker"):
        # Only the process that has started it could run commands in that shell. Podman gives a main process
        # other variables and capabilities than execs.
        command = KEEP_ALIVE
    receiver_port = network.receiver_port if network is not None else 0
    env = trace.environment(service.name, gateway, service.env, port=receiver_port)
    if command in WAITING:
        # It may outlive the scenario to which these variables belong: each command gets them instead.
        own, given = service.env, {key: value for key, value in env.items() if key not in service.env}
    else:
        # The spans of a step are not those of the service in whose container it runs.
        own, given = env, {SERVICE_NAME: f"{env[SERVICE_NAME]}{OF_STEP}"}
    limits = effective_limits(settings, service)
    memory_bytes, cpus, gpus = limits.memory_bytes or 0, limits.cpus or 0.0, limits.gpus or 0
    spec = ContainerSpec(
        name=name,
        image=image.id,
        command=command,
        replace_entrypoint=replace_entrypoint,
        env=own,
        workdir=service.workdir,
        user=service.user,
        memory_bytes=memory_bytes,
        cpus=cpus,
        pids=limits.pids or 0,
        gpus=gpus,
        mounts=tuple(
            Mount(source=each.source, target=each.target, read_only=each.read_only)
            for each in service.volumes
        ),
        tmpfs=service.scratch,
        volumes=tuple(
            # One that is not known is of an idle container, which has none: it does not fit.
            Mount(source=volumes.get(each.name, ""), target=each.target, read_only=each.read_only)
            for each in service.shared_volumes
        ),
        # What its first start has made of them is in a prepared image.
        files=() if image.prepared else copied_files(service),
        networks=_networks(service, network),
        aliases=(service.name, *service.aliases),
        shm_bytes=service.shm_bytes or 0,
        ulimits=service.ulimits,
        cap_add=service.cap_add,
        cap_drop=service.cap_drop,
        new_privileges=service.new_privileges,
        read_only=service.read_only,
        # The engine's choice is another one each time, and some programs write it down.
        hostname=service.name if service.is_prepared and service.hostname is None else service.hostname,
        extra_hosts={**host_entry(service, network), **service.extra_hosts},
        stop_signal=service.stop_signal,
        more_labels=service.labels,
        ports=service.ports,
        udp_ports=service.udp_ports,
        log_bytes=settings.max_log_bytes,
        # Spans are received there, which a proxy cannot reach.
        no_proxy=(gateway, HOST_NAME) if gateway else (),
        labels={**labels, **limit_labels(memory_bytes=memory_bytes, cpus=cpus, gpus=gpus)},
        admission=admission,
    )
    if command in WAITING and image.id in runtime.without_shell:
        spec = _without_shell(spec, image)
    return spec, given


def _without_shell(spec: ContainerSpec, image: ImageFacts) -> ContainerSpec:
    """Return how a container that waits for steps is made of an image that has no shell.

    :param spec: how it is made of any other.
    """
    content = program(image.architecture)
    if content is None:
        return replace(spec, command=KEEP_ALIVE)
    tool = CopiedFile(target=KEEP_TOOL[0], content=content, mode=0o755)
    # Nothing is copied into a read-only file system, but into a volume it is.
    own_volumes = (TOOL_FOLDER,) if spec.read_only else ()
    return replace(spec, command=KEEP_TOOL, files=(*spec.files, tool), own_volumes=own_volumes)


def _networks(service: Service, network: Network | None) -> tuple[str, ...]:
    if network is None or service.network == "none":
        return ()
    # An internal network has no way out and publishes no ports: for either the container joins a bridge too.
    has_way_out = service.network == "bridge" or service.ports or service.udp_ports
    return (network.id, BRIDGE) if has_way_out else (network.id,)


def _spans(
    runtime: Runtime, network: Network | None, trace: ScenarioTrace
) -> NoSpans | Callable[[str], tuple[bool, list[str]]]:
    """Return a function that tells whether a span of a name has arrived, and the names of all that have."""
    if trace.inbox is None:
        return NoSpans("spans are off (--clnrm-spans on)")

    def arrived(name: str) -> tuple[bool, list[str]]:
        names = list(dict.fromkeys(span.name for span in trace.workload()))
        return any(matches_glob(each, name) for each in names), names

    if network is None:
        return NoSpans("there is no network to export them over")
    if network.gateway:
        return arrived
    return NoSpans(out_of_reach(runtime.engine().facts.url, runtime.networks().why_out_of_reach))


def _check_can_wait(engine: Engine, running: RunningContainer) -> None:
    """Look for what a container waits with that is not our shell, which tells by itself if it cannot.

    :raises NoShellError: if its image does not have it.
    """
    if running.spec.command != KEEP_ALIVE or engine.facts.own_waiting:
        return
    if all(engine.look_at_path(running.id, each) is None for each in SLEEP_PATHS):
        raise NoShellError(f"the container {running.id[:12]} has no shell to wait for commands in")


def _start(engine: Engine, running: RunningContainer, trace: ScenarioTrace, deadline_s: float) -> float:
    """Start a container, and return when the time is over: it does not pass while room is waited for."""
    admission = running.spec.admission
    before_s = admission.waited_s if admission else 0.0
    with trace.span("clnrm.container.start", running.attributes):
        try:
            engine.start(running.id, deadline_s=deadline_s + before_s)
        except NoShellError:
            raise
        except ContainerError as error:
            kind = type(error) if error.is_infrastructure else ContainerError
            raise kind(f"service {running.service.name!r}: {error}") from error
    return deadline_s + (admission.waited_s if admission else 0.0)


def _with_fingerprint(engine: Engine, running: RunningContainer, *, inside: bool) -> RunningContainer:
    """Return a new container with its fingerprint, or with the reason why it has none."""
    try:
        return replace(
            running, fingerprint=engine.observe(running.id, scratch=running.spec.tmpfs, inside=inside)
        )
    except UnobservableError as error:
        return replace(running, never_reused=f"{UNOBSERVABLE}: {error}")
    except ContainerError as error:
        return replace(running, never_reused=str(error))
