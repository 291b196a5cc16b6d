"""``[[check]]``: its mistakes, and what becomes of it."""

from __future__ import annotations

from typing import Any

import pytest

from pytest_clnrm.model.check import (
    FileCheck,
    GroupCheck,
    ImageCheck,
    LogCheck,
    PackageCheck,
    PortCheck,
    ProcessCheck,
    UserCheck,
)
from pytest_clnrm.model.expectations import Condition
from pytest_clnrm.model.step import Nothing
from pytest_clnrm.model.text import LinesExpect, TextExpect

API = '[service.api]\nimage = "x"\n'
DB = '[service.db]\nimage = "x"\n'
STEP = '[[step]]\nrun = "true"\n'
ASK = f'{STEP}name = "ask"\n'
TWO_OF = 'it says not which: 2 steps before it are called "ask"'
FILE_KEYS = "service, exists, kind, mode, executable_by, owner, group, size, target, sha256, content"
ONE_OF = "exactly one of file, log, image, port, process, user, group or package must be given,"

CASES = {
    "nothing is checked": (
        '[[check]]\nservice = "api"\n',
        f"FILE:3:1: check[0]: {ONE_OF} found none",
    ),
    "no text for an engine": (
        '[[check]]\nfile = "/a\\u0000"\n',
        "FILE:4:1: check[0].file: a NUL character cannot be passed to a program",
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
    "group by its number": (
        "[[check]]\ngroup = 1000\n",
        "FILE:4:1: check[0].group: a group is named here, gid is its number",
    ),
    "number of no group": (
        '[[check]]\ngroup = "a"\nexists = false\ngid = 1\n',
        "FILE:6:1: check[0].gid: what must not exist (exists = false) cannot be anything",
    ),
    "version of nothing": (
        '[[check]]\npackage = "a"\ninstalled = false\nversion = "1"\n',
        "FILE:6:1: check[0].version: what must not be installed (installed = false) cannot have a version",
    ),
    "no version": (
        '[[check]]\npackage = "a"\nversion = ""\n',
        "FILE:5:1: check[0].version: is empty, so it is no version",
    ),
    "version that is no pattern": (
        '[[check]]\npackage = "a"\nversion = { regex = "(" }\n',
        "FILE:5:13: check[0].version.regex: not a regular expression: missing )",
    ),
    "empty package": (
        '[[check]]\npackage = ""\n',
        "FILE:4:1: check[0].package: is empty",
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
    "any size": (
        '[[check]]\nfile = "/a"\nsize = { gte = 0 }\n',
        "FILE:5:1: check[0].size: every number is so: this checks nothing",
    ),
    "two kinds": (
        '[[check]]\nfile = "/a"\nlog = "api"\n',
        f"FILE:3:1: check[0]: {ONE_OF} found file and log",
    ),
    "key of another kind": (
        '[[check]]\nlog = "api"\nfrom = "stderr"\norder = ["a", "b"]\nmode = "0644"\n',
        "FILE:7:1: check[0].mode: a check of log has no such key; it has: from, since, content, count, order",
    ),
    "log of no service": (
        '[[check]]\nlog = "apy"\ncontent = { contains = "x" }\n',
        'FILE:4:1: check[0].log: there is no service "apy"; known: api (did you mean "api"?)',
    ),
    "nothing of a log": (
        '[[check]]\nlog = "api"\n',
        "FILE:3:1: check[0]: this checks nothing; set at least one of content, count, order",
    ),
    "lines without a number": (
        '[[check]]\nlog = "api"\ncount = [{ regex = "x", eq = 1 }, { regex = "x" }]\n',
        "FILE:5:35: check[0].count[1]: this counts lines, but says not how many: set at least one of eq,",
    ),
    "any number of lines": (
        '[[check]]\nlog = "api"\ncount = { regex = "x", gte = 0 }\n',
        "FILE:5:1: check[0].count: every number is so: this checks nothing",
    ),
    "no number of layers": (
        '[[check]]\nimage = "api"\nlayers = { gt = 3, lt = 3 }\n',
        "FILE:5:1: check[0].layers: no value can be lt = 3 and gt = 3",
    ),
    "pattern of lines": (
        '[[check]]\nlog = "api"\ncount = { regex = "(", eq = 1 }\n',
        "FILE:5:11: check[0].count.regex: not a regular expression: missing )",
    ),
    "pattern of an order": (
        '[[check]]\nlog = "api"\norder = ["a", "("]\n',
        "FILE:5:15: check[0].order[1]: not a regular expression: missing )",
    ),
    "an order of one": (
        '[[check]]\nlog = "api"\norder = ["a"]\n',
        "FILE:5:1: check[0].order: an order is of two patterns at least; one stands in content.regex",
    ),
    "since a step that is not there": (
        f'{STEP}name = "create"\n[[check]]\nlog = "api"\nsince = "creates"\norder = ["a", "b"]\n',
        'FILE:8:1: check[0].since: no step before it is called "creates"; known: create (did you',
    ),
    "since two steps": (
        f'{ASK}{ASK}[[step.check]]\nlog = "api"\nsince = "ask"\norder = ["a", "b"]\n',
        f"FILE:11:1: step[1].check[0].since: {TWO_OF} (give each of them a name of its own)",
    ),
    "since two steps, one of which has its name by its place": (
        f'{STEP}{STEP}name = "step 1"\n[[check]]\nlog = "api"\nsince = "step 1"\norder = ["a", "b"]\n',
        'FILE:10:1: check[0].since: it says not which: 2 steps before it are called "step 1"',
    ),
    "since a step of the setup or another": (
        f'{ASK.replace("step", "setup")}{ASK}[[check]]\nlog = "api"\nsince = "ask"\norder = ["a", "b"]\n',
        f"FILE:11:1: check[0].since: {TWO_OF}",
    ),
    "since a later step": (
        f'{STEP}[[step.check]]\nlog = "api"\nsince = "step 2"\norder = ["a", "b"]\n{STEP}',
        'FILE:7:1: step[0].check[0].since: no step before it is called "step 2"; known: step 1',
    ),
    "file and user": (
        '[[check]]\nfile = "/a"\nuser = "app"\n',
        f"FILE:3:1: check[0]: {ONE_OF} found file and user",
    ),
    "lines without a pattern": (
        '[[check]]\nlog = "api"\ncount = 3\n',
        'FILE:5:1: check[0].count: of a log lines are counted: write { regex = "...", eq = 1 }',
    ),
    "nothing of an image": (
        '[[check]]\nimage = "api"\n',
        "FILE:3:1: check[0]: this checks nothing; set at least one of entrypoint, cmd, env, labels, workdir,",
    ),
    "an image by its id": (
        '[[check]]\nimage = "2fa"\nno_setuid = true\n',
        "FILE:4:1: check[0].image: 2fa may be the id of any image of this host, or the start of one",
    ),
    "set-uid files": (
        '[[check]]\nimage = "api"\nno_setuid = false\n',
        "FILE:5:1: check[0].no_setuid: checks nothing where it is false: write true, or leave it out",
    ),
    "no variable": ('[[check]]\nimage = "api"\nenv = {}\n', "FILE:5:1: check[0].env: this checks nothing"),
    "no port": (
        '[[check]]\nimage = "api"\nexposed = []\n',
        "FILE:5:1: check[0].exposed: this checks nothing",
    ),
    "no text of a label": (
        '[[check]]\nimage = "api"\nlabels = { a = {} }\n',
        "FILE:5:12: check[0].labels.a: this checks nothing; set at least one of contains",
    ),
    "exposed port": (
        '[[check]]\nimage = "api"\nexposed = ["http"]\n',
        'FILE:5:12: check[0].exposed[0]: "http" is not allowed: a port such as 8080 or "53/udp"',
    ),
    "layers of nothing": (
        '[[check]]\nimage = "api"\nlayers = {}\n',
        "FILE:5:1: check[0].layers: this checks nothing; set at least one of eq, ne, lt, lte, gt, gte",
    ),
    "processes that match": (
        '[[check]]\nprocess = "x"\ncount = { regex = "x", eq = 1 }\n',
        "FILE:5:11: check[0].count.regex: only lines of a log match one",
    ),
    "several numbers of processes": (
        '[[check]]\nprocess = "x"\ncount = [{ eq = 1 }]\n',
        "FILE:5:1: check[0].count: a number of processes is one number, or one table of bounds",
    ),
    "what must run and must not": (
        '[[check]]\nprocess = "x"\nrunning = true\ncount = 0\n',
        "FILE:6:1: check[0].count: what must run (running = true) cannot be counted 0",
    ),
    "what must run and may not": (
        '[[check]]\nprocess = "x"\nrunning = true\ncount = { lt = 1 }\n',
        "FILE:6:1: check[0].count: what must run (running = true) cannot be counted 0",
    ),
    "as whom no process runs": (
        '[[check]]\nprocess = "x"\nuser = "app"\ncount = { lte = 0 }\n',
        "FILE:5:1: check[0].user: this is never judged, as `count` allows no process",
    ),
    "what does not run": (
        '[[check]]\nprocess = "x"\nrunning = false\nuser = "app"\n',
        "FILE:6:1: check[0].user: what must not run (running = false) cannot be anything",
    ),
    "a user that does not exist": (
        '[[check]]\nuser = "x"\nexists = false\nuid = 0\n',
        "FILE:6:1: check[0].uid: what must not exist (exists = false) cannot be anything",
    ),
    "a port of nothing": (
        '[[check]]\nport = "0/udp"\n',
        'FILE:4:1: check[0].port: "0/udp" is no port of TCP or UDP: write 8080, or "53/udp"',
    ),
    "an address of nothing": (
        '[[check]]\nport = 80\naddress = "localhost"\n',
        'FILE:5:1: check[0].address: "localhost" is no address: write one such as "127.0.0.1", or "any"',
    ),
    "who does not listen": (
        '[[check]]\nport = 80\nlistening = false\nprocess = "nginx"\n',
        "FILE:6:1: check[0].process: what nothing listens on (listening = false) cannot have one",
    ),
    "nobody": ('[[check]]\nuser = ""\n', "FILE:4:1: check[0].user: is empty, so it names nobody"),
    "no group": ('[[check]]\nuser = "x"\ngroups = []\n', "FILE:5:1: check[0].groups: this checks nothing"),
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


def test_checks_of_logs(project: Any) -> None:
    """The service that is named is among the scenario's; one table of lines is a list of one."""
    (scenario,) = project.load(
        f"""{API}{DB}
        [[step]]
        service = "api"
        run = "true"
        [[check]]
        log = "db"
        from = "stderr"
        since = "step 1"
        count = {{ regex = "GET", gte = 1, lt = 9 }}
        order = ["a", "b"]
        """
    )
    (check,) = scenario.steps[1].checks
    bounds = (Condition(op="lt", value=9), Condition(op="gte", value=1))
    assert check == LogCheck(
        service="db",
        stream="stderr",
        since="step 1",
        count=(LinesExpect(regex="GET", number=bounds, at=("check", 0, "count")),),
        order=("a", "b"),
        at=("check", 0),
    )
    assert (scenario.steps[1].name, scenario.steps[1].service) == ("check 1: log of service 'db'", "db")
    assert [(each.name, each.only_steps) for each in scenario.services] == [("api", True), ("db", False)]


def test_checks_of_images(project: Any) -> None:
    """By a service, which is among the scenario's then, or by a reference, which needs none."""
    (scenario,) = project.load(
        f"""{API}{DB}
        [[scenario]]
        name = "x"
        [[scenario.check]]
        image = "db"
        cmd = []
        env = {{ A = "b", N = 1, T = true, R = {{ regex = "^x" }} }}
        exposed = [80, "53/udp"]
        user = "app"
        [[scenario.check]]
        image = "nginx:1"
        no_setuid = true
        layers = {{ lt = 9 }}
        [[scenario]]
        name = "y"
        [[scenario.step]]
        service = "api"
        run = "true"
        """
    )[:1]
    assert [each.name for each in scenario.services] == ["db"]
    one, other = scenario.steps
    at = ("scenario", 0, "check", 0)
    assert one.checks == (
        ImageCheck(
            image="db",
            cmd=(),
            env={
                "A": TextExpect(equals="b", at=(*at, "env", "A")),
                "N": TextExpect(equals="1", at=(*at, "env", "N")),
                "T": True,
                "R": TextExpect(regex=("^x",), at=(*at, "env", "R")),
            },
            exposed=("80/tcp", "53/udp"),
            user="app",
            at=at,
        ),
    )
    assert (other.service, other.name) == ("", "check 2: image 'nginx:1'")
    (alone,) = project.load('[[check]]\nimage = "nginx:1"\nno_secrets = true\n')
    assert alone.services == ()


def test_checks_of_processes_and_users(project: Any) -> None:
    """A service whose processes are looked at has to run by itself."""
    (scenario,) = project.load(
        f"""{API}
        [[step]]
        run = "true"
        [[step.check]]
        process = "nginx"
        user = "www"
        count = {{ gte = 2 }}
        [[check]]
        process = "sshd"
        running = false
        [[check]]
        user = "app"
        uid = 1000
        groups = ["staff"]
        """
    )
    assert [check for step in scenario.steps for check in step.checks] == [
        ProcessCheck(
            service="api",
            process="nginx",
            number=(Condition(op="gte", value=2),),
            user="www",
            at=("step", 0, "check", 0),
        ),
        ProcessCheck(service="api", process="sshd", number=(Condition(op="eq", value=0),), at=("check", 0)),
        UserCheck(service="api", user="app", uid=1000, groups=("staff",), at=("check", 1)),
    ]
    assert not scenario.services[0].only_steps


@pytest.mark.parametrize(
    ("keys", "bounds"),
    [
        ("", {"gte": 1}),
        ("running = true", {"gte": 1}),
        ("running = false", {"eq": 0}),
        ("count = { lte = 3 }", {"lte": 3}),
        ("running = true\ncount = { lte = 3 }", {"gte": 1, "lte": 3}),
        ("running = true\ncount = { gte = 0, lt = 3 }", {"gte": 1, "lt": 3}),
        ("running = true\ncount = { gte = 2 }", {"gte": 2}),
        ("running = true\ncount = { gt = 0, ne = 3 }", {"ne": 3, "gt": 0}),
        ("running = true\ncount = 2", {"eq": 2}),
    ],
)
def test_what_must_run_runs_once_at_least(project: Any, keys: str, bounds: dict[str, int]) -> None:
    """`count` bounds how often, and takes nothing from `running`."""
    (scenario,) = project.load(f'{API}[[check]]\nprocess = "worker"\n{keys}\n')
    (check,) = scenario.steps[0].checks
    assert isinstance(check, ProcessCheck)
    assert {each.op: each.value for each in check.number} == bounds


def test_checks_of_ports(project: Any) -> None:
    """TCP unless said; addresses are compared as people write them."""
    (scenario,) = project.load(
        f"""{API}
        [[check]]
        port = 8080
        address = "0:0:0:0:0:0:0:0"
        process = "nginx"
        [[check]]
        port = "53/udp"
        listening = false
        """
    )
    assert [check for step in scenario.steps for check in step.checks] == [
        PortCheck(service="api", port=8080, address="::", process="nginx", at=("check", 0)),
        PortCheck(service="api", port=53, protocol="udp", listening=False, at=("check", 1)),
    ]


def test_checks_of_groups_and_packages(project: Any) -> None:
    """A version is all of a text, or a table as of stdout; a group is no owner of a file."""
    (scenario,) = project.load(
        f"""{API}
        [[check]]
        group = "staff"
        gid = 1001
        [[check]]
        package = "libc6"
        version = {{ starts_with = "2." }}
        [[check]]
        package = "curl"
        version = "8.1"
        [[check]]
        package = "telnet"
        installed = false
        [[check]]
        file = "/app"
        executable_by = "any"
        group = "staff"
        """
    )
    starts = TextExpect(starts_with="2.", at=("check", 1, "version"))
    equals = TextExpect(equals="8.1", at=("check", 2, "version"))
    assert [check for step in scenario.steps for check in step.checks] == [
        GroupCheck(service="api", group="staff", gid=1001, at=("check", 0)),
        PackageCheck(service="api", package="libc6", version=starts, at=("check", 1)),
        PackageCheck(service="api", package="curl", version=equals, at=("check", 2)),
        PackageCheck(service="api", package="telnet", installed=False, at=("check", 3)),
        FileCheck(service="api", path="/app", executable_by="any", group="staff", at=("check", 4)),
    ]
