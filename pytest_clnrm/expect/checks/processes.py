"""Judging the processes of a container."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Sequence

from pytest_clnrm.expect.checks.accounts import Accounts
from pytest_clnrm.expect.conditions import missed
from pytest_clnrm.expect.text_checks import TextFault
from pytest_clnrm.expect.texts import bounded_lines, indent, visible
from pytest_clnrm.model.check import ProcessCheck
from pytest_clnrm.model.seen import ProcessSeen

_SHOWN = 20
_KERNEL_CHARS = 15


def judge_process(
    check: ProcessCheck, seen: Sequence[ProcessSeen], accounts: Accounts, title: str
) -> Iterator[TextFault]:
    """Yield why the processes of a name are something else than expected."""
    found = [each for each in seen if is_called(each, check.process)]
    if wanted := missed(check.number, len(found)):
        yield TextFault(f"{title} runs {_times(len(found))}, expected {wanted}", _shown(seen), check.at)
        return
    if check.user:
        uid = accounts.uid_of(check.user)
        for each in found:
            got = accounts.uid_of(each.user)
            if uid is None or got != uid:
                shown = each.user if got is None else accounts.user_text(got)
                name = f"{check.user}, but there is no such user" if uid is None else accounts.user_text(uid)
                yield TextFault(
                    f"{title} runs as {shown}, expected {name}", _shown(seen), (*check.at, "user")
                )
                return


def is_called(process: ProcessSeen, name: str) -> bool:
    """Tell whether a process has a name: the kernel's, or that of its program."""
    program = process.command.split(" ", 1)[0]
    return name in {program, posixpath.basename(program)} or process.name == name[:_KERNEL_CHARS]


def _times(number: int) -> str:
    return {0: "not at all", 1: "once", 2: "twice"}.get(number, f"{number} times")


def _shown(seen: Sequence[ProcessSeen]) -> str:
    lines = [visible(f"{each.user} {each.command}") for each in seen]
    return f"its container runs:\n{indent(chr(10).join(bounded_lines(lines, _SHOWN)))}" if lines else ""
