"""Each defence that an attack is tried without is there, so that it can be switched off."""

from __future__ import annotations

import importlib

import pytest
from clnrm_testing.defences import Defence, all_defences


@pytest.mark.parametrize("defence", all_defences(), ids=lambda each: each.name)
def test_it_is_where_it_is_said_to_be(defence: Defence) -> None:
    """Functions move; the attacks themselves are only tried with a real engine."""
    module, _, name = defence.target.partition(":")
    found: object = importlib.import_module(module)
    for part in name.split("."):
        found = getattr(found, part)
    assert found is not None
