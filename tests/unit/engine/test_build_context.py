"""The archive of a build's context: what is sent, and what is never read."""

from __future__ import annotations

import os
import socket
import tarfile
import time
from pathlib import Path

import pytest

from pytest_clnrm.engine.docker.build_context import write_context
from pytest_clnrm.engine.docker.dockerignore import Ignored
from pytest_clnrm.errors import ImageError

MIB = 1024**2


@pytest.fixture
def context(tmp_path: Path) -> Path:
    """Return a folder with a Dockerfile, and a file outside of it."""
    (tmp_path / "outside").write_text("secret")
    folder = tmp_path / "context"
    folder.mkdir()
    (folder / "Dockerfile").write_text("FROM scratch\n")
    return folder


def _open_descriptors() -> int:
    return len([*Path("/proc/self/fd").iterdir()])


def sent(context: Path, *, dockerfile: str | None = None, max_bytes: int = MIB) -> dict[str, object]:
    """Return what is sent: name -> content, the target of a link, or None for a folder."""
    deadline_s = time.monotonic() + 60
    descriptors = _open_descriptors()
    with (
        write_context(
            str(context), dockerfile=dockerfile, max_bytes=max_bytes, deadline_s=deadline_s
        ) as file,
        tarfile.open(fileobj=file) as archive,
    ):
        assert _open_descriptors() == descriptors + 1
        return {
            each.name: each.linkname if each.issym() else content.read() if content else None
            for each in archive
            for content in [archive.extractfile(each) if each.isfile() else None]
        }


def refusal(context: Path, **options: int) -> str:
    """Return why it is not sent; nothing stays open."""
    descriptors = _open_descriptors()
    with pytest.raises(ImageError, match=r"^cannot build the image of ") as caught:
        sent(context, **options)  # type: ignore[arg-type]
    assert _open_descriptors() == descriptors
    return str(caught.value)


def test_files_folders_and_links(context: Path) -> None:
    """Links stay links, wherever they lead; modes stay, owners do not; names may be of any bytes."""
    (context / "a/b").mkdir(parents=True)
    (context / "a/b/run").write_bytes(b"\0x")
    (context / "a/b/run").chmod(0o755)
    (context / "a/out").symlink_to("../../outside")
    (context / "a/folder").symlink_to("/etc")
    (context / os.fsdecode(b"a/\xff\n")).write_text("odd")
    (context / f"a/{'n' * 200}").write_text("long")
    assert sent(context) == {
        "Dockerfile": b"FROM scratch\n",
        "a": None,
        "a/b": None,
        "a/b/run": b"\0x",
        "a/folder": "/etc",
        f"a/{'n' * 200}": b"long",
        "a/out": "../../outside",
        os.fsdecode(b"a/\xff\n"): b"odd",
    }
    with (
        write_context(str(context), dockerfile=None, max_bytes=MIB, deadline_s=time.monotonic() + 60) as file,
        tarfile.open(fileobj=file) as archive,
    ):
        member = archive.getmember("a/b/run")
    assert (member.mode, member.uid, member.gid, member.uname) == (0o755, 0, 0, "")


def test_a_link_on_the_way(context: Path) -> None:
    """A folder that has become a link since it was judged is not followed, nor is one around it."""
    (context.parent / "link").symlink_to(context)
    assert "its context cannot be read: is a symbolic link: " in refusal(context.parent / "link")
    (context / "sub").mkdir()
    (context / "sub/Dockerfile").touch()
    assert "is a symbolic link" in refusal(context.parent / "link/sub")
    assert set(sent(context / "sub")) == {"Dockerfile"}


def test_what_is_there_must_be_a_folder_with_a_dockerfile(context: Path) -> None:
    """The message names what is missing."""
    assert "its context cannot be read: No such file or directory: " in refusal(context / "nosuch")
    assert "there is no folder" in refusal(context / "Dockerfile")
    (context / "Dockerfile").unlink()
    assert f"there is no file {context}/Dockerfile" in refusal(context)
    (context / "Dockerfile").mkdir()
    assert f"there is no file {context}/Dockerfile" in refusal(context)
    with pytest.raises(ImageError, match=r"there is no file .*/nosuch$"):
        sent(context, dockerfile="nosuch")
    with pytest.raises(ImageError, match="there is no file "):
        sent(context, dockerfile="../outside")
    # The engine looks for what it leads to, in what it was sent.
    (context / "Dockerfile").rmdir()
    (context / "Dockerfile").symlink_to("/etc/passwd")
    assert sent(context) == {"Dockerfile": "/etc/passwd"}


def test_what_no_image_can_hold(context: Path) -> None:
    """Sockets, pipes and devices are named; where they are ignored they do not matter."""
    os.mkfifo(context / "pipe")
    assert "pipe is a named pipe, which no image can hold: remove it, or name it in .dock" in refusal(context)
    (context / "pipe").unlink()
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(context / "sock"))
    assert "sock is a socket" in refusal(context)
    (context / ".dockerignore").write_text("sock\n")
    assert set(sent(context)) == {".dockerignore", "Dockerfile"}


def test_it_is_bounded(context: Path) -> None:
    """In bytes, also those of a hole, in files, in depth and in time."""
    with (context / "large").open("wb") as file:
        file.truncate(1 << 40)
    assert "its context is larger than 1 MB: leave out what the image does not need in .dock" in refusal(
        context
    )
    (context / "large").unlink()
    for number in range(10):
        (context / str(number)).touch()
    assert "its context is larger than 0.0048828125 MB" in refusal(context, max_bytes=10 * 512)
    deep = context
    for _ in range(201):
        deep = deep / "d"
        deep.mkdir()
    assert "folders lie more than 200 deep: d/d/d" in refusal(context)
    with pytest.raises(ImageError, match="the time for it was over before its context was read"):
        write_context(str(context), dockerfile=None, max_bytes=MIB, deadline_s=time.monotonic())


IGNORE = [
    # (pattern, left out, sent)
    ("a", ["a", "a/b", "a/b/c"], ["b", "b/a", "A"]),
    ("/a/", ["a", "a/b"], ["b/a"]),
    ("*.py", ["x.py", ".py"], ["d/x.py", "x.pyc"]),
    ("*/*.py", ["d/x.py"], ["x.py", "d/e/x.py"]),
    ("**/*.py", ["x.py", "d/x.py", "d/e/x.py"], ["x.c"]),
    ("**.py", ["x.py", "d/e/x.py"], ["x.c"]),
    ("a/**", ["a/b", "a/b/c"], ["b"]),
    ("**/a/**/b", ["a/b", "x/a/y/z/b"], ["b", "b/a"]),
    ("**", ["a", "a/b"], []),
    ("a?[xy][^z]", ["abxa"], ["abza", "abxz"]),
    ("\\*", ["*"], ["a"]),
    ("[", ["["], ["a"]),
    ("# a", [], ["a", "# a"]),
    ("  a  ", ["a"], ["b"]),
    ("x/../a/./b", ["a/b"], ["a/c"]),
    ("*\n!a/b\n!c", ["a", "a/c", "d"], ["a/b", "a/b/e", "c"]),
    ("!a\n*", ["a"], []),
    ("a\n!a/b\na/b/c", ["a", "a/b/c"], ["a/b", "a/b/d"]),
    ("", [], ["a"]),
    ("\n!\n.\n", [], ["a"]),
]


@pytest.mark.parametrize(("text", "out", "kept"), IGNORE)
def test_patterns(text: str, out: list[str], kept: list[str]) -> None:
    """As Docker has them: names are matched whole, the last pattern that matches counts."""
    ignored = Ignored(text)
    for path in [*out, *kept]:
        state, names = ignored.outside, path.split("/")
        for depth in range(len(names)):
            state = ignored.state("/".join(names[: depth + 1]), state)
        assert ignored.leaves_out(path, state) == (path in out), path


def test_what_is_ignored_is_not_sent(context: Path) -> None:
    """The Dockerfile and the patterns are, whatever they say; what is named again is, also in a folder."""
    (context / "a/b").mkdir(parents=True)
    for name in ("a/x", "a/b/y", "z"):
        (context / name).touch()
    (context / ".dockerignore").write_text("*\n!a/b\n")
    assert set(sent(context)) == {".dockerignore", "Dockerfile", "a/b", "a/b/y"}
    (context / ".dockerignore").write_text("*\n")
    assert set(sent(context)) == {".dockerignore", "Dockerfile"}
    (context / ".dockerignore").unlink()
    (context / ".dockerignore").symlink_to("/etc/passwd")
    assert "is a symbolic link" in refusal(context)


def test_patterns_take_no_time() -> None:
    """Patterns that a regular expression would try for hours."""
    ignored = Ignored("**/a/" * 30 + "x\n" + "*a" * 100 + "x\n" + "**/" * 40 + "x\n")
    state = ignored.state("/".join("a" * 200), ignored.outside)
    assert state == (False, False, False)
    assert ignored.state("a" * 255, ignored.outside) == (False, False, False)
