"""What types cannot say of a scenario file: names, references, and what goes together."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import starmap

from pytest_clnrm.model.key_path import KeyPath
from pytest_clnrm.model.selection import KnownMarks
from pytest_clnrm.scenario.format.container_rules import check_aliases
from pytest_clnrm.scenario.format.document import FileDoc, MetaDoc, ScenarioDoc
from pytest_clnrm.scenario.format.expect_rules import check_expectations
from pytest_clnrm.scenario.format.place_rules import check_env_places
from pytest_clnrm.scenario.format.problems import (
    Problem,
    duration,
    exactly_one,
)
from pytest_clnrm.scenario.format.reset_rules import check_reset
from pytest_clnrm.scenario.format.selection_rules import check_selection
from pytest_clnrm.scenario.format.service_rules import (
    check_depends_on,
    check_limits,
    check_service,
    circles_of,
)
from pytest_clnrm.scenario.format.step_rules import StepRules, names_before_checks
from pytest_clnrm.scenario.names import has_control, item_name_problem
from pytest_clnrm.scenario.templates.places import SERVICE

IMPLICIT = "default"
"""The name of the container that steps without a service share."""


def check_file(
    doc: FileDoc,
    *,
    name: str,
    deferred: frozenset[str],
    source: Callable[..., str],
    marks: KnownMarks,
    origin: Callable[[KeyPath], KeyPath],
) -> Iterator[Problem]:
    """Yield all mistakes of a file whose types are right.

    :param name: of its one scenario, if it has no ``[[scenario]]``.
    :param deferred: names that steps capture.
    :param marks: those of this run.
    :param source: returns the absolute path of a path in the file, or raises ValueError.
    :param origin: returns where a key path is written.
    """
    if doc.check is None or (doc.step and doc.scenario):
        yield from exactly_one(doc, ())
    yield from _meta(doc.meta, marks)
    yield from check_limits(doc.limits, ("limits",))
    circles = circles_of(doc.service)
    for service, each in doc.service.items():
        yield from check_service(each, ("service", service), source)
        yield from check_reset(
            each, ("service", service), service, deferred=deferred, source=source, origin=origin
        )
        yield from check_depends_on(service, doc.service, circles.get(service, ()))
        if SERVICE in deferred and each.scope == "scenario":
            yield from check_env_places(service, doc.service)
    yield from check_aliases(doc.service)
    steps = StepRules(doc.service, deferred, source, origin)
    usual = doc.meta.service
    yield from steps.check_usual(usual, ("meta",))
    yield from steps.check(doc, (), usual)
    of_scenarios = [names_before_checks(each, doc.setup or ()) for each in doc.scenario or ()]
    yield from steps.check_final(
        doc.check or (), ("check",), of_scenarios or [names_before_checks(doc)], usual
    )
    if doc.scenario:
        yield from _scenarios(doc.scenario, steps, doc, marks)
    elif doc.meta.name is None:
        yield from _item_name(name, (), "the file's name gives the scenario's: ")
    if doc.expect:
        yield from starmap(Problem, check_expectations(doc.expect, ("expect",)))


def _item_name(name: str, path: KeyPath, lead: str = "the name ") -> Iterator[Problem]:
    """Yield what is wrong with a name that is to be selected on the command line."""
    problem = item_name_problem(name)
    if problem:
        yield Problem(path, f"{lead}{problem}")


def _meta(doc: MetaDoc, marks: KnownMarks) -> Iterator[Problem]:
    if doc.name is not None:
        yield from _item_name(doc.name, ("meta", "name"))
    yield from duration(doc.timeout, ("meta", "timeout"), zero=False)
    yield from _tags(doc.tags, ("meta", "tags"))
    yield from check_selection(doc, ("meta",), marks)


def _tags(tags: list[str], path: KeyPath) -> Iterator[Problem]:
    for index, tag in enumerate(tags):
        if has_control(tag) or not tag.strip():
            yield Problem((*path, index), "a tag must not be empty or hold control characters")


def _scenarios(
    scenarios: list[ScenarioDoc], steps: StepRules, doc: FileDoc, marks: KnownMarks
) -> Iterator[Problem]:
    names: set[str] = set()
    for index, each in enumerate(scenarios):
        path: KeyPath = ("scenario", index)
        yield from _item_name(each.name, (*path, "name"))
        if each.name in names:
            yield Problem((*path, "name"), f'another scenario of this file is called "{each.name}"')
        names.add(each.name)
        yield from duration(each.timeout, (*path, "timeout"), zero=False)
        yield from _tags(each.tags, (*path, "tags"))
        yield from check_selection(each, path, marks)
        if not (each.step or each.check):
            yield Problem(path, 'the key "step" is missing', 'write [[scenario.step]] with run = "..."')
        yield from steps.check_usual(each.service, path)
        yield from steps.check(each, path, each.service or doc.meta.service, doc.setup or ())
        begun = [names_before_checks(each, doc.setup or ())]
        yield from steps.check_final(
            each.check or (), (*path, "check"), begun, each.service or doc.meta.service
        )
        if each.expect:
            below = (*path, "expect")
            yield from starmap(Problem, check_expectations(each.expect, below))
            for table in ("graph", "counts", "order", "status", "hermeticity"):
                if doc.expect and getattr(each.expect, table) and getattr(doc.expect, table):
                    yield Problem((*below, table), f"the file's own [expect.{table}] holds for each scenario")
