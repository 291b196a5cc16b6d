"""The runtime directory and its files: what is made, what is refused, what is rebuilt."""

from __future__ import annotations

import errno
import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import filelock
import pytest
from clnrm_testing.queueing import enqueue, purge

from pytest_clnrm.errors import LedgerError
from pytest_clnrm.ledger import owners, wakeups
from pytest_clnrm.ledger.folder import Folder, default_path, open_folder
from pytest_clnrm.ledger.ledger import Ledger
from pytest_clnrm.ledger.locks import host_lock
from pytest_clnrm.ledger.snapshots import snapshots
from pytest_clnrm.ledger.state import STATE_FORMAT, EngineLoad
from pytest_clnrm.model.demand import Demand

ONE = Demand(containers=1, memory_bytes=100)
Open = Callable[..., Ledger]
Kill = Callable[[Ledger], None]


def state_file(folder: Folder) -> Path:
    """Return the state file of the tests' engine."""
    return folder.state_file("engine-1")


def held(ledger: Ledger) -> list[str]:
    """Return the ids of all leases."""
    taken = ledger.snapshot()
    assert taken is not None
    return [lease.id for lease in taken.leases]


# -- the directory


def test_runtime_directory_is_xdg_or_in_tmp(tmp_path: Path) -> None:
    """Without a setting it is below XDG_RUNTIME_DIR, and in /tmp where that is unset or nonsense."""
    fallback = (Path("/tmp") / f"pytest-clnrm-{os.getuid()}", True)  # noqa: S108 (the documented place)
    assert default_path({"XDG_RUNTIME_DIR": str(tmp_path)}) == (tmp_path / "pytest-clnrm", False)
    assert default_path({}) == fallback
    assert default_path({"XDG_RUNTIME_DIR": "relative"}) == fallback
    assert default_path({"XDG_RUNTIME_DIR": str(tmp_path / "missing")}) == fallback


def test_directory_is_private_and_its_id_stays(tmp_path: Path) -> None:
    """It is made with mode 0700; its id is random and made once."""
    one = open_folder(None, {"XDG_RUNTIME_DIR": str(tmp_path)})
    assert one.path == tmp_path / "pytest-clnrm"
    assert one.path.stat().st_mode & 0o777 == 0o700
    assert open_folder(one.path, {}).ledger_id == one.ledger_id
    assert len(one.ledger_id) == 16
    assert open_folder(tmp_path / "other", {}).ledger_id != one.ledger_id
    assert sorted(path.name for path in one.path.iterdir()) == ["ledger-id", "locks"]


def test_id_that_another_process_made_first_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two processes that make the directory at once get the same id."""
    link = os.link

    def slow_link(source: Path, target: Path) -> None:
        target.write_text("first")
        link(source, target)

    monkeypatch.setattr(os, "link", slow_link)
    assert open_folder(tmp_path / "ledger", {}).ledger_id == "first"


def test_id_that_cannot_be_written_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk is told, no half-written id stays, and with room again there is one."""

    def fails(path: Path, *_: object, **__: object) -> int:
        path.touch()
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_text", fails)
        with pytest.raises(LedgerError, match="No space left on device; make room"):
            open_folder(tmp_path, {})
    assert [path.name for path in tmp_path.iterdir()] == ["locks"]
    assert len(open_folder(tmp_path, {}).ledger_id) == 16


def test_damaged_id_is_an_error(tmp_path: Path) -> None:
    """An empty id would make all containers look like ours."""
    (tmp_path / "ledger-id").write_text("")
    with pytest.raises(LedgerError, match=r"ledger-id holds no ledger id; remove it once no run"):
        open_folder(tmp_path, {})


@pytest.mark.parametrize("trap", ["link", "open to others", "file"])
def test_fallback_has_to_be_ours_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trap: str) -> None:
    """In /tmp somebody else may have been faster: a link, an open directory or a file is refused."""
    path = tmp_path / "pytest-clnrm-0"
    monkeypatch.setattr("pytest_clnrm.ledger.folder.default_path", lambda _: (path, True))
    if trap == "link":
        (tmp_path / "target").mkdir(mode=0o700)
        path.symlink_to(tmp_path / "target")
    elif trap == "open to others":
        path.mkdir()
        path.chmod(0o777)
    else:
        path.touch()
    match = r"pytest-clnrm-0 (is not a directory that belongs to this user alone|cannot be used: File exists)"
    with pytest.raises(LedgerError, match=match) as caught:
        open_folder(None, {})
    assert "clnrm_ledger_dir" in str(caught.value)


def test_fallback_that_is_ours_is_used_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The fallback made by the first run serves the next."""
    monkeypatch.setattr("pytest_clnrm.ledger.folder.default_path", lambda _: (tmp_path / "mine", True))
    assert open_folder(None, {}) == open_folder(None, {})


def test_unusable_directory_is_named_with_its_setting(tmp_path: Path) -> None:
    """A path that cannot be a directory gives an error that says what to set."""
    (tmp_path / "file").touch()
    with pytest.raises(LedgerError, match=r"file/x cannot be used: Not a directory; .* set clnrm_ledger_dir"):
        open_folder(tmp_path / "file" / "x", {})


def test_unwritable_directory_is_named(folder: Folder, ledger: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    """Losing access to the directory is told in the same words."""

    def refuse(*_: object, **__: object) -> int:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(os, "open", refuse)
    text = f"the ledger's folder {folder.path} cannot be used: Permission denied"
    with pytest.raises(LedgerError, match=re.escape(text)):
        ledger("a")


# -- the state file


def test_torn_state_is_rebuilt(
    folder: Folder, ledger: Open, kill: Kill, reports: list[str], clock: Any
) -> None:
    """Leases of living and dead owners survive a damaged file, and so does the queue."""
    dead, living, waiting = ledger("a", 3), ledger("b", 3), ledger("c", 3)
    kept = [dead.reserve(ONE, priority=1, index=0).id, living.reserve(ONE, priority=1, index=0).id]
    third = living.reserve(ONE, priority=1, index=0)
    kill(dead)
    clock.events += [
        lambda: state_file(folder).write_bytes(b'{"kind": "pyt'),
        lambda: living.release(third.id),
    ]
    lease = waiting.reserve(ONE, priority=1, index=0)
    assert sorted(held(living)) == sorted([*kept, lease.id])
    assert re.fullmatch(r".*\.json: .*: the ledger was rebuilt from its owners' files", reports[0])
    taken = living.snapshot()
    assert taken is not None
    assert {run.run for run in taken.runs} == {"b", "c"}


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data.pop("leases"),
        lambda data: data.update(leases=[{}]),
        lambda data: data.update(leases="none"),
        lambda data: data.update(boot=5),
        lambda data: data["leases"][0].update(granted_s="now"),
        lambda data: data["leases"][0]["demand"].update(containers=-1),
        lambda data: data["leases"][0]["demand"].update(containers=True),
        lambda data: data["leases"][0].update(containers=[5]),
        lambda data: data["leases"][0].update(unknown=1),
    ],
)
def test_state_of_wrong_shape_is_rebuilt(
    folder: Folder, ledger: Open, reports: list[str], damage: Callable[[dict[str, Any]], object]
) -> None:
    """Nothing that has another shape is believed."""
    one = ledger("a")
    lease = one.reserve(ONE, priority=1, index=0)
    data = json.loads(state_file(folder).read_bytes())
    damage(data)
    state_file(folder).write_text(json.dumps(data))
    with pytest.raises(LedgerError, match=r"; the next run rebuilds it$"):
        one.snapshot()
    with pytest.raises(LedgerError, match=r"; the next run rebuilds it$"):
        snapshots(folder)
    assert one.try_reserve(ONE, priority=1, index=0) is not None
    assert held(one)[0] == lease.id
    assert len(held(one)) == 2
    assert len(reports) == 1


def test_whole_numbers_are_times_too(folder: Folder, ledger: Open, reports: list[str]) -> None:
    """JSON of other tools may write 5.0 as 5."""
    one = ledger("a")
    one.reserve(ONE, priority=1, index=0)
    text = state_file(folder).read_text().replace('"granted_s":1000.0', '"granted_s":1000')
    state_file(folder).write_text(text)
    assert len(held(one)) == 1
    assert one.try_reserve(ONE, priority=1, index=0) is not None
    assert reports == []


def test_missing_state_is_rebuilt(folder: Folder, ledger: Open, reports: list[str]) -> None:
    """Without the file nothing is lost either."""
    one = ledger("a")
    lease = one.reserve(ONE, priority=1, index=0)
    state_file(folder).unlink()
    one.try_reserve(ONE, priority=1, index=0)
    assert lease.id in held(one)
    assert "is missing: the ledger was rebuilt" in reports[0]


def test_lost_leases_are_found_on_the_engine(folder: Folder, ledger: Open, reports: list[str]) -> None:
    """If a dead owner's own file is damaged too, reconciling finds its containers by their labels."""
    one, other = ledger("a"), ledger("b")
    one.reserve(ONE, priority=1, index=0)
    owner = other.owner_id
    other._me._owner.close()  # type: ignore[union-attr]
    owners.share_file(one._store.owners, owner).write_text("{")
    state_file(folder).write_text("")
    one._engine_load = lambda: [EngineLoad(ledger=one.id, owner=owner, demand=ONE)]
    one.reconcile()
    assert f"stray-{owner}" in held(one)
    assert any(f"the leases of {owner} are lost" in text for text in reports)


def test_engine_is_asked_after_a_rebuild(folder: Folder, ledger: Open) -> None:
    """A rebuild is followed by a look at the engine, once, even if nobody waits."""
    asked: list[EngineLoad] = []

    def engine_load() -> list[EngineLoad]:
        asked.append(EngineLoad(ledger="other", owner="x", demand=Demand()))
        return asked

    one = ledger("a", engine_load=engine_load)
    asked.clear()
    state_file(folder).write_text("{")
    one.release(one.reserve(ONE, priority=1, index=0).id)
    one.reserve(ONE, priority=1, index=0)
    assert len(asked) == 1


def test_nothing_is_granted_before_the_engine_is_asked(folder: Folder, ledger: Open) -> None:
    """After a rebuild, what only the engine knows to be there counts before the next grant."""
    one = ledger("a", containers=1, engine_load=list)
    found = [EngineLoad(ledger=one.id, owner="dead", demand=ONE)]
    one._engine_load = lambda: found
    state_file(folder).write_text("{")
    assert one.try_reserve(ONE, priority=1, index=0) is None
    assert held(one) == ["stray-dead"]
    found.clear()
    one.reconcile()
    assert one.try_reserve(ONE, priority=1, index=0) is not None


@pytest.mark.parametrize("content", ['{"name": "something"}', "[]", "5"])
def test_foreign_file_is_left_alone(folder: Folder, ledger: Open, content: str) -> None:
    """JSON that is not ours is an error, not overwritten."""
    state_file(folder).write_text(content)
    with pytest.raises(
        LedgerError, match=r"\.json is not a ledger of pytest-clnrm; move it away, or set clnrm"
    ):
        ledger("a")
    assert state_file(folder).read_text() == content
    assert list(folder.owners("engine-1").iterdir()) == []


@pytest.mark.parametrize("version", [STATE_FORMAT + 1, None])
def test_newer_format_is_left_alone(folder: Folder, ledger: Open, version: int | None) -> None:
    """A state of a newer version is an error that says so, not overwritten."""
    content = json.dumps({"kind": "pytest-clnrm ledger", "format": version, "leases": {}})
    state_file(folder).write_text(content)
    match = (
        rf"has format {version}, written by a newer pytest-clnrm; this one reads {STATE_FORMAT}: "
        "upgrade it, or set clnrm"
    )
    with pytest.raises(LedgerError, match=match):
        ledger("a")
    assert state_file(folder).read_text() == content


def test_state_of_another_engine_is_refused(folder: Folder, ledger: Open) -> None:
    """A file copied from another engine's ledger is an error that names both."""
    ledger("a")
    text = state_file(folder).read_text().replace("engine-1", "engine-9")
    state_file(folder).write_text(text)
    with pytest.raises(LedgerError, match=r"is the ledger of another engine \(engine-9, not engine-1\)"):
        ledger("b")


@pytest.mark.parametrize("call", ["write", "rename"])
def test_full_disk_changes_nothing(
    folder: Folder, ledger: Open, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    """Neither a reservation nor a release is half done; both can be tried again."""
    one = ledger("a")
    lease = one.reserve(ONE, priority=1, index=0)

    def full(*_: object, **__: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        if call == "write":
            patch.setattr(os, "write", full)
        else:
            patch.setattr(os, "replace", full)
        text = f"the ledger's folder {folder.path} cannot be used: No space left on device; make room"
        with pytest.raises(LedgerError, match=re.escape(text)):
            one.reserve(ONE, priority=1, index=1)
        with pytest.raises(LedgerError, match=re.escape(text)):
            one.release(lease.id)
    assert held(one) == [lease.id]
    one.release(lease.id)
    assert held(one) == []


def test_failed_open_leaves_no_owner(folder: Folder, ledger: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that could not be opened holds no lock, and its files go with the next one."""

    def full(*_: object, **__: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", full)
        with pytest.raises(LedgerError, match="No space left"):
            ledger("a")
    one = ledger("b")
    names = {path.name.split(".")[0] for path in folder.owners("engine-1").iterdir()}
    assert names == {one.owner_id}


def test_unreadable_state_is_named(folder: Folder, ledger: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    """Views name the directory too when they cannot read."""
    one = ledger("a")

    def refuse(_: Path) -> bytes:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(LedgerError, match="cannot be used: Permission denied"):
        one.snapshot()
    with pytest.raises(LedgerError, match="cannot be used: Permission denied"):
        snapshots(folder)


def test_emptied_folder_is_an_error(folder: Folder, ledger: Open) -> None:
    """Who removes the files of a running run ends it with a clear message."""
    one = ledger("a")
    for path in (*folder.owners("engine-1").iterdir(), state_file(folder)):
        path.unlink()
    text = f"the ledger's folder {folder.path} was emptied while it was in use"
    with pytest.raises(LedgerError, match=re.escape(text)):
        one.try_reserve(ONE, priority=1, index=0)


# -- reboot


def test_after_a_reboot_leases_wait_for_their_purge(ledger: Open, kill: Kill, clock: Any) -> None:
    """Runs and waiters of the last boot are gone, leases count until purged, times start anew."""
    old = ledger("a")
    lease = old.reserve(ONE, priority=1, index=0)
    idle = old.reserve(ONE, priority=1, index=0)
    old.mark_idle(idle.id, [])
    enqueue(old, ONE, priority=0, index=0)
    kill(old)
    clock.now_s = 3.0
    new = ledger("b", boot="boot-2")
    taken = new.snapshot()
    assert taken is not None
    assert [(each.id, each.granted_s, each.idle_since_s) for each in taken.leases] == [
        (lease.id, 3.0, None),
        (idle.id, 3.0, 3.0),
    ]
    assert taken.waiters == ()
    assert [run.run for run in taken.runs] == ["b"]
    assert purge(new, lambda _: True) == 2


def test_rebuild_after_a_reboot(folder: Folder, ledger: Open, kill: Kill) -> None:
    """A state lost with the reboot is rebuilt as one of dead owners."""
    old = ledger("a")
    lease = old.reserve(ONE, priority=1, index=0)
    kill(old)
    state_file(folder).unlink()
    new = ledger("b", boot="boot-2")
    assert held(new) == [lease.id]
    assert purge(new, lambda _: True) == 1


def test_folder_shared_with_another_machine_is_refused(folder: Folder, ledger: Open) -> None:
    """An owner of another boot that lives is on another machine: wake-ups and times do not reach it."""
    ledger("a")
    text = (
        f"the ledger's folder {folder.path} is in use on another machine (process {os.getpid()}); set clnrm"
    )
    with pytest.raises(LedgerError, match=re.escape(text)):
        ledger("b", boot="boot-2")


def test_boot_id_is_the_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is a uuid, and empty where /proc is missing."""
    assert re.fullmatch(r"[0-9a-f-]{36}", owners.boot_id())

    def missing(*_: object, **__: object) -> str:
        raise FileNotFoundError

    monkeypatch.setattr(Path, "read_text", missing)
    assert owners.boot_id() == ""


# -- wake-ups


def test_wake_ups_are_remembered_until_drained(tmp_path: Path) -> None:
    """A ring before the wait is not lost; many rings are one; nobody listening is told."""
    path = tmp_path / "w.fifo"
    assert wakeups.ring(path) is False
    wakeup = wakeups.Wakeup(path)
    wakeup.listen()
    wakeup.listen()
    clock = wakeups.SystemClock()
    assert clock.wait(wakeup.fd, 0) is False
    assert wakeups.ring(path) is True
    assert wakeups.ring(path) is True
    assert clock.wait(wakeup.fd, 60) is True
    wakeup.drain()
    wakeup.drain()
    assert clock.wait(wakeup.fd, 0) is False
    wakeup.close()
    wakeup.close()
    assert not path.exists()


def test_full_fifo_wakes_too(tmp_path: Path) -> None:
    """A process that does not listen for long does not block, or miss, anybody."""
    wakeup = wakeups.Wakeup(tmp_path / "w.fifo")
    wakeup.listen()
    assert wakeup.fd is not None
    while True:
        try:
            os.write(wakeup.fd, b"!" * 4096)
        except BlockingIOError:
            break
    assert wakeups.ring(tmp_path / "w.fifo") is True
    wakeup.close()


def test_listener_that_goes_away_meanwhile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A listener that closes between our opening and our writing was not reached."""
    wakeup = wakeups.Wakeup(tmp_path / "w.fifo")
    wakeup.listen()
    write = os.write

    def late(fd: int, data: bytes) -> int:
        wakeup.close()
        return write(fd, data)

    monkeypatch.setattr(os, "write", late)
    assert wakeups.ring(tmp_path / "w.fifo") is False


def test_without_fifos_waiters_poll(ledger: Open, clock: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the file system has no FIFOs, waiting works by looking ten times a second."""

    def refuse(*_: object) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "mkfifo", refuse)
    one, other = ledger("a", 1), ledger("b", 1)
    lease = one.reserve(ONE, priority=1, index=0)
    clock.events += [lambda: None, lambda: one.release(lease.id)]
    other.reserve(ONE, priority=1, index=0)
    assert clock.waits == [0.1, 0.1]
    assert one.wakeup_fd is None
    assert one.claim(enqueue(one, ONE, priority=1, index=0)) is None


def test_fifo_that_cannot_be_made_is_an_error(ledger: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk is no missing feature."""

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "mkfifo", full)
    with pytest.raises(LedgerError, match="No space left"):
        ledger("a")


# -- locks


def test_host_lock_takes_any_name(folder: Folder) -> None:
    """A lock's name may hold what no file name may."""
    with host_lock(folder, "pull registry:5000/a/b@sha256:" + "0" * 300), host_lock(folder, "other"):
        assert len(list((folder.path / "locks").iterdir())) == 2


def test_lock_whose_holder_is_unknown(folder: Folder, ledger: Open, reports: list[str]) -> None:
    """A holder that left no readable name is another process; waiting ends at the limit."""
    one = ledger("a", lock_report_s=0.01, lock_limit_s=0.02)
    lock = folder.lock_file("engine-1")
    with filelock.FileLock(lock):
        lock.write_bytes(b"nobody")
        match = (
            r"^the ledger is locked by another process for 0\.02 s or more \(.*\.lock\); end that process, or"
        )
        with pytest.raises(LedgerError, match=match):
            one.try_reserve(ONE, priority=1, index=0)
    assert len(reports) == 1
    assert reports[0].endswith(": waiting")
    assert one.try_reserve(ONE, priority=1, index=0) is not None
