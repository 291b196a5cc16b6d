"""Prepared services: the first start of a service is done once, and later ones begin where it ended.

What is kept is what the service's own keys make of its image, and nothing else: it is started alone, with the
variables of its file only, on a network that holds nothing else. Once it is ready its
command is run, it is asked to end, and kept as an image if it ended as asked. Then it is started from that
image, which stays only if that is ready, and faster. The record is written last, so whoever dies on the way
leaves nothing that is used. See docs/prepared.md.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pytest_clnrm.cleanup.labels import prepared_labels
from pytest_clnrm.engine.api import ImageFacts
from pytest_clnrm.engine.snapshot_spec import SnapshotSpec
from pytest_clnrm.errors import ClnrmError, ContainerError, EngineUnavailableError, ImageError
from pytest_clnrm.ledger.locks import host_lock
from pytest_clnrm.pool.prepared_store import LOCK, Prepared, PreparedStore
from pytest_clnrm.runner.launch import launch
from pytest_clnrm.runner.made_of import SecretInItError, UntellableError, made_of

if TYPE_CHECKING:
    from pytest_clnrm.model.service import Service
    from pytest_clnrm.pool.running import RunningContainer
    from pytest_clnrm.runtime.network import Network
    from pytest_clnrm.runtime.runtime import Runtime
    from pytest_clnrm.telemetry.tracing import ScenarioTrace

_STOP_S = 60.0
_USUAL_SIGNAL = "SIGTERM"
_FASTER = 0.9
_CLOSE_FROM, _CLOSE_TO, _CLOSE_STARTS = 0.7, 1.3, 3
_HELD = (
    "there is a secret in {}, which would stay in the image; prepare = {{ secrets = true }} says that it may"
)


class _NotKeptError(Exception):
    """A service cannot be prepared; its message says why."""


def image_to_start(
    service: Service,
    image: ImageFacts,
    *,
    runtime: Runtime,
    trace: ScenarioTrace,
    labels: Callable[[], Mapping[str, str]],
    hide: Callable[[str], str],
    note: Callable[[str], None],
    timeout_s: float | None = None,
) -> ImageFacts:
    """Return the image of which a service is to be started: one that holds its first start, if it can be.

    :param labels: returns those of the containers, which are created under the lease of who asks.
    :param hide: returns a text without secrets.
    :param note: called with the reason why the service starts from its own image.
    :param timeout_s: for one start and the command; None for the usual time of a scenario.
    :raises EngineUnavailableError: if the engine is gone.
    """
    settings = runtime.settings
    if not service.is_prepared or not settings.prepared_age_s:
        return image
    preparing = _Preparing(runtime=runtime, trace=trace, labels=labels(), hide=hide)
    try:
        found = preparing.found(service, image, settings.timeout_s if timeout_s is None else timeout_s)
    except EngineUnavailableError:
        raise
    except (_NotKeptError, OSError, ClnrmError) as error:
        found = Prepared(key="", about="", why_not=str(error))
    if found.image:
        return replace(image, id=found.image, prepared=True)
    note(f"service {service.name!r} is not prepared, and starts from its image: {found.why_not}")
    return image


@dataclass(frozen=True, kw_only=True)
class _Preparing:
    """Prepares services on behalf of a scenario or test; the fields are those of :func:`image_to_start`."""

    runtime: Runtime
    trace: ScenarioTrace
    labels: Mapping[str, str]
    hide: Callable[[str], str]

    def found(self, service: Service, image: ImageFacts, timeout_s: float) -> Prepared:
        """Return what is known of a service, prepared first if nothing is.

        :raises _NotKeptError: if it cannot be prepared.
        """
        runtime, engine = self.runtime, self.runtime.engine()
        key = self._key(service, image)
        store = PreparedStore(runtime.folder(), engine.facts.identity)
        if found := self._known(store, key):
            return found
        with runtime.board.during("image", f"preparing {service.name}"), host_lock(runtime.folder(), LOCK):
            if found := self._known(store, key):
                return found
            store.sweep_unknown(engine)
            about = self.hide(f"{image.reference} ({service.name})")
            try:
                found = replace(self._prepared(service, image, key, timeout_s), about=about)
                if found.image and self._key(service, image) != key:
                    engine.remove_image(found.image)
                    found = replace(found, image="", why_not="its files were changed while it was prepared")
            except EngineUnavailableError:
                raise
            except ClnrmError as error:
                found = Prepared(key=key, about=about, why_not=self.hide(str(error)))
            found = replace(found, made_s=time.time())
            store.keep(found)
            settings = runtime.settings
            store.evict(
                engine, max_bytes=settings.prepared_bytes, max_age_s=settings.prepared_age_s, spared=key
            )
            return found

    def _known(self, store: PreparedStore, key: str) -> Prepared | None:
        found = store.look(key, max_age_s=self.runtime.settings.prepared_age_s)
        if found is not None and found.image:
            try:
                self.runtime.engine().ensure_image(found.image, "never")
            except ImageError:
                # Somebody has removed it.
                return None
        return found

    def _key(self, service: Service, image: ImageFacts) -> str:
        """Return a hash of all that makes what is kept.

        :raises _NotKeptError: if a secret is a part of it, or there is too much of it.
        """
        may_hold = service.prepare is None or service.prepare.secrets
        try:
            return made_of(
                self.runtime,
                service,
                image,
                trace=self.trace,
                hide=self.hide,
                may_hold_secrets=may_hold,
            )
        except SecretInItError as error:
            raise _NotKeptError(_HELD.format(error)) from None
        except UntellableError as error:
            raise _NotKeptError(str(error)) from None

    # making it

    def _prepared(self, service: Service, image: ImageFacts, key: str, timeout_s: float) -> Prepared:
        """Do the first start, keep what it left as an image, and try that.

        :raises ClnrmError: if it cannot be kept.
        """
        runtime, engine = self.runtime, self.runtime.engine()
        with self.trace.span("clnrm.service.prepare", {"clnrm.service": service.name}):
            with self._started(service, image, timeout_s) as (running, volumes, plain_s):
                self._stop(running)
                name = f"clnrm-prepared/{runtime.folder().ledger_id}:{key}"
                kept = engine.take_image(
                    SnapshotSpec(
                        container=running.id,
                        name=name,
                        labels=prepared_labels(runtime.folder().ledger_id),
                        volumes=volumes,
                        max_bytes=runtime.settings.prepared_bytes,
                        deadline_s=time.monotonic() + timeout_s,
                    )
                )
            try:
                size = self._size(kept, image)
                ready = replace(image, id=kept, prepared=True)
                prepared_s = self._from_kept_s(service, ready, plain_s, timeout_s)
                _check_faster(plain_s, prepared_s)
            except BaseException:
                with suppress(ClnrmError):
                    engine.remove_image(kept)
                raise
        return Prepared(
            key=key, about="", image=kept, size_bytes=size, plain_s=plain_s, prepared_s=prepared_s
        )

    def _from_kept_s(self, service: Service, kept: ImageFacts, plain_s: float, timeout_s: float) -> float:
        """Return the seconds that a start from what was kept takes: the median of three where it is close."""
        took_s: list[float] = []
        while not took_s or (len(took_s) < _CLOSE_STARTS and is_close(plain_s, took_s[0])):
            with self._started(service, kept, timeout_s) as (_, _, each_s):
                took_s.append(each_s)
        # Imported here, as it brings several modules with it, and few services are measured.
        from statistics import median

        return median(took_s)

    def _size(self, kept: str, image: ImageFacts) -> int:
        """Return how many bytes an image takes beyond the one before.

        :raises ContainerError: if that is more than all may take.
        """
        engine, limit = self.runtime.engine(), self.runtime.settings.prepared_bytes
        size = engine.look_at_image(kept).size_bytes - engine.look_at_image(image.id).size_bytes
        if size > limit:
            raise ContainerError(
                f"it takes {size >> 20} MB, more than the {limit >> 20} MB of clnrm_prepared_size"
            )
        return max(0, size)

    @contextmanager
    def _started(
        self, service: Service, image: ImageFacts, timeout_s: float
    ) -> Iterator[tuple[RunningContainer, dict[str, frozenset[str]], float]]:
        """Start a service alone, and remove it at the end.

        :return: its container, what its volumes held before its start, and the seconds till it was ready.
        """
        runtime = self.runtime
        network: Network | None = None
        made: dict[str, RunningContainer] = {}
        volumes: dict[str, frozenset[str]] = {}
        looked_s = 0.0

        def created(running: RunningContainer) -> None:
            nonlocal looked_s
            made[running.id] = running
            began_s = time.monotonic()
            if not image.prepared and not volumes:
                volumes.update(self._volumes_of(running, began_s + timeout_s))
            looked_s += time.monotonic() - began_s

        try:
            if service.network != "none":
                network = runtime.networks().lend()
            began_s = time.monotonic()
            launch(
                runtime,
                replace(service, ports=(), udp_ports=()) if network and network.gateway else service,
                image,
                name=f"{runtime.next_name()}-{service.name}",
                labels=self.labels,
                deadline_s=began_s + timeout_s,
                on_created=created,
                trace=self.trace,
                network=network,
                alone=True,
            )
            yield list(made.values())[-1], volumes, time.monotonic() - began_s - looked_s
        finally:
            for each in made.values():
                each.sources.close()
            if made:
                runtime.board.count(-1, -next(iter(made.values())).spec.memory_bytes)
                runtime.remove(list(made))
            if network is not None:
                runtime.networks().give_back(network)

    def _volumes_of(self, running: RunningContainer, deadline_s: float) -> dict[str, frozenset[str]]:
        """Return what the volumes of a container hold that has not been started."""
        covered = {each.target.rstrip("/") for each in running.spec.mounts} | set(running.spec.tmpfs)
        paths = {*running.image.volumes, *running.spec.own_volumes} - covered
        engine = self.runtime.engine()
        return {
            path: frozenset(
                below for below, _, _ in engine.read_files(running.id, path, deadline_s=deadline_s)
            )
            for path in paths
        }

    def _stop(self, running: RunningContainer) -> None:
        """Ask a service to end.

        :raises ContainerError: if it did not end as one does that was asked to.
        """
        engine, service = self.runtime.engine(), running.service
        engine.stop(running.id, grace_s=max(service.stop_grace_s or 0.0, _STOP_S))
        state = engine.state(running.id)
        if running.keeps_alive:
            # Nothing ran in it that could have been asked.
            return
        named = getattr(signal, service.stop_signal or _USUAL_SIGNAL, signal.SIGTERM)
        asked = {0, *service.may_end, 128 + named, 128 + signal.SIGTERM, 128 + signal.SIGINT}
        if state.oom_killed or state.exit_code not in asked:
            raise ContainerError(
                f"it did not end cleanly when it was asked to, but with {state.describe_end()}: what it left "
                "may be half written"
            )


def is_close(plain_s: float, prepared_s: float) -> bool:
    """Tell whether one start each does not say which is faster: what else runs here makes some slower."""
    return _CLOSE_FROM <= prepared_s / max(plain_s, 1e-9) <= _CLOSE_TO


def _check_faster(plain_s: float, prepared_s: float) -> None:
    """Compare starts, one right after the other.

    :raises ContainerError: unless the one from what was kept took less time.
    """
    if prepared_s > plain_s * _FASTER:
        took = f"{prepared_s:.2f} s, not {plain_s:.2f} s"
        raise ContainerError(f"a start from what was kept was not faster ({took})")
