"""Switches a defence off: in this process for a while, or, as a plugin of pytest, in each process of a run.

The plugin is loaded through PYTEST_PLUGINS and switches off what CLNRM_WITHOUT_DEFENCE names: also in the
runs that a test starts, and in their workers.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from clnrm_testing.defences import Defence, all_defences

_NAME = "CLNRM_WITHOUT_DEFENCE"
_TESTS = Path(__file__).parents[1]


@contextmanager
def switched_off(defence: Defence) -> Iterator[None]:
    """Leave *defence* off until the end of the block, also in each pytest that is started in it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(_NAME, defence.name)
        patch.setenv("PYTEST_PLUGINS", __name__)
        patch.setenv("PYTHONPATH", str(_TESTS), prepend=os.pathsep)
        attribute, original, instead = _switch_off(defence, patch)
        try:
            yield
        finally:
            # Also in modules that were imported in the block.
            _exchange(attribute, instead, original, pytest.MonkeyPatch())


def _switch_off(defence: Defence, patch: pytest.MonkeyPatch) -> tuple[str, object, object]:
    """Put what stands for a defence in its place, wherever it has been imported already.

    :returns: its name, what was there, and what is there now.
    """
    module_name, _, path = defence.target.partition(":")
    *owners, attribute = path.split(".")
    owner: object = importlib.import_module(module_name)
    for each in owners:
        owner = getattr(owner, each)
    original = getattr(owner, attribute)
    instead = defence.without(original)
    patch.setattr(owner, attribute, instead)
    _exchange(attribute, original, instead, patch)
    return attribute, original, instead


def _exchange(attribute: str, old: object, new: object, patch: pytest.MonkeyPatch) -> None:
    for name in [each for each in sys.modules if each.startswith("pytest_clnrm")]:
        if getattr(sys.modules[name], attribute, None) is old:
            patch.setattr(sys.modules[name], attribute, new)


if _NAME in os.environ:
    _switch_off(next(each for each in all_defences() if each.name == os.environ[_NAME]), pytest.MonkeyPatch())
