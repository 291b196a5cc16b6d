"""Judging users and groups of a container."""

from __future__ import annotations

from collections.abc import Iterator

from pytest_clnrm.expect.checks.accounts import Accounts
from pytest_clnrm.expect.text_checks import TextFault
from pytest_clnrm.expect.texts import quote
from pytest_clnrm.model.check import GroupCheck, UserCheck


def judge_user(check: UserCheck, accounts: Accounts, title: str) -> Iterator[TextFault]:
    """Yield why a user is something else than expected."""
    user = accounts.user(check.user)
    if not check.exists:
        if user is not None:
            yield TextFault(f"{title} must not exist, but has the uid {user.uid}", "", (*check.at, "exists"))
        return
    if user is None:
        known = ", ".join(each.name for each in accounts.users) or "none"
        yield TextFault(f"{title} does not exist", f"users in /etc/passwd: {known}", check.at)
        return
    for key in ("uid", "gid"):
        wanted, got = getattr(check, key), getattr(user, key)
        if wanted is not None and wanted != got:
            yield TextFault(f"{title} has the {key} {got}, expected {wanted}", "", (*check.at, key))
    for key in ("home", "shell"):
        wanted, text = getattr(check, key), getattr(user, key)
        if wanted is not None and wanted != text:
            yield TextFault(
                f"{title} has the {key} {quote(text)}, expected {quote(wanted)}", "", (*check.at, key)
            )
    member = [each.name for each in accounts.groups if user.name in each.members or each.gid == user.gid]
    for name in check.groups:
        if name not in member:
            has = ", ".join(member) or "none"
            yield TextFault(f"{title} is not in the group {name}, but in: {has}", "", (*check.at, "groups"))


def judge_group(check: GroupCheck, accounts: Accounts, title: str) -> Iterator[TextFault]:
    """Yield why a group is something else than expected."""
    group = next((each for each in accounts.groups if each.name == check.group), None)
    if group is None:
        if check.exists:
            known = ", ".join(each.name for each in accounts.groups) or "none"
            yield TextFault(f"{title} does not exist", f"groups in /etc/group: {known}", check.at)
    elif not check.exists:
        yield TextFault(f"{title} must not exist, but has the gid {group.gid}", "", (*check.at, "exists"))
    elif check.gid is not None and check.gid != group.gid:
        yield TextFault(f"{title} has the gid {group.gid}, expected {check.gid}", "", (*check.at, "gid"))
