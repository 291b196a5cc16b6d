"""What a worker tells the controller at its end: that of which no test report tells.

It goes with what xdist sends when a worker's session ends, in builtins.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest

from pytest_clnrm.errors import ClnrmError
from pytest_clnrm.model.result import clean_text

if TYPE_CHECKING:
    from pytest_clnrm.runtime.runtime import Runtime

WORKER_OUTPUT = "clnrm"
"""The key in ``workeroutput``."""


class WorkerOutput:
    """The worker's side; a plugin of pytest in each process.

    :param kept: names of containers that were kept, and that no report has told yet.
    """

    def __init__(self, runtime: Runtime, kept: list[str]) -> None:
        self._runtime = runtime
        self._kept = kept

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Hand it to xdist, which sends it after all such hooks."""
        self._runtime.end_trying()
        if hasattr(session.config, "workeroutput"):
            session.config.workeroutput[WORKER_OUTPUT] = {
                "kept": list(self._kept),
                "interrupted": [[data, clean_text(text)] for data, text in self._runtime.interrupted],
                "open_ports": [list(each) for each in sorted(self._runtime.open_ports)],
                "engine_warnings": list(self._runtime.engine_warnings),
                "had_ledger": self._runtime.has_ledger,
            }


def take_output(node: Any, runtime: Runtime) -> list[str]:
    """Take what a worker has told into the controller's *runtime*, and return what it kept.

    :param node: xdist's controller of the worker; one that has crashed has told nothing.
    """
    told = (getattr(node, "workeroutput", None) or {}).get(WORKER_OUTPUT)
    if told is None:
        return []
    runtime.interrupted += ((data, text) for data, text in told["interrupted"])
    runtime.open_ports.update((host, service, port) for host, service, port in told["open_ports"])
    runtime.warn(told["engine_warnings"])
    if told["had_ledger"]:
        # Where only fixtures had containers this process has none yet, and it ends what the run shares.
        with suppress(ClnrmError):
            runtime.ledger()
    return list(told["kept"])
