"""Each scenario file is checked once in a run, and counts only as what it was checked as."""

from __future__ import annotations

import fcntl
import hashlib
import os
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pytest_clnrm.errors import ScenarioFileError
from pytest_clnrm.items import checked_files
from pytest_clnrm.items.checked_files import BUNDLE, CheckedFiles
from pytest_clnrm.scenario import loading
from pytest_clnrm.scenario.options import LoadOptions
from pytest_clnrm.settings.settings import Settings

FILE = """
[meta]
name = "{name}"
tags = ["smoke"]
[service.box]
image = "busybox:1"
[[step]]
run = "echo {name}"
"""
BUNDLED = BUNDLE + 3


class Workers:
    """Processes of one run, as far as they collect; all are in this one."""

    def __init__(self, root: Path, config: pytest.Config) -> None:
        self.root = root
        self._config = config
        self.folder = root / "run"
        self.folder.mkdir(mode=0o700)
        self.paths = [root / f"s{number}.clnrm.toml" for number in range(BUNDLED)]
        for path in self.paths:
            path.write_text(FILE.format(name=path.name), encoding="utf-8")
        self.loaded: list[str] = []

    def one(self, *, folder: Path | None = None, worker: str = "gw0") -> CheckedFiles:
        """Return what a worker knows that is about to collect all files."""
        runtime: Any = SimpleNamespace(
            settings=Settings(), rootdir=self.root, loaded=(), session_id="0", worker=worker
        )
        files = CheckedFiles(self._config, runtime, folder or self.folder)
        session: Any = SimpleNamespace(isinitpath=lambda path: path == self.root)
        for path in self.paths:
            files.expect(path, session)
        return files

    def names(self, files: CheckedFiles) -> list[str]:
        return [each.name for path in self.paths for each in files.get(str(path)).outlines]

    def took(self) -> list[str]:
        """Return the names of the files that were checked since this was asked last."""
        loaded, self.loaded = self.loaded, []
        return loaded


@pytest.fixture
def workers(tmp_path: Path, pytestconfig: pytest.Config, monkeypatch: pytest.MonkeyPatch) -> Workers:
    """Return workers of a run, and count what they check."""
    made = Workers(tmp_path, pytestconfig)
    load = loading.load

    def counted(path: str, options: LoadOptions) -> Any:
        made.loaded.append(Path(path).name)
        return load(path, options)

    monkeypatch.setattr(loading, "load", counted)
    return made


def test_each_file_is_checked_by_one_worker(workers: Workers) -> None:
    """The next one reads what the first has left, and has the same scenarios."""
    first = workers.one()
    names = workers.names(first)
    assert sorted(workers.took()) == sorted(path.name for path in workers.paths)
    second = workers.one()
    assert workers.names(second) == names
    path = str(workers.paths[BUNDLE + 1])
    assert second.get(path).outlines == first.get(path).outlines
    assert second.get(path).scenarios == first.get(path).scenarios == loading.load(path, first._options)
    assert workers.took() == [workers.paths[BUNDLE + 1].name]


def test_a_changed_file_is_checked_again(workers: Workers) -> None:
    """What was checked is another file's."""
    workers.names(workers.one())
    workers.took()
    workers.paths[3].write_text(FILE.format(name="s3.changed.toml"), encoding="utf-8")
    assert "s3.changed.toml" in workers.names(workers.one())
    assert workers.took() == ["s3.clnrm.toml"]


def test_another_file_in_its_place_is_checked_again(workers: Workers) -> None:
    """Size and time of modification can be made to agree; inode and time of change cannot."""
    workers.names(workers.one())
    workers.took()
    path = workers.paths[3]
    before = path.stat()
    other = path.with_name("other")
    other.write_text(FILE.format(name="t3.clnrm.toml"), encoding="utf-8")
    os.utime(other, ns=(before.st_atime_ns, before.st_mtime_ns))
    other.replace(path)
    assert path.stat().st_size == before.st_size
    assert "t3.clnrm.toml" in workers.names(workers.one())
    assert workers.took() == ["s3.clnrm.toml"]


def test_mistakes_are_told_by_everyone(workers: Workers) -> None:
    """A file with mistakes stops neither its neighbours nor another worker from telling them."""
    workers.paths[3].write_text("[service.box]\nimage = 5\n", encoding="utf-8")
    for files in (workers.one(), workers.one()):
        workers.took()
        with pytest.raises(ScenarioFileError, match="image"):
            files.get(str(workers.paths[3]))
        assert files.get(str(workers.paths[4])).outlines[0].name == "s4.clnrm.toml"
    assert workers.took() == ["s3.clnrm.toml"]


def test_secrets_are_not_written_down(workers: Workers) -> None:
    """A file that holds one is checked by each worker."""
    hidden = '[vars]\ntoken = { value = "s3cr3t-token", secret = true }\n'
    workers.paths[3].write_text(hidden + FILE.format(name="s3"), encoding="utf-8")
    for files in (workers.one(), workers.one()):
        workers.took()
        assert files.get(str(workers.paths[3])).outlines[0].secrets == {"s3cr3t-token"}
    assert workers.took() == ["s3.clnrm.toml"]
    assert not any(b"s3cr3t" in each.read_bytes() for each in workers.folder.iterdir())


def test_another_environment_is_judged_anew(workers: Workers, monkeypatch: pytest.MonkeyPatch) -> None:
    """Templates may read variables; but those of xdist differ in any case, and no template may."""
    workers.names(workers.one())
    workers.took()
    monkeypatch.setenv("PYTEST_XDIST_WORKER", "gw5")
    workers.names(workers.one())
    assert workers.took() == []
    monkeypatch.setenv("DATABASE", "of-gw5")
    workers.names(workers.one())
    assert len(workers.took()) == BUNDLED


@pytest.mark.parametrize("kept", [0, 5, 9, 500, -1])
def test_what_a_dead_worker_has_begun_is_done_again(workers: Workers, kept: int) -> None:
    """Of its file there is nothing, or a part."""
    names = workers.names(workers.one())
    for each in workers.folder.iterdir():
        each.write_bytes(each.read_bytes()[:kept])
    workers.took()
    assert workers.names(workers.one()) == names
    assert len(workers.took()) == BUNDLED


def test_who_waits_checks_others_meanwhile(workers: Workers) -> None:
    """While one worker is at the first bundle, another takes the second; then it has what the first made."""
    slow, quick = workers.one(), workers.one()
    first = hashlib.sha256("\0".join(map(str, workers.paths[:BUNDLE])).encode()).hexdigest()
    place = workers.folder / f"checked-{first[:32]}"
    with place.open("w+b") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        found: list[list[str]] = []
        thread = threading.Thread(target=lambda: found.append(workers.names(quick)))
        thread.start()
        second = [path.name for path in workers.paths[BUNDLE:]]
        while workers.loaded != second:
            thread.join(0.01)
            assert thread.is_alive()
    thread.join()
    assert found == [[path.name for path in workers.paths]]
    assert workers.names(slow) == found[0]
    assert len(workers.took()) == BUNDLED


def test_no_more_workers_check_than_there_are_processors(
    workers: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rest wait until others have checked a bundle, which they never do themselves."""
    monkeypatch.setattr(checked_files, "count_processors", lambda: 1)
    monkeypatch.setattr(checked_files, "_WAIT_S", 60.0)
    rest, first = workers.one(worker="gw1"), workers.one(worker="gw0")
    rest._bundle(workers.folder)
    assert not rest._try(next(iter(rest._bundles.values())))
    assert workers.took() == []
    found: list[str] = []
    waiting = threading.Thread(target=lambda: found.extend(workers.names(rest)))
    waiting.start()
    names = workers.names(first)
    waiting.join()
    assert found == names == [path.name for path in workers.paths]
    assert workers.took() == names


def test_who_waits_in_vain_checks(workers: Workers, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those who were to check may be dead, or not have begun."""
    monkeypatch.setattr(checked_files, "count_processors", lambda: 1)
    monkeypatch.setattr(checked_files, "_WAIT_S", 0.0)
    names = workers.names(workers.one(worker="gw7"))
    assert workers.took() == names == [path.name for path in workers.paths]
    assert workers.names(workers.one(worker="gw6")) == names
    assert workers.took() == []


def test_a_folder_that_cannot_be_used_is_done_without(workers: Workers) -> None:
    """Each worker then checks for itself."""
    assert len(workers.names(workers.one(folder=workers.root / "gone"))) == BUNDLED
    assert len(workers.took()) == BUNDLED


def test_only_what_was_asked_for_is_checked(workers: Workers) -> None:
    """For one file on the command line pytest makes nodes of all that stand beside it."""
    files = workers.one()
    files._coming.clear()
    asked: Any = SimpleNamespace(isinitpath=lambda path: path == workers.paths[3])
    again = CheckedFiles(files.config, files.runtime, files.folder)
    for path in workers.paths:
        again.expect(path, asked)
    again.get(str(workers.paths[3]))
    assert workers.took() == ["s3.clnrm.toml"]


@pytest.mark.parametrize("mode", [0o777, 0o770, 0o701])
def test_a_folder_that_others_may_use_is_not_trusted(tmp_path: Path, mode: int) -> None:
    """Pickle would run what they have put there."""
    folder = tmp_path / "run"
    folder.mkdir()
    folder.chmod(mode)
    assert not checked_files._is_private(folder)
    folder.chmod(0o700)
    assert checked_files._is_private(folder)
    (tmp_path / "link").symlink_to(folder)
    assert not checked_files._is_private(tmp_path / "link")
    assert not checked_files._is_private(tmp_path / "gone")
