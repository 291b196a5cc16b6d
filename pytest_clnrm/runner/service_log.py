"""Reading what a service has printed: all of it, where all of it is judged."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_clnrm.engine.api import StreamName
    from pytest_clnrm.runner.actions.attempt import Setting


def read_log(
    setting: Setting,
    container: str,
    take: Callable[[StreamName, bytes], None],
    *,
    since_s: float | None = None,
) -> str | None:
    """Hand all that *container* has printed until now to *take*, and return why its beginning may be missing.

    That is "" if it is there, and None if the time was over first.

    :param since_s: by the engine's clock: what was printed before is left out.
    :raises ClnrmError: if it cannot be read.
    """
    engine = setting.around.runtime.engine()
    with closing(engine.follow_log(container, until_now=True, since_s=since_s)) as log:
        while pieces := log.receive(setting.deadline_s):
            for stream, data in pieces:
                take(stream, data)
        return None if pieces is None else log.may_lack()
