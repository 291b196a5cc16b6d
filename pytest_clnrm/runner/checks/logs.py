"""What a service has printed, as the engine has kept it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from pytest_clnrm.errors import ContainerError
from pytest_clnrm.expect.checks.logs import judge_log
from pytest_clnrm.expect.texts import Output
from pytest_clnrm.runner.service_log import read_log
from pytest_clnrm.util.output import BoundedOutput

if TYPE_CHECKING:
    from pytest_clnrm.engine.api import StreamName
    from pytest_clnrm.expect.text_checks import TextFault
    from pytest_clnrm.model.check import LogCheck
    from pytest_clnrm.runner.actions.attempt import Setting


def check_log(check: LogCheck, setting: Setting, title: str) -> Iterator[TextFault]:
    """Yield why the log of a service is something else than expected.

    :raises ClnrmError: if it cannot be read.
    """
    container = setting.around.containers[check.service]
    if container.keeps_alive:
        raise ContainerError("it runs no service, and only waits for steps, whose output is their own")
    if check.stream and setting.around.runtime.engine().facts.merges_streams:
        raise ContainerError(
            "this engine keeps stdout and stderr of a container as one text, in which `from` cannot be told "
            "apart; leave it out to look at both"
        )
    since_s = None
    if check.since:
        since_s = setting.around.began_s.get(check.since)
        if since_s is None:
            raise ContainerError(f"step {check.since!r} has not run")
    kept = BoundedOutput()

    def take(stream: StreamName, data: bytes) -> None:
        if check.stream in {None, stream}:
            kept.feed(data)

    lacks = read_log(setting, container.id, take, since_s=since_s)
    if lacks is None:
        raise ContainerError("the time for it is over")
    about = f"{check.stream} in the {title}" if check.stream else f"the {title}"
    if check.since:
        about += f" since step {check.since!r}"
    return judge_log(check, Output(about, kept.text(), kept.omitted_bytes, lacks))
