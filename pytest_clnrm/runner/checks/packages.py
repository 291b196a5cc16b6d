"""Packages of a container, by the lists that its package manager keeps: no program of it is needed."""

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

_LISTS = ("/var/lib/dpkg/status", "/lib/apk/db/installed", "/usr/lib/apk/db/installed")
_FOLDER = "/var/lib/dpkg/status.d"
"""Of images without dpkg itself, such as distroless ones: a file for each package."""


def check_package(check: PackageCheck, setting: Setting, title: str) -> Iterator[TextFault]:
    """Yield why a package is something else than expected.

    :raises ClnrmError: if it cannot be told.
    """
    looking, packages = Looking(setting, check.service), Packages()
    lists = (*_LISTS, f"{_FOLDER}/{check.package}")
    found = any(looking.at(path, packages.feed) is not None for path in lists)
    packages.end()
    if not found and looking.at(_FOLDER) is None:
        raise ContainerError(
            "there is no list of packages of dpkg or apk in it; use a step, such as rpm -q, or check a file"
        )
    return judge_package(check, packages, title)
