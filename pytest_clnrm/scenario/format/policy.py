"""Where a file asks for more than it may; no file can raise what that is."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from pytest_clnrm.model.capabilities import capability
from pytest_clnrm.model.key_path import KeyPath
from pytest_clnrm.model.units import parse_duration_s

if TYPE_CHECKING:
    from pytest_clnrm.model.policy import Policy
    from pytest_clnrm.model.scenario import Scenario
    from pytest_clnrm.scenario.format.document import FileDoc
    from pytest_clnrm.scenario.format.limits_document import LimitsDoc
    from pytest_clnrm.scenario.format.service_document import ServiceDoc

_REMEDY = "ask for less, or have the cap raised there"
_LISTS = "do without, or have it allowed by the ini option"
_ALLOW = "do without, or have it allowed there"

Refusal = tuple[KeyPath, str, str]
"""A key path of the canonical form, a message and a hint."""


def check_policy(doc: FileDoc, policy: Policy, written: Callable[[KeyPath], object]) -> Iterator[Refusal]:
    """Yield where a file asks for more than it may.

    :param written: returns what the file has for a key path: it may be spelled otherwise there.
    """
    yield from _timeout(doc.meta.timeout, ("meta", "timeout"), policy)
    for index, scenario in enumerate(doc.scenario or ()):
        yield from _timeout(scenario.timeout, ("scenario", index, "timeout"), policy)
    yield from _limits(doc.limits, ("limits",), policy)
    for name, service in doc.service.items():
        yield from check_service_policy(service, ("service", name), policy, written)


def check_containers(scenario: Scenario, policy: Policy) -> Iterator[Refusal]:
    """Yield a mistake if a scenario has more containers than it may, at the place of the scenario."""
    # Steps that run an image do so one after the other.
    count = len(scenario.services) + bool(scenario.image_runs)
    if policy.containers is not None and count > policy.containers:
        yield scenario.at, policy.too_much("containers", count, policy.containers, " containers"), _REMEDY


def _timeout(value: float | str | None, path: KeyPath, policy: Policy) -> Iterator[Refusal]:
    asked_s = 0.0 if value is None else parse_duration_s(value)
    if policy.timeout_s is not None and asked_s > policy.timeout_s:
        yield path, policy.too_much("timeout_s", asked_s, policy.timeout_s, " s"), _REMEDY


def _limits(doc: LimitsDoc, path: KeyPath, policy: Policy) -> Iterator[Refusal]:
    for name, message in policy.refusals(doc.built()):
        yield (*path, name), message, _REMEDY


def check_service_policy(
    doc: ServiceDoc, path: KeyPath, policy: Policy, written: Callable[[KeyPath], object]
) -> Iterator[Refusal]:
    """Yield where a service asks for more than it may.

    :param written: returns what was given for a key path.
    """
    if doc.limits:
        yield from _limits(doc.limits, (*path, "limits"), policy)
    if not policy.bridge and doc.network == "bridge":
        below = (*path, "network")
        yield below, policy.not_allowed("bridge", _network(written(below))), _ALLOW
    if doc.ports and not policy.ports:
        yield (*path, "ports"), policy.not_allowed("ports", "publishing ports"), _ALLOW
    elif doc.ports and not policy.bridge:
        # Networks without a way out publish nothing.
        what = "publishing ports, which needs the engine's bridge,"
        yield (*path, "ports"), policy.not_allowed("bridge", what), _ALLOW
    if doc.build is not None and not policy.build:
        yield (*path, "build"), policy.not_allowed("build", "building an image"), _ALLOW
    elif not policy.bridge and (build := doc.build_table) and build.network == "bridge":
        below = (*path, "build", "network")
        yield below, policy.not_allowed("bridge", _network(written(below))), _ALLOW
    if not policy.volumes and any(each.source is not None for each in doc.volumes):
        yield (*path, "volumes"), policy.not_allowed("volumes", "mounting files of the host"), _ALLOW
    yield from _privileges(doc, path, policy)
    for index, each in enumerate(doc.files):
        if each.source is not None and not policy.volumes:
            below = (*path, "files", index, "source")
            yield below, policy.not_allowed("volumes", "copying files of the host"), _ALLOW
    if doc.env_file is not None and not policy.volumes:
        yield (*path, "env_file"), policy.not_allowed("volumes", "reading files of the host"), _ALLOW


def _privileges(doc: ServiceDoc, path: KeyPath, policy: Policy) -> Iterator[Refusal]:
    """Yield where a service asks for more than containers have."""
    for index, name in enumerate(doc.cap_add):
        if capability(name) not in policy.capabilities:
            allowed = f"; allowed: {', '.join(policy.capabilities)}" if policy.capabilities else ""
            message = policy.not_allowed("capabilities", f"the capability {name}")
            yield (*path, "cap_add", index), f"{message}{allowed}", f"{_LISTS} clnrm_allow_cap_add"
    if not doc.no_new_privileges and not policy.new_privileges:
        message = policy.not_allowed("new_privileges", "letting programs gain privileges")
        yield (*path, "no_new_privileges"), message, f"{_LISTS} clnrm_allow_new_privileges"


def _network(written: object) -> str:
    """Return a network as a file has it: a text, or in the other dialect a table."""
    if isinstance(written, dict):
        pairs = ", ".join(f"{key} = {json.dumps(value)}" for key, value in written.items())
        return f"network = {{ {pairs} }}"
    return f"network = {json.dumps(written)}"
