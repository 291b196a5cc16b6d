"""What is made on this host of files of a container, whatever their names and contents are."""

from __future__ import annotations

import errno
from collections.abc import Generator, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from pytest_clnrm.errors import ContainerError, EngineUnavailableError
from pytest_clnrm.model.check import FileKind
from pytest_clnrm.model.seen import FileSeen
from pytest_clnrm.model.service import Artifact, Service
from pytest_clnrm.runner import artifacts as module
from pytest_clnrm.runner.artifacts import ArtifactFolder, Artifacts, host_names, masked
from pytest_clnrm.scenario.mounts import LOADED
from pytest_clnrm.util.redaction import Redactor

LOAD = (*LOADED, "test_*.py", "*.clnrm.toml")
Found = tuple[str, FileKind, list[bytes]]


class Engine:
    """An engine whose containers hold what it is told, of any kind and name; an error is raised there."""

    def __init__(self, *found: Found | Exception) -> None:
        self.found = found

    def read_files(
        self, container: str, path: str, *, deadline_s: float
    ) -> Generator[tuple[str, FileSeen, Iterator[bytes]]]:
        """Yield it."""
        for each in self.found:
            if isinstance(each, Exception):
                raise each
            below, kind, pieces = each
            yield below, FileSeen(kind=kind, mode=0o6777, size_bytes=1 << 60), self._content(pieces)

    def _content(self, pieces: list[Any]) -> Iterator[bytes]:
        for piece in pieces:
            if isinstance(piece, Exception):
                raise piece
            yield piece


def keep(
    tmp_path: Path, *found: Found | Exception, paths: tuple[str, ...] = ("/loot",), limit: int = 1000
) -> Artifacts:
    """Return what is kept of what an engine has."""
    engine = Engine(*found)
    runtime = SimpleNamespace(
        engine=lambda: engine,
        loaded=LOAD,
        settings=SimpleNamespace(max_artifacts_bytes=limit, origin=lambda _: "pytest.ini:2"),
    )
    made = Artifacts(
        runtime=cast("Any", runtime),
        folder=ArtifactFolder(tmp_path / "artifacts", "a/b: <c>", "x::a"),
        redactor=Redactor({"hunter2"}),
    )
    service = Service(name="app", artifacts=tuple(Artifact(path=each) for each in paths))
    made.keep([cast("Any", SimpleNamespace(id="c", service=service))], failed=False)
    return made


def written(tmp_path: Path) -> dict[str, bytes]:
    """Return all files below the folder, and check that there is nothing else but folders."""
    found = {}
    for path in tmp_path.rglob("*"):
        assert not path.is_symlink()
        if not path.is_dir():
            assert path.is_file()
            assert path.stat().st_mode & 0o7111 == 0
            assert path.stat().st_nlink == 1
            found[str(path.relative_to(tmp_path))] = path.read_bytes()
    return found


def test_nothing_but_files_below_its_folder(tmp_path: Path) -> None:
    """Names that climb stay within, links and devices are left out, permissions do not come along."""
    kept = keep(
        tmp_path,
        ("../../up", "file", [b"1"]),
        ("a/../../../b", "file", [b"2"]),
        ("/etc/cron.d/x", "file", [b"3"]),
        ("shadow", "symlink", []),
        ("disk", "device", []),
        ("pipe", "fifo", []),
        ("sub", "directory", []),
        ("x\0y", "file", [b"4"]),
        ("", "socket", []),
    )
    name = "artifacts/a-b-c-"
    assert {path.removeprefix(name)[8:]: data for path, data in written(tmp_path).items()} == {
        "/app/loot/%2E%2E/%2E%2E/up": b"1",
        "/app/loot/a/%2E%2E/%2E%2E/%2E%2E/b": b"2",
        "/app/loot/etc/cron.d/x": b"3",
        "/app/loot/x%00y": b"4",
    }
    assert kept.notes == ["artifact /loot of service 'app': 4 links, devices and the like are left out"]
    assert all((tmp_path / each.file).is_file() for each in kept.files)


def test_names() -> None:
    """Nothing that a terminal obeys, an archive refuses, pytest loads, or that holds a secret."""

    def made(path: str) -> str:
        return "/".join(host_names(path, LOAD, Redactor({"hunter2", "one/two"})))

    assert made("/a b/ä.log") == "a b/ä.log"
    assert made("/a\n\x1b[2J\u202e\udcff") == "a%0A%1B[2J%E2%80%AE%ED%B3%BF"
    assert made('/<a href="x">\\:|?*') == "%3Ca href=%22x%22%3E%5C%3A%7C%3F%2A"
    assert made("/hunter2/x-hunter2.log") == "---/x----.log"
    assert made("/one/two/three") == "---/three"
    assert made("/.git/hooks/pre-commit") == ".git.artifact/hooks/pre-commit"
    for name in (
        "conftest.py",
        "CONFTEST.PY",
        "any.py",
        "x.pth",
        "x.so",
        "pytest.ini",
        "a.clnrm.toml",
        ".clnrm",
    ):
        assert made(f"/{name}") == f"{name}.artifact"
    assert made("/...") == "%2E%2E%2E"
    long = made("/" + "ä" * 255)
    assert len(long.encode()) <= 210
    assert made("/" + "ä" * 255) == long != made("/" + "ä" * 254)


def test_names_that_fall_together_are_two_files(tmp_path: Path) -> None:
    """What is there already is never written to again; a file named twice is kept once."""
    kept = keep(
        tmp_path,
        ("hunter2", "file", [b"1"]),
        ("---", "file", [b"2"]),
        paths=("/loot", "/loot/*"),
    )
    assert [each.file.rpartition("/")[2] for each in kept.files] == ["---", "---~2"]
    assert sorted(written(tmp_path).values()) == [b"1", b"2"]


def test_what_is_too_much_is_cut(tmp_path: Path) -> None:
    """The limit is of all files together; what the engine says of sizes does not count."""
    kept = keep(
        tmp_path, ("a", "file", [b"x" * 600]), ("b", "file", [b"y" * 300] * 1000), ("c", "file", [b"z"])
    )
    assert [(each.size_bytes, each.is_cut) for each in kept.files] == [(600, False), (400, True)]
    assert sum(map(len, written(tmp_path).values())) == 1000
    (note,) = kept.notes
    assert note == (
        "artifacts of more than 0.0009536743164 MB: /loot/b of service 'app' is cut there, and what comes "
        "after it is left out (clnrm_max_artifacts: pytest.ini:2)"
    )


def test_a_secret_at_the_cut_is_not_begun(tmp_path: Path) -> None:
    """Of a cut file the end that may begin a secret is left out."""
    keep(tmp_path, ("a", "file", [b"x" * 995, b"hunter2"]), limit=1000)
    assert list(written(tmp_path).values()) == [b"x" * 995]


def test_too_many_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Their number is bounded too."""
    monkeypatch.setattr(module, "MAX_FILES", 2)
    kept = keep(tmp_path, *((str(each), "file", [b""]) for each in range(4)))
    assert len(written(tmp_path)) == len(kept.files) == 2
    assert kept.notes == ["more than 2 files are artifacts: the rest is left out"]


def test_what_cannot_be_had_is_told(tmp_path: Path) -> None:
    """Each artifact for itself; what was written of a file when it broke off is marked as cut."""
    broken: list[Any] = [b"so far", ContainerError("the time for it is over")]
    kept = keep(tmp_path, ("a", "file", broken), paths=("/loot", "/loot/*"))
    assert [(each.size_bytes, each.is_cut) for each in kept.files] == [(6, True)]
    assert kept.notes == ["artifact /loot of service 'app': the time for it is over"]
    gone = keep(tmp_path, EngineUnavailableError("no engine answers"), paths=("/loot", "/more"))
    assert gone.notes == ["artifact /loot of service 'app': no engine answers"]
    full: list[Any] = [OSError(errno.ENOSPC, "No space left on device")]
    assert keep(tmp_path, ("a", "file", full)).notes == [
        "artifact /loot of service 'app': /loot/a: No space left on device"
    ]
    assert keep(tmp_path, paths=("/none",)).notes == ["artifact /none of service 'app': nothing lies there"]


@pytest.mark.parametrize("size", [1, 3, 7, 1000])
def test_masked_in_any_pieces(size: int) -> None:
    """Secrets are masked wherever the pieces end, and all other bytes are as they were."""
    data = b"\xff\xfe\x00 hunter2 \xc3\xa4\xc3 aHVudGVyMg== \xed\xa0\x80 hunter"
    pieces = [data[at : at + size] for at in range(0, len(data), size)]
    found = b"".join(masked(pieces, Redactor({"hunter2"}), lambda: False))
    assert found == data.replace(b"hunter2", b"***").replace(b"aHVudGVyM", b"***")
    assert b"".join(masked(pieces, Redactor(), lambda: False)) == data


def test_a_folder_is_an_items_own(tmp_path: Path) -> None:
    """Of equal names each has its own, a rerun starts with none, and any name makes one."""
    first, second = (ArtifactFolder(tmp_path, "x", "f::x") for _ in range(2))
    assert first.made() == first.made() != second.made()
    assert ArtifactFolder(tmp_path, "x", "g::x").made().name != first.made().name
    (first.made() / "old").write_text("")
    before = first.made()
    first.forget()
    assert not before.exists()
    first.forget()
    assert first.made() == before
    assert ArtifactFolder(tmp_path, "../..", "f::y").made().name.startswith("scenario-")
