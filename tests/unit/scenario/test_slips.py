"""The usual slips of those who write their first scenario file are told with what to write."""

from __future__ import annotations

from typing import Any

import pytest

STEP = '[[step]]\nrun = "a"\n'
DB = '[service.db]\nimage = "x"\n'
SLIPS = [
    (f'{STEP}expect = {{ stdout = "hi" }}', 'write stdout = { contains = "hi" }, or equals for the whole'),
    (f"{STEP}expect = {{ stderr = ['a'] }}", 'write stderr = { contains = ["...", "..."] }'),
    (f"{STEP}expect = {{ exit = [0, 1] }}", "write exit = { one_of = [0, 1] }"),
    (f'{STEP}expect = {{ exit = "3" }}', "write exit = 3"),
    (f'{STEP}expect = {{ exit = "!=0" }}', "write exit = { ne = 0 }"),
    (f"{STEP}expect = {{ exit_code = 1 }}", "write exit = 0"),
    (f"{STEP}expect = {{ output = 'a' }}", 'write stdout = { contains = "..." }'),
    (f'{STEP}expect.stdout.equal = "x"', 'write equals = "..."'),
    (f"{STEP}expect = {{ stdout = {{ contains = 3 }} }}", 'write "3", in quotes'),
    (f"{STEP}[[step.expect]]\nexit = 1", "in single brackets"),
    (f"{STEP}[expect]\nexit = 1", "it belongs to a step: write [step.expect] below its [[step]]"),
    (f"{STEP}retry = 3", 'write retry = { times = 3, delay = "1s" }'),
    (f"{STEP}retries = 3", 'write retry = { times = 3, delay = "1s" }'),
    (f'{STEP}capture = {{ x = "(.*)" }}', 'write x = { regex = "(.*)" }'),
    (f'{STEP}env = ["A=b", "C.d=e"]', 'write env = { A = "b", "C.d" = "e" }'),
    (f'{STEP}timeout = "1 min"', 'write "1m"'),
    (f'{STEP}timeout = "2 hours"', 'write "2h"'),
    (f"{STEP}exit_code = 1", "write expect = { exit = 0 }"),
    (f'{STEP}stdout = "x"', 'write expect = { stdout = { contains = "..." } }'),
    ('[[step]]\ncommand = "a"', 'write run = "..."'),
    ('[step]\nrun = "a"', "write [[step]] in two brackets: there may be several"),
    ('[scenario]\nname = "a"', "write [[scenario]] in two brackets: there may be several"),
    ("[[step]]\nrun = 3", 'write "3", in quotes'),
    (f'[[service]]\nname = "a"\n{STEP}', "write [service.NAME] for each, in single brackets"),
    (f'image = "x"\n{STEP}', "it belongs to a [service.NAME]"),
    (f'name = "x"\n{STEP}', "it belongs to [meta]"),
    (f'[meta]\ntags = "slow"\n{STEP}', 'write tags = ["slow"]'),
    (f'[matrix]\na = "1"\n{STEP}', 'write a = ["1"]'),
    (f'[limits]\ncpu = "500m"\n{STEP}', "write cpu = 0.5"),
    (f"[service.db]\nenv = {{}}\n{STEP}", 'write image = "name:tag", build = "./folder", or preset = '),
    (f'{DB}volumes = ["./a:/a"]\n{STEP}', 'write { source = "./a", target = "/a" }'),
    (f'{DB}volumes = ["./a:/a:ro"]\n{STEP}', 'write { source = "./a", target = "/a", read_only = true }'),
    (f'{DB}volumes = {{ "./a" = "/a" }}\n{STEP}', 'write volumes = [{ source = "./folder", target ='),
    (f'{DB}ports = ["8080:80"]\n{STEP}', "write 80, the container's port: it is published on a free one"),
    (f"{DB}ports = 80\n{STEP}", "write ports = [80]"),
    (f'{DB}depends_on = "a"\n{STEP}', 'write depends_on = ["a"]'),
    (f"{DB}ready = 8080\n{STEP}", "write ready = { port = 8080 }"),
    (f'{DB}ready = "/health"\n{STEP}', 'write ready = { http = "/health" }'),
    (f"{DB}healthcheck = {{}}\n{STEP}", 'write ready = { http = ":8080/health" }, or one of port, log'),
    (f"{DB}environment = {{}}\n{STEP}", 'write env = { NAME = "value" }'),
    (f'{DB}memory = "1g"\n{STEP}', 'write limits = { memory = "512m", cpu = 1.0 }'),
    ('[check]\nfile = "/a"', "write [[check]] in two brackets: there may be several"),
    ('[[check]]\npath = "/a"', 'write file = "/path"'),
    ('[[check]]\nfile = "/a"\ncontains = "x"', 'write content = { contains = "..." }'),
    ('[[check]]\nfile = "/a"\nmode = 644', 'write mode = "0644"'),
    (f'{DB}files = [{{ content = "", target = "/a", mode = 0o640 }}]\n{STEP}', 'write mode = "0640"'),
    (f'{DB}cap_drop = "ALL"\n{STEP}', 'write cap_drop = ["ALL"]'),
    (f'{DB}entrypoint = "/serve"\n{STEP}', 'write entrypoint = ["/serve"]'),
    (f'{STEP}[[step.check]]\nfile = "/a"\npermissions = "0644"', 'write mode = "0644"'),
    ('[[step]]\nrun = "a\n', "a string is not closed; one of several lines stands between"),
    ("[[step]]\nrun = echo hi\n", 'a text stands in quotes: "..."'),
    ("[[step]]\nrun = \u201cecho\u201d\n", 'write straight quotes: "..."'),
    ("[[step]]\nrun = 'it's'\n", "a ' cannot stand within '...'"),
    ('[[step]]\nrun = "\\d"\n', "a backslash stands for itself in single quotes"),
    ('[[step]]\nrun: "a"\n', "write key = value, with an equals sign"),
    (f"{STEP}continue_on_failure = True\n", "write true or false, in small letters"),
    (f'{STEP}env = {{ A = "1" B = "2" }}\n', "a comma or the closing bracket is missing here"),
    (f"{DB}{DB}{STEP}", "a key or table can be given only once: the first stands in line 1"),
    ('[[step]]\nrun = "a"\n[[step]]\nrun = "b"\nrun = "c"\n', "the first stands in line 4"),
    ("", 'write [[step]] with run = "..."'),
]  # fmt: skip


@pytest.mark.parametrize(("text", "remedy"), SLIPS, ids=[text for text, _ in SLIPS])
def test_a_slip_is_told_with_its_remedy(project: Any, text: str, remedy: str) -> None:
    """One mistake, with what to write in its place."""
    (mistake,) = project.refuse(text)
    assert remedy in mistake.split("\n")[0]


def test_a_time_without_a_unit_is_one_of_seconds(project: Any) -> None:
    """What the format allows is not refused."""
    assert project.one(f'[meta]\ntimeout = "90"\n{STEP}').timeout_s == 90
