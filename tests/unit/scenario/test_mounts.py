"""Which files and folders of the host a scenario may reach."""

from __future__ import annotations

import os
import socket
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pytest_clnrm.errors import ScenarioFileError
from pytest_clnrm.scenario import mounts
from pytest_clnrm.scenario.loading import load
from pytest_clnrm.scenario.locating import locate, source_of
from pytest_clnrm.scenario.mounts import VolumeRules, allowed_source, check_volume
from pytest_clnrm.scenario.options import LoadOptions
from pytest_clnrm.util.walk import walk

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


@pytest.mark.parametrize("target", ["/proc/self/environ", "{out}/secret", "{out}"])
def test_a_scenario_file_that_leads_out_is_refused(project: Any, target: str) -> None:
    """A scenario file is read only if it lies in the project itself; what it leads to is not shown."""
    root, out = project.root / "in", project.root / "out"
    root.mkdir()
    out.mkdir()
    (out / "secret").write_text("sesame = ")
    (out / "x.clnrm.toml").write_text("sesame = ")
    if target == "{out}":
        (root / "link").symlink_to(out)
        file = root / "link/x.clnrm.toml"
    else:
        file = root / "x.clnrm.toml"
        file.symlink_to(target.format(out=out))
    options = LoadOptions(rootdir=str(root))
    with pytest.raises(ScenarioFileError) as caught:
        load(str(file), options)
    (mistake,) = caught.value.mistakes
    shown = mistake.render("FILE")
    assert shown.startswith(
        f"FILE: it leads out of the project, to {os.path.realpath(file)}; a scenario file lies"
    )
    assert "sesame" not in shown
    allowed = LoadOptions(rootdir=str(root), allow_mounts=(str(out),))
    if "secret" in target:
        with pytest.raises(ScenarioFileError, match="not valid TOML"):
            load(str(file), allowed)


def test_links_of_scenario_files_within_the_project(project: Any) -> None:
    """A link to another file of the project is fine, and so is a file elsewhere that somebody names."""
    (project.root / "real.toml").write_text(f'[service.x]\nimage = "x"\n{STEP}')
    (project.root / "x.clnrm.toml").symlink_to("real.toml")
    (project.root / "sub").mkdir()
    inner = LoadOptions(rootdir=str(project.root / "sub"))
    assert load(str(project.root / "x.clnrm.toml"), LoadOptions(rootdir=str(project.root)))
    assert load(str(project.root / "real.toml"), inner)
    (project.root / "linked").symlink_to(project.root)
    assert load(str(project.root / "linked/x.clnrm.toml"), LoadOptions(rootdir=str(project.root / "linked")))


def test_a_file_that_became_a_link_is_not_read(project: Any) -> None:
    """What stands at a path when a failure is shown is read only if it is still the file itself."""
    file = project.root / "x.clnrm.toml"
    file.write_text('a = 1\n[[step]]\nrun = "true"\n')
    assert source_of(str(file), ("step", 0))[0] == 2
    (project.root / "other").write_text('a = 1\n[[step]]\nrun = "secret"\n')
    file.unlink()
    file.symlink_to("other")
    assert source_of(str(file), ("step", 0)) == (0, ())
    assert locate(str(file), ("step", 0)) == (1, 1)


def test_what_is_no_file_is_not_waited_for(project: Any) -> None:
    """A pipe is a mistake, and does not hold up the run."""
    os.mkfifo(project.root / "x.clnrm.toml")
    with pytest.raises(ScenarioFileError, match="cannot be read: is neither a file nor a folder"):
        load(str(project.root / "x.clnrm.toml"), LoadOptions(rootdir=str(project.root)))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder that may be written to, with a file."""
    folder = tmp_path.resolve() / "out"
    folder.mkdir()
    (folder / "plain").touch()
    return folder


def refusal(real: Path, *, read_only: bool = False, **rules: Any) -> str:
    """Return why a volume is refused, "" if it is not."""
    try:
        check_volume(str(real), read_only=read_only, rules=VolumeRules(**rules))
    except ValueError as error:
        return str(error)
    return ""


def test_writable_where_it_is_listed(folder: Path) -> None:
    """The folder itself, or one above it; through a link too; read-only is always fine."""
    (folder.parent / "link").symlink_to(folder)
    (folder / "sub").mkdir()
    for writable in (folder, folder.parent, folder.parent / "link"):
        assert refusal(folder / "sub", writable=(str(writable),)) == ""
        assert refusal(folder, writable=(str(writable),)) == ""
    assert refusal(folder, read_only=True) == ""
    only = (
        f"{folder} may be mounted read-only alone: the ini option clnrm_allow_writable lists the folders that"
    )
    assert refusal(folder).startswith(only)
    beside = refusal(folder, writable=(str(folder / "sub"), f"{folder}2"))
    assert beside.startswith(only)
    assert beside.endswith(f"(now: {folder}/sub, {folder}2)")


@pytest.mark.parametrize(
    "name", ["conftest.py", "a/b/test_x.py", ".git/config", "x.clnrm.toml", "a/.clnrm/x"]
)
def test_writable_holds_nothing_that_is_loaded(folder: Path, name: str) -> None:
    """What pytest and Git load is in none, at any depth; read-only it may be."""
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).touch()
    rules: dict[str, Any] = {
        "writable": ("/",),
        "loaded": ("conftest.py", "x/test_*.py", ".git", "*.clnrm.toml", ".clnrm"),
    }
    found = refusal(folder, **rules)
    assert found.startswith("it holds ")
    assert found.endswith("which is loaded on this host: mount a folder without such files, or read-only")
    assert refusal(folder / name, **rules)
    assert refusal(folder, read_only=True, **rules) == ""


@pytest.mark.parametrize("name", [".git/hooks", ".clnrm"])
def test_nothing_below_git_is_writable(folder: Path, name: str) -> None:
    """A folder of hooks is a program to be run."""
    (folder / name).mkdir(parents=True)
    own = name.partition("/")[0]
    assert refusal(folder / name, writable=("/",)) == f"it lies in {own}: no container may change that"


def test_what_is_too_much_to_look_through(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot be looked through is refused."""
    monkeypatch.setattr(mounts, "walk", lambda opened: walk(opened, max_entries=0))
    found = refusal(folder, writable=("/",))
    assert found == "it holds more than 0 files and folders, which is more than is looked through"


@pytest.mark.parametrize("read_only", [True, False])
def test_what_no_volume_shows(folder: Path, read_only: bool) -> None:  # noqa: FBT001
    """Private folders, what holds or lies in them; the folder for temporary files; our own folders."""
    (folder / "private/sub").mkdir(parents=True)
    (folder / "private/sub/mark").touch()
    private = {"private": {str(folder / "private"): "the ledger"}, "writable": ("/",)}
    for each in (folder, folder / "private", folder / "private/sub"):
        assert refusal(each, read_only=read_only, **private).startswith(f"the ledger {folder}/private ")
    assert refusal(folder / "plain", read_only=read_only, **private) == ""
    temporary = {"temporary": (str(folder / "private"),), "writable": ("/",)}
    assert "temporary files" in refusal(folder, read_only=read_only, **temporary)
    assert refusal(folder / "private/sub", read_only=read_only, **temporary) == ""
    own = f"{folder}/private/sub is a folder of pytest-clnrm's own"
    assert refusal(folder / "private/sub/mark", read_only=read_only, marks=("mark",)) == own


def test_a_mistake_of_a_writable_volume(project: Any, head: Any) -> None:
    """The mistake stands at the key that is to be changed, and is told once for all combinations."""
    text = volume(".").replace('"/seed"', '"/seed", read_only = false') + '[matrix]\na = ["1", "2"]\n'
    (mistake,) = head(project.refuse(text))
    assert mistake.startswith(
        f"FILE:3:46: service.db.volumes[0].read_only: {project.root} may be mounted read-only alone: "
    )
    (first, _) = project.load(
        text, volumes=VolumeRules(writable=(str(project.root),), loaded=("conftest.py",))
    )
    assert not first.services[0].volumes[0].read_only
    assert project.one(volume(".")).services[0].volumes[0].read_only
