"""Tests whose failures do not count until a day; with the fake engine."""

from __future__ import annotations

import pytest
from clnrm_testing.project import Project

LIST = """
[[quarantine]]
test = "bad.clnrm.toml::bad"
reason = "rounding"
until = 9999-12-31
issue = "https://example.com/7"

[[quarantine]]
test = "test_it.py::test_[[]p]*"
reason = "no glob but * and ?"
until = 9999-12-31

[[quarantine]]
test = "test_it.py::test_p"
reason = "both"
until = 9999-12-31

[[quarantine]]
test = "*/old*"
reason = "was mended"
until = 2020-02-29

[[quarantine]]
test = "sub/gone.clnrm.toml"
reason = "gone"
until = 9999-12-31
"""
EXPIRED = "expired on 2020-02-29: failures count again, and 1 failed; mend it, or set a later day"
TESTS = """
import pytest

@pytest.mark.parametrize("way", [1, 2])
def test_p(way):
    assert way == 1

def test_plain():
    pass
"""


def project_of(project: Project) -> Project:
    """Return a project with tests in quarantine."""
    project.write(".clnrm/quarantine.toml", LIST)
    project.write("bad.clnrm.toml", '[meta]\nname = "bad"\nretry = 3\n[[step]]\nrun = "exit 3"\n')
    project.write("sub/old.clnrm.toml", '[meta]\nname = "old"\n[[step]]\nrun = "exit 4"\n')
    project.write("test_it.py", TESTS)
    return project


def test_what_is_in_quarantine(each_mode: Project) -> None:
    """Failures are xfailed, a pass is told, an entry that has expired counts again and says so."""
    result = project_of(each_mode).run("-v")
    assert result.parseoutcomes() == {"xfailed": 2, "xpassed": 1, "passed": 1, "failed": 1}
    assert result.ret == 1
    assert len(each_mode.events("create")) == 2
    result.stdout.fnmatch_lines(
        [
            "*- quarantine -*",
            ".clnrm/quarantine.toml:18:1: expired on 2020-02-29: was mended",
        ]
    )
    told = [line for line in result.outlines if line.startswith(("clnrm: in quar", "clnrm: .clnrm", "    "))]
    (held,) = (line for line in told if "do not count" in line)
    assert {"bad.clnrm.toml::bad", "test_it.py::test_p[2]"} == set(held.partition("count: ")[2].split(", "))
    assert {
        "    bad.clnrm.toml::bad: until 9999-12-31: rounding (https://example.com/7)",
        "    test_it.py::test_p[2]: until 9999-12-31: both",
        "clnrm: in quarantine, and passing again: test_it.py::test_p[1] (.clnrm/quarantine.toml:13:1)",
        f"clnrm: .clnrm/quarantine.toml:18:1: '*/old*' {EXPIRED}: was mended",
        (
            "clnrm: in quarantine, but about no test, remove: 'test_it.py::test_[[]p]*' "
            "(.clnrm/quarantine.toml:8:1), 'sub/gone.clnrm.toml' (.clnrm/quarantine.toml:23:1)"
        ),
    } <= set(told)


def test_a_part_of_the_tests(project: Project) -> None:
    """Where a part is collected, only what can be about no test is told; --runxfail counts all failures."""
    project_of(project)
    result = project.run("bad.clnrm.toml", "--runxfail")
    assert result.parseoutcomes() == {"failed": 1}
    (told,) = (line for line in result.outlines if "about no test" in line)
    assert told.endswith("remove: 'sub/gone.clnrm.toml' (.clnrm/quarantine.toml:23:1)")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[[quarantine]\n", ":1:13: *"),
        (
            "quarantined = 1\n",
            ":1:1: quarantined: is not known; this *",
        ),
        (
            "[quarantine]\n",
            ":1:1: quarantine: is no list of tables: write *",
        ),
        (
            '[[quarantine]]\ntest = "a"\nreason = ""\nuntil = "2026-12-31"\nwhy = 1\n',
            (
                ":5:1: quarantine[[]0].why: is not known; an entry may hold: test, reason, *",
                ":3:1: quarantine[[]0].reason: '' is no text in one line: why *",
                ":4:1: quarantine[[]0].until: 2026-12-31 is no day: a date *",
            ),
        ),
        (
            '[[quarantine]]\nreason = "x"\n',
            (
                ':1:*: quarantine[[]0]: the key "test" is missing: a node *',
                ':1:*: quarantine[[]0]: the key "until" is missing: the *',
            ),
        ),
        (
            '[[quarantine]]\ntest = "a"\nreason = "x"\nuntil = 2026-12-31T10:00:00\n',
            ":4:1: quarantine[[]0].until: 2026-12-31 10:00:00 is no day: *",
        ),
    ],
)
def test_mistakes(project: Project, text: str, told: str | tuple[str, ...]) -> None:
    """Each is told with its place, before anything runs."""
    project.write(".clnrm/quarantine.toml", text)
    project.write("test_it.py", TESTS)
    result = project.run()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    for each in (told,) if isinstance(told, str) else told:
        result.stderr.fnmatch_lines([f"*.clnrm/quarantine.toml{each}"])
