"""Which limits an engine does not enforce is found out beside the scenarios, once a run."""

from __future__ import annotations

import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pytest_clnrm.errors import EngineError
from pytest_clnrm.runtime.runtime import Runtime
from pytest_clnrm.session.worker_output import WORKER_OUTPUT, WorkerOutput, take_output
from pytest_clnrm.settings.settings import Settings


class TriedEngine:
    """An engine with a relay, that counts how often it is tried."""

    def __init__(self, found: tuple[str, ...] = (), problem: str = "") -> None:
        self.facts = SimpleNamespace(warnings=("known",))
        self.tried = 0
        self._found, self._problem = found, problem

    def open_relay(self, *_: Any, **__: Any) -> str:
        return "relay"

    def find_unenforced(self) -> tuple[str, ...]:
        self.tried += 1
        if self._problem:
            raise EngineError(self._problem)
        return self._found


def runtime(folder: Path, worker: str, engine: TriedEngine) -> Any:
    """Return the shared parts of one worker."""
    made: Any = Runtime(
        settings=Settings(),
        rootdir=folder,
        session_id="s1",
        worker=worker,
        connect=lambda: engine,  # type: ignore[arg-type, return-value]
        run_folder=lambda: folder,
    )
    made.labels = lambda _: {}
    return made


def test_one_worker_tries_and_the_controller_hears_of_it(tmp_path: Path) -> None:
    """What is found is told with what was known at once, each once."""
    engine = TriedEngine(("its network ignores policies",))
    workers = [runtime(tmp_path, name, engine) for name in ("gw0", "gw1")]
    controller = runtime(tmp_path, "master", engine)
    controller.engine()
    for each in workers:
        assert each._open_relay("n1") == "relay"
        session: Any = SimpleNamespace(config=SimpleNamespace(workeroutput={}))
        WorkerOutput(each, []).pytest_sessionfinish(session)
        assert session.config.workeroutput[WORKER_OUTPUT]["engine_warnings"][0] == "known"
        take_output(SimpleNamespace(workeroutput=session.config.workeroutput), controller)
    assert engine.tried == 1
    assert controller.engine_warnings == ("known", "its network ignores policies")


def test_what_cannot_be_tried(tmp_path: Path) -> None:
    """Is told too: nobody takes it for enforced."""
    one = runtime(tmp_path, "gw0", TriedEngine(problem="there is no room"))
    one._open_relay("n1")
    one.end_trying()
    told = "which limits the engine does not enforce could not be tried: there is no room"
    assert one.engine_warnings == ("known", told)


def test_what_is_not_tried_in_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Is told as well, as where the pod that is tried is on a node that is lost."""
    monkeypatch.setattr("pytest_clnrm.runtime.runtime._TRY_S", 0.05)
    over = threading.Event()
    engine = TriedEngine()
    engine.find_unenforced = lambda: (over.wait(10), ())[1]  # type: ignore[method-assign]
    one = runtime(tmp_path, "gw0", engine)
    one._open_relay("n1")
    one.end_trying()
    over.set()
    told = "which limits the engine does not enforce could not be tried: it took longer than 0.05 s"
    assert one.engine_warnings == ("known", told)
