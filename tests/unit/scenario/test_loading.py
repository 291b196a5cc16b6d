"""From a file to its scenarios: bytes, places, services, steps, variables."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pytest_clnrm.errors import ScenarioFileError
from pytest_clnrm.model.limits import Limits
from pytest_clnrm.model.priority import Priority
from pytest_clnrm.model.service import HttpProbe, Ready, Service, Volume
from pytest_clnrm.model.step import Capture, Command, Retry, StepExpect
from pytest_clnrm.model.text import TextExpect
from pytest_clnrm.scenario.format.document import FileDoc
from pytest_clnrm.scenario.format.reset_document import FileServiceDoc
from pytest_clnrm.scenario.loading import load
from pytest_clnrm.scenario.locating import locate
from pytest_clnrm.scenario.options import LoadOptions

STEP = '[[step]]\nrun = "true"\n'

FULL = """\
# the whole form
[meta]
name = "orders"
description = "what it is about"
tags = ["integration", "db", "integration"]
priority = "high"
timeout = "1.5m"

[limits]
memory = 64
cpu = 0.5
pids = 100

[service.db]
image = "postgres:16"
command = "run me"
env = { PORT = 5432, TLS = true, NAME = "x" }
workdir = "/srv"
user = "postgres"
ports = [5432]
volumes = [{ source = "seed", target = "/seed", read_only = true }]
depends_on = ["cache"]
ready = { command = ["pg_isready"], timeout = "10s", interval = "1s" }
limits = { memory = "1g", gpus = 1 }
network = "bridge"
fresh = true
scratch = ["/scratch"]

[service.cache]
build = { context = "image", dockerfile = "Dockerfile", target = "t", args = { A = 1 } }
ready = { http = ":80/" }

[[step]]
name = "insert"
service = "db"
run = ["psql", "-c", "select 1"]
env = { A = 1.5 }
workdir = "/"
user = "root"
stdin = "in"
timeout = 10
retry = { times = 3, delay = "500ms" }
continue_on_failure = true

[step.expect]
exit = { one_of = [0, 3] }
stdout = { contains = "1 row", regex = ["a", "b"], json = { a = 1 } }
stderr = { equals = "", not_contains = "x", not_regex = "y" }

[step.capture]
row = { regex = "(\\\\d+) row" }
id = { json = "/id", from = "stderr", secret = true }

[[step]]
service = "cache"
run = "echo {{ row }}"
expect = { exit = { ne = 0 } }
"""


def test_every_key_reaches_the_model(project: Any) -> None:
    """Each key of the canonical form arrives in its field, in its unit, with its place."""
    (project.root / "seed").mkdir()
    (project.root / "image").mkdir()
    (project.root / "image" / "Dockerfile").write_text("FROM scratch")
    scenario = project.one(FULL)
    assert scenario.name == "orders"
    assert scenario.file == str(project.root / "orders.clnrm.toml")
    assert scenario.description == "what it is about"
    assert scenario.tags == ("integration", "db")
    assert scenario.priority is Priority.HIGH
    assert scenario.timeout_s == 90
    assert scenario.line == 2
    db, cache = scenario.services
    assert db == Service(
        name="db",
        image="postgres:16",
        command=("sh", "-c", "run me"),
        env={"PORT": "5432", "TLS": "true", "NAME": "x"},
        workdir="/srv",
        user="postgres",
        ports=(5432,),
        volumes=(
            Volume(
                source=str(project.root / "seed"),
                target="/seed",
                read_only=True,
                at=("service", "db", "volumes", 0),
            ),
        ),
        depends_on=("cache",),
        ready=(Ready(command=("pg_isready",), timeout_s=10, interval_s=1, at=("service", "db", "ready")),),
        limits=Limits(memory_bytes=1024**3, cpus=0.5, pids=100, gpus=1),
        network="bridge",
        fresh=True,
        scratch=("/scratch",),
        at=("service", "db"),
    )
    assert cache.image is None
    assert cache.build is not None
    assert (cache.build.context, cache.build.dockerfile) == (str(project.root / "image"), "Dockerfile")
    assert (cache.build.target, cache.build.args) == ("t", {"A": "1"})
    assert cache.ready == (Ready(http=HttpProbe(target=":80/"), at=("service", "cache", "ready")),)
    assert cache.limits == Limits(memory_bytes=64 * 1024**2, cpus=0.5, pids=100)
    insert, second = scenario.steps
    assert (insert.name, insert.service) == ("insert", "db")
    assert insert.action == Command(
        run=("psql", "-c", "select 1"), env={"A": "1.5"}, workdir="/", user="root", stdin="in", at=insert.at
    )
    assert (insert.timeout_s, insert.retry) == (10, Retry(times=3, delay_s=0.5))
    assert insert.continue_on_failure
    assert not insert.templated
    assert insert.expect == StepExpect(
        exit_in=(0, 3),
        stdout=TextExpect(
            contains=("1 row",),
            regex=("a", "b"),
            json={"a": 1},
            has_json=True,
            at=("step", 0, "expect", "stdout"),
        ),
        stderr=TextExpect(
            equals="", not_contains=("x",), not_regex=("y",), at=("step", 0, "expect", "stderr")
        ),
        at=("step", 0, "expect"),
    )
    assert insert.captures == (
        Capture(name="row", regex=r"(\d+) row", at=("step", 0, "capture", "row")),
        Capture(name="id", json="/id", stream="stderr", secret=True, at=("step", 0, "capture", "id")),
    )
    assert (second.name, second.service, second.action.run) == ("step 2", "cache", "echo {{ row }}")
    assert second.templated
    assert second.expect == StepExpect(exit_in=(), exit_not_in=(0,), at=("step", 1, "expect"))


def test_defaults(project: Any) -> None:
    """The least file has the file's stem as its name, and the defaults of the model."""
    scenario = project.one(STEP)
    assert scenario.name == "orders"
    assert scenario.services == (Service(name="default", image="alpine:latest", implicit=True),)
    assert scenario.steps[0].expect.exit_in == (0,)
    assert (scenario.priority, scenario.timeout_s, scenario.line) == (None, None, 1)


@pytest.mark.parametrize(
    ("file", "name"),
    [("a.clnrm.toml", "a"), ("b.toml", "b"), ("sub/c.d.toml", "c.d"), ("é x.clnrm.toml", "é x")],
)
def test_the_stem_names_the_scenario(project: Any, file: str, name: str) -> None:
    """Both endings are taken off."""
    assert project.load(STEP, file)[0].name == name


def test_steps_without_service_share_one_container(project: Any) -> None:
    """One service: that one. None or several: one container of the default image, with the file's limits."""
    only = project.one('[service.db]\nimage = "x"\n' + STEP)
    assert [each.name for each in only.services] == ["db"]
    assert only.steps[0].service == "db"
    several = project.one(
        f'[limits]\npids = 7\n[service.a]\nimage = "x"\n[service.b]\nimage = "y"\n{STEP}{STEP}',
        default_image="busybox:1",
    )
    assert [each.service for each in several.steps] == ["default", "default"]
    assert [each.name for each in several.services] == ["a", "b", "default"]
    assert several.services[2].image == "busybox:1"
    assert several.services[2].limits == Limits(pids=7)


def test_a_service_called_default_is_the_default(project: Any) -> None:
    """A file's own service of that name takes the place of the implicit one."""
    scenario = project.one(f'[service.default]\nimage = "x"\n[service.b]\nimage = "y"\n{STEP}')
    assert [(each.name, each.image) for each in scenario.services] == [("default", "x"), ("b", "y")]


SEVERAL = """\
[meta]
description = "all"
tags = ["file"]
priority = "low"
timeout = 60

[service.db]
image = "db"
depends_on = ["cache"]
[service.cache]
image = "cache"
[service.web]
image = "web"
[service.watcher]
image = "watcher"

[[expect.span]]
select = "shared"
[expect.graph]
acyclic = true
[expect]
wait = "1s"

[[scenario]]
name = "first"
[[scenario.step]]
service = "db"
run = "true"

# a comment
[[scenario]]
name = "second"
description = "own"
tags = ["own", "file"]
priority = "high"
timeout = "5s"
[[scenario.step]]
service = "web"
run = "true"
[[scenario.expect.span]]
select = "own"
[scenario.expect]
wait = "9s"
[scenario.expect.counts]
errors_total = 0
"""


def test_several_scenarios_of_a_file(project: Any) -> None:
    """Each is an item with its own facts on top of the file's, its line, and the services it can reach."""
    first, second = project.load(SEVERAL)
    assert (first.name, first.description, first.tags) == ("first", "all", ("file",))
    assert (first.priority, first.timeout_s) == (Priority.LOW, 60)
    assert (second.name, second.description, second.tags) == ("second", "own", ("file", "own"))
    assert (second.priority, second.timeout_s) == (Priority.HIGH, 5)
    lines = SEVERAL.split("\n")
    assert [lines[each.line - 1] for each in (first, second)] == ["[[scenario]]", "[[scenario]]"]
    assert first.line < second.line
    assert [each.name for each in first.services] == ["db", "cache", "watcher"]
    assert [each.name for each in second.services] == ["web", "watcher"]
    assert [each.select.name for each in first.expect.spans] == ["shared"]
    assert [each.select.name for each in second.expect.spans] == ["shared", "own"]
    assert [each.at for each in second.expect.spans] == [
        ("expect", "span", 0),
        ("scenario", 1, "expect", "span", 0),
    ]
    assert first.expect.graph == second.expect.graph is not None
    assert first.expect.counts is None
    assert second.expect.counts is not None
    assert (first.expect.wait_s, second.expect.wait_s) == (1, 9)
    assert (first.at, second.at) == (("scenario", 0), ("scenario", 1))


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_windows_files(project: Any, end: str, mark: bytes) -> None:
    """A byte order mark and Windows newlines change neither values nor places."""
    text = '[meta]\nname = "größe 测试"\n[[step]]\nrun = """a\nb"""\nrum = 1\n'.replace("\n", end)
    assert project.refuse(mark + text.encode())[0].startswith("FILE:6:1: step[0].rum: unknown key")
    fine = project.one(mark + text.replace("rum", "timeout").encode())
    assert fine.name == "größe 测试"
    assert fine.steps[0].action.run == "a\nb"


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_what_is_not_utf8(project: Any, mark: bytes) -> None:
    """The place of the first wrong byte is told."""
    (mistake,) = project.refuse(mark + b'[meta]\nname = "\xc3\xa9\xff"\r\n')
    assert mistake.split("\n") == [
        "FILE:2:10: not UTF-8: byte 0xff cannot stand here; save the file as UTF-8",
        '    name = "é\ufffd"',
        "             ^",
    ]


def test_what_cannot_be_read(project: Any) -> None:
    """A folder, or a file that has gone, is a mistake, not a crash."""
    with pytest.raises(ScenarioFileError, match=r"cannot be read: Is a directory"):
        load(str(project.root), LoadOptions(rootdir="/"))
    with pytest.raises(ScenarioFileError, match=r"cannot be read: No such file or directory"):
        load(str(project.root / "gone.toml"), LoadOptions(rootdir="/"))


def test_toml_mistakes_have_places(project: Any) -> None:
    """What is no TOML is shown with line, column and caret."""
    (mistake,) = project.refuse("[meta]\nname = oops\n")
    message = 'not valid TOML: Invalid value (a text stands in quotes: "...")'
    assert mistake == f"FILE:2:8: {message}\n    name = oops\n           ^"


def test_a_duplicate_key_says_so(project: Any) -> None:
    """The second of two equal keys is pointed at."""
    (mistake,) = project.refuse('[meta]\nname = "a"\n  name = "b"\n')
    assert mistake.split("\n") == [
        (
            "FILE:3:3: not valid TOML: Cannot overwrite a value (a key or table can be given only once: the "
            "first stands in line 2)"
        ),
        '      name = "b"',
        "      ^",
    ]


def test_numbers_beyond_toml(project: Any, head: Any) -> None:
    """Numbers that Python would take, and TOML does not know, are mistakes with a place."""
    assert head(
        project.refuse("[vars]\nx = 0xffffffffffffffffff\ny = [[-9223372036854775809]]\n" + STEP)
    ) == [
        "FILE:2:1: vars.x: this number is beyond 64 bits",
        "FILE:3:7: vars.y[0][0]: this number is beyond 64 bits",
    ]
    assert project.one(f"[vars]\nx = 9223372036854775807\n{STEP}").variables == {"x": 2**63 - 1}
    (mistake,) = project.refuse(f"[vars]\nx = {'9' * 5000}\n{STEP}")
    assert mistake.startswith("FILE: not valid TOML: Exceeds the limit")


def test_deep_nesting_is_a_mistake(project: Any) -> None:
    """A file that would exhaust the stack is refused."""
    (mistake,) = project.refuse(f"[vars]\nx = {'[' * 20000}{']' * 20000}\n{STEP}")
    assert "nested" in mistake


def test_all_mistakes_at_once(project: Any, head: Any) -> None:
    """Types, names and references: everything that is wrong is told in one go, in the order of the file."""
    text = """\
[met]
[meta]
priority = "hihg"
[service.db]
image = "x"
imag = "y"
ports = ["80"]
[[step]]
run = "true"
timeout = "1 s"
service = "db"
[[step]]
run = "true"
expect = { stdout = { regex = "(" } }
"""
    tables = ", ".join(FileDoc.__struct_fields__)
    keys = ", ".join(FileServiceDoc.__struct_fields__)
    times = 'a number of seconds such as 90, or text such as "90s", "1.5m", "500ms", "1h"'
    problem = "missing ), unterminated subpattern at position 0"
    assert head(project.refuse(text)) == [
        f'FILE:1:1: met: unknown key "met"; allowed here: {tables} (did you mean "meta"?)',
        'FILE:3:1: meta.priority: "hihg" is not "high", "normal" or "low" (did you mean "high"?)',
        f'FILE:6:1: service.db.imag: unknown key "imag"; allowed here: {keys} (did you mean "image"?)',
        (
            'FILE:7:10: service.db.ports[0]: "80" is not allowed: a port such as 8080 or "53/udp" '
            "(write 80, the container's port: it is published on a free one)"
        ),
        f'FILE:10:1: step[0].timeout: "1 s" is not allowed: {times}',
        f"FILE:14:23: step[1].expect.stdout.regex: not a regular expression: {problem}",
    ]


def test_a_wrong_part_hides_no_mistake_elsewhere(project: Any, head: Any) -> None:
    """Where a table must have what is wrong or missing in it, the rest is judged all the same."""
    text = """\
[meta]
name = "a::b"
[service.db]
volumes = [{ source = "/etc", target = "data" }]
depends_on = ["cache"]
ready = { port = 1, log = "x" }
[[step]]
run = 3
service = "bd"
expect = { stdout = { regex = "(" } }
[[step]]
retry = { delay = "x" }
[[step]]
run = "true"
capture = { id = {} }
"""
    assert [each.split(" ")[1] for each in head(project.refuse(text))] == [
        "meta.name:",
        "service.db:",
        "service.db.volumes[0].source:",
        "service.db.volumes[0].target:",
        "service.db.depends_on[0]:",
        "service.db.ready:",
        "step[0].run:",
        "step[0].service:",
        "step[0].expect.stdout.regex:",
        "step[1]:",
        "step[1].retry:",
        "step[1].retry.delay:",
        "step[2].capture.id:",
    ]


def test_a_mistake_is_told_without_what_follows_from_it(project: Any, head: Any) -> None:
    """A misspelt service is one mistake, not one in each step that names it."""
    text = f'[servic.db]\nimage = "x"\n{STEP}service = "db"\n'
    (mistake,) = head(project.refuse(text))
    assert mistake.startswith("FILE:1:1: servic: unknown key")


def test_what_a_table_lacks_does_not_hide_its_rest(project: Any, head: Any) -> None:
    """Where a table lacks what it must have, its rest is still checked, and so are the rules of the whole."""
    assert head(project.refuse("[[step]]\nname = 1\n[[scenario]]\nstep = 3\n")) == [
        "FILE:1:1: exactly one of step or scenario must be given, found step and scenario",
        "FILE:2:1: step[0].name: expected text, found 1",
        'FILE:3:1: scenario[0]: the key "name" is missing',
        "FILE:4:1: scenario[0].step: expected a list, found 3",
    ]


def test_wild_files_are_told_in_their_own_words(project: Any, head: Any) -> None:
    """Mistakes and places of a wild file name the keys that its author wrote."""
    text = '[test.metadata]\nname = "a"\ntimeout = "x"\n[services.db]\nimage = 1\n[[steps]]\ncommand = 5\n'
    assert [each.split(" ")[0:2] for each in head(project.refuse(text))] == [
        ["FILE:3:1:", "test.metadata.timeout:"],
        ["FILE:5:1:", "services.db.image:"],
        ["FILE:7:1:", "steps[0].command:"],
    ]
    assert head(project.refuse('[test.metadata]\nname = ""\n[[steps]]\nname = "s"\ncommand = ["a"]\n')) == [
        "FILE:2:1: test.metadata.name: the name must not be empty"
    ]


WILD = '[test.metadata]\nname = "a"\n[[steps]]\nname = "s"\ncommand = ["a"]\n[assertions]\nis_nice = true\n'


def test_what_is_not_checked_is_named(project: Any, head: Any) -> None:
    """A claim that we do not check is listed, and with clnrm_strict is a mistake."""
    scenario = project.one(WILD)
    assert [(each.path, each.at) for each in scenario.unchecked] == [
        ("assertions.is_nice", ("assertions", "is_nice"))
    ]
    assert scenario.steps[0].at == ("steps", 0)
    assert head(project.refuse(WILD, strict=True)) == [
        "FILE:7:1: assertions.is_nice: is not checked (clnrm_strict)"
    ]


def test_spans_on_stdout(project: Any) -> None:
    """A file that says so has its output read for spans."""
    assert project.one(WILD + '[otel]\nexporter = "stdout"\n').stdout_spans
    assert not project.one(WILD).stdout_spans


def test_locate(project: Any) -> None:
    """A key path has its place, a missing one that of its table, an unreadable file the first character."""
    path = project.write(STEP + "env = { A = 1 }\n")
    assert locate(path, ("step", 0, "env", "A")) == (3, 9)
    assert locate(path, ("step", 0, "expect")) == (1, 1)
    assert locate(path, ()) == (1, 1)
    project.write("\n" + STEP)
    assert locate(path, ("step", 0, "run")) == (3, 1)
    project.write("not toml")
    assert locate(path, ("step", 0, "run")) == (1, 1)
    Path(path).unlink()
    assert locate(path, ("step", 0, "run")) == (1, 1)


def test_loading_is_imported_when_it_is_needed() -> None:
    """Importing the loader costs neither msgspec nor jinja2 nor tomli."""
    code = (
        "import sys, pytest_clnrm.scenario.loading;"
        "print(sorted({'msgspec', 'jinja2', 'tomli'} & sys.modules.keys()))"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "[]"


def test_plain_files_load_no_templates(project: Any) -> None:
    """A file without templates never loads Jinja2."""
    path = project.write(STEP)
    code = (
        "import sys; from pytest_clnrm.scenario.loading import *;"
        f"load({path!r}, LoadOptions(rootdir={os.sep!r})); print('jinja2' in sys.modules)"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "False"
