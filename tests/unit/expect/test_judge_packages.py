"""Judging packages: what the lists of dpkg and apk say, however they come in pieces."""

from __future__ import annotations

from typing import Any

import pytest

from pytest_clnrm.expect.checks.packages import Packages, judge_package
from pytest_clnrm.model.check import PackageCheck
from pytest_clnrm.model.text import TextExpect

DPKG = b"""Package: libc6
Status: install ok installed
Architecture: amd64
Version: 2.36-9+deb12u4
Description: GNU C Library
 Package: not-this-one

Package: libc6
Status: install ok installed
Architecture: i386
Version: 2.36-9

Package: telnet
Status: deinstall ok config-files
Version: 0.17

Package: openssl
Status: hold ok installed
Version: 3.0.11-1
"""
APK = b"""C:Q1abc=
P:musl
V:1.2.4-r2
A:x86_64

C:Q1def=
P:busybox
V:1.36.1-r5
"""
DISTROLESS = b"Package: tzdata\nVersion: 2024a\n"


def read(*lists: bytes, piece: int = 1 << 16) -> Packages:
    """Return the packages of lists that come in pieces of this size."""
    packages = Packages()
    for each in lists:
        for start in range(0, len(each), piece):
            packages.feed(each[start : start + piece])
        packages.end()
    return packages


@pytest.mark.parametrize("piece", [1, 7, 1 << 16])
def test_lists(piece: int) -> None:
    """A package that was removed but for its configuration is not installed."""
    assert read(DPKG, APK, DISTROLESS, piece=piece).versions == {
        "libc6": ["2.36-9+deb12u4", "2.36-9"],
        "openssl": ["3.0.11-1"],
        "musl": ["1.2.4-r2"],
        "busybox": ["1.36.1-r5"],
        "tzdata": ["2024a"],
    }
    assert read(b"", b"x" * 3_000_000, b"no list\n\nof: packages\n").versions == {}


def package(name: str, **check: Any) -> list[tuple[str, Any, str]]:
    """Return message, key and details of what does not hold of a package."""
    made = PackageCheck(service="api", package=name, at=("check", 0), **check)
    faults = judge_package(made, read(DPKG, APK), made.title)
    return [(each.message, each.at[2:], each.details) for each in faults]


def test_packages() -> None:
    """One of several versions of a name is enough; the message has what was expected and what is there."""
    assert package("libc6") == []
    assert package("libc6", version=TextExpect(equals="2.36-9")) == []
    assert package("telnet", installed=False) == []
    assert package("opensl") == [("package 'opensl' is not installed", (), "4 others are; similar: openssl")]
    assert package("x") == [("package 'x' is not installed", (), "4 others are")]
    assert package("libc6", installed=False) == [
        ("package 'libc6' is installed (2.36-9+deb12u4, 2.36-9), which it must not", ("installed",), "")
    ]
    ((message, at, _),) = package("musl", version=TextExpect(starts_with="2", at=("check", 0, "version")))
    assert message == "the version of package 'musl' does not start with '2', got '1.2.4-r2'"
    assert at == ("version", "starts_with")
