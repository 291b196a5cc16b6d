"""Scenario files as pytest items: collected, selected, run, reported; with the fake engine."""

from __future__ import annotations

import shlex
import xml.etree.ElementTree as ET
from collections.abc import Callable
from datetime import datetime, timezone

import pytest
from clnrm_testing.project import Project

HELLO = """
[meta]
name = "hello"
tags = ["smoke", "first-light"]

[[step]]
name = "greet"
run = "echo hello from a step"
expect = { stdout = { contains = "hello" } }
"""

FAILS = """
[meta]
name = "fails"

[[step]]
name = "greet"
run = "echo hello; echo trouble >&2; exit 3"

[[step]]
name = "never"
run = "echo never"
"""


def test_a_scenario_runs_and_passes(each_mode: Project) -> None:
    """A file is collected, its step runs in a container under the default limits, which is removed."""
    each_mode.write("sub/hello.clnrm.toml", HELLO)
    result = each_mode.run("-v")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(
        ["*sub/hello.clnrm.toml::hello*PASSED*"] if "-n" not in each_mode.mode[0] else ["*"]
    )
    (created,) = each_mode.events("create")
    assert created["memory_bytes"] == 512 << 20
    assert created["cpus"] == 1.0
    assert [event["event"] for event in each_mode.events("create", "start", "exec", "remove")] == [
        "create",
        "start",
        "exec",
        "remove",
    ]


def test_a_failure_explains_itself(each_mode: Project) -> None:
    """A failing step shows place, message and output; later steps do not run; the summary has the message."""
    each_mode.write("fails.clnrm.toml", FAILS)
    result = each_mode.run("--clnrm-report", "out", "--clnrm-memory", "64m", "-o", "clnrm_timeout=9")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "fails.clnrm.toml:5: step 'greet': exit code 3, expected 0",
            "    > 5 | [[][[]step[]][]]",
            '      6 | name = "greet"',
            '      7 | run = "echo hello; echo trouble >&2; exit 3"',
            "    ran in service 'default': echo hello; echo trouble >&2; exit 3",
            "    stderr:",
            "        trouble",
            "    stdout:",
            "        hello",
            "reproduce with: pytest -oclnrm_timeout=9 --clnrm-memory=64m fails.clnrm.toml::fails",
            "FAILED fails.clnrm.toml::fails - *exit code 3, expected 0*",
        ]
    )
    (scenario,) = each_mode.report()["scenarios"]
    assert scenario["outcome"] == "failed"
    assert [(step["name"], step["outcome"]) for step in scenario["steps"]] == [
        ("greet", "failed"),
        ("never", "not run"),
    ]
    assert scenario["steps"][0]["exit_code"] == 3
    assert scenario["steps"][0]["stdout"] == "hello\n"
    assert [step["command"] for step in scenario["steps"]] == ["echo hello; echo trouble >&2; exit 3", ""]


def test_an_engine_that_goes_away_is_told_with_the_step_that_ran(project: Project) -> None:
    """Each scenario says during which step."""
    for number in (1, 2):
        project.write(f"{number}.clnrm.toml", f'[[step]]\nname = "ask"\nrun = "echo ENGINE-GONE {number}"\n')
    result = project.run()
    result.assert_outcomes(failed=2)
    for number in (1, 2):
        said = f"the engine is gone (echo ENGINE-GONE {number})"
        result.stdout.fnmatch_lines(
            [
                f"{number}.clnrm.toml:1: step 'ask': {said}",
                f"    ran in service 'default': echo ENGINE-GONE {number}",
            ]
        )


def test_the_socket_that_the_command_line_names_is_not_mounted(project: Project) -> None:
    """No volume shows the folder of the engine's socket, also where it lies in the project."""
    project.write("run/of/engine.txt", "")
    project.write(
        "a.clnrm.toml",
        '[service.a]\nimage = "x"\nvolumes = [{ source = "run", target = "/r" }]\n[[step]]\nrun = "true"\n',
    )
    socket = project.pytester.path / "run" / "engine.sock"
    result = project.run("--clnrm-engine", f"unix://{socket}")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(
        [f"*service.a.volumes[[]0].source: the engine's socket {socket} lies below it*"]
    )


def test_a_failure_shows_captured_values_and_the_time_line_of_services(project: Project) -> None:
    """The command stands there as it ran, and each service with its state, and when it was ready."""
    project.write(
        "shop.clnrm.toml",
        """
        [service.db]
        image = "service-db"
        ready = { log = "ready" }
        [service.web]
        image = "service-web"
        [service.shell]
        image = "shell"
        [[step]]
        name = "first"
        service = "shell"
        run = "echo id 7"
        capture = { id = { regex = "id (.)" } }
        [[step]]
        name = "second"
        service = "shell"
        run = ["sh", "-c", "exit {{ id }}"]
        """,
    )
    result = project.run()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "shop.clnrm.toml:14: step 'second': exit code 7, expected 0",
            "    ran in service 'shell': sh -c 'exit 7'",
            "service 'db': running (created after * s, started after * s, ready after * s)",
            "service 'web': running (created after * s, started after * s)",
            "reproduce with: pytest shop.clnrm.toml::shop",
        ]
    )
    result.stdout.no_fnmatch_line("service 'shell': *")


def test_the_command_to_reproduce_is_one(make_project: Callable[[str], Project]) -> None:
    """It holds for odd names too, and from the folder in which pytest was started."""
    project = make_project("no-xdist")
    project.write("sub/odd.clnrm.toml", FAILS.replace('"fails"', '"a b [c]"'))
    project.write("sub/fails.clnrm.toml", FAILS)
    line = next(each for each in project.run("-k", "odd").outlines if each.startswith("reproduce with: "))
    words = shlex.split(line.removeprefix("reproduce with: "))
    assert words == ["pytest", "sub/odd.clnrm.toml::a b [c]"]
    project.run(*words[1:]).assert_outcomes(failed=1)


def test_continue_on_failure_runs_the_rest(project: Project) -> None:
    """A step that may fail does not keep later ones from running, and still fails the scenario."""
    project.write("fails.clnrm.toml", FAILS.replace('exit 3"', 'exit 3"\ncontinue_on_failure = true'))
    result = project.run("--clnrm-report", "out")
    result.assert_outcomes(failed=1)
    (scenario,) = project.report()["scenarios"]
    assert [step["outcome"] for step in scenario["steps"]] == ["failed", "passed"]


def test_a_broken_file_is_an_error_of_that_file_alone(make_project: Callable[[str], Project]) -> None:
    """A broken file is one collection error with place and caret, and other files still run under xdist."""
    project = make_project("n2")
    project.write(
        "broken.clnrm.toml", '[meta]\nname = "x"\ntimeuot = 3\n\n[[step]]\nname = "s"\nrun = "true"\n'
    )
    project.write("hello.clnrm.toml", HELLO)
    result = project.run()
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(
        ["*broken.clnrm.toml:3:1: meta.timeuot: *did you mean*timeout*", "*timeuot = 3", "*^"]
    )
    assert "Traceback" not in result.stdout.str()
    assert "INTERNALERROR" not in result.stdout.str() + result.stderr.str()


def test_a_file_named_on_the_command_line_is_collected(project: Project) -> None:
    """A TOML file that no glob matches is collected when it is named, and only then."""
    project.write("plain.toml", HELLO)
    assert project.run().ret == pytest.ExitCode.NO_TESTS_COLLECTED
    project.run("plain.toml").assert_outcomes(passed=1)


def test_clnrm_files_changes_what_is_collected(project: Project) -> None:
    """The ini option clnrm_files names other globs."""
    project.write("hello.scenario.toml", HELLO)
    project.write("hello.clnrm.toml", HELLO)
    result = project.run("-o", "clnrm_files=*.scenario.toml", "--collect-only", "-q")
    result.stdout.fnmatch_lines(["hello.scenario.toml::hello", "*1 test collected*"])


@pytest.mark.parametrize(
    ("files", "own", "at_last", "seen"),
    [
        (("a.clnrm.toml", "test_b.py"), "gc.enable()", "pass", "True False True"),
        (("a.clnrm.toml", "test_b.py"), "gc.disable()", "pass", "False False False"),
        (("a.clnrm.toml", "test_b.py"), "gc.enable()", "gc.disable()", "True False False"),
        (("test_b.py",), "gc.enable()", "pass", "True True True"),
        (("a.clnrm.toml", "broken.clnrm.toml", "test_b.py"), "gc.enable()", "pass", "True False True"),
    ],
    ids=["scenarios", "disabled", "disabled-when-collected", "tests", "broken"],
)
def test_nobody_looks_for_garbage_while_scenario_files_are_collected(
    project: Project, files: tuple[str, ...], own: str, at_last: str, seen: str
) -> None:
    """Their items stay; afterwards it is as it was before, or as the project has it."""
    texts = {"a.clnrm.toml": HELLO, "broken.clnrm.toml": "no = 1", "test_b.py": "def test(): pass"}
    for file in files:
        project.write(file, texts[file])
    project.write(
        "conftest.py",
        "import gc, pathlib\n"
        "seen = []\n"
        "def pytest_sessionstart():\n"
        f"    {own}\n"
        "    seen.append(gc.isenabled())\n"
        "def pytest_pycollect_makemodule():\n"
        "    seen.append(gc.isenabled())\n"
        "def pytest_collection_finish():\n"
        f"    {at_last}\n"
        "def pytest_sessionfinish():\n"
        "    seen.append(gc.isenabled())\n"
        "    gc.enable()\n"
        "    pathlib.Path('seen').write_text(' '.join(map(str, seen)))\n",
    )
    project.run()
    assert (project.pytester.path / "seen").read_text() == seen


def test_collecting_asks_no_engine(each_mode: Project) -> None:
    """``--collect-only`` works without any engine."""
    each_mode.write("hello.clnrm.toml", HELLO)
    result = each_mode.run("--collect-only", "-q")
    result.stdout.fnmatch_lines(["hello.clnrm.toml::hello"])
    assert each_mode.events() == []


def test_python_tests_alone_ask_no_engine(each_mode: Project) -> None:
    """A run that selects no scenario asks no engine."""
    each_mode.write("hello.clnrm.toml", HELLO)
    each_mode.write("test_it.py", "def test_it(): pass\n")
    each_mode.run("-k", "test_it").assert_outcomes(
        passed=1, deselected=1 if each_mode.mode != ("-n", "1") else 0
    )
    assert each_mode.events() == []


def test_what_the_engine_cannot_limit_is_told_once(
    each_mode: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The end of a run with scenarios says it, in one line however many workers connected."""
    monkeypatch.setenv("FAKE_WARNING", "The engine cannot limit memory: --clnrm-memory has no effect.")
    each_mode.write("a.clnrm.toml", HELLO)
    each_mode.write("b.clnrm.toml", HELLO)
    result = each_mode.run()
    result.assert_outcomes(passed=2)
    told = [line for line in result.outlines if "cannot limit memory" in line]
    assert told == ["clnrm: The engine cannot limit memory: --clnrm-memory has no effect."]


def test_ports_that_are_open_to_others_are_told_once(
    each_mode: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The end of a run names the ports that an engine elsewhere has published, those of Python tests too."""
    service = '[service.{name}]\nimage = "service"\nports = [{port}]\n'
    for file, name, port in (("a", "web", 443), ("b", "api", 80), ("c", "api", 80)):
        each_mode.write(f"{file}.clnrm.toml", service.format(name=name, port=port) + HELLO)
    each_mode.write(
        "test_it.py",
        "def test_it(clnrm):\n    with clnrm.container('db', name='db', ports=[5432]):\n        pass\n",
    )
    result = each_mode.run()
    result.assert_outcomes(passed=4)
    assert "published" not in result.stdout.str(), "on this machine others do not reach them"
    monkeypatch.setenv("FAKE_REMOTE", "1")
    result = each_mode.run()
    result.assert_outcomes(passed=4)
    (told,) = [line for line in result.outlines if "published" in line]
    assert told == (
        "clnrm: ports 80 of service 'api', 5432 of service 'db', 443 of service 'web' were published on all "
        "addresses of the engine's machine: whoever reaches 127.0.0.1 reaches them while their containers "
        "run. Leave `ports` out and reach services by steps in containers, or let a firewall there keep "
        "others out (docs/engines.md)"
    )


def test_without_an_engine_scenarios_are_errors_of_one_line(
    each_mode: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without an engine each scenario is an error of one line, the remedies stand once, Python tests run."""
    monkeypatch.setenv("FAKE_UNAVAILABLE", "1")
    each_mode.write("a.clnrm.toml", HELLO)
    each_mode.write("b.clnrm.toml", HELLO)
    each_mode.write("test_it.py", "def test_it(): pass\n")
    result = each_mode.run()
    result.assert_outcomes(passed=1, errors=2)
    result.stdout.fnmatch_lines_random(
        [
            "ERROR a.clnrm.toml::hello - *no container engine answers*",
            "ERROR b.clnrm.toml::hello - *no container engine answers*",
        ]
    )
    assert result.stdout.str().count("start one") == 1
    assert "Traceback" not in result.stdout.str()


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        (("-m", "smoke"), ["hello"]),
        (("-m", "first-light"), ["hello"]),
        (("-m", "not smoke"), ["fails"]),
        (("-k", "smoke"), ["hello"]),
        (("-k", "fails"), ["fails"]),
        (("--deselect", "hello.clnrm.toml::hello"), ["fails"]),
        (("hello.clnrm.toml::hello",), ["hello"]),
    ],
)
def test_selection(project: Project, args: tuple[str, ...], expected: list[str]) -> None:
    """Tags are markers and keywords, under --strict-markers too; node ids select."""
    project.write("hello.clnrm.toml", HELLO)
    project.write("fails.clnrm.toml", FAILS)
    result = project.run("--collect-only", "-q", "--strict-markers", *args)
    names = [line.partition("::")[2] for line in result.outlines if "::" in line]
    assert names == expected


def test_a_tag_cannot_set_a_marker_of_a_plugin(project: Project) -> None:
    """A tag named like a marker of pytest stays a keyword, with a warning: the file is not skipped by it."""
    project.write("hello.clnrm.toml", HELLO.replace('"smoke"', '"skip"'))
    result = project.run("-k", "skip")
    result.assert_outcomes(passed=1, warnings=1)
    result.stdout.fnmatch_lines(["*tag 'skip' names a marker of pytest or a plugin: it stays a keyword*"])


def test_a_file_warns_of_a_tag_once(project: Project) -> None:
    """However many scenarios a file's matrix makes, it is one warning."""
    project.write("hello.clnrm.toml", HELLO.replace('"smoke"', '"skip"') + "[matrix]\nn = [1, 2, 3]\n")
    project.run().assert_outcomes(passed=3, warnings=1)


def test_a_tag_may_be_a_marker_of_the_project(project: Project) -> None:
    """A marker that the project's own ini file registers is set by a tag of that name."""
    project.pytester.makeini("[pytest]\nmarkers =\n    smoke: quick ones\n")
    project.write("hello.clnrm.toml", HELLO)
    project.write("test_it.py", "import pytest\n@pytest.mark.smoke\ndef test_it(): pass\n")
    project.run("-m", "smoke", "--strict-markers").assert_outcomes(passed=2)


def test_last_failed(each_mode: Project) -> None:
    """``--lf`` runs the failed scenario again, and nothing else."""
    each_mode.write("hello.clnrm.toml", HELLO)
    each_mode.write("fails.clnrm.toml", FAILS)
    each_mode.run().assert_outcomes(passed=1, failed=1)
    each_mode.run("--lf").assert_outcomes(failed=1)


def test_failed_first_and_stepwise(project: Project) -> None:
    """``--ff`` runs the failed one first; ``--sw`` stops at it and continues there."""
    project.write("a.clnrm.toml", HELLO)
    project.write("b.clnrm.toml", FAILS)
    project.write("c.clnrm.toml", HELLO.replace('name = "hello"', 'name = "later"'))
    project.run().assert_outcomes(passed=2, failed=1)
    result = project.run("--ff", "-v")
    order = [line.split("::")[1].split(" ")[0] for line in result.outlines if "::" in line and "%]" in line]
    assert order == ["fails", "hello", "later"]
    project.run("--sw").assert_outcomes(passed=1, failed=1)
    project.run("--sw").assert_outcomes(failed=1, deselected=1)


def test_exitfirst(project: Project) -> None:
    """``-x`` stops after the first failure, and its containers are removed."""
    project.write("a.clnrm.toml", FAILS)
    project.write("b.clnrm.toml", HELLO)
    project.run("-x").assert_outcomes(failed=1)
    assert len(project.events("create")) == len(project.events("remove")) == 1


def test_marks_of_conftest_work(project: Project) -> None:
    """Marks (skip and xfail) that a conftest file adds work as on any test."""
    for name in ("a", "b", "c"):
        project.write(f"{name}.clnrm.toml", (HELLO if name == "c" else FAILS).replace('"fails"', f'"{name}"'))
    project.write(
        "conftest.py",
        """
        import pytest
        def pytest_collection_modifyitems(items):
            marks = {"a": pytest.mark.skip(reason="not today"), "b": pytest.mark.xfail(reason="known"),
                     "hello": pytest.mark.xfail(strict=True, reason="fixed?")}
            for item in items:
                item.add_marker(marks[item.name])
        """.replace("\n        ", "\n"),
    )
    result = project.run("-rsx", "--clnrm-report", "out")
    result.assert_outcomes(skipped=1, xfailed=1, failed=1)
    result.stdout.fnmatch_lines(["*XPASS(strict)*fixed?*"])
    outcomes = {scenario["name"]: scenario["outcome"] for scenario in project.report()["scenarios"]}
    assert outcomes == {"a": "skipped", "b": "xfailed", "hello": "failed"}


def test_junit_and_durations(each_mode: Project) -> None:
    """``--junitxml`` holds the scenario with its output and ``--durations`` its time."""
    each_mode.write("fails.clnrm.toml", FAILS)
    result = each_mode.run("--junitxml=junit.xml", "--durations=3", "-vv")
    result.stdout.fnmatch_lines(["*s call*fails.clnrm.toml::fails*"])
    case = ET.parse(each_mode.pytester.path / "junit.xml").getroot().find(".//testcase")  # noqa: S314 (ours)
    assert case is not None
    assert case.get("name") == "fails"
    failure = case.find("failure")
    assert failure is not None
    assert "exit code 3, expected 0" in str(failure.get("message"))


def test_output_streams_with_s(project: Project) -> None:
    """With ``-s`` the output of a step is shown as it comes."""
    project.write("hello.clnrm.toml", HELLO)
    result = project.run("-s")
    result.stdout.fnmatch_lines(["*hello from a step*"])


def test_a_hanging_step_is_ended(project: Project) -> None:
    """A step beyond its timeout is ended and says so; the container is removed."""
    project.write(
        "slow.clnrm.toml",
        HELLO.replace('run = "echo hello from a step"', 'run = "sleep 60"\ntimeout = "200ms"'),
    )
    result = project.run()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*slow.clnrm.toml:*: step 'greet' timed out after 0.2 s*"])
    assert len(project.events("remove")) == 1


@pytest.mark.parametrize(
    ("meta", "args", "source"),
    [
        ('timeout = "300ms"', (), "timeout of slow.clnrm.toml"),
        ("", ("--clnrm-timeout", "300ms"), "--clnrm-timeout"),
    ],
)
def test_a_hanging_scenario_is_ended(project: Project, meta: str, args: tuple[str, ...], source: str) -> None:
    """A scenario beyond its timeout says which step ran and where the limit came from."""
    text = HELLO.replace("echo hello from a step", "sleep 60").replace(
        'name = "hello"', f'name = "hello"\n{meta}'
    )
    project.write("slow.clnrm.toml", text)
    result = project.run("--clnrm-report", "out", *args)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines([f"*Scenario timeout after 0.3s ({source}) while step 'greet' was running*"])
    assert project.report()["scenarios"][0]["steps"][0]["outcome"] == "timeout"
    assert len(project.events("remove")) == 1


def test_out_of_memory_is_named(project: Project) -> None:
    """A step killed for memory is reported as out of memory, with the limit."""
    project.write("oom.clnrm.toml", HELLO.replace("echo hello from a step", ": OOM; exit 137"))
    result = project.run("--clnrm-memory", "64")
    result.stdout.fnmatch_lines(
        ["*step 'greet' ran out of memory: the container of service 'default' is limited to 64 MB*"]
    )


def test_an_image_that_cannot_be_had_is_an_error(each_mode: Project) -> None:
    """An image that cannot be pulled is an error of the setup phase, in one line."""
    each_mode.write("a.clnrm.toml", HELLO)
    result = each_mode.run("-o", "clnrm_default_image=missing:1", "--clnrm-report", "out")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["ERROR a.clnrm.toml::hello - *image 'missing:1' does not exist*"])
    assert each_mode.report()["scenarios"][0]["outcome"] == "error"


def test_a_service_that_does_not_start_fails(project: Project) -> None:
    """A container that cannot be started fails the scenario, with its logs, and is removed."""
    project.write("a.clnrm.toml", '[service.db]\nimage = "broken:1"\n' + HELLO)
    result = project.run()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*container clnrm-*-db cannot be started: broken*"])
    assert len(project.events("remove")) == 1


def test_images_are_mapped(project: Project) -> None:
    """``--clnrm-image-map`` replaces images by glob, the first match counts."""
    project.write("a.clnrm.toml", HELLO)
    project.run("--clnrm-image-map", "alpine:*=mine:1", "--clnrm-image-map", "*=other:1")
    assert [event["image"] for event in project.events("image")] == ["mine:1"]


def test_kept_containers_are_named(project: Project) -> None:
    """``--clnrm-keep failed`` keeps the containers of a failed scenario, and says how to remove them."""
    project.write("a.clnrm.toml", FAILS)
    project.write("b.clnrm.toml", HELLO)
    result = project.run("--clnrm-keep", "failed")
    result.stdout.fnmatch_lines(
        [
            "clnrm: container clnrm-*-default is kept, and counts until it is removed",
            "clnrm: remove what is kept with: * -m pytest_clnrm sweep --kept*",
        ]
    )
    assert len(project.events("create")) == 2
    assert len(project.events("remove")) == 1


def test_kept_containers_of_reruns_are_named_once(project: Project) -> None:
    """Each attempt's container is named once, and none by the reports of a later attempt."""
    project.write("a.clnrm.toml", FAILS)
    result = project.run("--clnrm-keep", "failed", "--reruns", "2", "-p", "rerunfailures")
    (kept,) = (line for line in result.outlines if "are kept, and count until they are removed: " in line)
    assert kept.startswith("clnrm: 3 containers ")
    assert len(set(kept.partition(": clnrm-")[2].split(", "))) == 3


def test_captures_reach_later_steps(project: Project) -> None:
    """A value captured from one step's output is named in a later one."""
    project.write(
        "capture.clnrm.toml",
        """
        [meta]
        name = "capture"
        [[step]]
        name = "make"
        run = "echo id=4711"
        capture = { id = { regex = "id=(\\\\d+)" } }
        [[step]]
        name = "use"
        run = "echo got {{ id }}"
        expect = { stdout = { equals = "got 4711" } }
        """,
    )
    project.run().assert_outcomes(passed=1)


def test_big_and_binary_output(project: Project) -> None:
    """10 MB of output and bytes that are no text do not break anything, and the report is bounded."""
    project.write(
        "big.clnrm.toml",
        HELLO.replace(
            'run = "echo hello from a step"',
            "run = \"\"\"printf 'hello \\\\377\\\\000'; head -c 10000000 /dev/zero | tr '\\\\0' x\n"
            'echo; echo hello"""',
        ),
    )
    result = project.run("--clnrm-report", "out")
    result.assert_outcomes(passed=1)
    (step,) = project.report()["scenarios"][0]["steps"]
    assert "characters left out" in step["stdout"]
    assert len(step["stdout"]) < 100_000


def test_the_report_is_written_only_where_asked_for(project: Project) -> None:
    """Without ``--clnrm-report`` no file is written."""
    project.write("hello.clnrm.toml", HELLO)
    before = {path.name for path in project.pytester.path.iterdir()}
    project.run("-p", "no:cacheprovider")
    after = {path.name for path in project.pytester.path.iterdir()}
    # The last three are pytester's own.
    assert after - before <= {"engine.jsonl", "__pycache__", "stdout", "stderr", "runpytest-0"}


def test_the_report_of_a_run_without_scenarios(each_mode: Project) -> None:
    """It is written where it is asked for, and tells when the run began."""
    each_mode.write("test_it.py", "import time\ndef test_it(): time.sleep(0.2)\n")
    began = datetime.now(timezone.utc)
    each_mode.run("--clnrm-report", "out").assert_outcomes(passed=1)
    document = each_mode.report()
    assert document["scenarios"] == []
    assert datetime.fromisoformat(document["session"]["started"]) >= began
    assert document["session"]["duration_s"] >= 0.2


def test_the_report_document(each_mode: Project) -> None:
    """report.json holds the session and each scenario with its facts."""
    each_mode.write("hello.clnrm.toml", HELLO)
    each_mode.run("--clnrm-report", "out").assert_outcomes(passed=1)
    document = each_mode.report()
    assert document["format"] == "clnrm-report/1"
    assert document["session"]["exit_status"] == 0
    assert document["session"]["workers"] == 1
    (scenario,) = document["scenarios"]
    assert scenario["nodeid"] == "hello.clnrm.toml::hello"
    assert scenario["tags"] == ["smoke", "first-light"]
    assert scenario["containers"][0]["memory_bytes"] == 512 << 20
    assert scenario["slot_wait_s"] >= 0


def test_a_crashed_worker_is_reported(make_project: Callable[[str], Project]) -> None:
    """A worker that dies in a scenario leaves an outcome "crashed" in the report."""
    project = make_project("n2")
    project.write("a.clnrm.toml", HELLO)
    project.write(
        "conftest.py",
        "import os, pytest\n"
        "@pytest.hookimpl(tryfirst=True)\n"
        "def pytest_runtest_call(item):\n"
        "    os._exit(3)\n",
    )
    project.run("--clnrm-report", "out", "--max-worker-restart=0").assert_outcomes(failed=1)
    (scenario,) = project.report()["scenarios"]
    assert (scenario["outcome"], scenario["name"]) == ("crashed", "hello")


def test_limits_beyond_the_engine_are_one_usage_error(each_mode: Project) -> None:
    """More CPUs than the engine has is one UsageError, before anything runs."""
    each_mode.write("hello.clnrm.toml", HELLO)
    result = each_mode.run("--clnrm-cpu", "99")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    text = result.stdout.str() + result.stderr.str()
    assert text.count("--clnrm-cpu: 99.0 CPUs for each container, but the engine has 8: at most 8") == 1
    assert "INTERNALERROR" not in text
    assert each_mode.events("create") == []


def test_a_report_outside_of_the_project_leaves_workers_its_settings(
    make_project: Callable[[str], Project], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """A folder that the command line names decides where pytest looks for its ini file once it exists."""
    project = make_project("n2")
    project.pytester.makeini("[pytest]\nclnrm_default_image = of-the-ini-file\n")
    project.write("a.clnrm.toml", '[[step]]\nrun = "true"\n')
    report = tmp_path_factory.mktemp("elsewhere") / "not" / "yet"
    project.run("--clnrm-report", str(report)).assert_outcomes(passed=1)
    assert [event["image"] for event in project.events("image")] == ["of-the-ini-file"]
    assert (report / "report.json").exists()


def test_a_report_that_cannot_be_made_is_a_usage_error(project: Project) -> None:
    """It is said before anything runs."""
    project.write("file", "")
    result = project.run("--clnrm-report", "file/below")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: --clnrm-report: */file/below cannot be made: Not a directory"])


def test_a_step_whose_value_was_not_captured_fails_alone(project: Project) -> None:
    """It names the step that should have captured it; others run on, and spans are said not to be judged."""
    project.write(
        "a.clnrm.toml",
        """
        [[step]]
        name = "login"
        run = "echo token=abc; exit 1"
        capture = { token = { regex = "token=(.*)" } }
        continue_on_failure = true
        [[step]]
        name = "uses it"
        run = "echo {{ token }}"
        continue_on_failure = true
        [[step]]
        name = "independent"
        run = "exit 3"
        retry = { times = 2 }
        [[step]]
        name = "not run"
        run = "true"
        [expect.counts]
        spans_total = 1
        """,
    )
    result = project.run("--clnrm-report", "out")
    result.stdout.fnmatch_lines(
        [
            "a.clnrm.toml:*: step 'login': exit code 1, expected 0",
            "a.clnrm.toml:*: step 'uses it': {{ token }} has no value: step 'login' has not captured it",
            "a.clnrm.toml:*: step 'independent': exit code 3, expected 0 (after 3 attempts over *.* s)",
            "note: what [[]expect[]] says of spans was not judged, as step 'login' failed",
        ]
    )
    steps = project.report()["scenarios"][0]["steps"]
    assert [step["outcome"] for step in steps] == ["failed", "failed", "failed", "not run"]
    assert [step["attempts"] for step in steps] == [1, 0, 3, 0]


def test_captured_values_stand_for_themselves(project: Project) -> None:
    """In patterns too, where a secret stays hidden; an empty one fails what it leaves nothing to check."""
    project.write(
        "a.clnrm.toml",
        """
        [[step]]
        run = "echo id=; echo who=a+b@x.org; echo key=s3c.r+t"
        capture = { id = { regex = "id=(.*)" }, who = { regex = "who=(.*)" } }
        [[step]]
        run = "echo s3c.r+t"
        capture = { key = { regex = ".+", secret = true } }
        continue_on_failure = true
        [[step]]
        name = "empty"
        run = "echo any"
        expect = { exit = 0, stdout = { regex = [
            "any",
            "{{ id }}",
        ] } }
        continue_on_failure = true
        [[step]]
        name = "login"
        run = "echo 'user a+b@x.org: login failed'"
        expect.stdout.not_regex = "user {{ who }}: login failed"
        continue_on_failure = true
        [[step]]
        name = "secret"
        run = "echo any"
        expect.stdout.regex = ["^(?!.*{{ who }})", "^{{ key }}$"]
        """,
    )
    result = project.run("--clnrm-report", "out")
    result.stdout.fnmatch_lines(
        [
            "a.clnrm.toml:14: step 'empty': regex = '{{ id }}' is empty with what was captured, which *",
            r"a.clnrm.toml:20: step 'login': stdout matches 'user a\\+b@x\\.org: *', which it must not",
            r"a.clnrm.toml:25: step 'secret': stdout does not match '^[*][*][*]$', got 'any\n'",
        ]
    )
    steps = project.report()["scenarios"][0]["steps"]
    assert [step["outcome"] for step in steps] == ["passed", "passed", "failed", "failed", "failed"]
    assert [step["attempts"] for step in steps] == [1, 1, 0, 1, 1]


def test_outputs_are_compared_with_files(project: Project) -> None:
    """What is redacted is no difference; what differs, and what cannot be read, is told."""
    project.write("golden/same.txt", "id=2 ok\n")
    project.write("golden/other.txt", "a\nb\nc\n")
    project.write("golden/x.json", '{"a": [1, {"b": "2020-01-01"}]}')
    project.write("golden/bad.json", "{")
    project.write(
        "a.clnrm.toml",
        """
        [[step]]
        name = "same"
        run = "echo id=7 ok"
        expect.stdout = { file = "golden/same.txt", redact = [{ regex = "id=[0-9]+", with = '[\\g<0>]' }] }
        [[step]]
        run = "echo a; echo x; echo c"
        expect.stdout = { file = "golden/other.txt" }
        continue_on_failure = true
        [[step]]
        run = ["echo", '{"a": [1.0, {"b": "2021-02-03"}]}']
        expect.stdout = { json_file = "golden/x.json", redact = [{ regex = "[0-9-]{10}", with = "DATE" }] }
        [[step]]
        run = ["echo", '{"a": [2], "c": 1}']
        expect.stdout = { json_file = "golden/x.json" }
        continue_on_failure = true
        [[step]]
        run = "echo 1"
        expect.stdout = { json_file = "golden/bad.json" }
        continue_on_failure = true
        [[step]]
        run = "echo 1"
        expect.stdout = { file = "golden/none.txt" }
        continue_on_failure = true
        [[step]]
        run = "echo 1"
        expect.stdout = { file = "../outside.txt" }
        """,
    )
    result = project.run()
    result.stdout.fnmatch_lines(
        [
            "*step 'step 2': stdout does not equal the file 'golden/other.txt'",
            "*-b",
            "*+x",
            "*: stdout is not the JSON of the file 'golden/x.json': $.a: expected 2 elements, got 1 (*",
            "*$.c: expected nothing, got 1",
            "*step 'step 5': the file 'golden/bad.json' is no JSON: Expecting property name *",
            "*the file 'golden/none.txt': there is none: run with --clnrm-update-golden to write it",
            "*'../outside.txt': it lies outside of rootdir: move it below",
        ]
    )
    result.stdout.no_fnmatch_line("*: step 'same':*")
    result.stdout.no_fnmatch_line("*: step 'step 3':*")


def test_golden_files_are_updated(each_mode: Project) -> None:
    """They are written, redacted, and named; the next run holds; different contents of one file are told."""
    each_mode.write("golden/same.txt", "same\n")
    each_mode.write("golden/old.txt", "old\n")
    for name in ("a", "b"):
        each_mode.write(
            f"{name}.clnrm.toml",
            """
            [[step]]
            run = "echo same"
            expect.stdout = { file = "golden/same.txt" }
            [[step]]
            run = "echo new $$"
            expect.stdout = { file = "golden/old.txt", redact = [{ regex = "[0-9]+", with = "PID" }] }
            [[step]]
            run = ["echo", '{"a": [1]}']
            expect.stdout = { json_file = "golden/new/x.json" }
            """,
        )
    result = each_mode.run("--clnrm-update-golden")
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(["clnrm: updated 2 golden files: golden/new/x.json, golden/old.txt"])
    golden = each_mode.pytester.path / "golden"
    assert (golden / "old.txt").read_text() == "new PID\n"
    assert (golden / "new" / "x.json").read_text() == '{\n  "a": [\n    1\n  ]\n}\n'
    each_mode.run().assert_outcomes(passed=2)
    each_mode.write(
        "b.clnrm.toml", '[[step]]\nrun = "echo other"\nexpect.stdout = { file = "golden/same.txt" }\n'
    )
    result = each_mode.run("--clnrm-update-golden")
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(
        ["*: stdout is another content of the file 'golden/same.txt' than step 'step 1' of *.toml::* has *"]
    )


def test_a_step_is_run_until_it_holds(project: Project) -> None:
    """It passes at the first run that holds; else the last difference is told, with the runs and the time."""
    project.write(
        "a.clnrm.toml",
        """
        [[step]]
        name = "holds"
        run = "echo x >>runs; wc -l <runs"
        until = { timeout = "60s", delay = 0 }
        expect = { stdout = { regex = "^ *3$" } }
        [[step]]
        name = "never"
        run = "echo no"
        until = { times = 3, delay = "1ms" }
        expect = { stdout = { equals = "yes" } }
        continue_on_failure = true
        [[step]]
        name = "too late"
        run = "echo no"
        until = { timeout = "300ms", delay = "200s" }
        expect = { stdout = { equals = "yes" } }
        continue_on_failure = true
        [[step]]
        name = "hangs once more"
        run = "test -e begun && sleep 600; touch begun; echo not yet; exit 3"
        until = { timeout = "3s", delay = 0 }
        continue_on_failure = true
        [[step]]
        name = "hangs"
        run = "sleep 600"
        until = { timeout = "300ms" }
        continue_on_failure = true
        """,
    )
    result = project.run("--clnrm-report", "out")
    result.stdout.fnmatch_lines(
        [
            "a.clnrm.toml:*: step 'never': stdout does not equal 'yes', * (after 3 attempts over *.* s)",
            "a.clnrm.toml:*: step 'too late': stdout does not equal 'yes', * (after 1 attempt over *.* s)",
            "a.clnrm.toml:*: step 'hangs once more': exit code 3, expected 0 (after 2 attempts over *.* s)",
            "*step 'hangs' was cut off by the 0.3 s of its `until` (after 1 attempt over *.* s)",
        ]
    )
    steps = project.report()["scenarios"][0]["steps"]
    assert [step["outcome"] for step in steps] == ["passed", "failed", "failed", "failed", "timeout"]
    assert [step["attempts"] for step in steps] == [3, 3, 1, 2, 1]


def test_an_output_is_shown_once(project: Project) -> None:
    """What stands whole with a failure has no section of its own; a long one has."""
    project.write(
        "a.clnrm.toml",
        """
        [[step]]
        run = "echo seen-once"
        expect = { stdout = { contains = ["a-b", "b-c"], regex = "c-d" } }
        continue_on_failure = true
        [[step]]
        run = "seq 1 2000; exit 1"
        """,
    )
    result = project.run()
    assert "\n".join(result.outlines).count("\n        seen-once\n") == 1
    sections = [line for line in result.outlines if "Captured" in line]
    assert "Captured stdout of step 'step 2' call" in "".join(sections)
    assert "'step 1'" not in "".join(sections)


def test_a_warning_shows_no_line_of_the_file(project: Project) -> None:
    """Python shows the line that a warning is about: in a scenario file it may hold a secret."""
    project.write(
        "a.clnrm.toml",
        'vars = { pw = { value = "hunter2", secret = true } }\nmeta = { tags = ["skip"] }\n'
        '[[step]]\nrun = "true"\n',
    )
    result = project.run()
    result.assert_outcomes(passed=1, warnings=1)
    result.stdout.fnmatch_lines(
        ["*<a.clnrm.toml>:1: ScenarioWarning: a.clnrm.toml: tag 'skip' names a marker *"]
    )
    assert "hunter2" not in "\n".join(result.outlines)
