"""What the lists of tests in editors need of scenarios: a tree with lines, and ids that run each alone."""

from __future__ import annotations

import json

import pytest
from clnrm_testing.project import Project

LIST = """
import json
from pathlib import Path

def pytest_collection_finish(session):
    found = [
        [each.name, str(each.path), str(each.parent.path), each.location[1], each.nodeid]
        + [hasattr(each, "callspec")]
        for each in session.items
    ]
    Path("items.json").write_text(json.dumps(found))
"""
FILES = {
    "tests/a.clnrm.toml": """
[[scenario]]
name = "it's [once] \\"so\\""
[[scenario.step]]
run = "true"

[[scenario]]
name = "other"
[[scenario.step]]
run = "true"
""",
    "m.clnrm.toml": """
[matrix]
way = ["a b", "c"]
[[step]]
run = "true"
""",
}


def listed(project: Project) -> list[tuple[str, str, int, str]]:
    """Return name, file, line and absolute id of each item, as an editor makes them."""
    found = json.loads((project.pytester.path / "items.json").read_text("utf-8"))
    items = []
    for name, path, parent, line, nodeid, has_callspec in found:
        # Editors take what has one for a parametrized function of a Python file.
        assert (parent, has_callspec) == (path, False)
        items.append((name, path, line + 1, "::".join((path, *nodeid.split("::")[1:]))))
    return items


def test_each_runs_by_its_absolute_id(project: Project) -> None:
    """Whatever stands in its name, from the place of its file; its line is where it begins."""
    project.pytester.makeconftest(LIST)
    for name, text in FILES.items():
        project.write(name, text)
    project.run("--collect-only")
    items = sorted(listed(project))
    folder = project.pytester.path
    assert [(name, path, line) for name, path, line, _ in items] == [
        ('it\'s [once] "so"', str(folder / "tests/a.clnrm.toml"), 2),
        ("m[way=a b]", str(folder / "m.clnrm.toml"), 2),
        ("m[way=c]", str(folder / "m.clnrm.toml"), 2),
        ("other", str(folder / "tests/a.clnrm.toml"), 7),
    ]
    for name, _, _, absolute in items:
        project.run(f"--rootdir={folder}", absolute).assert_outcomes(passed=1)
        assert [each[0] for each in listed(project)] == [name]


def test_a_mistake_is_an_error_of_the_discovery(project: Project) -> None:
    """Its text is the exception's, which editors show."""
    project.pytester.makeconftest(
        "from pathlib import Path\n"
        "def pytest_exception_interact(node, call, report):\n"
        "    Path('error').write_text(call.excinfo.exconly())\n"
    )
    project.write("bad.clnrm.toml", '[[step]]\nrum = "true"\n')
    assert project.run("--collect-only").ret == pytest.ExitCode.INTERRUPTED
    text = (project.pytester.path / "error").read_text("utf-8")
    assert 'bad.clnrm.toml:2:1: step[0].rum: unknown key "rum"' in text
