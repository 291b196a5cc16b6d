"""What the tests of attacks run on, and each attack once more without its defence.

A test of an attack is worth nothing if it passes without the defence. So each defence of
``tests/clnrm_testing/defences`` has an item of its own, the test of its attack while the defence is off: it
passes if that test fails and shows that the attack went through.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import nullcontext

import pytest
from clnrm_testing.defences import Defence, all_defences
from clnrm_testing.engine_fixtures import (
    box,
    client,
    engine,
    image_without,
    in_shells,
    locks,
    needs,
    project,
    reached,
    spec,
    start,
    waiting,
)
from clnrm_testing.receiving import inbox, receiver
from clnrm_testing.undefended import switched_off

__all__ = [
    "box",
    "client",
    "engine",
    "image_without",
    "in_shells",
    "inbox",
    "locks",
    "needs",
    "project",
    "reached",
    "receiver",
    "spec",
    "start",
    "waiting",
]


@pytest.fixture(autouse=True)
def undefended(request: pytest.FixtureRequest) -> Iterator[None]:
    """Switch the defence off that the item is about, if any."""
    defence: Defence | None = getattr(request, "param", None)
    with switched_off(defence) if defence else nullcontext():
        yield


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test of an attack once as it is, and once without each of its defences."""
    test = f"{metafunc.definition.path.name}::{metafunc.function.__name__}"
    defences = [each for each in all_defences() if each.attack.partition("[")[0] == test]
    if defences:
        ids = [pytest.HIDDEN_PARAM, *(each.name for each in defences)]
        metafunc.parametrize(undefended.__name__, [None, *defences], indirect=True, ids=ids)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave out items of a defence against the same attack with other parameters."""
    items[:] = [each for each in items if _is_wanted(_defence(each), each)]


def _defence(item: pytest.Item) -> Defence | None:
    callspec = getattr(item, "callspec", None)
    return callspec.params.get(undefended.__name__) if callspec else None


def _is_wanted(defence: Defence | None, item: pytest.Item) -> bool:
    if defence is None or "[" not in defence.attack:
        return True
    return item.name.replace(f"{defence.name}-", "", 1) == defence.attack.partition("::")[2]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Have the test of an attack pass without its defence if the attack was seen to go through."""
    report = yield
    defence = _defence(item)
    if defence is None:
        return report
    if call.when == "teardown":
        # What an attack has left: the test of the defence is over.
        report.outcome, report.longrepr = "passed", None
    if call.when == "call":
        # What the failing assertion says; its source, which is printed too, holds the same words in any case.
        said = [line for line in report.longreprtext.splitlines() if line.startswith("E ")]
        if report.failed and any(defence.shows in line for line in said):
            report.outcome, report.longrepr = "passed", None
        elif report.passed:
            report.outcome = "failed"
            report.longrepr = f"the attack does not go through without its defence, {defence.target}"
    return report
