"""The processes of a container and the ports on which they listen, as the engine and the kernel list them.

A container that does not run, as after a step that stops it, has neither.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from pytest_clnrm.expect.checks.accounts import Accounts
from pytest_clnrm.expect.checks.ports import judge_port
from pytest_clnrm.expect.checks.processes import judge_process
from pytest_clnrm.runner.checks.files import Looking

if TYPE_CHECKING:
    from pytest_clnrm.expect.text_checks import TextFault
    from pytest_clnrm.model.check import PortCheck, ProcessCheck
    from pytest_clnrm.runner.actions.attempt import Setting


def check_process(check: ProcessCheck, setting: Setting, title: str) -> Iterator[TextFault]:
    """Yield why the processes of a name are something else than expected.

    :raises ClnrmError: if they cannot be told.
    """
    engine, container = setting.around.runtime.engine(), setting.around.containers[check.service]
    state = engine.state(container.id)
    seen = engine.processes(container.id) if state.running else ()
    accounts = Looking(setting, check.service).accounts() if check.user else Accounts()
    faults = judge_process(check, seen, accounts, title)
    return faults if state.running else _of_ended(faults, state.describe_end())


def check_port(check: PortCheck, setting: Setting, title: str) -> Iterator[TextFault]:
    """Yield why a port is something else than expected.

    :raises ClnrmError: if it cannot be told.
    """
    engine, container = setting.around.runtime.engine(), setting.around.containers[check.service]
    state = engine.state(container.id)
    seen = engine.listeners(container.id, deadline_s=setting.deadline_s) if state.running else ()
    faults = judge_port(check, seen, title)
    return faults if state.running else _of_ended(faults, state.describe_end())


def _of_ended(faults: Iterator[TextFault], how: str) -> Iterator[TextFault]:
    """Yield faults with what explains them."""
    return (each._replace(message=f"{each.message}: its container does not run ({how})") for each in faults)
