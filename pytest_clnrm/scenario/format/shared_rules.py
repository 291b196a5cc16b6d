"""What a service that several scenarios share cannot be, and what a scenario cannot do to it.

Each refusal is of something that would not be right: what one scenario does there, all others see.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_clnrm.model.key_path import KeyPath
    from pytest_clnrm.model.scenario import Scenario
    from pytest_clnrm.model.service import Service

_OWN = "leave `scope` out: each scenario has a container of its own then"

Refusal = tuple["KeyPath", str, str]
"""Where it is, a message and a hint."""


def check_shared(scenario: Scenario) -> Iterator[Refusal]:
    """Yield what is wrong with the shared services of a scenario."""
    for service in scenario.services:
        of_users = {
            "prepare": service.prepare and not service.is_prepared,
            "reset": bool(service.reset),
        }
        for key, is_there in of_users.items():
            if is_there and not service.is_shared:
                message = f"its container serves one scenario: only a shared service has `{key}`" + (
                    f" for each {service.prepare.each}" if service.prepare and key == "prepare" else ""
                )
                yield (*service.at, key), message, 'write [[setup]] steps, or scope = "run"'
    services = {each.name: each for each in scenario.services if each.is_shared}
    if not services:
        return
    # Tests without a scenario ask below alone.
    from pytest_clnrm.model.check import LogCheck
    from pytest_clnrm.model.fault import AwaitExit, Fault

    for service in services.values():
        yield from why_not_shared(service)
        for name in service.depends_on:
            if name not in services or services[name].scope == "file" != service.scope:
                whose = "file has" if name in services else "scenario has"
                message = f"it outlives {name!r}, of which each {whose} one of its own"
                hint = (
                    f'give {name!r} scope = "{service.scope}" too, or name it in the `depends_on` of others'
                )
                yield (*service.at, "depends_on"), message, hint
    for step in scenario.steps:
        if isinstance(step.action, (Fault, AwaitExit)) and step.service in services:
            what = step.action.kind if isinstance(step.action, Fault) else "wait for the end of"
            message = f"cannot {what} the service {step.service!r}: its scope is shared with other scenarios"
            yield step.at, message, _OWN
        for check in step.checks:
            if isinstance(check, LogCheck) and check.service in services:
                message = f"the log of {check.service!r} holds what other scenarios made it print"
                yield check.at or step.at, message, f"ask the service itself; or {_OWN}"


def why_not_shared(service: Service) -> Iterator[Refusal]:
    """Yield why a service cannot be shared."""
    what = f'scope = "{service.scope}"'
    if service.fresh:
        yield (*service.at, "fresh"), f"means a container that serves one scenario, not {what}", _OWN
    if service.is_job:
        yield (
            (*service.at, "ready"),
            f"a job has ended when it is ready: there is nothing to share ({what})",
            _OWN,
        )
    elif service.may_end:
        yield (*service.at, "may_end"), f"a service with {what} must not end while others use it", _OWN
    for volume in service.volumes:
        if not volume.read_only:
            message = f"a writable folder of the host goes to one scenario, not to {what}"
            yield volume.at or service.at, message, "read_only = true, or `scratch`"
    for shared in service.shared_volumes:
        message = f"the volume {shared.name!r} goes with its scenario, and the service with {what} stays"
        yield shared.at or service.at, message, "use `scratch`, or the image's own folders"
