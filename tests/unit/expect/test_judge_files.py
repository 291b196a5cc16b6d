"""Judging what lies at a path in a container: each check holds, and fails with what was expected and got."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from pytest_clnrm.expect.checks.accounts import Accounts, Group, User, read_accounts
from pytest_clnrm.expect.checks.files import FileFacts, judge_file
from pytest_clnrm.model.check import FileCheck
from pytest_clnrm.model.expectations import Condition
from pytest_clnrm.model.seen import FileSeen
from pytest_clnrm.model.text import TextExpect

ACCOUNTS = Accounts(
    users=(User(name="app", uid=1000, gid=1001, home="/app", shell=""),),
    groups=(Group(name="staff", gid=1001, members=("app",)),),
)
FILE = FileSeen(kind="file", mode=0o644, size_bytes=6, uid=1000, gid=1001)
LINK = FileSeen(kind="symlink", mode=0o777, size_bytes=1, uid=0, gid=0, target="../b", leads_to="/b")
FOLDER = FileSeen(kind="directory", mode=0o1777, size_bytes=4096, uid=0, gid=0)
SOCKET = FileSeen(kind="socket", mode=0o755, size_bytes=0)
SHA = "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03"


def facts(itself: FileSeen | None, end: FileSeen | None = None) -> FileFacts:
    """Return what is seen of a file of one line, a link to one, or something else."""
    return FileFacts(itself=itself, end=end or itself, text="hello\n", sha256=SHA, accounts=ACCOUNTS)


def wrong(seen: FileFacts, **check: Any) -> list[tuple[str, Any]]:
    """Return message and key of each check that does not hold."""
    made = FileCheck(service="api", path="/a", at=("check", 0), **check)
    return [(fault.message, fault.at[2:]) for fault in judge_file(made, seen, "file /a")]


def size(op: Any, value: int) -> tuple[Condition, ...]:
    """Return the bound of a size."""
    return (Condition(op=op, value=value),)


@pytest.mark.parametrize(
    ("seen", "holds", "fails", "message"),
    [
        (FILE, {}, {"exists": False}, "file /a must not exist, but is a regular file"),
        (None, {"exists": False}, {"mode": 0o644}, "file /a does not exist"),
        (FILE, {"kind": "file"}, {"kind": "directory"}, "file /a is a regular file, expected a directory"),
        (FOLDER, {"kind": "directory"}, {"kind": "fifo"}, "file /a is a directory, expected a named pipe"),
        (FILE, {"mode": 0o644}, {"mode": 0o4755}, "file /a has mode 0644, expected 4755"),
        (FOLDER, {"mode": 0o1777}, {"mode": 0o777}, "file /a has mode 1777, expected 0777"),
        (FILE, {"owner": "app"}, {"owner": "0"}, "file /a is owned by app (1000), expected 0"),
        (
            FILE,
            {"owner": "1000"},
            {"owner": "web"},
            "file /a is owned by app (1000), expected web, but there is no such user",
        ),
        (FILE, {"group": "staff"}, {"group": "7"}, "file /a is of group staff (1001), expected 7"),
        (
            FILE,
            {"group": "1001"},
            {"group": "web"},
            "file /a is of group staff (1001), expected web, but there is no such group",
        ),
        (
            FileSeen(kind="file", mode=0o750, size_bytes=1),
            {"executable_by": "group"},
            {"executable_by": "other"},
            "file /a has mode 0750, expected that others may execute it",
        ),
        (
            FOLDER,
            {"executable_by": "any"},
            {"mode": 0o777},
            "file /a has mode 1777, expected 0777",
        ),
        (
            FILE,
            {"mode": 0o644},
            {"executable_by": "any"},
            "file /a has mode 0644, expected that somebody may execute it",
        ),
        (FILE, {"size": size("eq", 6)}, {"size": size("eq", 7)}, "file /a has 6 bytes, expected exactly 7"),
        (
            FILE,
            {"size": size("lt", 7)},
            {"size": size("gt", 6) + size("ne", 6) + size("lt", 9)},
            "file /a has 6 bytes, expected any but 6 and more than 6 and less than 9",
        ),
        (FILE, {"sha256": SHA}, {"sha256": "0" * 64}, f"file /a has the SHA-256 {SHA}, expected {'0' * 64}"),
        (
            FILE,
            {"content": TextExpect(contains=("ell",))},
            {"content": TextExpect(contains=("bye",), at=("check", 0, "content"))},
            "the content of file /a does not contain 'bye', got 'hello\\n'",
        ),
        (
            FOLDER,
            {"owner": "0"},
            {"size": size("gt", 1)},
            "file /a is a directory, which has no size: expected a regular file",
        ),
        (
            SOCKET,
            {"kind": "socket", "mode": 0o755},
            {"owner": "0"},
            "file /a is a socket, of which the engine does not tell the owner",
        ),
        (SOCKET, {}, {"group": "0"}, "file /a is a socket, of which the engine does not tell the group"),
    ],
)
def test_each_check_holds_or_says_why_not(
    seen: FileSeen | None, holds: dict[str, Any], fails: dict[str, Any], message: str
) -> None:
    """The message has what was expected and what is there, and its place is the key."""
    assert wrong(facts(seen), **holds) == []
    key = () if seen is None else (next(iter(fails)),)
    assert [(told, at[:1]) for told, at in wrong(facts(seen), **fails)] == [(message, key)]


def test_links() -> None:
    """Kind and target are of the link itself, all else is of what it leads to, which must be there."""
    leads = facts(LINK, FILE)
    assert wrong(leads, kind="symlink", target="../b", mode=0o644, size=size("eq", 6)) == []
    assert wrong(leads, kind="file", target="/b") == [
        ("file /a is a symbolic link to '../b', expected a regular file", ("kind",)),
        ("file /a is a symbolic link to '../b', expected a symbolic link to '/b'", ("target",)),
    ]
    assert wrong(facts(FILE), target="/b") == [
        ("file /a is a regular file, expected a symbolic link to '/b'", ("target",))
    ]
    broken = FileFacts(itself=LINK, end=None)
    told = "a symbolic link to '../b', which does not exist"
    assert wrong(broken, kind="symlink", target="../b") == []
    assert wrong(broken) == [(f"file /a is {told}", ())]
    assert wrong(broken, kind="symlink", mode=0o644) == [(f"file /a is {told}", ())]
    assert wrong(broken, exists=False) == [(f"file /a must not exist, but is {told}", ("exists",))]


def test_links_that_the_engine_does_not_tell_as_they_are_written() -> None:
    """No target holds then, as it could be any; where it leads is known."""
    link = FileSeen(kind="symlink", mode=0o777, size_bytes=1, leads_to="/b")
    told = "file /a is a symbolic link to '/b', and the engine does not tell how that is written"
    assert wrong(facts(link, FILE), kind="symlink", mode=0o644) == []
    for target in ("/b", "../b"):
        assert wrong(facts(link, FILE), target=target) == [(told, ("target",))]


def test_all_that_is_wrong_is_told_and_the_content_shown_once() -> None:
    """A check of several keys fails with each of them."""
    check = FileCheck(
        service="api",
        path="/a",
        mode=0o600,
        owner="0",
        content=TextExpect(contains=("x", "y"), at=("check", 0, "content")),
        at=("check", 0),
    )
    faults = list(judge_file(check, facts(FILE), "file /a"))
    at = ("content", "contains")
    assert [fault.at[2:] for fault in faults] == [("mode",), ("owner",), (*at, 0), (*at, 1)]
    assert [fault.details for fault in faults[2:]] == ["the content of file /a:\n    hello", ""]


def test_what_was_cut_off_proves_nothing() -> None:
    """A content beyond what is kept is not searched as if it were whole."""
    cut = replace(facts(FILE), omitted_bytes=10)
    (fault,) = wrong(cut, content=TextExpect(not_contains=("x",), at=("check", 0, "content")))
    assert fault[0] == (
        "the content of file /a must not contain 'x' (cannot be judged: its first 10 bytes were left out)"
    )


def test_accounts_are_read_as_libc_reads_them() -> None:
    """Lines that are none are passed over; a name wins over a number, and a number needs no line."""
    found = read_accounts(
        "# users\nroot:x:0:0:root:/root:/bin/sh\n\n7:x:8:8::/:\nbroken:x:one:1::/:\n",
        "wheel:x:10:root,app\nodd\n",
    )
    assert [each.name for each in found.users] == ["root", "7"]
    assert found.groups == (Group(name="wheel", gid=10, members=("root", "app")),)
    assert (found.uid_of("7"), found.uid_of("9"), found.uid_of("app")) == (8, 9, None)
    assert (found.gid_of("wheel"), found.gid_of("11")) == (10, 11)
    assert (found.user_text(0), found.group_text(3)) == ("root (0)", "3")
