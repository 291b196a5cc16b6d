"""Where packages of a container are looked up."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Mapping
from types import SimpleNamespace
from typing import Any

import pytest

from pytest_clnrm.errors import ContainerError
from pytest_clnrm.model.check import PackageCheck
from pytest_clnrm.model.seen import FileSeen
from pytest_clnrm.runner.checks.packages import check_package

DPKG = b"Package: openssl\nStatus: install ok installed\nVersion: 3.0\n"
APK = b"P:openssl\nV:3.1-r2\n"
DISTROLESS = b"Package: openssl\nVersion: 3.0.2\n"
OTHER = b"Package: libc\nVersion: 1\n"


def faults(files: Mapping[str, bytes | str], **check: Any) -> list[str]:
    """Return what is wrong with a package of a container with these files; a text is where a link leads."""
    folders = {posixpath.dirname(path) for path in files}

    def seen_at(path: str) -> FileSeen | None:
        found = files.get(path)
        if isinstance(found, str):
            return FileSeen(kind="symlink", mode=0o777, size_bytes=0, leads_to=found)
        if found is None and path not in folders:
            return None
        kind: Any = "directory" if found is None else "file"
        return FileSeen(kind=kind, mode=0o644, size_bytes=len(found or b""))

    def look_at_file(_container: str, path: str, *, deadline_s: float, feed: None = None) -> FileSeen | None:
        assert (deadline_s, feed) == (1.0, None)
        return seen_at(path)

    def read_files(
        _container: str, top: str, *, deadline_s: float
    ) -> Iterator[tuple[str, FileSeen, Iterator[bytes]]]:
        assert deadline_s == 1.0
        for path in (top, *(each for each in files if each.startswith(f"{top}/"))):
            seen, data = seen_at(path), files.get(path, b"")
            assert seen is not None
            # In pieces that end within a line.
            pieces = [] if isinstance(data, str) else [data[:5], data[5:]]
            yield path[len(top) + 1 :], seen, iter(pieces)

    engine = SimpleNamespace(look_at_file=look_at_file, read_files=read_files)
    around = SimpleNamespace(
        runtime=SimpleNamespace(engine=lambda: engine),
        containers={"api": SimpleNamespace(id="c", spec=SimpleNamespace(tmpfs=("/memory",)))},
    )
    setting: Any = SimpleNamespace(around=around, deadline_s=1.0)
    made = PackageCheck(service="api", package="openssl", **check)
    return [each.message for each in check_package(made, setting, "package 'openssl'")]


@pytest.mark.parametrize(
    ("files", "version"),
    [
        ({"/var/lib/dpkg/status": DPKG}, "3.0"),
        ({"/lib/apk/db/installed": APK}, "3.1-r2"),
        ({"/usr/lib/apk/db/installed": APK}, "3.1-r2"),
        ({"/var/lib/dpkg/status.d/openssl": DISTROLESS}, "3.0.2"),
        ({"/var/lib/dpkg/status.d/b3BlbnNzbA": DISTROLESS, "/var/lib/dpkg/status.d/x": OTHER}, "3.0.2"),
        ({"/var/lib/dpkg/status": OTHER, "/var/lib/dpkg/status.d/openssl": DISTROLESS}, "3.0.2"),
        ({"/var/lib/dpkg/status": OTHER, "/lib/apk/db/installed": APK}, "3.1-r2"),
        ({"/var/lib/dpkg/status": b"", "/lib/apk/db/installed": APK}, "3.1-r2"),
        ({"/var/lib/dpkg/status": DPKG, "/lib/apk/db/installed": APK}, "3.0, 3.1-r2"),
        ({"/lib/apk/db/installed": APK, "/usr/lib/apk/db/installed": APK}, "3.1-r2"),
        ({"/var/lib/dpkg/status": "/usr/dpkg/status", "/usr/dpkg/status": DPKG}, "3.0"),
        ({"/var/lib/dpkg/status.d": "/usr/status.d", "/usr/status.d/x": DISTROLESS}, "3.0.2"),
    ],
)
def test_lists_of_packages(files: Mapping[str, bytes | str], version: str) -> None:
    """Those of all package managers are read, behind links too; some keep a file for each package."""
    assert faults(files) == []
    assert faults(files, installed=False) == [
        f"package 'openssl' is installed ({version}), which it must not"
    ]


def test_no_package_in_a_list() -> None:
    """It is known that there is none where there is a list of others."""
    for path in ("/var/lib/dpkg/status", "/var/lib/dpkg/status.d/libc", "/lib/apk/db/installed"):
        assert faults({path: OTHER}) == ["package 'openssl' is not installed"]
        assert faults({path: OTHER}, installed=False) == []


@pytest.mark.parametrize(
    ("files", "why"),
    [
        (
            {},
            "there is no list of packages of dpkg or apk in it; use a step, such as rpm -q, or check a file",
        ),
        ({"/var/lib/dpkg/status": b""}, "its list of packages names none; use a step"),
        ({"/lib/apk/db/installed": b"# nothing\n"}, "its list of packages names none; use a step"),
        ({"/var/lib/dpkg/status": "/gone"}, "/var/lib/dpkg/status leads to /gone, where nothing lies"),
        ({"/var/lib/dpkg/status": "/memory/status"}, "/memory is in memory, which is not seen from outside"),
        (
            {"/var/lib/dpkg/status.d/a": OTHER, "/var/lib/dpkg/status.d/b": "/x"},
            "/var/lib/dpkg/status.d/b is a symlink, which is not read",
        ),
    ],
)
def test_no_list(files: Mapping[str, bytes | str], why: str) -> None:
    """That it is not installed could not be shown."""
    with pytest.raises(ContainerError, match=why):
        faults(files, installed=False)
