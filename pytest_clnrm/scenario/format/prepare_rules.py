"""What a service that is prepared cannot have: what is kept must be what its own keys alone make of it."""

from __future__ import annotations

from collections.abc import Iterator

from pytest_clnrm.model.key_path import KeyPath
from pytest_clnrm.scenario.format.problems import Problem
from pytest_clnrm.scenario.format.service_document import ServiceDoc
from pytest_clnrm.scenario.format.shared_document import PrepareDoc


def check_prepare(doc: ServiceDoc, path: KeyPath) -> Iterator[Problem]:
    """Yield why a service cannot be prepared."""
    at = (*path, "prepare")
    if isinstance(doc.prepare, PrepareDoc) and doc.prepare.each != "start":
        if doc.prepare.command is None:
            yield Problem(at, f'each = "{doc.prepare.each}" needs a `command`', "say what is to be run")
        return
    if not doc.prepare:
        return
    if doc.is_job:
        yield Problem(at, "a job has ended when it is ready: there is nothing to start from", "leave it out")
    if doc.depends_on:
        message = "its first start would depend on other services, which are no part of what is kept"
        yield Problem(at, message, "leave out `prepare` or `depends_on`")
    for index, volume in enumerate(doc.volumes):
        below = (*path, "volumes", index)
        if volume.name is not None:
            message = "is new for each scenario: a service with `prepare` cannot have it"
            yield Problem((*below, "name"), message, "use a folder of the image")
        elif volume.read_only is False:
            message = "a service with `prepare` cannot write to the host: its first start is done once"
            yield Problem((*below, "read_only"), message, "leave it out")
