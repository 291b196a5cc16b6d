"""Versions: ours, and those of plugins that are known not to go together (docs/neighbours.md)."""

from __future__ import annotations

import platform
import re
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

from pytest_clnrm.doctor.finding import Finding, good, warning

if TYPE_CHECKING:
    from pytest_clnrm.doctor.patient import Patient

CLASHES = {
    "pytest-cases": "3.10.1",
    "pytest-forked": "1.7.5",
    "pytest-monitor": "1.6.6",
    "pytest-tap": "3.5",
}
"""Plugins that were seen to fail by themselves with pytest 9, and the newest version that was tried."""
_SINCE = 9


def versions(_patient: Patient) -> Finding:
    """Tell what runs the scenarios."""
    xdist = _version("pytest-xdist")
    beside = f"pytest-xdist {xdist}" if xdist else "no pytest-xdist: one process"
    ours = _version("pytest-clnrm")
    return good(
        f"pytest-clnrm {ours}, Python {platform.python_version()}, pytest {_version('pytest')}, {beside}"
    )


def neighbours(_patient: Patient) -> Finding:
    """Look for plugins that are known to clash with this pytest."""
    pytest = _version("pytest")
    wrong = [
        f"{name} {found}"
        for name, newest in CLASHES.items()
        if (found := _version(name)) and _numbers(found) <= _numbers(newest) and _numbers(pytest)[0] >= _SINCE
    ]
    if wrong:
        return warning(
            f"seen to fail by itself with pytest {pytest}: {', '.join(wrong)}",
            "uninstall it, or take pytest 8.4 (docs/neighbours.md)",
        )
    return good("no plugin that is known to clash")


def _version(name: str) -> str:
    """Return the version of a distribution, "" if it is not installed."""
    try:
        return version(name)
    except PackageNotFoundError:
        return ""


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(each) for each in re.findall(r"\d+", text))[:3]
