"""A service, or what it is waited for, by itself: what Python tests give, under the rules of files."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from pytest_clnrm.model.key_path import KeyPath
from pytest_clnrm.model.limits import Limits
from pytest_clnrm.model.service import Ready, Service
from pytest_clnrm.scenario.format.policy import check_service_policy
from pytest_clnrm.scenario.format.ready_document import ReadyDoc, built_ready
from pytest_clnrm.scenario.format.service_document import ServiceDoc
from pytest_clnrm.scenario.format.service_rules import check_ready, check_service
from pytest_clnrm.toml.checking import convert, follows_from
from pytest_clnrm.toml.positions import value_at

if TYPE_CHECKING:
    from pytest_clnrm.model.policy import Policy
    from pytest_clnrm.scenario.format.parts import Source
    from pytest_clnrm.scenario.format.problems import Problem

Found = tuple[KeyPath, str, str]
"""A key path in what was given, what is wrong there, and a hint."""


class TooMuchError(Exception):
    """A service asks for more than it may.

    :param found: what is refused.
    """

    def __init__(self, found: list[Found]) -> None:
        super().__init__(found)
        self.found = found


class _Condition(msgspec.Struct, frozen=True, kw_only=True):
    """What a container is waited for."""

    ready: ReadyDoc


def read_service(
    table: Mapping[str, Any], *, name: str, source: Source, policy: Policy
) -> tuple[Service | None, list[Found]]:
    """Return the service of a table as ``[service.NAME]`` is one, and all that is wrong with it.

    :param table: as TOML gives it.
    :param source: judges paths of the host.
    :param policy: what it may ask for at most.
    :raises TooMuchError: if only that is wrong.
    """
    resets = "reset" in table
    doc, findings = convert(table, _of_files() if resets else ServiceDoc)
    problems = [(each.path, each.message, each.hint) for each in findings]
    if doc is None:
        return None, problems
    subjects = [each.subject for each in findings]
    rules = [*check_service(doc, (), source), *(_wrong_reset(doc, name, source) if resets else ())]
    problems += [
        (each.path, each.message, each.hint) for each in rules if not follows_from(each.path, subjects)
    ]
    if problems:
        return None, problems
    refused = list(check_service_policy(doc, (), policy, lambda path: value_at(table, path)))
    if refused:
        raise TooMuchError(refused)
    service = doc.built(name, Limits(), source, lambda *keys: keys)
    return _with_templates(service) if resets else service, []


def _of_files() -> type[ServiceDoc]:
    """Return the type of services that may be reset, which is of steps."""
    from pytest_clnrm.scenario.format.reset_document import FileServiceDoc

    return FileServiceDoc


def _wrong_reset(doc: Any, name: str, source: Source) -> Iterator[Problem]:
    from pytest_clnrm.scenario.format.reset_rules import check_reset
    from pytest_clnrm.scenario.templates.places import SERVICE, USERS

    captured = {each for step in doc.reset.steps for each in step.capture} if doc.reset else set()
    known = frozenset({SERVICE, *USERS, *captured})
    yield from check_reset(doc, (), name, deferred=known, source=source, in_file=False)


def _with_templates(service: Service) -> Service:
    """Return a service whose reset fills in what its steps name when they run."""
    from pytest_clnrm.scenario.templates.render import names_in_step

    reset = (dataclasses.replace(each, templated=bool(names_in_step(each))) for each in service.reset)
    return dataclasses.replace(service, reset=tuple(reset))


def read_condition(table: Mapping[str, Any]) -> tuple[Ready | None, list[Found]]:
    """Return one condition as ``ready`` of a service is one, and all that is wrong with it."""
    doc, findings = convert({"ready": table}, _Condition)
    problems = [(each.path[1:], each.message, each.hint) for each in findings]
    if doc is not None and not problems:
        problems = [(path[1:], message, hint) for path, message, hint in check_ready(doc.ready, ("ready",))]
    if doc is None or problems:
        return None, problems
    (ready,) = built_ready(doc.ready, lambda *keys: keys)
    return ready, []
