"""Each check of the format is made to fail once: the message has expected and got, the place is its key."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import msgspec
import pytest

from pytest_clnrm.expect.checks.accounts import read_accounts
from pytest_clnrm.expect.checks.files import FileFacts, judge_file
from pytest_clnrm.expect.checks.images import judge_image
from pytest_clnrm.expect.checks.logs import judge_log
from pytest_clnrm.expect.checks.packages import Packages, judge_package
from pytest_clnrm.expect.checks.ports import judge_port
from pytest_clnrm.expect.checks.processes import judge_process
from pytest_clnrm.expect.checks.users import judge_group, judge_user
from pytest_clnrm.expect.golden import using
from pytest_clnrm.expect.text_checks import TextFault, judge_text
from pytest_clnrm.expect.texts import Output
from pytest_clnrm.model.key_path import KeyPath
from pytest_clnrm.model.seen import FileSeen, ImageSeen, ProcessSeen, SocketSeen
from pytest_clnrm.scenario.format.check_document import CheckDoc
from pytest_clnrm.scenario.format.text_document import TextDoc

ACCOUNTS = read_accounts("app:x:1000:1001::/app:/none\n", "staff:x:1001:\n")
FILE = FileSeen(kind="file", mode=0o640, size_bytes=6, uid=1000, gid=1001)
SHA = "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03"
NGINX = ProcessSeen(pid=1, user="1000", name="nginx", command="/usr/sbin/nginx")
IMAGE = ImageSeen(
    entrypoint=("/app",),
    cmd=("serve",),
    env={"MODE": "prod", "API_TOKEN": "x"},
    labels={"version": "2.1"},
    workdir="/srv",
    user="app",
    exposed=("8080/tcp",),
    volumes=("/data",),
    size_bytes=5000,
    layers=3,
)

CHECKS: dict[str, list[tuple[dict[str, Any], str]]] = {
    "file": [
        ({"exists": False}, "file /a must not exist, but is a regular file"),
        ({"kind": "directory"}, "file /a is a regular file, expected a directory"),
        ({"mode": "0600"}, "file /a has mode 0640, expected 0600"),
        ({"executable_by": "owner"}, "file /a has mode 0640, expected that its owner may execute it"),
        ({"owner": "root"}, "file /a is owned by app (1000), expected root, but there is no such user"),
        ({"group": 0}, "file /a is of group staff (1001), expected 0"),
        ({"size": {"lt": 6}}, "file /a has 6 bytes, expected less than 6"),
        ({"target": "c"}, "file /a is a regular file, expected a symbolic link to 'c'"),
        ({"sha256": "0" * 64}, f"file /a has the SHA-256 {SHA}, expected {'0' * 64}"),
        ({"content": {"equals": "bye"}}, "the content of file /a does not equal 'bye', got 'hello\\n'"),
    ],
    "log": [
        ({"content": {"contains": "x"}}, "the log does not contain 'x', got 'ready\\nGET /\\n'"),
        ({"count": {"regex": "GET", "eq": 2}}, "the log has 1 line that matches 'GET', expected exactly 2"),
        (
            {"order": ["GET", "ready"]},
            "the log has no line that matches 'ready' after line 2, 'GET /'",
        ),
    ],
    "image": [
        ({"entrypoint": []}, "image 'a' has the entry point ['/app'], expected []"),
        ({"cmd": ["x"]}, "image 'a' has the command ['serve'], expected ['x']"),
        ({"env": {"MODE": "test"}}, "the variable MODE of image 'a' does not equal 'test', got 'prod'"),
        ({"labels": {"version": False}}, "image 'a' has the label version, which it must not"),
        ({"workdir": "/"}, "image 'a' has the working folder '/srv', expected '/'"),
        ({"user": "root"}, "image 'a' has the user 'app', expected 'root'"),
        ({"exposed": [80]}, "image 'a' exposes no port 80/tcp, but: 8080/tcp"),
        ({"not_exposed": [8080]}, "image 'a' exposes the port 8080/tcp, which it must not"),
        ({"volumes": ["/x"]}, "image 'a' declares no volume /x, but: /data"),
        ({"not_volumes": ["/data"]}, "image 'a' declares the volume /data, which it must not"),
        ({"size": {"gt": "1m"}}, "image 'a' has 5000 bytes, expected more than 1048576"),
        ({"layers": 2}, "image 'a' has 3 layers, expected exactly 2"),
        ({"no_setuid": True}, "image 'a' has files with the set-uid bit: /bin/su"),
        ({"no_secrets": True}, "image 'a' has variables that look like secrets: API_TOKEN"),
    ],
    "port": [
        ({"listening": False}, "port 80/tcp must not be listened on, but is: [::]:80/tcp (nginx)"),
        ({"address": "10.0.0.1"}, "port 80/tcp is listened on at [::]:80/tcp (nginx), expected 10.0.0.1"),
        ({"process": "sshd"}, "port 80/tcp is listened on by [::]:80/tcp (nginx), expected sshd"),
    ],
    "process": [
        ({"running": False}, "process 'nginx' runs once, expected exactly 0"),
        ({"count": {"gte": 2}}, "process 'nginx' runs once, expected at least 2"),
        ({"user": "0"}, "process 'nginx' runs as app (1000), expected 0"),
    ],
    "user": [
        ({"exists": False}, "user 'app' must not exist, but has the uid 1000"),
        ({"uid": 0}, "user 'app' has the uid 1000, expected 0"),
        ({"gid": 0}, "user 'app' has the gid 1001, expected 0"),
        ({"home": "/"}, "user 'app' has the home '/app', expected '/'"),
        ({"shell": "/bin/sh"}, "user 'app' has the shell '/none', expected '/bin/sh'"),
        ({"groups": ["wheel"]}, "user 'app' is not in the group wheel, but in: staff"),
    ],
    "group": [
        ({"exists": False}, "group 'staff' must not exist, but has the gid 1001"),
        ({"gid": 0}, "group 'staff' has the gid 1001, expected 0"),
    ],
    "package": [
        ({"installed": False}, "package 'curl' is installed (8.1), which it must not"),
        ({"version": "7"}, "the version of package 'curl' does not equal '7', got '8.1'"),
    ],
}
"""Kind -> what does not hold, and what is said of it."""

SELECTING = {("log", "from"), ("log", "since")}
"""These and `service` say what is looked at."""

ABOUT = {
    "file": "/a", "log": "a", "image": "a", "port": 80, "process": "nginx", "user": "app", "group": "staff",
    "package": "curl",
}  # fmt: skip


def _packages() -> Packages:
    packages = Packages()
    packages.feed(b"P:curl\nV:8.1\n")
    packages.end()
    return packages


SEEN = FileFacts(itself=FILE, end=FILE, text="hello\n", sha256=SHA, accounts=ACCOUNTS)
SOCKETS = [SocketSeen(protocol="tcp", address="::", port=80, process=NGINX)]
JUDGES: dict[str, Callable[[Any], Iterator[TextFault]]] = {
    "file": lambda check: judge_file(check, SEEN, check.title),
    "log": lambda check: judge_log(check, Output("the log", "ready\nGET /\n", 0)),
    "image": lambda check: judge_image(check, IMAGE, check.title, ["/bin/su"]),
    "port": lambda check: judge_port(check, SOCKETS, check.title),
    "process": lambda check: judge_process(check, [NGINX], ACCOUNTS, check.title),
    "user": lambda check: judge_user(check, ACCOUNTS, check.title),
    "group": lambda check: judge_group(check, ACCOUNTS, check.title),
    "package": lambda check: judge_package(check, _packages(), check.title),
}


@pytest.mark.parametrize(
    ("kind", "keys", "message"),
    [(kind, keys, message) for kind, cases in CHECKS.items() for keys, message in cases],
    ids=[f"{kind}-{'-'.join(keys)}" for kind, cases in CHECKS.items() for keys, _ in cases],
)
def test_a_check(kind: str, keys: dict[str, Any], message: str) -> None:
    """One fault, at the key, or at the check where the key says how often a thing is to be there."""
    doc = msgspec.convert({kind: ABOUT[kind], **keys}, CheckDoc)
    (fault,) = JUDGES[kind](doc.built("api", partial(_place, ("check", 0))))
    assert fault.message == message
    (key,) = keys
    of_the_whole = kind == "process" and key != "user"
    assert fault.at[:3] == (("check", 0) if of_the_whole else ("check", 0, key))


def test_all_keys_of_checks_are_there() -> None:
    """Above is a case for each."""
    cases = {(kind, key) for kind, cases in CHECKS.items() for keys, _ in cases for key in keys}
    known = {(kind, key) for kind, keys in CheckDoc.KINDS.items() for key in keys if key != "service"}
    assert known - cases == SELECTING
    assert cases <= known


def _place(at: KeyPath, *keys: str | int) -> KeyPath:
    return (*at, *keys)


GOT = '{"id": 1}\n'
TEXTS: list[tuple[dict[str, Any], str, KeyPath]] = [
    ({"contains": "x"}, "stdout does not contain 'x', got '{\"id\": 1}\\n'", (0,)),
    ({"not_contains": "id"}, "stdout contains 'id', which it must not", (0,)),
    ({"regex": "^x"}, "stdout does not match '^x', got '{\"id\": 1}\\n'", (0,)),
    ({"not_regex": "[0-9]"}, "stdout matches '[0-9]', which it must not", (0,)),
    ({"equals": "x"}, "stdout does not equal 'x', got '{\"id\": 1}\\n'", ()),
    ({"starts_with": "x"}, "stdout does not start with 'x', got '{\"id\": 1}\\n'", ()),
    ({"ends_with": "x"}, "stdout does not end with 'x', its end is '{\"id\": 1}'", ()),
    ({"lines": 2}, "stdout has 1 lines, expected exactly 2", ()),
    ({"line": {"1": "x"}}, "line 1 of stdout does not equal 'x', got '{\"id\": 1}'", ("1", "equals")),
    ({"count": {"regex": "id", "gt": 1}}, "stdout has 1 line that matches 'id', expected more than 1", ()),
    ({"length": {"gt": 9}}, "stdout has 9 characters, expected more than 9", ()),
    ({"file": "x.txt"}, "stdout does not equal the file 'x.txt'", ()),
    ({"json_file": "x.json"}, "stdout is not the JSON of the file 'x.json': $.id: expected 2, got 1", ()),
    ({"json": {"id": 2}}, "stdout is not the expected JSON: $.id: expected 2, got 1", ()),
    ({"jsonpath": {"$.id": 2}}, "stdout is not the expected JSON: $.id: expected 2, got 1", ("$.id",)),
]


class Files:
    """Files that are compared with."""

    def read(self, path: str) -> str:
        """Return the content of one."""
        return {"x.txt": "x\n", "x.json": '{"id": 2}'}[path]

    def update(self, path: str, content: str) -> bool:
        """Only compare."""
        return False


@pytest.mark.parametrize(("keys", "message", "below"), TEXTS, ids=[next(iter(keys)) for keys, _, _ in TEXTS])
def test_a_text(keys: dict[str, Any], message: str, below: Sequence[str | int]) -> None:
    """One fault, at the key, and of a list at its element."""
    at = ("step", 0, "expect", "stdout")
    with using(Files()):
        (fault,) = judge_text(msgspec.convert(keys, TextDoc).built(at), Output("stdout", GOT, 0))
    assert fault.message == message
    assert fault.at == (*at, next(iter(keys)), *below)


def test_all_keys_of_texts_are_there() -> None:
    """Above is a case for each; `redact` changes what is compared."""
    cases = {key for keys, _, _ in TEXTS for key in keys}
    assert set(TextDoc.__struct_fields__) - cases == {"redact"}
