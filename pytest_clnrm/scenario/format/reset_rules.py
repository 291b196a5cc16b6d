"""What types cannot say of how a shared service is reset.

Its steps are those of a scenario under the same rules. They are run before the other services of the next
scenario are there, and leave the service ready for it: what cannot be so is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import msgspec

from pytest_clnrm.model.key_path import KeyPath
from pytest_clnrm.scenario.format.http_rules import service_at
from pytest_clnrm.scenario.format.problems import Problem
from pytest_clnrm.scenario.format.step_rules import StepRules
from pytest_clnrm.scenario.templates.places import places_in
from pytest_clnrm.toml.positions import leaves

if TYPE_CHECKING:
    from pytest_clnrm.scenario.format.parts import Source
    from pytest_clnrm.scenario.format.reset_document import FileServiceDoc
    from pytest_clnrm.scenario.format.step_document import StepDoc

_RESTART = "restart"


def check_reset(
    doc: FileServiceDoc,
    path: KeyPath,
    name: str,
    *,
    deferred: frozenset[str],
    source: Source,
    origin: Callable[[KeyPath], KeyPath] = lambda path: path,
    in_file: bool = True,
) -> Iterator[Problem]:
    """Yield what is wrong with how a shared service is reset.

    :param name: of the service.
    :param deferred: names that are known when its steps run.
    :param source: returns the absolute path of a path in the file, or raises ValueError.
    :param origin: returns where a key path is written.
    :param in_file: False in a Python test, which reserves no room for containers of steps.
    """
    if doc.reset is None:
        return
    at = (*path, "reset")
    if (doc.reset.command is None) is not bool(doc.reset.steps):
        told = "has both" if doc.reset.steps else "has neither"
        yield Problem(at, f"{told}: write `command`, or `steps`", "steps = [{ run = ... }]")
        return
    found = [
        problem
        for index, step in enumerate(doc.reset.steps)
        for problem in (
            *_elsewhere(step, (*at, "steps", index), name, doc),
            *_senseless(step, (*at, "steps", index), in_file=in_file),
        )
    ]
    yield from found
    if not found:
        rules = StepRules({name: doc}, deferred, source, origin)
        yield from rules.check_list("step", doc.reset.steps, (*at, "steps"), name, [], {})


def _elsewhere(step: StepDoc, path: KeyPath, name: str, doc: FileServiceDoc) -> Iterator[Problem]:
    """Yield where a step is about another service."""
    named: list[tuple[KeyPath, str]] = []
    if step.service is not None:
        named.append(((*path, "service"), step.service))
    if step.fault:
        named.append(((*path, step.fault[0]), step.fault[1]))
    if step.host and service_at(step.host, {name: doc}) != name:
        named.append(((*path, "http"), step.host))
    for index, check in enumerate(step.check):
        if check.of_service is not None:
            key = "service" if check.log is None else "log"
            named.append(((*path, "check", index, key), check.of_service))
    named += [
        (at, str(place[0]))
        for at, text in leaves(msgspec.to_builtins(step), path)
        for place in places_in(text)
        if place
    ]
    for at, each in named:
        if each != name:
            yield Problem(at, f'a reset is of its own service alone: "{each}" need not run yet')


def _senseless(step: StepDoc, path: KeyPath, *, in_file: bool) -> Iterator[Problem]:
    """Yield what a step does that no reset can do."""
    if step.fault and step.fault[0] != _RESTART:
        yield Problem(
            (*path, step.fault[0]), "the next scenario needs it as it was: write restart, or a command"
        )
    elif step.wait:
        yield Problem((*path, "wait"), "it does not end: the next scenario uses it")
    elif step.image is not None and not in_file:
        message = "no room is reserved for a container of its own: a reset of a Python test runs commands in "
        yield Problem((*path, "image"), f"{message}the service, and asks it")
    elif step.use is not None:
        yield Problem((*path, "use"), "only steps that stand in a scenario file use blocks")
    for index, check in enumerate(step.check):
        if check.about == "image":
            yield Problem((*path, "check", index), "no reset changes an image: check it in a step")
        elif check.about == "log" and check.since is None:
            message = "its log holds what scenarios before made it print"
            yield Problem((*path, "check", index), message, "write since = the name of a step of the reset")
