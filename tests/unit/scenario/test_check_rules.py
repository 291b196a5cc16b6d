"""``[[check]]``: its mistakes, and what becomes of it."""

from __future__ import annotations

from typing import Any

import pytest

from pytest_clnrm.model.check import FileCheck
from pytest_clnrm.model.expectations import Condition
from pytest_clnrm.model.step import Nothing
from pytest_clnrm.model.text import TextExpect

API = '[service.api]\nimage = "x"\n'
DB = '[service.db]\nimage = "x"\n'
STEP = '[[step]]\nrun = "true"\n'
FILE_KEYS = "service, exists, kind, mode, owner, group, size, target, sha256, content"

CASES = {
    "nothing is checked": (
        '[[check]]\nservice = "api"\n',
        "FILE:3:1: check[0]: exactly one of file must be given, found none",
    ),
    "relative path": (
        '[[check]]\nfile = "etc"\n',
        'FILE:4:1: check[0].file: "etc" is not allowed: an absolute path in the container',
    ),
    "mode as a number": (
        '[[check]]\nfile = "/a"\nmode = 644\n',
        'FILE:5:1: check[0].mode: expected permissions in octal digits such as "0644", found 644 (write mode',
    ),
    "mode": (
        '[[check]]\nfile = "/a"\nmode = "rw"\n',
        'FILE:5:1: check[0].mode: "rw" is not allowed: permissions in octal digits such as "0644"',
    ),
    "what does not exist is nothing": (
        '[[check]]\nfile = "/a"\nexists = false\nmode = "0644"\n',
        "FILE:6:1: check[0].mode: what must not exist (exists = false) cannot be anything",
    ),
    "target of a file": (
        '[[check]]\nfile = "/a"\nkind = "file"\ntarget = "/b"\n',
        'FILE:6:1: check[0].target: only a symbolic link has a target, and kind is "file"',
    ),
    "content of a directory": (
        '[[check]]\nfile = "/a"\nkind = "directory"\ncontent = { contains = "x" }\n',
        'FILE:6:1: check[0].content: only a regular file has it, and kind is "directory"',
    ),
    "content of nothing": (
        '[[check]]\nfile = "/a"\ncontent = {}\n',
        "FILE:5:1: check[0].content: this checks nothing; set at least one of contains, not_contains",
    ),
    "content's pattern": (
        '[[check]]\nfile = "/a"\ncontent = { regex = "(" }\n',
        "FILE:5:13: check[0].content.regex: not a regular expression: missing )",
    ),
    "size of nothing": (
        '[[check]]\nfile = "/a"\nsize = {}\n',
        "FILE:5:1: check[0].size: this checks nothing; set at least one of eq, ne, lt, lte, gt, gte",
    ),
    "size": (
        '[[check]]\nfile = "/a"\nsize = { lt = "99999999999g" }\n',
        'FILE:5:10: check[0].size.lt: "99999999999g" is no size of a file: write a number of bytes',
    ),
    "unknown service": (
        '[[check]]\nfile = "/a"\nservice = "apy"\n',
        'FILE:5:1: check[0].service: there is no service "apy"; known: api (did you mean "api"?)',
    ),
    "service of a step's check": (
        f'{STEP}[[step.check]]\nfile = "/a"\nservice = "apy"\n',
        'FILE:7:1: step[0].check[0].service: there is no service "apy"; known: api (did you mean "api"?)',
    ),
    "which service": (
        f'{DB}[[check]]\nfile = "/a"\n',
        'FILE:5:1: check[0]: the key "service" is missing: there are several, api, db',
    ),
    "name": (
        '[[check]]\nfile = "/a"\nname = " "\n',
        "FILE:5:1: check[0].name: the name must not be empty or hold control characters",
    ),
    "time": (
        '[[check]]\nfile = "/a"\ntimeout = 0\n',
        "FILE:5:1: check[0].timeout: must be longer than 0",
    ),
    "retry of a step's check": (
        f'{STEP}[[step.check]]\nfile = "/a"\nretry = {{ times = 1 }}\n',
        "FILE:7:1: step[0].check[0].retry: unknown key",
    ),
    "a value captured by the step itself": (
        f'{STEP}capture = {{ a = {{ regex = "." }} }}\n[[step.check]]\nfile = "/{{{{ a }}}}"\n',
        'FILE:7:1: step[0].check[0].file: names "a" before a step captures it',
    ),
}


@pytest.mark.parametrize(("text", "message"), CASES.values(), ids=CASES)
def test_mistakes(project: Any, head: Any, text: str, message: str) -> None:
    """Each is told with its place and what is allowed, and no other."""
    (found,) = head(project.refuse(API + text))
    assert found.startswith(message)


def test_a_check_after_the_steps_is_a_step_that_does_nothing(project: Any) -> None:
    """Those of the scenario come before those of the file; each goes on whatever became of the last."""
    (one, other) = project.load(
        f"""{API}{DB}
        [[scenario]]
        name = "one"
        [[scenario.step]]
        service = "api"
        run = "true"
        [[scenario.step.check]]
        file = "/own"
        [[scenario.step.check]]
        service = "db"
        file = "/other"
        [[scenario.check]]
        service = "db"
        file = "/a"
        size = {{ gte = "1k" }}
        [[scenario]]
        name = "two"
        [[scenario.check]]
        service = "api"
        file = "/b"
        [[check]]
        name = "kept"
        service = "api"
        file = "/c"
        retry = {{ times = 2 }}
        """
    )
    step, own, last = one.steps
    assert [(each.service, each.path) for each in step.checks] == [("api", "/own"), ("db", "/other")]
    assert [each.name for each in one.services] == ["api", "db"]
    assert (own.name, own.service, own.action) == ("check 1: file /a", "db", Nothing())
    assert own.checks == (
        FileCheck(
            service="db",
            path="/a",
            size=(Condition(op="gte", value=1024),),
            at=("scenario", 0, "check", 0),
        ),
    )
    assert own.continue_on_failure
    assert (last.name, last.retry.times, last.at) == ("kept", 2, ("check", 0))
    assert [each.name for each in other.steps] == ["check 1: file /b", "kept"]
    assert [each.name for each in other.services] == ["api"]


def test_a_file_may_hold_checks_alone(project: Any) -> None:
    """Of the only service, or of the container that steps without a service would have."""
    (of_api,) = project.load(f'{API}[[check]]\nfile = "/a"\n')
    assert [each.service for each in of_api.steps] == ["api"]
    (of_none,) = project.load('[[check]]\nfile = "/a"\n')
    assert [each.name for each in of_none.services] == ["default"]


def test_captured_values_in_checks(project: Any) -> None:
    """What an earlier step has captured may be named wherever a check has text."""
    (scenario,) = project.load(
        f"""{API}
        [[step]]
        run = "true"
        capture = {{ row = {{ regex = "." }} }}
        [[check]]
        file = "/{{{{ row }}}}"
        content = {{ contains = "{{{{ row }}}}" }}
        """
    )
    check = scenario.steps[1]
    assert check.templated
    assert check.checks[0].content == TextExpect(contains=("{{ row }}",), at=("check", 0, "content"))
