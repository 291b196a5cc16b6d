"""Judging what lies at a path in a container."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from pytest_clnrm.expect.checks.accounts import Accounts
from pytest_clnrm.expect.conditions import missed
from pytest_clnrm.expect.text_checks import TextFault, judge_text
from pytest_clnrm.expect.texts import Output, quote
from pytest_clnrm.model.check import Executor, FileCheck, FileKind
from pytest_clnrm.model.seen import FileSeen

_WORDS: dict[FileKind, str] = {
    "file": "a regular file",
    "directory": "a directory",
    "symlink": "a symbolic link",
    "fifo": "a named pipe",
    "socket": "a socket",
    "device": "a device",
}
_EXECUTE: dict[Executor, int] = {"any": 0o111, "owner": 0o100, "group": 0o010, "other": 0o001}


@dataclass(frozen=True, slots=True, kw_only=True)
class FileFacts:
    """What was seen of a path.

    :param itself: what lies there; None if nothing does.
    :param end: where that leads, for a symbolic link; else the same. None if it leads nowhere.
    :param text: the content of a regular file, decoded: its end if it was cut.
    :param omitted_bytes: how many bytes before that were not kept.
    :param sha256: of all of it.
    :param accounts: of the container, where they are needed.
    """

    itself: FileSeen | None
    end: FileSeen | None
    text: str = ""
    omitted_bytes: int = 0
    sha256: str = ""
    accounts: Accounts = field(default_factory=Accounts)


def judge_file(check: FileCheck, facts: FileFacts, title: str) -> Iterator[TextFault]:
    """Yield why it is something else than expected.

    :param title: what the file is called in messages.
    """
    found = _described(facts)
    if not check.exists:
        if facts.itself is not None:
            yield TextFault(f"{title} must not exist, but is {found}", "", (*check.at, "exists"))
        return
    if facts.itself is None:
        yield TextFault(f"{title} does not exist", "", check.at)
        return
    yield from _judge_itself(check, facts.itself, title, found)
    if facts.end is not None:
        yield from _judge_end(check, facts.end, facts, title)
    elif not check.of_itself or _needs_end(check):
        yield TextFault(f"{title} is {found}", "", check.at)


def _described(facts: FileFacts) -> str:
    seen = facts.itself
    if seen is None:
        return "nothing"
    if seen.kind != "symlink":
        return _WORDS[seen.kind]
    broken = ", which does not exist" if facts.end is None else ""
    return f"a symbolic link to {quote(seen.target or seen.leads_to)}{broken}"


def _needs_end(check: FileCheck) -> bool:
    keys = ("executable_by", "owner", "group", "size", "sha256", "content")
    return check.mode is not None or any(getattr(check, key) for key in keys)


def _judge_itself(check: FileCheck, seen: FileSeen, title: str, found: str) -> Iterator[TextFault]:
    if check.kind is not None and seen.kind != check.kind:
        yield TextFault(f"{title} is {found}, expected {_WORDS[check.kind]}", "", (*check.at, "kind"))
    at = (*check.at, "target")
    if check.target is not None and seen.kind == "symlink" and not seen.target:
        yield TextFault(f"{title} is {found}, and the engine does not tell how that is written", "", at)
    elif check.target is not None and seen.target != check.target:
        yield TextFault(f"{title} is {found}, expected a symbolic link to {quote(check.target)}", "", at)


def _judge_end(check: FileCheck, seen: FileSeen, facts: FileFacts, title: str) -> Iterator[TextFault]:
    if check.mode is not None and seen.mode != check.mode:
        yield TextFault(
            f"{title} has mode {seen.mode:04o}, expected {check.mode:04o}", "", (*check.at, "mode")
        )
    if check.executable_by is not None and not seen.mode & _EXECUTE[check.executable_by]:
        who = {"any": "somebody", "owner": "its owner", "group": "its group", "other": "others"}
        message = f"{title} has mode {seen.mode:04o}, expected that {who[check.executable_by]} may execute it"
        yield TextFault(message, "", (*check.at, "executable_by"))
    yield from _judge_owners(check, seen, facts.accounts, title)
    if seen.kind == "file" and (wanted := missed(check.size, seen.size_bytes)):
        yield TextFault(f"{title} has {seen.size_bytes} bytes, expected {wanted}", "", (*check.at, "size"))
    for key in ("size", "sha256", "content"):
        if getattr(check, key) and seen.kind != "file":
            message = f"{title} is {_WORDS[seen.kind]}, which has no {key}: expected a regular file"
            yield TextFault(message, "", (*check.at, key))
            return
    if check.sha256 and facts.sha256 != check.sha256:
        message = f"{title} has the SHA-256 {facts.sha256}, expected {check.sha256}"
        yield TextFault(message, "", (*check.at, "sha256"))
    if check.content is not None:
        output = Output(f"the content of {title}", facts.text, facts.omitted_bytes)
        excerpt = output.excerpt()
        for fault in judge_text(check.content, output):
            # The content is shown once, with what it explains first.
            details = "\n".join(filter(None, (fault.details, excerpt)))
            yield fault._replace(details=details)
            excerpt = ""


def _judge_owners(check: FileCheck, seen: FileSeen, accounts: Accounts, title: str) -> Iterator[TextFault]:
    if check.owner:
        uid = accounts.uid_of(check.owner)
        if seen.uid is None:
            message = f"{title} is {_WORDS[seen.kind]}, of which the engine does not tell the owner"
            yield TextFault(message, "", (*check.at, "owner"))
        elif uid != seen.uid:
            got = accounts.user_text(seen.uid)
            wanted = f"{check.owner}, but there is no such user" if uid is None else accounts.user_text(uid)
            yield TextFault(f"{title} is owned by {got}, expected {wanted}", "", (*check.at, "owner"))
    if check.group:
        gid = accounts.gid_of(check.group)
        if seen.gid is None:
            message = f"{title} is {_WORDS[seen.kind]}, of which the engine does not tell the group"
            yield TextFault(message, "", (*check.at, "group"))
        elif gid != seen.gid:
            got = accounts.group_text(seen.gid)
            wanted = f"{check.group}, but there is no such group" if gid is None else accounts.group_text(gid)
            yield TextFault(f"{title} is of group {got}, expected {wanted}", "", (*check.at, "group"))
