"""What the watchdog does when it has to, over an engine in memory; the process itself is an engine test's."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pytest_clnrm.cleanup import detached, run_folder, run_records, watchdog
from pytest_clnrm.cleanup.labels import LEDGER, OWNER, SESSION, WORKER
from pytest_clnrm.cleanup.run_records import RunRecord
from pytest_clnrm.engine.api import OwnedObject
from pytest_clnrm.engine.connect import connect
from pytest_clnrm.engine.embedded import join as embedded
from pytest_clnrm.errors import EngineUnavailableError
from pytest_clnrm.ledger.folder import Folder, open_folder
from pytest_clnrm.util import processes
from pytest_clnrm.util.processes import Process

DEAD = Process(1 << 30, "1")


class OneContainer:
    """An engine on which a container appears after some looks."""

    def __init__(self, ledger: str, looks: int) -> None:
        self.facts = SimpleNamespace(identity="i", url="u")
        self.looks = looks
        self.closed = False
        labels = {LEDGER: ledger, SESSION: "s", OWNER: "o", WORKER: "w"}
        self.container = OwnedObject(kind="container", id="c", name="clnrm-s-w-c", labels=labels)
        self.removed = False

    def list_owned(self, labels: object) -> Sequence[OwnedObject]:
        self.looks -= 1
        return [self.container] if self.looks < 0 and not self.removed else []

    def remove_owned(self, objects: object) -> None:
        self.removed = True

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    """Return a ledger's folder."""
    return open_folder(tmp_path / "ledger", {})


@pytest.fixture
def record(tmp_path: Path, folder: Folder) -> RunRecord:
    """Return a run whose controller is dead; it is written down."""
    record = RunRecord("s", DEAD, str(run_folder.make("s", tmp_path)), "auto", "i", "u")
    run_records.write(folder.runs, record)
    return record


@pytest.fixture
def path(folder: Folder, record: RunRecord) -> Path:
    """Return where it is written down."""
    return folder.runs / "s.json"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """Let time pass only in sleeps, and return the clock."""
    clock = SimpleNamespace(now=1000.0)

    def sleep(seconds: float) -> None:
        clock.now += seconds

    monkeypatch.setattr(watchdog, "time", SimpleNamespace(monotonic=lambda: clock.now, sleep=sleep))
    return clock


@pytest.fixture
def engines(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Return what connecting gives, one after the other; the last one stays."""
    given: list[Any] = []

    def connect_next(*args: object, locks: Any, **options: object) -> Any:
        with locks("a name"):
            engine = given.pop(0) if len(given) > 1 else given[0]
        if isinstance(engine, Exception):
            raise engine
        return engine

    monkeypatch.setattr(connect, "connect", connect_next)
    return given


def test_it_sweeps_until_some_time_after_the_last_process(
    folder: Folder, record: RunRecord, path: Path, engines: list[Any], quick: SimpleNamespace
) -> None:
    """A container that comes into being late is removed too; then the run is forgotten."""
    engines.append(OneContainer(folder.ledger_id, looks=5))
    watchdog.clean_up(path, record)
    assert engines[0].removed
    assert quick.now >= 1000 + watchdog.QUIET_S
    assert not path.exists()
    assert not Path(record.folder).exists()


def test_an_engine_that_starts_again_is_waited_for(
    folder: Folder, record: RunRecord, path: Path, engines: list[Any]
) -> None:
    """An engine that does not answer, and one that is another, are asked again."""
    other = OneContainer(folder.ledger_id, 0)
    other.facts.identity = "another"
    engines += [EngineUnavailableError("none", ()), other, OneContainer(folder.ledger_id, 0)]
    watchdog.clean_up(path, record)
    assert other.closed
    assert not other.removed
    assert engines[0].removed
    assert not path.exists()


def test_a_ledger_that_cannot_be_used_is_not_waited_for(
    folder: Folder, record: RunRecord, path: Path, engines: list[Any], quick: SimpleNamespace
) -> None:
    """The engine is swept all the same; the next run finds the record, and says what is wrong."""
    engines.append(OneContainer(folder.ledger_id, looks=0))
    folder.state_file("i").write_text('{"kind": "something else"}')
    watchdog.clean_up(path, record)
    assert engines[0].removed
    assert quick.now < 1000 + 2 * watchdog.QUIET_S
    assert path.exists()


def test_it_gives_up_at_last(
    record: RunRecord, path: Path, engines: list[Any], quick: SimpleNamespace
) -> None:
    """An engine that stays away is left to the next run, which finds the record."""
    engines.append(EngineUnavailableError("none", ()))
    watchdog.clean_up(path, record)
    assert quick.now < 1000 + 100
    assert path.exists()


def test_a_worker_that_comes_late_is_ended(
    folder: Folder, record: RunRecord, path: Path, engines: list[Any], quick: SimpleNamespace
) -> None:
    """A worker that notes itself only now is ended, and quiet begins with its end."""
    came: list[float] = []
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"]) as worker:
        noted = json.dumps({"pid": worker.pid, "started": processes._started(worker.pid)})

        class Late(OneContainer):
            def list_owned(self, labels: object) -> Sequence[OwnedObject]:
                if self.looks == 0:
                    came.append(quick.now)
                    Path(record.folder, "process-gw0.json").write_text(noted, encoding="utf-8")
                return super().list_owned(labels)

        engines.append(Late(folder.ledger_id, looks=5))
        watchdog.clean_up(path, record)
        assert worker.wait() == -signal.SIGKILL
    assert quick.now >= came[0] + watchdog.QUIET_S


@pytest.fixture
def main_in_a_child() -> Iterator[None]:
    """Keep what the watchdog does to its own signals from this process."""
    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    before = [signal.getsignal(number) for number in numbers]
    yield
    signal.set_wakeup_fd(-1)
    for number, handler in zip(numbers, before, strict=True):
        signal.signal(number, handler)


@pytest.mark.usefixtures("main_in_a_child")
def test_main_cleans_up_after_a_dead_controller(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A controller that is dead already is cleaned up after at once."""
    done: list[str] = []
    monkeypatch.setattr(watchdog, "clean_up", lambda path, run: done.append(run.session))
    watchdog.main(str(path))
    assert done == ["s"]


@pytest.mark.usefixtures("main_in_a_child")
def test_main_without_a_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that is over already needs nobody."""
    monkeypatch.setattr(watchdog, "clean_up", lambda path, run: pytest.fail("called"))
    watchdog.main(str(tmp_path / "none.json"))


@pytest.mark.usefixtures("main_in_a_child")
@pytest.mark.parametrize("follows", [True, False])
def test_main_when_it_is_asked_to_end(path: Path, monkeypatch: pytest.MonkeyPatch, follows: bool) -> None:  # noqa: FBT001
    """Asked to end, it gives the controller some time to end too; if that lives on, it just ends."""
    answers = [False, follows]
    done: list[str] = []
    monkeypatch.setattr(watchdog, "wait_for_end", lambda *args: answers.pop(0))
    monkeypatch.setattr(watchdog, "clean_up", lambda path, run: done.append(run.session))
    watchdog.main(str(path))
    assert done == (["s"] if follows else [])


@pytest.mark.usefixtures("main_in_a_child")
def test_being_asked_to_end_can_be_read() -> None:
    """SIGTERM wakes the wait up and does not end the process."""
    reader = detached.asked_to_end()
    os.kill(os.getpid(), signal.SIGTERM)
    assert os.read(reader, 1) == bytes([signal.SIGTERM])
    os.close(reader)


@pytest.mark.parametrize("runs_there", [True, False])
def test_the_embedded_engine_is_held(
    path: Path,
    record: RunRecord,
    folder: Folder,
    monkeypatch: pytest.MonkeyPatch,
    runs_there: bool,  # noqa: FBT001
) -> None:
    """It becomes a user of the embedded engine, of no other; one that is gone needs no sweep."""
    joined: list[Path] = []

    def join(runtime_dir: Path, environ: object) -> str:
        joined.append(runtime_dir)
        if not runs_there:
            raise EngineUnavailableError("none", ())
        return ""

    monkeypatch.setattr(embedded, "join", join)
    detached.join_embedded(folder.path, record.url)
    assert joined == []
    detached.join_embedded(folder.path, f"unix://{folder.path}/engine/engine.sock")
    assert joined == [folder.path]


def test_it_imports_little() -> None:
    """Nothing that costs memory is imported before there is something to sweep."""
    code = "import sys; import pytest_clnrm.cleanup.watchdog; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    modules = set(done.stdout.split())
    assert not modules & {"docker", "requests", "filelock", "subprocess", "http", "asyncio", "pytest"}
