"""A pytest plugin that switches off the defence which CLNRM_WITHOUT_DEFENCE names, in each process of a run.

Loaded through PYTEST_PLUGINS, so that it works in the runs that a test starts, and in their workers, too.
"""

from __future__ import annotations

import importlib
import os
import sys

from clnrm_testing.defences import all_defences

_NAME = "CLNRM_WITHOUT_DEFENCE"


def switch_off(name: str) -> None:
    """Put what stands for a defence in its place, wherever it has been imported already."""
    defence = next(each for each in all_defences() if each.name == name)
    module_name, _, path = defence.target.partition(":")
    *owners, attribute = path.split(".")
    owner = importlib.import_module(module_name)
    for each in owners:
        owner = getattr(owner, each)
    original = getattr(owner, attribute)
    instead = defence.without(original)
    setattr(owner, attribute, instead)
    for found in [each for each in sys.modules if each.startswith("pytest_clnrm")]:
        if getattr(sys.modules[found], attribute, None) is original:
            setattr(sys.modules[found], attribute, instead)


if _NAME in os.environ:
    switch_off(os.environ[_NAME])
