"""The controller's part in leaving nothing behind, without an engine and without a watchdog."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Collection, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from pytest_clnrm.cleanup import run_folder, run_records, watchdog
from pytest_clnrm.cleanup.cleaner import describe_foreign
from pytest_clnrm.errors import EngineError, EngineUnavailableError, LedgerError
from pytest_clnrm.session import run_guard
from pytest_clnrm.session.run_guard import RunGuard


class FakeParts:
    """A runtime, its cleaner and its ledger in one; notes what it is asked for."""

    session_id = "s"
    engine_is_own = True
    foreign = describe_foreign(1, 1)
    keeps_warm = False
    has_ledger = True

    def __init__(self, path: Path) -> None:
        self.runs = path / "runs"
        self.asked: list[str] = []
        self.fails: dict[str, Exception] = {}
        self.facts = SimpleNamespace(identity="i", url="u")

    def _note(self, call: str) -> None:
        self.asked.append(call)
        if call in self.fails:
            raise self.fails[call]

    def engine(self) -> FakeParts:
        self._note("engine")
        return self

    def folder(self) -> FakeParts:
        return self

    def engine_choice(self) -> str:
        return "auto"

    def cleaner(self) -> FakeParts:
        return self

    def ledger(self) -> FakeParts:
        self._note("ledger")
        return self

    def keep_run(self) -> None:
        self._note("keep the run")

    def end_orphans(self) -> None:
        self._note("end orphans")

    def sweep_dead(self, ledger: object) -> None:
        self._note("sweep dead")

    def sweep_session(self, session: str, worker: str = "", *, but: Collection[str] = ()) -> None:
        self._note(f"sweep {session} {worker}".rstrip())

    def purge(self) -> None:
        self._note("purge")

    def release_all(self, *, but: Collection[str]) -> None:
        """Their containers were swept before."""


@pytest.fixture
def parts(tmp_path: Path) -> FakeParts:
    """Return the parts of a run."""
    return FakeParts(tmp_path)


@pytest.fixture
def watchdogs(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Return the watchdogs that are started: processes that sleep."""
    started: list[subprocess.Popen[bytes]] = []

    def start(record: Path) -> subprocess.Popen[bytes]:
        assert run_records.read(record) is not None
        started.append(subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"]))
        return started[-1]

    monkeypatch.setattr(watchdog, "start", start)
    yield started
    for each in started:
        each.returncode = None
        each.kill()
        each.wait()


def _own(tmp_path: Path) -> Path:
    """Return the run's own folder."""
    (own,) = tmp_path.resolve().glob("clnrm-s-*")
    return own


@pytest.fixture
def guard(parts: FakeParts, tmp_path: Path, watchdogs: list[Any]) -> RunGuard:
    """Return the guard of a run."""
    own = run_folder.make("s", tmp_path)

    def make_folder() -> Path:
        return own

    return RunGuard(cast("Any", parts), make_folder)


def test_a_run_from_begin_to_finish(
    guard: RunGuard, parts: FakeParts, watchdogs: list[subprocess.Popen[bytes]], tmp_path: Path
) -> None:
    """The watchdog is there before anything is created, and gone with all notes at the end."""
    guard.begin()
    assert parts.asked == ["engine", "keep the run", "end orphans", "ledger", "sweep dead"]
    assert guard.foreign.startswith("1 container of another ledger")
    (run,) = run_records.records(parts.runs)
    assert (run.session, run.choice, run.folder) == ("s", "auto", str(_own(tmp_path)))
    parts.asked.clear()
    guard.sweep()
    assert parts.asked == ["sweep s", "ledger", "purge"]
    assert watchdogs[0].poll() is None
    guard.finish()
    assert watchdogs[0].poll() is not None
    assert list(run_records.records(parts.runs)) == []
    assert not list(tmp_path.glob("clnrm-s-*"))


def test_what_workers_shared_goes_while_they_end(guard: RunGuard, parts: FakeParts) -> None:
    """It is being removed before the rest is swept, whether or not that is possible."""
    guard.begin()
    parts.asked.clear()
    parts.fails["sweep s shared"] = EngineError("busy")
    guard.workers_ended()
    guard.sweep()
    assert parts.asked == ["sweep s shared", "sweep s", "ledger", "purge"]


@pytest.mark.parametrize("why", ["never began", "interrupted", "warm"])
def test_nothing_that_is_shared_is_removed_early(guard: RunGuard, parts: FakeParts, why: str) -> None:
    """Where more may come, where it may outlive the run, and where there is nothing."""
    if why != "never began":
        guard.begin()
    if why == "interrupted":
        guard.pytest_keyboard_interrupt()
    parts.keeps_warm = why == "warm"
    parts.asked.clear()
    guard.workers_ended()
    assert parts.asked == []


def test_a_run_that_never_began(guard: RunGuard, parts: FakeParts) -> None:
    """Without a scenario nothing is asked, at no moment."""
    guard.worker_died("gw0")
    guard.sweep()
    guard.finish()
    assert parts.asked == []


def test_an_engine_of_another_plugin_has_no_watchdog(
    guard: RunGuard, parts: FakeParts, watchdogs: list[object]
) -> None:
    """It cannot be reached from another process; the run still cleans up at its end."""
    parts.engine_is_own = False
    guard.begin()
    assert watchdogs == []
    guard.sweep()
    guard.finish()
    assert list(run_records.records(parts.runs)) == []


@pytest.mark.parametrize(
    ("call", "error"),
    [
        ("engine", EngineUnavailableError("none", ())),
        ("ledger", LedgerError("full")),
        ("sweep dead", EngineError("busy")),
    ],
)
def test_errors_are_left_to_the_scenarios(
    guard: RunGuard,
    parts: FakeParts,
    watchdogs: list[subprocess.Popen[bytes]],
    call: str,
    error: Exception,
) -> None:
    """What is wrong with engine or ledger ends neither the beginning nor the end of a run.

    A watchdog that was started stays: the engine may be starting again.
    """
    parts.fails[call] = error
    parts.fails["sweep s"] = parts.fails["sweep s gw0"] = EngineError("busy")
    guard.begin()
    guard.worker_died("gw0")
    guard._abrupt_s = None
    guard.sweep()
    guard.finish()
    assert len(list(run_records.records(parts.runs))) == (0 if call == "engine" else 1)
    assert all(each.returncode == 0 for each in watchdogs)


def test_a_dead_worker_is_swept_at_once(guard: RunGuard, parts: FakeParts) -> None:
    """Its objects go, then the reservations it made itself."""
    guard.begin()
    parts.asked.clear()
    guard.worker_died("gw0")
    assert parts.asked == ["sweep s gw0", "ledger", "purge"]


@pytest.mark.parametrize("how", ["pytest_keyboard_interrupt", "pytest_internalerror"])
def test_after_an_abrupt_end_the_watchdog_stays(
    guard: RunGuard, parts: FakeParts, watchdogs: list[subprocess.Popen[bytes]], how: str
) -> None:
    """What was asked for in the last moments may still come into being: the watchdog looks, nobody waits."""
    guard.begin()
    getattr(guard, how)()
    guard.sweep()
    guard.finish()
    assert watchdogs[0].returncode == 0
    assert run_records.read(parts.runs / "s.json") is not None


def test_with_workers_left_the_watchdog_stays(
    guard: RunGuard, parts: FakeParts, watchdogs: list[subprocess.Popen[bytes]], tmp_path: Path
) -> None:
    """A worker that did not end is the watchdog's to end."""
    guard.begin()
    run_records.note_process(_own(tmp_path), "gw0")
    guard.sweep()
    guard.finish()
    assert watchdogs[0].returncode == 0


def test_without_a_watchdog_the_controller_looks_itself(
    guard: RunGuard,
    parts: FakeParts,
    watchdogs: list[subprocess.Popen[bytes]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """If the watchdog was killed, the controller sweeps until nothing more can come."""
    guard.begin()
    watchdogs[0].kill()
    watchdogs[0].wait()
    guard.pytest_keyboard_interrupt()
    clock = SimpleNamespace(now=time.monotonic())
    over_s = clock.now + watchdog.QUIET_S
    sleep = lambda seconds: setattr(clock, "now", clock.now + 1)  # noqa: E731
    monkeypatch.setattr(run_guard, "time", SimpleNamespace(monotonic=lambda: clock.now, sleep=sleep))
    parts.asked.clear()
    guard.sweep()
    assert parts.asked.count("sweep s") > 1
    assert clock.now > over_s - 1
    guard.finish()
    assert list(run_records.records(parts.runs)) == []


class WarmOnes:
    """One shared service that may outlive the run, and another run that has started something of it."""

    def __init__(self, *, there_is_a_keeper: bool) -> None:
        self.leases = frozenset({"lease"})
        self.origins = ("o",)
        self._there_is_a_keeper = there_is_a_keeper

    def take(self) -> None:
        """Do nothing: there is nothing to take."""

    def decide(self) -> set[str]:
        return {"id"}

    def leave(self) -> bool:
        return self._there_is_a_keeper

    def give_up(self) -> None:
        self.leases = frozenset()

    def close(self) -> None:
        """Do nothing: it owns nothing."""


@pytest.mark.parametrize("there_is_a_keeper", [True, False])
def test_what_outlives_the_run(
    guard: RunGuard,
    parts: FakeParts,
    monkeypatch: pytest.MonkeyPatch,
    there_is_a_keeper: bool,  # noqa: FBT001
) -> None:
    """It is spared, its lease too, if there is a keeper; else it is swept after all."""
    warm = WarmOnes(there_is_a_keeper=there_is_a_keeper)
    guard.warm = cast("Any", warm)
    guard.begin()
    swept: list[tuple[str, set[str]]] = []
    released: list[frozenset[str]] = []
    monkeypatch.setattr(parts, "sweep_session", lambda session, *, but: swept.append((session, set(but))))
    monkeypatch.setattr(parts, "release_all", lambda *, but: released.append(but))
    guard.sweep()
    spared = [("s", {"id"}), ("o", {"id"})]
    assert swept == (spared if there_is_a_keeper else [*spared, ("s", set()), ("o", set())])
    assert released[0] == {"lease"}
    assert released[1:] == ([] if there_is_a_keeper else [frozenset()])


def test_nothing_outlives_an_abrupt_end(
    guard: RunGuard, parts: FakeParts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was asked for until then may still be created, and the watchdog sweeps it all."""
    guard.begin()
    guard.pytest_keyboard_interrupt()
    monkeypatch.setattr(guard.warm, "decide", lambda: pytest.fail("called"))
    guard.sweep()
    assert "sweep s" in parts.asked
