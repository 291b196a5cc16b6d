"""Which files and folders of the host a scenario may reach."""

from __future__ import annotations

import os
import socket
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pytest_clnrm.scenario.mounts import allowed_source

STEP = '[[step]]\nrun = "true"\n'

Judge = Callable[..., str]


@pytest.fixture
def judge(tmp_path: Path) -> Judge:
    """Return a function that judges a source in the folder ``project/tests``."""
    folder = tmp_path.resolve() / "project" / "tests"
    folder.mkdir(parents=True)

    def run(source: str, *allowed: str, **environ: str) -> str:
        rootdir = str(folder.parent)
        return allowed_source(source, folder=str(folder), rootdir=rootdir, allowed=allowed, environ=environ)

    return run


def test_paths_below_rootdir(judge: Judge, tmp_path: Path) -> None:
    """Files and folders below rootdir are resolved from the file's folder."""
    project = tmp_path.resolve() / "project"
    (project / "seed").mkdir()
    (project / "tests" / "a.sql").touch()
    assert judge("../seed") == str(project / "seed")
    assert judge("a.sql") == str(project / "tests" / "a.sql")
    assert judge(str(project)) == str(project)


@pytest.mark.parametrize("source", ["/etc", "../..", "../../other", "../../projectile"])
def test_paths_outside(judge: Judge, tmp_path: Path, source: str) -> None:
    """What lies elsewhere is refused, also beside a folder of a similar name, and says what is allowed."""
    (tmp_path / "other").mkdir()
    (tmp_path / "projectile").mkdir()
    with pytest.raises(ValueError, match=r"outside of .*; allowed are paths below /.*/project \(clnrm_"):
        judge(source)


def test_links_are_resolved_first(judge: Judge, tmp_path: Path) -> None:
    """A link below rootdir does not open what it leads to; a link to a place below it is fine."""
    tests = tmp_path.resolve() / "project" / "tests"
    (tests / "seed").symlink_to("/etc")
    (tests / "again").symlink_to("seed")
    (tests / "real").mkdir()
    (tests / "good").symlink_to("real")
    for source in ("seed", "again", "seed/hosts"):
        with pytest.raises(ValueError, match=r"lies outside of the project \(it leads to /etc"):
            judge(source)
    assert judge("good") == str(tests / "real")


def test_allowed_mounts(judge: Judge, tmp_path: Path) -> None:
    """Folders that the settings list are allowed too, through links as well."""
    data = tmp_path.resolve() / "data"
    data.mkdir()
    (tmp_path / "link").symlink_to(data)
    assert judge(str(data), str(tmp_path / "link")) == str(data)


def test_what_does_not_exist(judge: Judge, tmp_path: Path) -> None:
    """A missing path, a circle of links and a NUL character are told."""
    (tmp_path / "project" / "tests" / "loop").symlink_to("loop")
    with pytest.raises(ValueError, match=r"tests/gone: No such file or directory"):
        judge("gone")
    with pytest.raises(ValueError, match="Too many levels of symbolic links"):
        judge("loop")
    with pytest.raises(ValueError, match="a path cannot hold a NUL character"):
        judge("a\0b")


def test_sockets_are_never_given(judge: Judge) -> None:
    """No socket, no device, and no folder in which the engine's socket lies, whatever is allowed."""
    with tempfile.TemporaryDirectory(dir="/tmp") as short:
        folder = os.path.realpath(short)
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(f"{folder}/engine.sock")
            with pytest.raises(ValueError, match="a socket cannot be given to a container"):
                judge(f"{folder}/engine.sock", folder)
        with pytest.raises(ValueError, match=rf"the engine's socket {folder}/engine\.sock lies below it"):
            judge(folder, folder, DOCKER_HOST=f"unix://{folder}/engine.sock")
        with pytest.raises(ValueError, match=r"the engine's socket .* lies below it"):
            judge(folder, folder, XDG_RUNTIME_DIR=folder)
    with pytest.raises(ValueError, match=r"the engine's socket .* lies below it"):
        judge("/", "/")
    with pytest.raises(ValueError, match="/proc leads to every file of the host"):
        judge("/proc/1", "/")
    with pytest.raises(ValueError, match="only files and folders can be given to a container"):
        judge("/dev/null", "/")


def volume(source: str, target: str = "/seed", more: str = "") -> str:
    """Return the text of a file with one volume."""
    return (
        f'[service.db]\nimage = "x"\nvolumes = [{{ source = "{source}", target = "{target}" }}]\n{more}{STEP}'
    )


def test_a_file_with_a_link_to_etc_is_refused(project: Any, head: Any) -> None:
    """The loader judges each source, with its place."""
    (project.root / "seed").symlink_to("/etc")
    (mistake,) = head(project.refuse(volume("seed")))
    assert mistake.startswith(
        "FILE:3:14: service.db.volumes[0].source: lies outside of the project (it leads to /etc); allowed are"
    )
    assert project.one(volume("seed"), allow_mounts=("/etc",)).services[0].volumes[0].source == "/etc"


def test_a_build_may_be_a_folder(project: Any) -> None:
    """A folder alone is the context, relative to the file."""
    (project.root / "image").mkdir()
    build = project.one(f'[service.db]\nbuild = "image"\n{STEP}').services[0].build
    assert (build.context, build.dockerfile) == (str(project.root / "image"), None)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            volume(".", "/"),
            "FILE:3:28: service.db.volumes[0].target: expected a path below / in the container",
        ),
        (
            volume(".", "/s", 'scratch = ["/s"]\n'),
            "FILE:3:28: service.db.volumes[0].target: /s is there twice",
        ),
        (volume(".").replace("image", "build = '/etc'\n#"), "FILE:2:1: service.db.build: lies outside of"),
        (
            volume(".").replace('image = "x"', 'build = { context = "gone" }'),
            "FILE:2:11: service.db.build.context: ",
        ),
        (
            volume(".").replace('image = "x"', 'build = { context = ".", dockerfile = "gone" }'),
            "FILE:2:26: service.db.build.dockerfile: ",
        ),
        (
            volume(".").replace('image = "x"', 'build = { context = "sub", dockerfile = "../Dockerfile" }'),
            "FILE:2:28: service.db.build.dockerfile: must lie below the context",
        ),
    ],
)
def test_mistakes_of_volumes_and_builds(project: Any, head: Any, text: str, message: str) -> None:
    """Targets, contexts and their build files are judged with their places."""
    (project.root / "sub").mkdir()
    (project.root / "Dockerfile").touch()
    (mistake,) = head(project.refuse(text))
    assert mistake.startswith(message)
