"""What types cannot say: names, references, and what goes together."""

from __future__ import annotations

from typing import Any

import pytest

from pytest_clnrm.errors import ScenarioFileError
from pytest_clnrm.scenario.format.document import FileDoc
from pytest_clnrm.toml.checking import Finding, convert, follows_from, listed, suggestion

STEP = '[[step]]\nrun = "true"\n'
TIMES = 'a number of seconds such as 90, or text such as "90s", "1.5m", "500ms", "1h"'
SIZES = 'a whole number of MB such as 512, or text such as "512m", "1g", "64k"'
NOTHING = "this checks nothing; set at least one of"
NO_COUNTS = f"{NOTHING} spans_total, events_total, errors_total, by_name, by_service"
UNTERMINATED = "not a regular expression: missing ), unterminated subpattern at position 0"
ONE_OF = "exactly one of"
UP = '"up" is not allowed:'
CONDITIONS = "command, log, port, http, https, file, exit, span or healthcheck"
ACTIONS = "run, image, http, stop, kill, start, restart, pause, unpause, disconnect, reconnect, wait or use"
REMEDY = '(write run = "...", or http = "GET http://SERVICE:PORT/path")'
OF_RUN = "`env` goes with run or image only, and this step has"
OF_LOG = "write stdout: it is the log, what came on stdout and on stderr"
CAPTURES = '[[step]]\nrun = "x"\ncapture = { id = { json = "" } }\n'
OTHER = '[service.other]\nimage = "x"\n[[step]]\nrun = "true"\n'
DB = '[service.db]\nimage = "x"\n'


def scenario(name: str, more: str = "") -> str:
    """Return the text of one of several scenarios."""
    return f'[[scenario]]\nname = "{name}"\n{more}[[scenario.step]]\nrun = "true"\n'


CASES = {
    "redact without a file": (
        f'{STEP}expect.stdout = {{ equals = "x", redact = [{{ regex = "a", with = "" }}] }}\n',
        "FILE:3:33: step[0].expect.stdout.redact: this has no effect without file or json_file",
    ),
    "absolute file": (
        f'{STEP}expect.stdout = {{ file = "/etc/passwd" }}\n',
        (
            "FILE:3:19: step[0].expect.stdout.file: a path beside the scenario file is needed, such as "
            "golden/orders.txt"
        ),
    ),
    "until what": (
        f"{STEP}until = {{ delay = 1 }}\n",
        (
            "FILE:3:1: step[0].until: it says not how long: the key timeout or times is missing "
            '(write until = { timeout = "30s" })'
        ),
    ),
    "until and retry": (
        f"{STEP}until = {{ times = 2 }}\nretry = {{ times = 2 }}\n",
        "FILE:3:1: step[0].until: retry and until both say how it is run again; write one of them",
    ),
    "until no time": (
        f"{STEP}until = {{ timeout = 0 }}\n",
        "FILE:3:11: step[0].until.timeout: must be longer than 0",
    ),
    "nothing to run": (
        '[meta]\nname = "x"\n',
        f'FILE:1:1: {ONE_OF} step or scenario must be given, found none (write [[step]] with run = "...")',
    ),
    "steps and scenarios": (
        STEP + scenario("a"),
        "FILE:1:1: exactly one of step or scenario must be given, found step and scenario",
    ),
    "nothing to do": (
        '[[step]]\nname = "x"\n',
        f"FILE:1:1: step[0]: {ONE_OF} {ACTIONS} must be given, found none {REMEDY}",
    ),
    "two things to do": (
        f'{DB}[[step]]\nrun = "x"\nstop = "db"\n',
        f"FILE:3:1: step[0]: {ONE_OF} {ACTIONS} must be given, found run and stop",
    ),
    "a fault of nobody": (
        f'{DB}[[step]]\nkill = "bd"\n',
        'FILE:4:1: step[0].kill: there is no service "bd"; known: db',
    ),
    "what a fault does not take": (
        f'{DB}[[step]]\npause = "db"\nuser = "root"\n',
        "FILE:5:1: step[0].user: `user` goes with run or image only, and this step has `pause`",
    ),
    "what a wait does not take": (
        f'{DB}[[step]]\nwait = "exit"\nstdin = ""\nenv = {{ A = 1 }}\n',
        f"FILE:6:1: step[0].env: {OF_RUN} `wait` (with `wait` go service, expect)",
    ),
    "the other stream of a log": (
        f'{DB}[[step]]\nwait = "exit"\nexpect = {{ stderr = {{ contains = "x" }} }}\n',
        f"FILE:5:12: step[0].expect.stderr: the log of a service is one text ({OF_LOG})",
    ),
    "an end with an exit code": (
        f"{DB}may_end = 3\n{STEP}expect = {{ exit = 0, service_ends = true }}\n",
        "FILE:6:12: step[0].expect.exit: a step that ends its service may not get to tell it (leave it out)",
    ),
    "an end that may not be": (
        f"{DB}{STEP}expect = {{ service_ends = true }}\n",
        'FILE:5:12: step[0].expect.service_ends: "db" may not end (say with which code: may_end = 143)',
    ),
    "the end of no service": (
        f"{STEP}expect = {{ service_ends = true }}\n",
        "FILE:3:12: step[0].expect.service_ends: it runs in no service of the file (name its `service`)",
    ),
    "captured twice, in the setup": (
        f'[[setup]]\nrun = "x"\ncapture = {{ id = {{ json = "" }} }}\n{CAPTURES}',
        'FILE:6:13: step[0].capture.id: "id" is captured by an earlier step',
    ),
    "a setup of nobody": (
        f'{STEP}[[setup]]\nrun = "x"\nservice = "a"\n',
        'FILE:5:1: setup[0].service: there is no service "a"; known: none is defined',
    ),
    "an empty cleanup": (
        f'{STEP}[[cleanup]]\nrun = ""\n',
        "FILE:4:1: cleanup[0].run: is empty",
    ),
    "entry point of a job": (
        f'[service.a]\nimage = "x"\nentrypoint = []\nready = {{ exit = 0 }}\n{OTHER}service = "other"\n',
        "FILE:3:1: service.a.entrypoint: leaves nothing that could end: a job needs a `command` then",
    ),
    "empty name": (f'[meta]\nname = " "\n{STEP}', "FILE:2:1: meta.name: the name must not be empty"),
    "name with colons": (
        f'[meta]\nname = "a::b"\n{STEP}',
        "FILE:2:1: meta.name: the name must not hold '::' or control characters such as newlines",
    ),
    "name with newline": (
        scenario("a\\nb"),
        "FILE:2:1: scenario[0].name: the name must not hold '::' or control characters such as newlines",
    ),
    "same name": (
        scenario("a") + scenario("b") + scenario("a"),
        'FILE:10:1: scenario[2].name: another scenario of this file is called "a"',
    ),
    "tag": (
        f'[meta]\ntags = ["ok", " "]\n{STEP}',
        "FILE:2:15: meta.tags[1]: a tag must not be empty or hold control characters",
    ),
    "scenario's tag": (
        scenario("a", 'tags = ["a\\u0007"]\n'),
        "FILE:3:9: scenario[0].tags[0]: a tag must not be empty or hold control characters",
    ),
    "step's name": (
        f'{STEP}name = ""\n',
        "FILE:3:1: step[0].name: the name must not be empty or hold control characters",
    ),
    "no time": (f"[meta]\ntimeout = 0\n{STEP}", "FILE:2:1: meta.timeout: must be longer than 0"),
    "endless time": (
        f"{STEP}timeout = inf\n",
        f"FILE:3:1: step[0].timeout: inf is longer than a year: {TIMES}",
    ),
    "scenario's time": (
        scenario("a", "timeout = 0\n"),
        "FILE:3:1: scenario[0].timeout: must be longer than 0",
    ),
    "little memory": (
        f'[limits]\nmemory = "1m"\n{STEP}',
        "FILE:2:1: limits.memory: 1m is less than a container can have: at least 6m",
    ),
    "much memory": (
        f'{DB}limits = {{ memory = "99999999999999g" }}\n{STEP}',
        f"FILE:3:12: service.db.limits.memory: '99999999999999g' is larger than any memory: {SIZES}",
    ),
    "image and build": (
        f'{DB}build = "."\n{STEP}',
        "FILE:1:1: service.db: exactly one of image or build must be given, found image and build",
    ),
    "neither image nor build": (
        f"[service.db]\n{STEP}",
        (
            "FILE:1:1: service.db: exactly one of image or build must be given, found none "
            '(write image = "name:tag", build = "./folder", or preset = "postgres")'
        ),
    ),
    "unknown service": (
        f'{DB}{STEP}service = "dbs"\n',
        'FILE:5:1: step[0].service: there is no service "dbs"; known: db (did you mean "db"?)',
    ),
    "no services": (
        f'{STEP}service = "web"\n',
        'FILE:3:1: step[0].service: there is no service "web"; known: none is defined',
    ),
    "unknown dependency": (
        f'{DB}depends_on = ["cache"]\n{STEP}',
        'FILE:3:15: service.db.depends_on[0]: there is no service "cache"; known: db',
    ),
    "itself": (
        f'{DB}depends_on = ["db"]\n{STEP}',
        "FILE:3:15: service.db.depends_on[0]: services depend on one another: db -> db",
    ),
    "dependency twice": (
        f'{DB}depends_on = ["a", "a"]\n[service.a]\nimage = "a"\n{STEP}',
        "FILE:3:20: service.db.depends_on[1]: a is there twice",
    ),
    "ports twice": (f"{DB}ports = [1, 2, 1]\n{STEP}", "FILE:3:16: service.db.ports[2]: 1 is there twice"),
    "ports without network": (
        f'{DB}ports = [1]\nnetwork = "none"\n{STEP}',
        'FILE:3:1: service.db.ports: cannot be published with network = "none"',
    ),
    "no condition": (
        f"{DB}ready = {{ timeout = 1 }}\n{STEP}",
        f"FILE:3:1: service.db.ready: {ONE_OF} {CONDITIONS} must be given, found none",
    ),
    "healthcheck": (
        f"{DB}ready = {{ healthcheck = false }}\n{STEP}",
        "FILE:3:11: service.db.ready.healthcheck: only true has a meaning here",
    ),
    "log": (
        f'{DB}ready = {{ log = "*" }}\n{STEP}',
        "FILE:3:11: service.db.ready.log: not a regular expression: nothing to repeat at position 0",
    ),
    "ready time": (
        f"{DB}ready = {{ port = 1, interval = 0 }}\n{STEP}",
        "FILE:3:21: service.db.ready.interval: must be longer than 0",
    ),
    "nothing in the list": (
        f"{DB}ready = []\n{STEP}",
        "FILE:3:1: service.db.ready: is empty: at least one entry is needed",
    ),
    "one of the list": (
        f'{DB}ready = [{{ port = 1 }}, {{ log = "*" }}]\n{STEP}',
        "FILE:3:26: service.db.ready[1].log: not a regular expression: nothing to repeat at position 0",
    ),
    "two kinds in one": (
        f'{DB}ready = [{{ port = 1, log = "x" }}]\n{STEP}',
        f"FILE:3:10: service.db.ready[0]: {ONE_OF} {CONDITIONS} must be given, found log and port",
    ),
    "ready file": (
        f'{DB}ready = {{ file = "up" }}\n{STEP}',
        f"FILE:3:11: service.db.ready.file: {UP} an absolute path in the container such as /data",
    ),
    "times": (
        f"{DB}ready = {{ port = 1, times = 2 }}\n{STEP}",
        "FILE:3:21: service.db.ready.times: goes with `log` only",
    ),
    "no times": (
        f'{DB}ready = {{ log = "x", times = 0 }}\n{STEP}',
        "FILE:3:22: service.db.ready.times: 0 is out of range: from 1 to 1000000",
    ),
    "status": (
        f'{DB}ready = {{ log = "x", status = 200 }}\n{STEP}',
        "FILE:3:22: service.db.ready.status: goes with `http` or `https` only",
    ),
    "status as text": (
        f'{DB}ready = {{ http = "/", status = "200" }}\n{STEP}',
        'FILE:3:23: service.db.ready.status: "200" is not "1xx", "2xx", "3xx", "4xx" or "5xx"',
    ),
    "no such status": (
        f'{DB}ready = {{ http = "/", status = [200, 99] }}\n{STEP}',
        "FILE:3:38: service.db.ready.status[1]: 99 is out of range: from 100 to 599",
    ),
    "headers": (
        f'{DB}ready = {{ port = 1, headers = {{ a = "b" }} }}\n{STEP}',
        "FILE:3:21: service.db.ready.headers: goes with `http` or `https` only",
    ),
    "header": (
        f'{DB}ready = {{ http = "/", headers = {{ a = "b\\n" }} }}\n{STEP}',
        "FILE:3:35: service.db.ready.headers.a: is no header that can be sent: one line of Latin text",
    ),
    "header's name": (
        f'{DB}ready = {{ http = "/", headers = {{ "a b" = "c" }} }}\n{STEP}',
        'FILE:3:35: service.db.ready.headers."a b": is no header that can be sent: one line of Latin text',
    ),
    "verify": (
        f'{DB}ready = {{ http = "/", verify = true }}\n{STEP}',
        "FILE:3:23: service.db.ready.verify: goes with `https` only",
    ),
    "https": (
        f"{DB}ready = {{ https = true }}\n{STEP}",
        (
            'FILE:3:11: service.db.ready.https: expected a path such as "/health", or with a port in front '
            '":8080/health", found true'
        ),
    ),
    "no such port": (
        f'{DB}ready = {{ http = ":65536/" }}\n{STEP}',
        "FILE:3:11: service.db.ready.http: there is no port 65536: from 1 to 65535",
    ),
    "path": (
        f'{DB}ready = {{ https = "/ä b" }}\n{STEP}',
        (
            "FILE:3:11: service.db.ready.https: only ASCII without blanks is sent: "
            "write other characters as %20 and the like"
        ),
    ),
    "health check without a command": (
        f"{DB}ready = {{ healthcheck = {{ retries = 3 }} }}\n{STEP}",
        'FILE:3:11: service.db.ready.healthcheck: the key "command" is missing',
    ),
    "health check's time": (
        f'{DB}ready = {{ healthcheck = {{ command = "x", interval = 0 }} }}\n{STEP}',
        "FILE:3:42: service.db.ready.healthcheck.interval: must be longer than 0",
    ),
    "health check's retries": (
        f'{DB}ready = {{ healthcheck = {{ command = "x", retries = 0 }} }}\n{STEP}',
        "FILE:3:42: service.db.ready.healthcheck.retries: 0 is out of range: from 1 to 100000",
    ),
    "exit code": (
        f"{DB}ready = {{ exit = 256 }}\n{OTHER}",
        "FILE:3:11: service.db.ready.exit: 256 is out of range: from 0 to 255",
    ),
    "job that listens": (
        f"{DB}ready = [{{ exit = 0 }}, {{ port = 1 }}]\n{OTHER}",
        (
            "FILE:3:24: service.db.ready[1]: a job has ended by then: beside `exit` only `log` and `span` "
            "can hold"
        ),
    ),
    "job twice": (
        f"{DB}ready = [{{ exit = 0 }}, {{ exit = 1 }}]\n{OTHER}",
        "FILE:3:1: service.db.ready: `exit` is there twice: give all codes in one list",
    ),
    "job that may end": (
        f"{DB}ready = {{ exit = 0 }}\nmay_end = 1\n{OTHER}",
        "FILE:4:1: service.db.may_end: it is a job: `exit` in its `ready` says with which codes it ends",
    ),
    "step in a job": (
        f'{DB}ready = {{ exit = 0 }}\n{OTHER}service = "db"\n',
        (
            'FILE:8:1: step[0].service: "db" is a job (ready = { exit = ... }), which has ended by then: '
            "name another one"
        ),
    ),
    "step in the only service, a job": (
        f"{DB}ready = {{ exit = [0, 3] }}\n{STEP}",
        (
            'FILE:4:1: step[0]: "db" is a job (ready = { exit = ... }), which has ended by then: '
            "name another one"
        ),
    ),
    "no exit code": (
        f"{DB}may_end = []\n{STEP}",
        "FILE:3:1: service.db.may_end: is empty: at least one entry is needed",
    ),
    "may end": (
        f"{DB}may_end = true\n{STEP}",
        "FILE:3:1: service.db.may_end: expected a whole number or a list, found true",
    ),
    "NUL": (
        f'{DB}env = {{ A = "a\\u0000" }}\n{STEP}',
        "FILE:3:9: service.db.env.A: a NUL character cannot be passed to a program",
    ),
    "NUL in argv": (
        '[[step]]\nrun = ["a", "b\\u0000"]\n',
        "FILE:2:13: step[0].run[1]: a NUL character cannot be passed to a program",
    ),
    "delay": (
        f'{STEP}retry = {{ times = 1, delay = "9999999h" }}\n',
        f"FILE:3:22: step[0].retry.delay: '9999999h' is longer than a year: {TIMES}",
    ),
    "exit": (
        f"{STEP}expect = {{ exit = {{ ne = 0, one_of = [1] }} }}\n",
        "FILE:3:12: step[0].expect.exit: exactly one of ne or one_of must be given, found ne and one_of",
    ),
    "nothing expected": (
        f"{STEP}expect = {{ stdout = {{}} }}\n",
        (
            f"FILE:3:12: step[0].expect.stdout: {NOTHING} contains, not_contains, regex, not_regex, equals, "
            "starts_with, ends_with, lines, line, count, length, file, json_file, json, jsonpath"
        ),
    ),
    "no line": (
        f"{STEP}expect = {{ stdout = {{ line = {{}} }} }}\n",
        "FILE:3:23: step[0].expect.stdout.line: this checks nothing: it names no line",
    ),
    "line of no number": (
        f'{STEP}expect = {{ stdout = {{ line = {{ 0 = "a" }} }} }}\n',
        (
            'FILE:3:32: step[0].expect.stdout.line.0: the name "0" is not allowed: the number of a line: '
            "1, or -1 for the last"
        ),
    ),
    "empty text of a line": (
        f'{STEP}expect = {{ stdout = {{ line = {{ 2 = {{ contains = "" }} }} }} }}\n',
        "FILE:3:38: step[0].expect.stdout.line.2.contains: is empty, so it says nothing",
    ),
    "nothing counted": (
        f"{STEP}expect = {{ stdout = {{ count = [] }} }}\n",
        "FILE:3:23: step[0].expect.stdout.count: this checks nothing: it counts nothing",
    ),
    "no number of lines": (
        f'{STEP}expect = {{ stdout = {{ count = {{ regex = "a" }} }} }}\n',
        f"FILE:3:23: step[0].expect.stdout.count: {NOTHING} eq, ne, lt, lte, gt, gte",
    ),
    "count of no pattern": (
        f'{STEP}expect = {{ stdout = {{ count = [{{ regex = "(", eq = 1 }}] }} }}\n',
        (
            "FILE:3:34: step[0].expect.stdout.count[0].regex: not a regular expression: missing ), "
            "unterminated subpattern at position 0"
        ),
    ),
    "empty text": (
        f'{STEP}expect = {{ stderr = {{ contains = ["a", ""] }} }}\n',
        "FILE:3:40: step[0].expect.stderr.contains[1]: is empty, so it says nothing",
    ),
    "capture": (
        f"{STEP}capture = {{ row = {{}} }}\n",
        (
            "FILE:3:13: step[0].capture.row: exactly one of regex or json must be given, found none "
            "(write regex = '...' or json = \"/pointer\")"
        ),
    ),
    "capture's regex": (
        f'{STEP}capture = {{ row = {{ regex = "(" }} }}\n',
        f"FILE:3:21: step[0].capture.row.regex: {UNTERMINATED}",
    ),
    "capture twice": (
        2 * f'{STEP}capture = {{ row = {{ json = "" }} }}\n',
        'FILE:6:13: step[1].capture.row: "row" is captured by an earlier step',
    ),
    "capture called env": (
        f'{STEP}capture = {{ env = {{ json = "" }} }}\n',
        "FILE:3:13: step[0].capture.env: a captured value cannot be called vars, matrix or env",
    ),
    "expectation": (
        f"[expect.counts]\n{STEP}",
        f"FILE:1:1: expect.counts: {NO_COUNTS}",
    ),
    "expectation twice": (
        "[expect.graph]\nacyclic = true\n" + scenario("a") + "[scenario.expect.graph]\nsingle_root = true\n",
        "FILE:7:1: scenario[0].expect.graph: the file's own [expect.graph] holds for each scenario",
    ),
    "scenario's expectation": (
        scenario("a") + "[scenario.expect.counts]\n",
        f"FILE:5:1: scenario[0].expect.counts: {NO_COUNTS}",
    ),
}


@pytest.mark.parametrize(("text", "message"), CASES.values(), ids=CASES)
def test_a_mistake_is_told(project: Any, head: Any, text: str, message: str) -> None:
    """Each rule has its message, at its place, and no other."""
    assert head(project.refuse(text)) == [message]


def test_circles_are_shown(project: Any, head: Any) -> None:
    """Each service in a circle of depends_on is told the way round."""
    text = "".join(
        f'[service.{name}]\nimage = "x"\ndepends_on = ["{other}"]\n'
        for name, other in ("ab", "bc", "ca", "da")
    )
    assert head(project.refuse(text + STEP)) == [
        "FILE:3:15: service.a.depends_on[0]: services depend on one another: a -> b -> c -> a",
        "FILE:6:15: service.b.depends_on[0]: services depend on one another: b -> c -> a -> b",
        "FILE:9:15: service.c.depends_on[0]: services depend on one another: c -> a -> b -> c",
    ]


def test_the_files_name_is_judged(project: Any) -> None:
    """A stem that cannot be selected is a mistake, unless the file has names of its own."""
    (mistake,) = project.refuse(STEP, "a::b.toml")
    assert mistake.startswith("FILE:1:1: the file's name gives the scenario's: must not hold '::' or control")
    assert project.load(f'[meta]\nname = "x"\n{STEP}', "a::b.toml")
    assert project.load(scenario("x"), "a::b.toml")


def test_what_follows_from_a_mistake() -> None:
    """What is said of a table that is wrong itself, or of what it lacks, is not believed."""
    wrong = [("service", "db", "imag"), ("step", 0)]
    assert follows_from(("service", "db"), wrong)
    assert follows_from(("step", 0, "service"), wrong)
    assert not follows_from(("service", "x", "depends_on", 0), wrong)
    assert follows_from(("service", "x", "depends_on", 0), [("service", "db")])
    assert follows_from(("step", 1, "service"), [("servic",)])
    assert not follows_from(("service", "db", "ports", 0), wrong)
    assert not follows_from(("meta", "name"), wrong)


def test_the_rest_of_a_wrong_document() -> None:
    """What is wrong is left out, a list as a whole, and nothing else."""
    doc, findings = convert(
        {"step": [{"run": "x", "timeout": []}], "meta": {"tags": ["a", 1], "name": "b"}, "limits": 3}, FileDoc
    )
    assert doc is not None
    assert doc.step is not None
    assert (doc.step[0].run, doc.step[0].timeout) == ("x", None)
    assert (doc.meta.name, doc.meta.tags) == ("b", [])
    assert [each.path for each in findings] == [("step", 0, "timeout"), ("meta", "tags", 1), ("limits",)]


def test_mistakes_below_mistakes_are_left_out_once() -> None:
    """A key that has gone with its table does not disturb."""
    doc, findings = convert({"step": [1, {"run": 2}], "service": {"a b": {"x": 1}}}, FileDoc)
    assert doc is not None
    assert doc.step is None
    assert len(findings) == 4


def test_words() -> None:
    """Lists of words and suggestions read well."""
    assert listed(["a"]) == "a"
    assert listed(["a", "b", "c"]) == "a, b or c"
    assert suggestion("Time-Out", ["timeout", "name"]) == 'did you mean "timeout"?'
    assert suggestion("zzz", ["timeout"]) == ""
    assert Finding(path=(), message="x").hint == ""


def test_long_values_are_cut(project: Any, head: Any) -> None:
    """A message stays readable whatever stands in the file."""
    (message,) = head(project.refuse(f'{STEP}timeout = "{"x" * 1000}"\n'))
    assert len(message) < 200
    assert "xxx... is not allowed" in message


@pytest.mark.parametrize(
    ("target", "own"),
    [
        ("/etc", "/etc/hosts"),
        ("//etc/./", "/etc/hosts"),
        ("/etc/hostname", "/etc/hostname"),
        ("/x/../etc/resolv.conf", "/etc/resolv.conf"),
        ("/proc/sys", "/proc"),
        ("/sys", "/sys"),
        ("/dev/x", "/dev"),
        ("/.", "/etc/hosts"),
    ],
)
def test_a_target_in_the_way_of_the_engine(project: Any, target: str, own: str) -> None:
    """Above, at, or below what the engine mounts in each container."""
    volume = f'{{ source = ".", target = "{target}", read_only = true }}'
    with pytest.raises(ScenarioFileError) as raised:
        project.load(f"{DB}volumes = [{volume}]\n{STEP}")
    expected = f"service.db.volumes[0].target: {target} is in the way of {own}, which the engine mounts"
    assert expected in str(raised.value)
    assert "mount it elsewhere, such as below /mnt" in str(raised.value)
    near = '{ source = ".", target = "/etc/hosts.d", read_only = true }'
    assert project.load(f"{DB}volumes = [{near}]\n{STEP}")


@pytest.mark.parametrize(
    ("image", "remedy"),
    [("2fa", "2fa:latest"), ("2fa" * 4, "name:tag"), ("sha256:2fa", "name:tag"), ("A" * 64, "name:tag")],
)
def test_an_image_by_its_id(project: Any, image: str, remedy: str) -> None:
    """Digits of an id reach images that have no name; a name with a tag, or a digest, does not."""
    with pytest.raises(ScenarioFileError) as raised:
        project.load(f'[service.db]\nimage = "{image}"\n{STEP}')
    expected = f"service.db.image: {image} may be the id of any image of this host, or the start of one"
    assert expected in str(raised.value)
    assert f'write its name with a tag, such as "{remedy}"' in str(raised.value)
    for fine in (f"{remedy}", "db", f"ada@sha256:{'2' * 64}", "example.org/2fa"):
        assert project.load(f'[service.db]\nimage = "{fine}"\n{STEP}')
