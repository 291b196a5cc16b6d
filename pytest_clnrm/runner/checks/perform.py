"""Making the checks of a step: each is told by itself, whatever became of those before it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from pytest_clnrm.errors import ClnrmError, EngineUnavailableError
from pytest_clnrm.expect.text_checks import TextFault
from pytest_clnrm.model.check import (
    Check,
    FileCheck,
    GroupCheck,
    ImageCheck,
    LogCheck,
    PackageCheck,
    PortCheck,
    ProcessCheck,
    UserCheck,
)
from pytest_clnrm.model.result import Failure
from pytest_clnrm.util.patterns import within

if TYPE_CHECKING:
    from pytest_clnrm.runner.actions.attempt import Setting


def make_checks(setting: Setting) -> Iterator[Failure]:
    """Yield why the checks of the step do not hold.

    :raises EngineUnavailableError: if the engine does not answer any more.
    """
    found = [failure for check in setting.step.checks for failure in _failures(check, setting)]
    # What does not hold is no fault of the machine, whatever else could not be looked at.
    judged = any(not each.is_infrastructure for each in found)
    yield from (replace(each, is_infrastructure=each.is_infrastructure and not judged) for each in found)


def _failures(check: Check, setting: Setting) -> Iterator[Failure]:
    try:
        with within(setting.deadline_s):
            faults = list(_make(check, setting))
    except EngineUnavailableError:
        raise
    except ClnrmError as error:
        message = f"{title_of(check, setting)} could not be checked: {error}"
        failure = setting.failure(message, "error", at=check.at)
        yield replace(failure, is_infrastructure=error.is_infrastructure)
        return
    for fault in faults:
        yield setting.failure(fault.message, at=fault.at, details=fault.details)


def title_of(check: Check, setting: Setting) -> str:
    """Return what a check is about, with its service where there are several."""
    if isinstance(check, (ImageCheck, LogCheck)) or len(setting.around.scenario.services) == 1:
        return check.title
    return f"{check.title} of service {check.service!r}"


def _make(check: Check, setting: Setting) -> Iterator[TextFault]:
    title = title_of(check, setting)
    match check:
        case FileCheck():
            from pytest_clnrm.runner.checks.files import check_file

            yield from check_file(check, setting, title)
        case LogCheck():
            from pytest_clnrm.runner.checks.logs import check_log

            yield from check_log(check, setting, title)
        case ImageCheck():
            from pytest_clnrm.runner.checks.images import check_image

            yield from check_image(check, setting, title)
        case PortCheck():
            from pytest_clnrm.runner.checks.processes import check_port

            yield from check_port(check, setting, title)
        case UserCheck():
            from pytest_clnrm.expect.checks.users import judge_user
            from pytest_clnrm.runner.checks.files import Looking

            yield from judge_user(check, Looking(setting, check.service).accounts(), title)
        case GroupCheck():
            from pytest_clnrm.expect.checks.users import judge_group
            from pytest_clnrm.runner.checks.files import Looking

            yield from judge_group(check, Looking(setting, check.service).accounts(), title)
        case PackageCheck():
            from pytest_clnrm.runner.checks.packages import check_package

            yield from check_package(check, setting, title)
        case ProcessCheck():
            from pytest_clnrm.runner.checks.processes import check_process

            yield from check_process(check, setting, title)
