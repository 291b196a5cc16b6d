"""The defences that the tests of ``tests/security`` hold, and how each one is switched off.

A test of an attack is worth nothing if it passes without the defence. So each defence names what stands in
its place when it is off, and the attack that then succeeds; ``tests/security/conftest.py`` switches them off
one by one. One module an area, each with a tuple ``DEFENCES``.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

__all__ = ["Defence", "all_defences"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Defence:
    """One defence of the package.

    :param name: what it does, in a few words: it is the test's id.
    :param target: ``package.module:attribute`` (or ``module:Class.attribute``) that is the defence.
    :param without: returns what stands in its place, given the original.
    :param attack: the test that fails then: ``test_paths.py::test_name``, below ``tests/security``, or
        one of its items, ``test_paths.py::test_name[parameters]``.
    :param shows: text that the failing test's output holds, by which it is seen that the attack went through,
        and that the test did not fail for another reason.
    """

    name: str
    target: str
    without: Callable[[Any], Any]
    attack: str
    shows: str


def all_defences() -> tuple[Defence, ...]:
    """Return the defences of all areas."""
    areas = sorted(each.name for each in pkgutil.iter_modules(__path__, f"{__name__}."))
    return tuple(each for area in areas for each in importlib.import_module(area).DEFENCES)
