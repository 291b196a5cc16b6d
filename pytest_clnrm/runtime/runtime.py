"""What all scenarios of one process share: settings, the engine, the ledger, spans, names and labels.

Nothing is connected or opened before the first scenario asks for it.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pytest_clnrm.errors import ClnrmError, EngineError, EngineUnavailableError, LedgerError
from pytest_clnrm.pool.idle_leases import Leftover
from pytest_clnrm.runtime.holdings import Holdings
from pytest_clnrm.settings.loading import check_against_engine

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_clnrm.cleanup.cleaner import Cleaner
    from pytest_clnrm.engine.api import Engine
    from pytest_clnrm.engine.relay_api import Relay
    from pytest_clnrm.ledger.budget import Budget
    from pytest_clnrm.ledger.folder import Folder
    from pytest_clnrm.ledger.ledger import Ledger
    from pytest_clnrm.pool.shelf import Shelf
    from pytest_clnrm.runtime.network import Networks
    from pytest_clnrm.settings.settings import Settings
    from pytest_clnrm.status.board import Board
    from pytest_clnrm.telemetry.tracing import Tracing

SPANS_FOLDER = "spans"
_TRIED = "limits-tried"
_TRY_S = 30.0
_UNTRIED = "which limits the engine does not enforce could not be tried"
MEMORY_SHARE = 0.8
"""The share of the engine's memory that containers may hold together, unless --clnrm-memory-budget is set."""


def in_ci(environ: Mapping[str, str]) -> bool:
    """Tell whether this is a job of a CI service, which say so by ``CI=true``."""
    return environ.get("CI", "").lower() not in {"", "0", "false", "no"}


@dataclass(kw_only=True, eq=False, repr=False)
class Runtime:
    """The shared parts of one process.

    :param session_id: of the run, the same in all its workers.
    :param worker: "gw0" and so on, "master" without xdist.
    :param connect: returns the engine, or raises EngineUnavailableError.
    :param holdings: what this process holds in the ledger.
    :param before_ledger: called once, before the ledger is opened.
    :param without_shell: ids of images that have no shell in which their containers could wait.
    :param engine_is_own: the engine is the one of ``--clnrm-engine``, not one that another plugin brings.
    :param engine_warnings: limits that the engine cannot enforce, each one sentence; known when connected.
    :param run_folder: returns the run's own folder for temporary files.
    :param traceparent: of the session's span.
    :param loaded: globs of the names of files that pytest loads from the project.
    :param interrupted: the data of results of scenarios that Ctrl-C or pytest.exit() has ended, each with
        what is shown of it: there is no report of them.
    :param at_end: called once this process runs no more items.
    :param open_ports: host, service and container port of what was published on all addresses of the
        engine's machine.
    """

    settings: Settings
    rootdir: Path
    session_id: str
    worker: str
    connect: Callable[[], Engine]
    holdings: Holdings = field(init=False)
    before_ledger: Callable[[], None] | None = None
    without_shell: set[str] = field(default_factory=set)
    engine_is_own: bool = False
    engine_warnings: tuple[str, ...] = ()
    run_folder: Callable[[], Path] | None = None
    traceparent: str = ""
    loaded: tuple[str, ...] = ()
    interrupted: list[tuple[dict[str, Any], str]] = field(default_factory=list)
    open_ports: set[tuple[str, str, int]] = field(default_factory=set)
    _board: Board | None = None
    _engine: Engine | None = None
    _folder: Folder | None = None
    _ledger: Ledger | None = None
    _cleaner: Cleaner | None = None
    _refused: EngineUnavailableError | None = None
    _tracing: Tracing | None = None
    _shelf: Shelf | None = None
    _networks: Networks | None = None
    at_end: list[Callable[[], None]] = field(default_factory=list)
    _scenarios: int = 0
    _relays: int = 0
    _trying: threading.Thread | None = None
    _lock: threading.RLock = field(default_factory=threading.RLock)

    def __post_init__(self) -> None:
        self.holdings = Holdings(self.ledger)

    @property
    def board(self) -> Board:
        """Return what this process is at, for those who watch."""
        if self._board is None:
            from pytest_clnrm.status.board import Board

            self._board = Board(self.worker)
        return self._board

    def engine(self) -> Engine:
        """Return the engine, connected at the first call.

        :raises EngineUnavailableError: if none can be used; that is found out once.
        """
        with self._lock:
            if self._refused is not None:
                raise self._refused
            if self._engine is None:
                try:
                    self._engine = self.connect()
                except EngineUnavailableError as error:
                    self._refused = error
                    raise
                self.warn(self._engine.facts.warnings)
            return self._engine

    def connect_own(self) -> Engine:
        """Return the engine that ``--clnrm-engine`` names, connected.

        :raises EngineUnavailableError: if there is none.
        :raises LedgerError: if the folder for its locks cannot be used.
        """
        from pytest_clnrm.cleanup.cleaner import connect_with_locks

        engine = connect_with_locks(self.folder(), self.settings.engine)
        self.engine_is_own = True
        return engine

    @property
    def loses_containers(self) -> bool:
        """Tell whether the engine takes containers away now and then, for no fault of a scenario."""
        return self._engine is not None and self._engine.facts.loses_containers

    def engine_choice(self) -> str:
        """Return the ``--clnrm-engine`` by which another process connects to the same engine.

        :raises EngineUnavailableError: if none can be used.
        """
        from pytest_clnrm.engine.connect.endpoints import named_endpoint
        from pytest_clnrm.engine.kubernetes.choice import is_cluster

        if is_cluster(self.settings.engine):
            # The kubeconfig's current context may be another one by then.
            return self.engine().facts.url
        named = named_endpoint(self.settings.engine, os.environ)
        return self.settings.engine if named else self.engine().facts.url

    def engine_text(self) -> str:
        """Return the engine in words, "" if it was not needed so far."""
        if self._engine is None:
            return ""
        facts = self._engine.facts
        return f"{facts.kind} {facts.version} at {facts.url}"

    def folder(self) -> Folder:
        """Return the folder that processes of this user share on this host.

        :raises LedgerError: if it cannot be used.
        """
        from pytest_clnrm.ledger.folder import open_folder

        if self._folder is None:
            self._folder = open_folder(self.settings.ledger_dir, os.environ)
        return self._folder

    @property
    def has_ledger(self) -> bool:
        """Tell whether this process has opened the ledger."""
        return self._ledger is not None

    def ledger(self) -> Ledger:
        """Return the engine's ledger, of which this process is an owner from the first call on.

        :raises EngineError: if no engine can be used, or it does not tell what runs on it.
        :raises LedgerError: if the ledger cannot be used.
        """
        from pytest_clnrm.ledger.ledger import Ledger

        cleaner = self.cleaner()
        facts = self.engine().facts
        with self._lock:
            first, self.before_ledger = self.before_ledger, None
        if first is not None:
            first()
        with self._lock:
            if self._ledger is None:
                ledger = Ledger(
                    self.folder(),
                    facts.identity,
                    self.budget(),
                    remove=cleaner.remove,
                    engine_load=cleaner.load,
                    url=facts.url,
                    cap=facts.cap,
                )
                try:
                    ledger.open_run(self.session_id)
                except ClnrmError:
                    with suppress(ClnrmError):
                        ledger.close()
                    raise
                self._ledger = ledger
            return self._ledger

    def cleaner(self) -> Cleaner:
        """Return the remover of what runs left on the engine.

        :raises EngineUnavailableError: if no engine can be used.
        :raises LedgerError: if the ledger's folder cannot be used.
        """
        from pytest_clnrm.cleanup.cleaner import Cleaner

        engine = self.engine()
        with self._lock:
            if self._cleaner is None:
                self._cleaner = Cleaner(self.folder(), engine)
            return self._cleaner

    def shelf(self) -> Shelf:
        """Return the shelf of this process's containers that outlive their scenarios.

        :raises EngineUnavailableError: if no engine can be used.
        """
        from pytest_clnrm.pool.shelf import Shelf

        if self._shelf is None:
            self._shelf = Shelf(self.remove, self._release, size=self.settings.pool_size)
        return self._shelf

    def _release(self, lease: str) -> None:
        """Give back a lease of this run, whichever of its processes has reserved it."""
        ledger = self.ledger()
        ledger.adopt(lease)
        ledger.release(lease)

    def keep(self, objects: Iterable[str], lease: str = "") -> None:
        """Leave objects on the engine beyond the run's end; their lease goes on counting them.

        :param lease: "" for that of the item that runs.
        :raises LedgerError: if that cannot be written down.
        """
        from pytest_clnrm.ledger.folder import unusable

        try:
            self.cleaner().keep(objects)
        except OSError as error:
            raise unusable(self.folder().path, error) from error
        self.holdings.keep(lease or self.holdings.lease())

    def budget(self) -> Budget:
        """Return what this run may hold.

        :raises EngineUnavailableError: if no engine can be used.
        """
        from pytest_clnrm.ledger.budget import Budget

        settings, facts = self.settings, self.engine().facts
        return Budget(
            containers=settings.max_containers,
            memory_bytes=settings.memory_budget_bytes or int(facts.memory_bytes * MEMORY_SHARE),
            cpus=settings.cpu_budget,
            gpus=facts.gpus if settings.gpus is None else settings.gpus,
        )

    def check_limits(self) -> None:
        """Refuse limits that are more than the engine has.

        Where there is no engine, or no folder for its locks, each scenario fails with that.

        :raises pytest.UsageError: for all such limits at once.
        """
        try:
            facts = self.engine().facts
        except (EngineUnavailableError, LedgerError):
            return
        check_against_engine(self.settings, facts.cpus, facts.memory_bytes)

    def tracing(self) -> Tracing:
        """Return the recorder and receiver of this process's spans, which begin at the first call."""
        from pytest_clnrm.telemetry.tracing import Tracing

        if self._tracing is None:
            self._tracing = Tracing(self.spans_folder(), self.worker, self.traceparent)
        return self._tracing

    @property
    def traces(self) -> bool:
        """Tell whether this process has recorded spans."""
        return self._tracing is not None

    def spans_folder(self) -> Path | None:
        """Return where the run's spans are stored until they are merged, None if spans are off."""
        if not self.settings.collect_spans or self.run_folder is None:
            return None
        return self.run_folder() / SPANS_FOLDER

    def networks(self) -> Networks:
        """Return the networks of this process.

        :raises EngineUnavailableError: if no engine can be used.
        """
        from pytest_clnrm.cleanup.labels import name_stem
        from pytest_clnrm.runtime.network import Networks

        engine = self.engine()
        with self._lock:
            if self._networks is None:
                self._networks = Networks(
                    engine,
                    stem=name_stem(self.session_id, self.worker),
                    labels=self._network_labels,
                    allow=lambda gateway: self.tracing().allow(gateway),
                    forbid=lambda gateway: self.tracing().forbid(gateway),
                    open_relay=self._open_relay,
                )
            return self._networks

    def _network_labels(self) -> dict[str, str]:
        return {**self.labels(""), **self.labels_of_run()}

    def labels_of_run(self) -> dict[str, str]:
        """Return the labels of what may outlive the run: it is the run's, and no process's of it."""
        from pytest_clnrm.cleanup.labels import OWNER
        from pytest_clnrm.ledger.shared import run_owner

        return {OWNER: run_owner(self.session_id)} if self.keeps_warm else {}

    def _open_relay(self, network: str) -> Relay:
        """Start the relay of this process, or another one where it has ended."""
        from pytest_clnrm.cleanup.labels import relay_stem

        self._relays += 1
        relay = self.engine().open_relay(
            f"{relay_stem(self.session_id, self.worker)}{self._relays}",
            network,
            labels=self.labels(""),
            accept=lambda: self.tracing().connect_receiver(),
            on_end=lambda why: self.tracing().lose_connections(f"the relay has ended: {why}"),
        )
        self._try_limits()
        return relay

    def _try_limits(self) -> None:
        """Find out beside the scenarios, once a run, which limits the engine does not enforce."""
        if self.run_folder is None:
            return
        try:
            (self.run_folder() / _TRIED).touch(exist_ok=False)
        except FileExistsError:
            return
        engine = self.engine()

        def find() -> None:
            try:
                found = engine.find_unenforced()
            except ClnrmError as error:
                found = (f"{_UNTRIED}: {error}",)
            self.warn(found)

        self._trying = threading.Thread(target=find, name="clnrm-limits", daemon=True)
        self._trying.start()

    def end_trying(self) -> None:
        """Wait for what is still being found out about the engine: it is told at the end of the run."""
        if self._trying is not None:
            self._trying.join(_TRY_S)
            if self._trying.is_alive():
                self.warn([f"{_UNTRIED}: it took longer than {_TRY_S:g} s"])

    def warn(self, limits: Iterable[str]) -> None:
        """Note limits that the engine cannot enforce, each one sentence, for the end of the run."""
        with self._lock:
            self.engine_warnings = tuple(dict.fromkeys((*self.engine_warnings, *limits)))

    def remove_all(self, containers: Sequence[str], lease: str = "") -> None:
        """Remove what there is under a lease, or else let the lease count until somebody else has.

        :param lease: "" for that of the item that runs.
        :raises EngineError: if one stays.
        """
        try:
            self.remove(containers)
        except EngineError:
            self.holdings.leave(
                Leftover(
                    lease=lease or self.holdings.lease(),
                    worker=self.worker,
                    specification="",
                    containers=tuple(containers),
                )
            )
            raise

    def remove(self, containers: Sequence[str]) -> None:
        """Remove containers, also from the notes of what is on which network.

        :raises EngineError: if one stays.
        """
        self.engine().remove(containers)
        if self._networks is not None:
            self._networks.left(containers)

    def next_name(self) -> str:
        """Return the beginning of the names of the next scenario's containers."""
        from pytest_clnrm.cleanup.labels import name_stem

        self._scenarios += 1
        return f"{name_stem(self.session_id, self.worker)}{self._scenarios}"

    def labels(self, scenario: str, lease: str = "") -> dict[str, str]:
        """Return the labels of what is created for *scenario* (a node id).

        :param lease: what it is created under; "" for the lease of the item that runs.
        """
        from pytest_clnrm.cleanup.labels import object_labels, owner_of

        return object_labels(
            ledger=self.folder().ledger_id,
            session=self.session_id,
            owner=owner_of(lease or self.holdings.lease()) or self.ledger().owner_id,
            worker=self.worker,
            scenario=scenario,
        )

    def shared_labels(self, owner: str) -> dict[str, str]:
        """Return the labels of what belongs to a whole run, whichever of its processes creates it.

        :param owner: of the lease that it is created under: this run, or an earlier one.
        """
        from pytest_clnrm.cleanup.labels import object_labels
        from pytest_clnrm.ledger.shared import SHARED, run_of

        return object_labels(
            ledger=self.folder().ledger_id, session=run_of(owner), owner=owner, worker=SHARED
        )

    def keep_run(self) -> None:
        """Let what belongs to the whole run stay as long as this process lives.

        :raises EngineError: if no engine can be used.
        """
        engine = self.engine()
        if not engine.facts.ends_with_run:
            return
        from pytest_clnrm.cleanup.labels import name_stem
        from pytest_clnrm.ledger.shared import SHARED, run_owner

        name = name_stem(self.session_id, SHARED).rstrip("-")
        engine.keep_run(name, self.shared_labels(run_owner(self.session_id)))

    @property
    def asks_warm(self) -> bool:
        """Tell whether shared services are to outlive the run: never where CI has each run begin anew."""
        return self.settings.warm_s > 0 and not in_ci(os.environ)

    @property
    def keeps_warm(self) -> bool:
        """Tell whether shared services may outlive the run; known once the engine is connected."""
        can = self._engine is not None and not self._engine.facts.ends_with_run
        return can and self.asks_warm and self.engine_is_own

    @property
    def project(self) -> str:
        """Return for whose next run shared services are kept."""
        return str(self.rootdir)

    def close_shelf(self) -> None:
        """Remove the containers that have outlived their scenarios, and do what was left for the end."""
        shelf, self._shelf = self._shelf, None
        if shelf is not None:
            shelf.close()
        at_end, self.at_end = self.at_end, []
        for end in at_end:
            end()

    def close(self) -> None:
        """Remove the networks, stop owning leases, and give up the engine."""
        self.close_shelf()
        self.holdings.idle.close()
        # It needs what is closed below.
        self.end_trying()
        networks, self._networks = self._networks, None
        if networks is not None:
            networks.close()
        if self._tracing is not None:
            self._tracing.close()
        engine, self._engine = self._engine, None
        if engine is None:
            return
        # What cannot be given back now is swept by the controller, its watchdog, or the next run.
        if self._ledger is not None:
            with suppress(ClnrmError):
                self._ledger.close()
        self._ledger = self._cleaner = None
        engine.close()
