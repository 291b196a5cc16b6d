"""Globs of absolute paths."""

from __future__ import annotations

import pytest

from pytest_clnrm.util.path_globs import PathGlob, components

CASES = [
    ("/a/x.log", "/a/x.log", True),
    ("/a", "/a/b/c", True),
    ("/a/*.log", "/a/x.log", True),
    ("/a/*.log", "/a/.log", True),
    ("/a/*.log", "/a/b/x.log", False),
    ("/a/*.log", "/a/x.log/inside", True),
    ("/a/*", "/a", False),
    ("/a/?[0-9]", "/a/x1", True),
    ("/a/?[!0-9]", "/a/x1", False),
    ("/a/[[]", "/a/[", True),
    ("/a/**", "/a", True),
    ("/a/**", "/a/b/c", True),
    ("/a/**/*.log", "/a/x.log", True),
    ("/a/**/*.log", "/a/b/c/x.log", True),
    ("/a/**/*.log", "/a/b/c/x.txt", False),
    ("/a/**/b/**/c", "/a/x/b/y/z/c", True),
    ("/a/**/b/**/c", "/a/x/y/z/c", False),
    ("/a/*/c", "/a/b/c/d/e", True),
    ("/a/*/c", "/a/b/d", False),
    ("//a/./b", "/a/b", True),
    ("/a/new\nline*", "/a/new\nline\n", True),
]


@pytest.mark.parametrize(("glob", "path", "is_meant"), CASES)
def test_what_a_glob_means(glob: str, path: str, is_meant: bool) -> None:  # noqa: FBT001
    """A wildcard stays within a folder, two are any number of folders; what is in a folder is meant too."""
    found = PathGlob.of(glob)
    assert f"{path}/".startswith(f"{found.folder}/")
    assert found.matches(components(path[len(found.folder) :])) is is_meant


def test_no_glob_takes_long() -> None:
    """Neither many wildcards in a name nor many folders are tried in every way."""
    glob = PathGlob.of("/a/" + "**/x/" * 300 + "*a" * 60 + "b")
    assert not glob.matches([*["x"] * 300, "a" * 250])
