"""What templates may name of running services: in steps and checks, and in variables of other services."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from pytest_clnrm.model.key_path import KeyPath
from pytest_clnrm.scenario.format.parts import port_of
from pytest_clnrm.scenario.format.problems import Problem, unknown_service
from pytest_clnrm.scenario.templates.places import Place, places_in
from pytest_clnrm.toml.checking import suggestion

if TYPE_CHECKING:
    from pytest_clnrm.scenario.format.service_document import ServiceDoc

_OF_RUNNING = ("address", "ports", "url")


def check_place(place: Place, path: KeyPath, services: Mapping[str, ServiceDoc]) -> Iterator[Problem]:
    """Yield the mistake in what a template names of a running service."""
    name, what, port = [*map(str, place), "", "", ""][:3]
    if not name:
        return
    if name not in services:
        yield Problem(path, *unknown_service(name, services))
        return
    service = services[name]
    if what not in {"", *_OF_RUNNING}:
        known = (
            f"of a running service there are service.{name}.address, service.{name}.ports.PORT and "
            f"service.{name}.url"
        )
        yield Problem(path, f'there is no "{what}": {known}', suggestion(what, _OF_RUNNING))
    elif what == "url" and service.url is None:
        yield Problem(path, f'"{name}" has no url: give it one, such as url = "http://{{host}}:{{port}}"')
    elif service.network == "none":
        yield Problem(path, f'"{name}" has network = "none": it has no address and publishes nothing')
    ports = [port_of(each) for each in service.ports]
    published = [str(number) if protocol == "tcp" else f"{number}/udp" for number, protocol in ports]
    if what == "ports" and port and port not in published:
        listed_ports = ", ".join(published) or "none"
        yield Problem(path, f'"{name}" does not publish the port {port}; its ports are: {listed_ports}')


def check_env_places(name: str, services: Mapping[str, ServiceDoc]) -> Iterator[Problem]:
    """Yield the mistakes in what variables of a service name of others: those run before it starts."""
    before: set[str] | None = None
    for variable, text in services[name].env.items():
        at = ("service", name, "env", variable)
        for place in places_in(str(text)):
            other = str(place[0]) if place else ""
            if not other:
                yield Problem(
                    at, "which service it names must stand there: service.NAME.address, ports or url"
                )
                continue
            found = list(check_place(place, at, services))
            yield from found
            if found:
                continue
            if before is None:
                before = _before(name, services)
            if services[other].is_job:
                yield Problem(at, f'"{other}" is a job (ready = {{ exit = ... }}), which has ended by then')
            elif other == name:
                yield Problem(at, "a service does not run yet when its own variables are made")
            elif other not in before:
                message = f'"{other}" need not run yet when "{name}" starts, which does not depend on it'
                yield Problem(at, message, f'write depends_on = ["{other}"] in [service.{name}]')


def _before(name: str, services: Mapping[str, ServiceDoc]) -> set[str]:
    """Return the services that are ready before another one starts."""
    found: set[str] = set()
    left = [name]
    while left:
        for other in services[left.pop()].depends_on:
            if other in services and other not in found:
                found.add(other)
                left.append(other)
    return found
