"""Files of other tools and their ports: each assertion is said, natively, and no shell compares anything."""

from __future__ import annotations

import pytest
from clnrm_testing.ports import ALL, PORTS, Port

from pytest_clnrm.model.scenario import Scenario
from pytest_clnrm.model.step import Command
from pytest_clnrm.scenario.loading import LoadOptions, load

LEAST_NATIVE = 0.95
COMPARING = {"sh", "bash", "ash", "test", "[", "grep", "cmp", "diff", "expr", "awk", "sed", "jq", "env"}
"""Programs that could judge in place of us."""

ports = pytest.mark.parametrize("port", ALL, ids=lambda port: port.tool)


def loaded(port: Port) -> tuple[Scenario, ...]:
    """Return the scenarios of a port."""
    return load(str(port.path), LoadOptions(rootdir=str(PORTS)))


@ports
def test_each_assertion_is_counted(port: Port) -> None:
    """What the original asserts has lines here that say so, or a reason; nothing else is said to be."""
    said = port.said + port.said_otherwise
    assert port.asserted - said == {}
    assert set(said) == set(port.asserted)


@ports
def test_each_port_is_read(port: Port) -> None:
    """Without an engine, as at collection."""
    assert loaded(port)


@ports
def test_no_command_compares(port: Port) -> None:
    """Commands are those of what is tested, without a shell: what comes of them is judged here."""
    steps = [step for scenario in loaded(port) for step in scenario.steps]
    commands = [step.action.run for step in steps if isinstance(step.action, Command)]
    assert all(isinstance(each, tuple) for each in commands)
    assert COMPARING.isdisjoint(each[0] for each in commands)


def test_nearly_all_is_native() -> None:
    """Of all assertions of all files."""
    asserted = sum(sum(port.asserted.values()) for port in ALL)
    otherwise = sum(sum(port.said_otherwise.values()) for port in ALL)
    assert asserted > 300
    assert 1 - otherwise / asserted >= LEAST_NATIVE
