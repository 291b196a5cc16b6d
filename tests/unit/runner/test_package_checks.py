"""Where packages of a container are looked up."""

from __future__ import annotations

from collections.abc import Callable, Mapping
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


def faults(files: Mapping[str, bytes], **check: Any) -> list[str]:
    """Return what is wrong with a package of a container that has these files; b"" is a folder."""

    def look_at_file(
        _container: str, path: str, *, deadline_s: float, feed: Callable[[bytes], None] | None = None
    ) -> FileSeen | None:
        assert deadline_s == 1.0
        if path not in files:
            return None
        if feed and files[path]:
            feed(files[path])
        kind: Any = "file" if files[path] else "directory"
        return FileSeen(kind=kind, mode=0o644, size_bytes=len(files[path]))

    engine = SimpleNamespace(look_at_file=look_at_file)
    around = SimpleNamespace(
        runtime=SimpleNamespace(engine=lambda: engine),
        containers={"api": SimpleNamespace(id="c", spec=SimpleNamespace(tmpfs=()))},
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
        ({"/var/lib/dpkg/status.d": b"", "/var/lib/dpkg/status.d/openssl": DISTROLESS}, "3.0.2"),
    ],
)
def test_lists_of_packages(files: Mapping[str, bytes], version: str) -> None:
    """That of the package manager that the image has; distroless ones have a file for each package."""
    assert faults(files) == []
    assert faults(files, installed=False) == [
        f"package 'openssl' is installed ({version}), which it must not"
    ]


def test_no_package_in_a_list() -> None:
    """It is known that there is none where there is a list, even if that is a folder."""
    for files in ({"/var/lib/dpkg/status.d": b""}, {"/lib/apk/db/installed": b"P:musl\nV:1\n"}):
        assert faults(files) == ["package 'openssl' is not installed"]
        assert faults(files, installed=False) == []


def test_no_list() -> None:
    """That it is not installed could not be shown."""
    with pytest.raises(ContainerError, match="there is no list of packages of dpkg or apk in it; use a step"):
        faults({}, installed=False)
