"""The network of a shared container itself: there are only it, and the relays that lead to it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_clnrm.ledger.shared import SHARED, run_of

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_clnrm.runtime.network import Network
    from pytest_clnrm.runtime.runtime import Runtime


class Home:
    """Such a network.

    :param folder: where its id is noted for all processes of the run.
    :param key: of the container.
    :param owner: of its lease.
    """

    def __init__(self, folder: Path, key: str, owner: str) -> None:
        self._file = folder / f"{key}.network"
        self._key = key
        self._owner = owner

    def note(self, network_id: str) -> None:
        """Note that it is there already."""
        self._file.write_text(network_id, "ascii")

    def enter(self, runtime: Runtime) -> Network:
        """Return it, created if it is not there."""
        engine = runtime.engine()
        name = f"clnrm-{run_of(self._owner)}-{SHARED}-{self._key}-net"
        known = self._file.read_text("ascii") if self._file.exists() else ""
        if not known or not engine.has_network(known):
            known = engine.create_network(name, internal=True, labels=runtime.shared_labels(self._owner))
            self.note(known)
        return runtime.networks().visit(known, name)
