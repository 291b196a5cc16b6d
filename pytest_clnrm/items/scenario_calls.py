"""Scenario files that Python tests run: ``clnrm.scenario("x.clnrm.toml")``."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_clnrm.errors import ContainerError
from pytest_clnrm.items.failures import ScenarioFailedError, error_of
from pytest_clnrm.items.scenario_file import ScenarioFile, can_be_shown
from pytest_clnrm.items.scenario_item import used_by_others
from pytest_clnrm.items.selection import why_not_on
from pytest_clnrm.model.scenario import Scenario

if TYPE_CHECKING:
    from pytest_clnrm.items.container_group import ContainerGroup
    from pytest_clnrm.items.scenario_item import ScenarioItem
    from pytest_clnrm.model.demand import Demand
    from pytest_clnrm.model.result import Result
    from pytest_clnrm.model.service import Service

ReserveAll = Callable[["Demand", str], AbstractContextManager[str]]
NAMES_SHOWN = 10


class ScenarioCalls:
    """Runs scenarios of files within one test, or for a wider fixture.

    :param session: of which the test is a part.
    :param reserve: holds the room of a scenario while it runs; yields the id of the lease, "" for the test's.
    """

    def __init__(self, group: ContainerGroup, session: pytest.Session, reserve: ReserveAll) -> None:
        self._group = group
        self._session = session
        self._reserve = reserve

    def check_volumes(self, service: Service, file: Path) -> None:
        """Refuse a container whose writable volume holds what others use.

        :param file: whose code makes it.
        :raises ValueError: naming both.
        """
        scenario = Scenario(name="", file=str(file), services=(service,), steps=())
        if refusal := used_by_others(scenario, self._session):
            raise ValueError(f"volumes=...: {refusal}")

    def items(self, path: Path, variables: Mapping[str, object], name: str | None) -> list[ScenarioItem]:
        """Return the scenarios of a file, or that of a name.

        :raises ValueError: with all mistakes of the file, or if there is no such scenario.
        """
        if not can_be_shown(path, Path(path.anchor)):
            raise ValueError(f"path={str(path)!r}: the path of a scenario file holds no '::' or newlines")
        if not path.is_file():
            raise ValueError(f"path={str(path)!r}: there is no such file")
        file = ScenarioFile.from_parent(
            self._session, path=path, runtime=self._group.runtime, variables=variables
        )
        try:
            found = list(file.collect())
        except file.CollectError as error:
            raise ValueError(str(error)) from None
        if name is None:
            return found
        chosen = [each for each in found if each.name == name]
        if not chosen:
            raise ValueError(
                f"name={name!r}: {file.shown_path()} has no such scenario; it has {_listed(found)}"
            )
        return chosen

    def only(self, items: list[ScenarioItem]) -> ScenarioItem:
        """Return the one scenario of a file.

        :raises ValueError: if it has several.
        """
        if len(items) > 1:
            raise ValueError(
                f"{items[0].path.name} has {len(items)} scenarios, {_listed(items)}: "
                "say which (name=...), or run all of them with clnrm.scenarios(...)"
            )
        return items[0]

    def run(self, item: ScenarioItem, *, check: bool) -> Result:
        """Run a scenario, and return its result.

        :param check: raise what a scenario that failed is shown as.
        :raises ScenarioFailedError: if it has failed, or passed though its file says that it fails; with its
            result.
        :raises ClnrmError: if it could not be started.
        :raises pytest.skip.Exception: if its file says that it does not run here.
        :raises pytest.xfail.Exception: if it has failed as its file says that it does.
        """
        group = self._group
        group.tests.settle()
        group.check()
        why = next((each.kwargs["reason"] for each in item.own_markers if _skips(each)), "")
        if why := why or why_not_on(item.outline.selection, group.runtime, os.environ, sys.platform):
            raise pytest.skip.Exception(f"{item.nodeid}: {why}", _use_item_location=True)
        if refusal := item.holds_what_others_use():
            raise ContainerError(refusal)
        with self._reserve(item.demand(), item.name) as lease:
            began_s = time.monotonic()
            run = item.new_run(nodeid=group.label, lease=lease)
            try:
                run.prepare()
                result = run.execute()
            finally:
                for name in run.clean_up():
                    group.tests.was_kept(name, own_lease=bool(lease))
        for each in (*run.warnings(), *run.problems()):
            group.warn(f"{item.nodeid}: {each}")
        group.tests.included(result, began_s)
        if check and (error := _raised_by(item, result)):
            raise error
        return result

    def run_all(self, items: list[ScenarioItem], *, check: bool) -> tuple[Result, ...]:
        """Run scenarios one after the other; see :meth:`run`.

        That one is skipped, or fails as expected, keeps no other from running: it is raised at the end.
        """
        results: list[Result] = []
        raised: BaseException | None = None
        for each in items:
            try:
                results.append(self.run(each, check=check))
            except (pytest.skip.Exception, pytest.xfail.Exception) as error:  # noqa: PERF203 (a run takes longer)
                raised = raised or error
        if raised is not None:
            raise raised
        return tuple(results)


def _skips(mark: pytest.Mark) -> bool:
    return mark.name == "skip" or (mark.name == "skipif" and True in mark.args)


def _raised_by(item: ScenarioItem, result: Result) -> BaseException | None:
    """Return what a test raises that has run a scenario, None if all is well: it counts as its item would."""
    expected: Mapping[str, Any] = {}
    # Without pytest's own part for it nothing is expected to fail.
    if not item.config.getoption("runxfail", default=True):
        expected = next((each.kwargs for each in item.own_markers if each.name == "xfail"), {})
    reason = expected.get("reason", "")
    why = ""
    if result.failures:
        if expected and isinstance(error_of(result), expected.get("raises") or Exception):
            return pytest.xfail.Exception(f"{item.nodeid}: {reason}")
        why = item.explained_text(result)
    elif expected.get("strict"):
        why = f"{item.nodeid}: [XPASS(strict)] {reason}"
    if not why:
        return None
    failed = ScenarioFailedError(why)
    failed.result = result
    return failed


def _listed(items: list[ScenarioItem]) -> str:
    names = [repr(each.name) for each in items[:NAMES_SHOWN]]
    return ", ".join([*names, *(["..."] if len(items) > NAMES_SHOWN else [])])
