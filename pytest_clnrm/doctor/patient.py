"""What is examined: the settings, and the parts of a run that are opened as a run opens them."""

from __future__ import annotations

import os
import secrets
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_clnrm.cleanup.labels import relay_stem
from pytest_clnrm.engine.connect.about import Asked, asked
from pytest_clnrm.engine.kubernetes.choice import is_cluster
from pytest_clnrm.errors import EngineError
from pytest_clnrm.runtime.runtime import Runtime
from pytest_clnrm.settings.settings import Settings

if TYPE_CHECKING:
    from pytest_clnrm.engine.api import Engine, EngineFacts
    from pytest_clnrm.engine.relay_api import Relay
    from pytest_clnrm.runtime.network import Network

_WORKER = "master"


class NoProbeError(EngineError):
    """There is no container from which something could be tried."""


class Patient:
    """A project on this machine. To be closed.

    :param rootdir: the project's folder.
    """

    def __init__(self, settings: Settings, rootdir: Path, environ: Mapping[str, str] = os.environ) -> None:
        self.settings = settings
        self.rootdir = rootdir
        self.environ = environ
        self._stack = ExitStack()
        self._refused: EngineError | None = None
        self._session = secrets.token_hex(4)

    def close(self) -> None:
        """Remove and give up all that was made and opened."""
        self._stack.close()

    @cached_property
    def runtime(self) -> Runtime:
        """Return the parts of a run, of which this process is one."""
        folder = self._stack.enter_context(tempfile.TemporaryDirectory(prefix="clnrm-doctor-"))
        runtime = Runtime(
            # Whether spans reach this process is told whether they are wanted now or not.
            settings=Settings(**{**vars(self.settings), "collect_spans": True}),
            rootdir=self.rootdir,
            session_id=self._session,
            worker=_WORKER,
            connect=lambda: self.runtime.connect_own(),  # noqa: PLW0108 (it is not there yet)
            run_folder=lambda: Path(folder),
        )
        self._stack.callback(runtime.close)
        return runtime

    @cached_property
    def asked(self) -> Asked:
        """Return the engine, asked what it is.

        :raises EngineUnavailableError: if there is none.
        :raises LedgerError: if there is to be an embedded one, and the ledger's folder cannot be used.
        """
        choice = self.settings.engine
        folder = self.runtime.folder().path if choice == "embedded" else Path(tempfile.gettempdir())
        return self._stack.enter_context(asked(choice, environ=self.environ, runtime_dir=folder))

    @property
    def facts(self) -> EngineFacts:
        """Return the engine's facts."""
        if is_cluster(self.settings.engine):
            return self.engine().facts
        return self.asked.about.facts

    @property
    def is_here(self) -> bool:
        """Tell whether the engine is on this machine, as far as is known."""
        return not (self.facts.remote or self.facts.elsewhere)

    def engine(self) -> Engine:
        """Return the engine as a run has it.

        :raises EngineUnavailableError: if there is none.
        """
        return self.runtime.engine()

    @cached_property
    def network(self) -> Network:
        """Return a network as scenarios have one.

        :raises EngineError: if there cannot be one.
        """
        if self._refused is not None:
            raise self._refused
        try:
            network = self.runtime.networks().lend()
        except EngineError as error:
            self._refused = error
            raise
        assert network is not None, "without idle containers there is one"  # noqa: S101
        return network

    @cached_property
    def relay(self) -> Relay:
        """Return a container on that network that connects to whatever it is told.

        :raises NoProbeError: if there cannot be one.
        """
        if self.network.relay is not None:
            return self.network.relay
        if why := self.runtime.networks().why_out_of_reach:
            raise NoProbeError(why)
        labels = self.runtime.labels("")
        try:
            relay = self.engine().open_relay(
                self.relay_name,
                self.network.id,
                labels=labels,
                accept=lambda: self.runtime.tracing().connect_receiver(),
                on_end=lambda _: None,
            )
        except EngineError as error:
            raise NoProbeError(str(error)) from error
        self._stack.callback(relay.close)
        return relay

    @property
    def relay_name(self) -> str:
        """Return the name of the container, under which others on the network find it."""
        stem = relay_stem(self._session, _WORKER)
        return f"{stem}{1 if self.network.relay is not None else 9}"

    @cached_property
    def tool_image(self) -> str:
        """Return the image of that container, which holds a program of ours alone.

        :raises NoProbeError: if there is none.
        """
        names = self.engine().image_names() if self.relay else ()
        found = next(
            (name for name in sorted(names) if name.rpartition("/")[2].startswith("clnrm-tool:")), ""
        )
        if not found:
            raise NoProbeError("the engine does not list the image of our own program")
        return found
