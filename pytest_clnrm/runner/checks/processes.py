"""The processes of a container, as the engine lists them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from pytest_clnrm.expect.checks.accounts import Accounts
from pytest_clnrm.expect.checks.processes import judge_process
from pytest_clnrm.runner.checks.files import Looking

if TYPE_CHECKING:
    from pytest_clnrm.expect.text_checks import TextFault
    from pytest_clnrm.model.check import ProcessCheck
    from pytest_clnrm.runner.actions.attempt import Setting


def check_process(check: ProcessCheck, setting: Setting, title: str) -> Iterator[TextFault]:
    """Yield why the processes of a name are something else than expected.

    :raises ClnrmError: if they cannot be told.
    """
    container = setting.around.containers[check.service]
    seen = setting.around.runtime.engine().processes(container.id)
    accounts = Looking(setting, check.service).accounts() if check.user else Accounts()
    return judge_process(check, seen, accounts, title)
