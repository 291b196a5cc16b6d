"""Judging images, users and processes: each check holds, and fails with what was expected and got."""

from __future__ import annotations

from typing import Any

import pytest

from pytest_clnrm.expect.checks.accounts import read_accounts
from pytest_clnrm.expect.checks.images import judge_image
from pytest_clnrm.expect.checks.processes import judge_process
from pytest_clnrm.expect.checks.users import judge_group, judge_user
from pytest_clnrm.model.check import GroupCheck, ImageCheck, ProcessCheck, UserCheck
from pytest_clnrm.model.expectations import Condition
from pytest_clnrm.model.seen import ImageSeen, ProcessSeen
from pytest_clnrm.model.text import TextExpect

IMAGE = ImageSeen(
    entrypoint=("/app",),
    cmd=("--serve",),
    env={"PATH": "/bin", "MODE": "prod", "DB_PASSWORD_FILE": "/run/x"},
    labels={"version": "2.1"},
    workdir="/srv",
    user="1000",
    exposed=("53/udp", "8080/tcp"),
    volumes=("/data",),
    size_bytes=5000,
    layers=3,
)
ACCOUNTS = read_accounts(
    "root:x:0:0::/root:/bin/sh\napp:x:1000:1001::/app:/none\n", "root:x:0:\nstaff:x:1001:\nlog:x:7:app\n"
)
PROCESSES = (
    ProcessSeen(pid=1, user="0", name="nginx", command="nginx: master process"),
    ProcessSeen(pid=2, user="1000", name="a-very-long-nam", command="/usr/bin/a-very-long-name --x"),
    ProcessSeen(pid=3, user="app", name="worker", command="/bin/worker 1"),
    ProcessSeen(pid=4, user="1000", name="worker", command="/bin/worker 2"),
)
AT = ("check", 0)


def bound(op: Any, value: int) -> tuple[Condition, ...]:
    """Return the bound of a number."""
    return (Condition(op=op, value=value),)


def image(seen: ImageSeen = IMAGE, files: tuple[str, ...] = (), **check: Any) -> list[tuple[str, Any]]:
    """Return message and key of what does not hold of an image."""
    made = ImageCheck(image="api", at=AT, **check)
    return [(each.message, each.at[2:]) for each in judge_image(made, seen, "image 'api'", files)]


@pytest.mark.parametrize(
    ("holds", "fails", "message", "key"),
    [
        (
            {"entrypoint": ("/app",)},
            {"entrypoint": ()},
            "image 'api' has the entry point ['/app'], expected []",
            ("entrypoint",),
        ),
        (
            {"cmd": ("--serve",)},
            {"cmd": ("--work",)},
            "image 'api' has the command ['--serve'], expected ['--work']",
            ("cmd",),
        ),
        (
            {"workdir": "/srv"},
            {"workdir": "/"},
            "image 'api' has the working folder '/srv', expected '/'",
            ("workdir",),
        ),
        ({"user": "1000"}, {"user": "app"}, "image 'api' has the user '1000', expected 'app'", ("user",)),
        (
            {"env": {"MODE": True, "DEBUG": False}},
            {"env": {"MODE": False}},
            "image 'api' has the variable MODE, which it must not",
            ("env", "MODE"),
        ),
        (
            {"env": {"MODE": TextExpect(equals="prod")}},
            {"env": {"MODE": TextExpect(equals="test", at=(*AT, "env", "MODE"))}},
            "the variable MODE of image 'api' does not equal 'test', got 'prod'",
            ("env", "MODE", "equals"),
        ),
        (
            {"labels": {"version": TextExpect(regex=("^2",))}},
            {"labels": {"revision": True}},
            "image 'api' has no label revision",
            ("labels", "revision"),
        ),
        (
            {"exposed": ("8080/tcp",)},
            {"exposed": ("80/tcp",)},
            "image 'api' exposes no port 80/tcp, but: 53/udp, 8080/tcp",
            ("exposed",),
        ),
        (
            {"not_exposed": ("22/tcp",)},
            {"not_exposed": ("53/udp",)},
            "image 'api' exposes the port 53/udp, which it must not",
            ("not_exposed",),
        ),
        (
            {"volumes": ("/data",)},
            {"volumes": ("/log",)},
            "image 'api' declares no volume /log, but: /data",
            ("volumes",),
        ),
        (
            {"not_volumes": ("/log",)},
            {"not_volumes": ("/data",)},
            "image 'api' declares the volume /data, which it must not",
            ("not_volumes",),
        ),
        (
            {"size": bound("lt", 5001)},
            {"size": bound("lt", 5000)},
            "image 'api' has 5000 bytes, expected less than 5000",
            ("size",),
        ),
        (
            {"layers": bound("eq", 3)},
            {"layers": bound("lte", 2)},
            "image 'api' has 3 layers, expected at most 2",
            ("layers",),
        ),
    ],
)
def test_images(holds: dict[str, Any], fails: dict[str, Any], message: str, key: Any) -> None:
    """What an image says of itself."""
    assert image(**holds) == []
    assert image(**fails) == [(message, key)]


def test_files_with_the_set_uid_bit() -> None:
    """They are named, the first of many."""
    assert image(no_setuid=True) == []
    told = "image 'api' has files with the set-uid bit: /bin/mount, /bin/su"
    assert image(files=("/bin/su", "/bin/mount"), no_setuid=True) == [(told, ("no_setuid",))]
    many = tuple(f"/bin/{number:02}" for number in range(25))
    assert image(files=many, no_setuid=True)[0][0].endswith("/bin/19 and 5 more")


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("DB_PASSWORD", "x", True),
        ("password", "x", True),
        ("GITHUB_TOKEN", "x", True),
        ("AWS_SECRET_ACCESS_KEY", "x", True),
        ("API_KEY", "x", True),
        ("APIKEY", "x", True),
        ("DSN", "postgres://app:hunter2@db/orders", True),
        ("PEM", "-----BEGIN RSA PRIVATE KEY-----", True),
        ("WHO", "AKIAIOSFODNN7EXAMPLE", True),
        ("DB_PASSWORD", "", False),
        ("DB_PASSWORD_FILE", "/run/secrets/db", False),
        ("GPG_KEY", "A035C8C19219BA821ECEA86B64E628F8D684696D", False),
        ("TOKENIZER", "fast", False),
        ("PWD", "/srv", False),
        ("URL", "https://example.org/a:b@c", False),
    ],
)
def test_variables_that_look_like_secrets(name: str, value: str, told: Any) -> None:
    """By their names, or by what they hold, which is not shown."""
    message = f"image 'api' has variables that look like secrets: {name}"
    expected = [(message, ("no_secrets",))] if told else []
    assert image(ImageSeen(env={name: value}), no_secrets=True) == expected


def user(name: str = "app", **check: Any) -> list[tuple[str, Any]]:
    """Return message and key of what does not hold of a user."""
    made = UserCheck(service="api", user=name, at=AT, **check)
    return [(each.message, each.at[2:]) for each in judge_user(made, ACCOUNTS, f"user '{name}'")]


def test_users() -> None:
    """By the container's own files; a user is in its own group too."""
    assert user(uid=1000, gid=1001, home="/app", groups=("staff", "log")) == []
    assert user(shell="/none") == []  # noqa: S604 nothing is run
    assert user("web", exists=False) == []
    assert user("web", uid=1) == [("user 'web' does not exist", ())]
    assert user(exists=False) == [("user 'app' must not exist, but has the uid 1000", ("exists",))]
    assert user(uid=1, gid=2, home="/", groups=("root",), shell="/bin/sh") == [  # noqa: S604
        ("user 'app' has the uid 1000, expected 1", ("uid",)),
        ("user 'app' has the gid 1001, expected 2", ("gid",)),
        ("user 'app' has the home '/app', expected '/'", ("home",)),
        ("user 'app' has the shell '/none', expected '/bin/sh'", ("shell",)),
        ("user 'app' is not in the group root, but in: staff, log", ("groups",)),
    ]


def group(name: str = "staff", **check: Any) -> list[tuple[str, Any, str]]:
    """Return message, key and details of what does not hold of a group."""
    made = GroupCheck(service="api", group=name, at=AT, **check)
    return [(each.message, each.at[2:], each.details) for each in judge_group(made, ACCOUNTS, made.title)]


def test_groups() -> None:
    """By the container's own file."""
    assert group(gid=1001) == []
    assert group("web", exists=False) == []
    known = "groups in /etc/group: root, staff, log"
    assert group("web", gid=1) == [("group 'web' does not exist", (), known)]
    assert group(exists=False) == [("group 'staff' must not exist, but has the gid 1001", ("exists",), "")]
    assert group(gid=1) == [("group 'staff' has the gid 1001, expected 1", ("gid",), "")]


def process(name: str, **check: Any) -> list[tuple[str, Any]]:
    """Return message and key of what does not hold of processes."""
    made = ProcessCheck(service="api", process=name, at=AT, **check)
    faults = list(judge_process(made, PROCESSES, ACCOUNTS, f"process '{name}'"))
    assert all("its container runs:\n    0 nginx: master process" in each.details for each in faults)
    return [(each.message, each.at[2:]) for each in faults]


def test_processes() -> None:
    """By the kernel's name, which it cuts, or that of the program; engines tell a user's number or name."""
    for name in ("nginx", "a-very-long-name", "/usr/bin/a-very-long-name", "worker"):
        assert process(name) == []
    assert process("worker", number=bound("eq", 2), user="app") == []
    assert process("work") == [("process 'work' runs not at all, expected at least 1", ())]
    assert process("nginx", number=bound("eq", 0)) == [("process 'nginx' runs once, expected exactly 0", ())]
    assert process("worker", number=bound("lt", 2)) == [
        ("process 'worker' runs twice, expected less than 2", ())
    ]
    assert process("nginx", user="app") == [
        ("process 'nginx' runs as root (0), expected app (1000)", ("user",))
    ]
    assert process("worker", user="web") == [
        ("process 'worker' runs as app (1000), expected web, but there is no such user", ("user",))
    ]
