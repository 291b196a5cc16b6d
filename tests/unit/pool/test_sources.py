"""The sources of volumes while their container lives."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal

import pytest

from pytest_clnrm.engine.api import ContainerState
from pytest_clnrm.engine.docker import mounted
from pytest_clnrm.errors import ContainerError, EngineError, UnsharedError
from pytest_clnrm.model.seen import PathFacts
from pytest_clnrm.model.service import Service, Volume
from pytest_clnrm.pool import sources as pool_sources
from pytest_clnrm.pool.sources import open_sources
from pytest_clnrm.runner.volumes import problems_left
from pytest_clnrm.util.walk import walk


class OneContainer:
    """An engine whose one container is this process, or does not run; it may have other files than we."""

    def __init__(self, pid: int = 0, mounted: Mapping[str, Path] | None = None) -> None:
        self.facts = SimpleNamespace(remote=False, copies_volumes=False)
        self.mounted = mounted or {}
        self.pid = pid
        self.asked: list[str] = []

    def state(self, container: str) -> ContainerState:
        return ContainerState(
            id=container, running=bool(self.pid), exit_code=None, oom_killed=False, pid=self.pid
        )

    def look_at_path(self, container: str, path: str) -> PathFacts | None:
        for target, source in self.mounted.items():
            found = Path(str(source) + path.removeprefix(target))
            if path.startswith(target) and found.exists():
                status = found.stat()
                kind: Literal["folder", "file", "other"] = "folder" if found.is_dir() else "file"
                kind = kind if found.is_dir() or found.is_file() else "other"
                return PathFacts(kind=kind, size_bytes=status.st_size, modified_s=int(status.st_mtime))
        return None

    def remove(self, containers: Sequence[str]) -> None:
        self.asked += [f"remove {each}" for each in containers]

    def stop(self, container: str, *, grace_s: float) -> None:
        self.asked.append(f"stop {container}")
        if container == "stubborn":
            raise EngineError("it does not end")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Return a folder to be mounted."""
    source = tmp_path.resolve() / "source"
    source.mkdir()
    return source


def _service(source: Path, target: str = "/w", *, read_only: bool = True) -> Service:
    return Service(name="box", volumes=(Volume(source=str(source), target=target, read_only=read_only),))


def _descriptors() -> int:
    return len([*Path("/proc/self/fd").iterdir()])


@pytest.fixture
def looking(monkeypatch: pytest.MonkeyPatch) -> OneContainer:
    """Return an engine whose container is this process."""
    monkeypatch.setattr(mounted, "is_process_of", lambda pid, container: True)
    return OneContainer(os.getpid())


def test_what_is_mounted_is_what_was_opened(source: Path, looking: Any) -> None:
    """It is looked at within the container; then read-only sources are let go, writable ones are held."""
    before = _descriptors()
    sources = open_sources(_service(source, str(source)))
    assert sources.are_mounted(looking, "c")
    sources.check(looking, "c")
    assert _descriptors() == before
    sources = open_sources(_service(source, str(source), read_only=False))
    sources.check(looking, "c")
    assert sources.writable
    assert _descriptors() == before + 1
    sources.close()
    sources.close()
    assert _descriptors() == before


@pytest.mark.parametrize("shown", ["other", "nothing"])
def test_something_else_is_mounted(source: Path, looking: Any, shown: str) -> None:
    """The container is removed, and the message names the source."""
    if shown == "other":
        (source.parent / "other").mkdir()
    sources = open_sources(_service(source, str(source.parent / shown)))
    assert not sources.are_mounted(looking, "c")
    with pytest.raises(ContainerError, match=f"{source} was exchanged while the container was started"):
        sources.check(looking, "c")
    assert looking.asked == ["remove c"]
    sources.close()


def test_a_container_that_cannot_be_looked_into(source: Path) -> None:
    """Without a look inside the path is opened again and compared."""
    engine: Any = OneContainer(mounted={"/w": source})
    open_sources(_service(source)).check(engine, "c")
    sources = open_sources(_service(source))
    source.rename(source.parent / "old")
    source.mkdir()
    with pytest.raises(ContainerError, match="was exchanged while"):
        sources.check(engine, "c")
    source.rmdir()
    assert not sources.are_mounted(engine, "c")
    sources.close()


def _filled(folder: Path, changed_s: int = 1000) -> Path:
    """Return a new folder with two files and a folder in it, all changed at the same time."""
    (folder / "inner").mkdir(parents=True)
    (folder / "a.txt").write_text("a")
    (folder / "link").symlink_to("nowhere")
    for each in (folder / "inner", folder / "a.txt", folder):
        os.utime(each, (changed_s, changed_s))
    return folder


def test_a_folder_that_the_engine_shares(tmp_path: Path) -> None:
    """What the engine tells of it and of what is in it is the same: other numbers of files do not matter."""
    ours, theirs = _filled(tmp_path.resolve() / "ours"), _filled(tmp_path / "theirs")
    engine: Any = OneContainer(mounted={"/w": theirs})
    sources = open_sources(_service(ours))
    sources.check_shared(engine, "c")
    sources.check(engine, "c")
    assert engine.asked == []


def test_a_folder_that_the_engine_copies(tmp_path: Path) -> None:
    """Nothing is compared: a copy is of another time."""
    ours = _filled(tmp_path.resolve() / "ours")
    engine: Any = OneContainer()
    engine.facts.copies_volumes = True
    sources = open_sources(_service(ours))
    sources.check_shared(engine, "c")
    sources.check(engine, "c")
    assert engine.asked == []


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ("rm -r theirs", "it has nothing there"),
        ("rm -r theirs; touch theirs", "there is no folder"),
        ("touch theirs", "the folder there was changed at another time"),
        ("rm theirs/a.txt; touch -d @1000 theirs", "a.txt: it has nothing there"),
        ("touch -d @1001 theirs/a.txt", "a.txt: the file there was changed at another time"),
        (
            "echo aa > theirs/a.txt; touch -d @1000 theirs/a.txt",
            "a.txt: there is a file of 3 bytes, not of 1",
        ),
        ("rmdir theirs/inner; mkfifo theirs/inner; touch -d @1000 theirs", "inner: there is no folder"),
    ],
)
def test_a_folder_that_the_engine_does_not_share(tmp_path: Path, change: str, why: str) -> None:
    """It is refused before the start, and after it where it was not asked for before; the remedy is named."""
    ours, theirs = _filled(tmp_path.resolve() / "ours"), _filled(tmp_path / "theirs")
    subprocess.run(["sh", "-c", change], cwd=tmp_path, check=True)
    engine: Any = OneContainer(mounted={"/w": theirs})
    sources = open_sources(_service(ours))
    told = re.escape(f"the engine does not have this host's {ours} ({why}")
    with pytest.raises(UnsharedError, match=f"^{told}.*copy what is needed into an image .build., or share"):
        sources.check_shared(engine, "c")
    assert engine.asked == []
    with pytest.raises(UnsharedError, match=told):
        sources.check(engine, "c")
    assert engine.asked == ["remove c"]
    sources.close()


def test_the_process_of_another(source: Path) -> None:
    """A number of a process that is none of the container's here is not looked at."""
    state = OneContainer(os.getpid()).state("f" * 64)
    facts: Any = SimpleNamespace(remote=False, copies_volumes=False)
    assert mounted.identity_in(facts, state, str(source)) is None


def test_exchanged_before_it_is_opened(source: Path) -> None:
    """A link, something that is no file, and nothing are told; what was open before is closed."""
    before = _descriptors()
    two = Service(name="box", volumes=(_service(source.parent).volumes[0], _service(source).volumes[0]))
    source.rmdir()
    with pytest.raises(
        ContainerError, match=f"volume /w: {source}: No such file or directory; it was exchanged"
    ):
        open_sources(two)
    source.symlink_to("/")
    with pytest.raises(
        ContainerError, match=f"volume /w: {source}: is a symbolic link; it was exchanged since"
    ):
        open_sources(two)
    source.unlink()
    os.mkfifo(source)
    with pytest.raises(ContainerError, match=f"volume /w: {source} is neither a file nor a folder any more"):
        open_sources(two)
    assert _descriptors() == before


def _left(source: Path, *, keep: str = "never", failed: bool = False) -> tuple[list[str], list[str]]:
    """Return the problems with what was left, and what the engine was asked for."""
    engine = OneContainer()
    settings = SimpleNamespace(keep=keep)
    runtime: Any = SimpleNamespace(engine=lambda: engine, settings=settings, loaded=("conftest.py",))
    held = [open_sources(_service(source, read_only=False)), open_sources(_service(source))]
    containers: Any = [SimpleNamespace(id=f"c{n}", sources=each) for n, each in enumerate(held)]
    found = [each.message for each in problems_left(runtime, containers, failed=failed)]
    for each in held:
        each.close()
    return found, engine.asked


def test_what_was_left(source: Path) -> None:
    """The writable ones' containers are ended first; what is dangerous is named, the rest counted."""
    assert _left(source) == ([], ["stop c0"])
    assert _left(source, keep="failed", failed=True) == ([], [])
    assert _left(source, keep="failed") == ([], ["stop c0"])
    (source / "conftest.py").touch()
    for number in range(6):
        (source / f"x{number}").touch()
        (source / f"x{number}").chmod(0o4755)
    ((found,), _) = _left(source)
    assert found.startswith("volume /w: the scenario left ")
    assert found.endswith(" and 2 more")


def test_what_was_left_is_looked_for_in_what_was_opened(source: Path) -> None:
    """That its path leads elsewhere by now hides nothing."""
    sources = open_sources(_service(source, read_only=False))
    (source / "a.clnrm.toml").touch()
    source.rename(source.parent / "old")
    assert list(sources.left(("*.clnrm.toml",))) == [
        f"volume /w: the scenario left {source}/a.clnrm.toml (which is loaded on this host)"
    ]
    sources.close()


def test_links_to_folders_outside_are_named(source: Path) -> None:
    """Also by way of others, and where they lead to nothing yet; those to files are only what they are."""
    (source / "below").mkdir()
    (source.parent / "file").touch()
    links = {"in": "..", "fine": "in/below", "out": "in/..", "nothing": "/no/such", "file": "../../file"}
    for name, target in links.items():
        (source / "below" / name).symlink_to(target)
    (source / "below" / "loop").symlink_to("loop")
    ((found,), _) = _left(source)
    why = "(a link out of it, which is followed on this host)"
    assert f"{source}/below/nothing {why}" in found
    assert f"{source}/below/out {why}" in found
    assert found.count(why) == 2


def test_too_much_was_left(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot be looked through is a failure."""
    (source / "a").touch()
    monkeypatch.setattr(pool_sources, "walk", lambda opened: walk(opened, max_entries=0))
    ((found,), _) = _left(source)
    assert found.endswith("holds more than 0 files and folders: what was left there cannot be looked through")
