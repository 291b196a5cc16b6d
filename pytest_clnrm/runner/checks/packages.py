"""Packages of a container, by the lists that its package managers keep: no program of it is needed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from pytest_clnrm.errors import ContainerError
from pytest_clnrm.expect.checks.packages import Packages, judge_package
from pytest_clnrm.runner.checks.files import Looking

if TYPE_CHECKING:
    from pytest_clnrm.expect.text_checks import TextFault
    from pytest_clnrm.model.check import PackageCheck
    from pytest_clnrm.runner.actions.attempt import Setting

_LISTS = (
    "/var/lib/dpkg/status",
    # Of images without dpkg itself, such as distroless ones: a folder with a file for each package.
    "/var/lib/dpkg/status.d",
    "/lib/apk/db/installed",
    "/usr/lib/apk/db/installed",
)


def check_package(check: PackageCheck, setting: Setting, title: str) -> Iterator[TextFault]:
    """Yield why a package is something else than expected.

    An image may have several package managers: all of their lists are read.

    :raises ClnrmError: if it cannot be told.
    """
    looking, packages, found = Looking(setting, check.service), Packages(), 0
    for path in _LISTS:
        for content in looking.contents(path):
            found += 1
            for piece in content:
                packages.feed(piece)
            packages.end()
    if not packages.versions:
        # One that names nothing may be there for another package manager's sake.
        why = (
            "its list of packages names none"
            if found
            else "there is no list of packages of dpkg or apk in it"
        )
        raise ContainerError(f"{why}; use a step, such as rpm -q, or check a file")
    return judge_package(check, packages, title)
