"""Files of containers that are kept beside the report; with the fake engine."""

from __future__ import annotations

import os
import stat
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest
from clnrm_testing.project import Project

LEAVES = """
[meta]
name = "leaves"

[vars]
password = { value = "hunter2", secret = true }

[service.app]
image = "box"
artifacts = [
    "/out/coverage.xml",
    "/logs/**/*.log",
    { path = "/core", when = "failure" },
    "/never",
    "/dump.unseen",
]

[[step]]
name = "work"
run = '''
mkdir -p out logs/deep core/.git && echo "<coverage/>" > out/coverage.xml && chmod 4755 out/coverage.xml
echo "password is hunter2" > logs/a.log; printf '\\377\\000hunter2\\377' > logs/deep/hunter2.log
echo no > logs/a.txt
echo x > core/conftest.py; echo x > core/.git/config; echo x > core/test.clnrm.toml
echo x > "core/<b>$(printf '\\033')"; ln -s /etc/passwd core/link
'''

[[step]]
name = "end"
run = "exit {{ env.CODE }}"
"""
PASSWORD = b"hunter2"


@pytest.fixture(autouse=True)
def code(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the scenario pass, unless a test says otherwise."""
    monkeypatch.setenv("CODE", "0")


def leaving(project: Project, text: str = LEAVES, name: str = "leaves") -> Project:
    """Return a project with a scenario that leaves files."""
    project.pytester.makeini("[pytest]\nclnrm_env = CODE\nclnrm_default_image = box\n")
    project.write(f"{name}.clnrm.toml", text)
    return project


def kept(project: Project, base: str = "out") -> dict[str, Path]:
    """Return the files that lie below the artifacts of a run, by their path in the folder of an item."""
    folder = project.pytester.path / base / "artifacts"
    return {
        str(Path(*path.relative_to(folder).parts[1:])): path
        for path in folder.rglob("*")
        if not path.is_dir() and path.parent != folder
    }


def scenario(project: Project) -> dict[str, Any]:
    """Return the only scenario of the report."""
    (found,) = project.report()["scenarios"]
    return dict(found)


def test_kept_of_a_scenario_that_passes(each_mode: Project) -> None:
    """Files by path and glob; what lacks is told and no failure; secrets are masked."""
    leaving(each_mode)
    result = each_mode.run("--clnrm-report", "out", "--junitxml=junit.xml")
    result.assert_outcomes(passed=1, warnings=2)
    files = kept(each_mode)
    assert files.keys() == {"app/out/coverage.xml", "app/logs/a.log", "app/logs/deep/---.log"}
    assert files["app/logs/a.log"].read_bytes() == b"password is ***\n"
    assert files["app/logs/deep/---.log"].read_bytes() == b"\xff\0***\xff"
    assert stat.S_IMODE(files["app/out/coverage.xml"].stat().st_mode) == 0o644 & ~_umask()
    told = scenario(each_mode)
    (folder,) = {each["file"].split("/")[1] for each in told["artifacts"]}
    assert folder.startswith("leaves-")
    assert told["artifacts"] == [
        {
            "service": "app",
            "path": path,
            "file": f"artifacts/{folder}/app/{file}",
            "size_bytes": size,
            "is_cut": False,
        }
        for path, file, size in (
            ("/out/coverage.xml", "out/coverage.xml", 12),
            ("/logs/a.log", "logs/a.log", 16),
            ("/logs/deep/***.log", "logs/deep/---.log", 6),
        )
    ]
    notes = [
        "artifact /never of service 'app': nothing lies there",
        "artifact /dump.unseen of service 'app': the engine does not say",
    ]
    assert told["notes"] == notes
    result.stdout.fnmatch_lines([f"*ScenarioWarning: {each}" for each in notes])
    case = ET.parse(each_mode.pytester.path / "junit.xml").getroot().find(".//testcase")  # noqa: S314 (ours)
    assert case is not None
    paths = [each.get("value") for each in case.iterfind(".//property[@name='clnrm_artifact']")]
    assert paths == [f"out/{each['file']}" for each in told["artifacts"]]
    assert all(each_mode.pytester.path.joinpath(str(path)).is_file() for path in paths)
    # Before anybody else gets the container, and before it is removed.
    *_, last, gone = each_mode.events("read files", "observe", "remove")
    assert (last["event"], gone["event"]) == ("read files", "remove")


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_kept_of_a_scenario_that_fails(each_mode: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """More, if the file says so; the failure says where they are, and nothing of them is loaded here."""
    monkeypatch.setenv("CODE", "3")
    leaving(each_mode)
    result = each_mode.run("--clnrm-report", "out")
    result.assert_outcomes(failed=1, warnings=3)
    files = kept(each_mode)
    assert files.keys() - {"app/out/coverage.xml", "app/logs/a.log", "app/logs/deep/---.log"} == {
        "app/core/conftest.py.artifact",
        "app/core/.git.artifact/config",
        "app/core/test.clnrm.toml.artifact",
        "app/core/%3Cb%3E%1B",
    }
    assert not any(path.is_symlink() for path in files.values())
    result.stdout.fnmatch_lines(
        [
            "artifacts: 7 files, out/artifacts/leaves-*/app",
            "note: artifact /core of service 'app': a link, device or the like is left out",
            "note: artifact /never of service 'app': nothing lies there",
        ]
    )


def test_kept_without_a_report(each_mode: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are in pytest's cache, in place of those of the run before; without it they are nowhere."""
    monkeypatch.setenv("CODE", "3")
    leaving(each_mode)
    result = each_mode.run()
    result.stdout.fnmatch_lines(
        [
            "artifacts: 7 files, .pytest_cache/d/clnrm/artifacts/leaves-*/app",
            "clnrm: artifacts are in *.pytest_cache/d/clnrm/artifacts",
        ]
    )
    leaving(each_mode, LEAVES.replace('"leaves"', '"again"'))
    each_mode.run()
    assert {path.parts[0] for path in _items(each_mode, ".pytest_cache/d/clnrm")} == {"again"}
    result = each_mode.run("-p", "no:cacheprovider")
    result.assert_outcomes(failed=1, warnings=1)
    result.stdout.fnmatch_lines(["note: artifacts were not kept: --clnrm-report DIR says where"])


def _items(project: Project, base: str) -> list[Path]:
    folder = project.pytester.path / base / "artifacts"
    return [Path(each.name.rpartition("-")[0]) for each in folder.iterdir() if each.is_dir()]


BROKEN_OFF = """
[service.app]
image = "box"
artifacts = ["/out/x"]
[[step]]
run = "mkdir out; echo 1 > out/x"
[[step]]
run = "RAISE-SIGNAL {signal}"
"""


@pytest.mark.parametrize("signal", ["SIGUSR1", "SIGINT"])
def test_kept_of_a_scenario_that_others_break_off(project: Project, signal: str) -> None:
    """What another plugin's time limit ends keeps its artifacts; Ctrl-C waits for nothing."""
    project.write("a.clnrm.toml", BROKEN_OFF.format(signal=signal))
    raising = (
        'import signal\ndef late(*_):\n    raise RuntimeError("late")\nsignal.signal(signal.SIGUSR1, late)\n'
    )
    project.write("conftest.py", raising)
    # In a process of its own, as Ctrl-C would end this one too.
    plugins = ("-p", "clnrm_testing.fake_engine", "-p", "no:randomly", "-p", "no:xdist")
    project.pytester.runpytest_subprocess(*plugins, "--clnrm-report", "out")
    assert kept(project).keys() == ({"app/out/x"} if signal == "SIGUSR1" else set())


def test_a_folder_of_somebody_elses_is_not_replaced(project: Project) -> None:
    """It is named in red at the end, and the rest of the report is there."""
    leaving(project)
    project.write("out/artifacts/mine", "")
    result = project.run("--clnrm-report", "out")
    result.stdout.fnmatch_lines(
        ["clnrm: the artifacts were not kept: */out/artifacts: is there already, and is none of *"]
    )
    assert kept(project) == {}
    assert len(scenario(project)["artifacts"]) == 3
