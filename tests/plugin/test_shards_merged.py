"""Reports of shards, merged: equal to that of one run but for times, and what is wrong is told."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Mapping
from fnmatch import fnmatch
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from clnrm_testing.project import Project

from pytest_clnrm.cli.main import main
from pytest_clnrm.history.store import read_history

SHARDS = (1, 2, 3)
MATRIX = """
[meta]
tags = ["of-{name}"]

[matrix]
number = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]

[[step]]
name = "work"
run = "{run}"
"""
PYTHON = """
import pytest
@pytest.mark.parametrize("number", range(3))
def test_plain(number): assert number != {wrong}
def test_in_container(clnrm):
    with clnrm.container("alpine") as container:
        container.run(["true"])
def test_skipped(): pytest.skip("not today")
@pytest.fixture
def late():
    yield
    raise ValueError("late")
def test_late(late): pass
"""
OWN = {"started", "duration_s", "started_s", "worker", "shard", "slot_wait_s", "timeline", "at_s", "history"}
"""What is of a time or a machine."""

LOST = "some may be in no shard, or in two; all need the same"
OF_CONTAINERS = {"id", "name"}


def timeless(data: Any, *, within: str = "") -> Any:
    """Return a part of a report without what is of a time or a machine."""
    if isinstance(data, Mapping):
        left_out = OWN | (OF_CONTAINERS if within == "containers" else set())
        return {key: timeless(value, within=key) for key, value in data.items() if key not in left_out}
    if isinstance(data, list):
        return [timeless(each, within=within) for each in data]
    return re.sub(r"clnrm-[0-9a-f]{8}-master-\d+", "clnrm-x", data) if isinstance(data, str) else data


def of_rows(document: Mapping[str, Any], kind: str) -> list[Any]:
    """Return the rows of a kind in the order of their node ids, without times."""
    return sorted(map(timeless, document[kind]), key=lambda row: str(row["nodeid"]))


def suite_of(path: Path) -> ET.Element:
    """Return the suite in JUnit's file."""
    return next(ET.parse(path).getroot().iter("testsuite"))  # noqa: S314 (pytest has written it)


def cases(path: Path) -> list[tuple[Any, ...]]:
    """Return what JUnit's file has of each test."""
    return sorted(
        (case.get("classname"), case.get("name"), [(each.tag, each.get("message")) for each in case])
        for case in suite_of(path).iter("testcase")
    )


def spans_of(path: Path) -> list[tuple[str, dict[str, Any]]]:
    """Return each span of a trace with the shard that its resource says."""
    found = []
    for element in json.loads(path.read_text("utf-8"))["resourceSpans"]:
        resource = {each["key"]: each["value"] for each in element["resource"]["attributes"]}
        shard = resource.get("clnrm.shard", {}).get("stringValue", "")
        found += [(shard, span) for scope in element["scopeSpans"] for span in scope["spans"]]
    return found


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return where the first test of the module has put the reports of three shards, and of one run."""
    return {"folder": tmp_path_factory.mktemp("merging")}


@pytest.fixture
def reports(
    ran: dict[str, Path], make_project: Callable[[str], Project], monkeypatch: pytest.MonkeyPatch
) -> Path:
    """Return a folder with the reports of three shards, ``shard-1`` and so on, and of one run, ``whole``."""
    folder = ran["folder"]
    if not (folder / "whole").exists():
        for name in ("GITHUB_ACTIONS", "JENKINS_URL", "CIRCLECI", "BUILDKITE", "TF_BUILD", "TRACEPARENT"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("GITLAB_CI", "true")
        monkeypatch.setenv("CI_COMMIT_SHA", "c0ffee")
        project = make_project("no-xdist")
        for name, run in (("a", "true"), ("b", "true"), ("c", "false"), ("d", "echo hello")):
            project.write(f"{name}.clnrm.toml", MATRIX.format(name=name, run=run))
        for number, name in enumerate("xyz"):
            project.write(f"test_{name}.py", PYTHON.format(wrong=number))
        project.write("test_gone.py", "import pytest\npytest.importorskip('no_such_module')\n")
        for number in SHARDS:
            out = folder / f"shard-{number}"
            # What a container served before is another thing on each machine.
            options = ("--clnrm-pool", "off", "--clnrm-report", str(out), f"--junitxml={out}/junit.xml")
            project.run("--clnrm-shard", f"{number}/3", *options)
        out = folder / "whole"
        history = ("--clnrm-history", str(out / "h"))
        project.run(
            "--clnrm-pool", "off", "--clnrm-report", str(out), f"--junitxml={out}/junit.xml", *history
        )
    return folder


@pytest.fixture
def copies(reports: Path, tmp_path: Path) -> list[Path]:
    """Return the folders of three shards, to be changed."""
    return [Path(shutil.copytree(reports / f"shard-{number}", tmp_path / f"s{number}")) for number in SHARDS]


def change(folder: Path, **values: Any) -> None:
    """Change what a report tells of its shard."""
    path = folder / "report.json"
    document = json.loads(path.read_text("utf-8"))
    document["session"]["shard"].update(values)
    path.write_text(json.dumps(document), encoding="utf-8")


def merged(folder: Path) -> dict[str, Any]:
    """Return the merged report.json in a folder."""
    document: dict[str, Any] = json.loads((folder / "report.json").read_text("utf-8"))
    return document


def test_equal_to_one_run(reports: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Three folders of 40 scenarios and Python tests are what one run has given, but for times."""
    out = tmp_path / "out"
    assert main(["merge", *(str(reports / f"shard-{number}") for number in SHARDS), "-o", str(out)]) == 0
    assert capsys.readouterr().out == f"3 shards merged: {out / 'report.html'}\n"
    one, three = merged(reports / "whole"), merged(out)
    assert len(one["scenarios"]) == 40
    assert {row["shard"] for row in three["scenarios"]} == {1, 2, 3}
    assert of_rows(three, "scenarios") == of_rows(one, "scenarios")
    assert of_rows(three, "tests") == of_rows(one, "tests")
    for key in ("exit_status", "engine", "max_containers", "memory_budget_bytes", "counts"):
        assert three["session"][key] == one["session"][key], key
    assert three["session"]["problems"] == []
    assert three["session"]["commit"] == "c0ffee"
    assert [each["number"] for each in three["session"]["shards"]] == [1, 2, 3]
    ends = [row["started"] for row in three["scenarios"]]
    assert ends == sorted(ends)

    assert cases(out / "junit.xml") == cases(reports / "whole" / "junit.xml")
    suites = [suite_of(each / "junit.xml") for each in (out, reports / "whole")]
    for key in ("name", "tests", "errors", "failures", "skipped"):
        assert suites[0].get(key) == suites[1].get(key), key

    history = read_history(out / "history.json")
    assert history.items.keys() == read_history(reports / "whole" / "h").items.keys()
    assert len(history.runs) == 3


def test_one_trace(reports: Path, tmp_path: Path) -> None:
    """All spans of ours are below one root, each says its shard, and there are those of one run."""
    out = tmp_path / "out"
    main(["merge", *(str(reports / f"shard-{number}") for number in SHARDS), "-o", str(out)])
    found = spans_of(out / "trace.otlp.json")
    (root,) = [span for _, span in found if not span.get("parentSpanId")]
    assert root["name"] == "clnrm.run"
    assert {span["traceId"] for _, span in found} == {root["traceId"]}
    ids = [span["spanId"] for _, span in found]
    assert len(ids) == len(set(ids))
    assert {span["parentSpanId"] for _, span in found if span is not root} <= set(ids)
    assert {shard for shard, span in found if span is not root} == {"1/3", "2/3", "3/3"}
    sessions = [span for _, span in found if span["name"] == "clnrm.session"]
    assert [span["parentSpanId"] for span in sessions] == [root["spanId"]] * 3
    starts = [int(span["startTimeUnixNano"]) for _, span in found]
    assert int(root["startTimeUnixNano"]) <= min(starts)

    def named(spans: list[tuple[str, dict[str, Any]]], name: str) -> int:
        return sum(span["name"] == name for _, span in spans)

    whole = spans_of(reports / "whole" / "trace.otlp.json")
    for name in ("clnrm.scenario", "clnrm.step"):
        assert named(found, name) == named(whole, name) > 0
    page = (out / "report.html").read_text("utf-8")
    assert "shard 2 master" in page
    assert "3 workers of 3 shards" in page


def test_what_is_missing_is_told(
    copies: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The rest is merged; report, page and exit code say that it is not the whole."""
    out = tmp_path / "out"
    (copies[2] / "report.json").unlink()
    assert main(["merge", *map(str, copies), "-o", str(out)]) == 3
    told = [
        f"{copies[2] / 'report.json'}: No such file or directory",
        "shard 3/3 is missing: what would have run there is not in this report",
    ]
    assert capsys.readouterr().out.splitlines()[:2] == [f"clnrm: {each}" for each in told]
    assert merged(out)["session"]["problems"] == told
    page = (out / "report.html").read_text("utf-8")
    assert f'<p class="problem">{told[1]}</p>' in page
    assert "<title>incomplete: " in page
    document = merged(copies[1])
    count = document["session"]["shard"]["tests"]
    del document["scenarios"][3:]
    (copies[1] / "report.json").write_text(json.dumps({**document, "tests": []}), encoding="utf-8")
    assert main(["merge", str(copies[1]), "-o", str(out)]) == 3
    assert merged(out)["session"]["problems"] == [
        "shards 1/3, 3/3 are missing: what would have run there is not in this report",
        f"shard 2/3 has run 3 of its {count} tests",
    ]


def test_what_does_not_belong_together_is_told(
    copies: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Other commits, other tests, other divisions, one shard twice, and one that has divided nothing."""
    out = tmp_path / "out"
    change(copies[1], commit="beef")
    again = shutil.copytree(copies[0], tmp_path / "again")
    assert main(["merge", *map(str, copies), str(again), "-o", str(out)]) == 3
    assert merged(out)["session"]["problems"] == [
        f"shard 1/3 is there twice: {copies[0]}, which began last, counts, and not {again}",
        "the shards are of different commits: c0ffee of 1/3 and 3/3, beef of 2/3",
    ]
    assert len(merged(out)["scenarios"]) == 40
    change(copies[1], commit="c0ffee", collection="other", all_tests=99)
    change(copies[2], collection="", division="")
    assert main(["merge", *map(str, copies), "-o", str(out)]) == 3
    counts = f"{merged(copies[0])['session']['shard']['all_tests']} of 1/3 and 3/3, 99 of 2/3"
    assert merged(out)["session"]["problems"] == [
        "shard 3/3 is of a run that ended before its tests were divided",
        f"the shards have collected different tests ({counts} tests): {LOST} files, options and environment",
    ]
    for each in copies:
        change(each, collection="same", division=each.name)
    document = merged(copies[1])
    document["scenarios"].append(merged(copies[0])["scenarios"][0])
    (copies[1] / "report.json").write_text(json.dumps(document), encoding="utf-8")
    capsys.readouterr()
    assert main(["merge", *map(str, copies), "-o", str(out)]) == 3
    twice = document["scenarios"][-1]["nodeid"]
    assert capsys.readouterr().out.splitlines()[:-1] == [
        f"clnrm: the shards have divided the same tests differently: {LOST} file of --clnrm-history",
        f"clnrm: 1 test was run by two shards, the first of them {twice}",
    ]


def test_what_cannot_be_merged(
    reports: Path, copies: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing to merge, other numbers of shards, and a folder that would be read and written."""
    out = tmp_path / "out"
    assert main(["merge", str(reports / "whole"), str(tmp_path), "-o", str(out)]) == 1
    assert capsys.readouterr().err == (
        "clnrm: no report of a shard:\n"
        f"{reports / 'whole' / 'report.json'}: the report of a whole run, without --clnrm-shard\n"
        f"{tmp_path / 'report.json'}: No such file or directory\n"
    )
    change(copies[1], number=2, of=4)
    assert main(["merge", *map(str, copies), "-o", str(out)]) == 1
    assert capsys.readouterr().err == (
        f"clnrm: {copies[0]} is shard 1/3, and {copies[1]} is shard 2/4: all have to "
        "be of one number of shards\n"
    )
    assert main(["merge", *map(str, copies), "-o", str(copies[0])]) == 2
    assert "it is one of the folders that are merged" in capsys.readouterr().err
    assert not out.exists()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (("shard", {"number": 1, "of": 10**12}), "1/1000000000000 is no shard"),
        (("shard", {"number": 4, "of": 3}), "4/3 is no shard"),
        (("shard", []), "a damaged report: *"),
        (("duration_s", 1e300), "a damaged report: *"),
        (("started", "2026-01-01T00:00:00"), "a damaged report: *"),
        (("counts", {"passed": "all"}), "a damaged report: *"),
        (("workers", "many"), "a damaged report: *"),
    ],
)
def test_changed_reports_are_told(
    copies: list[Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    changed: tuple[str, object],
    message: str,
) -> None:
    """What somebody has made of a report is told as that, not by a traceback."""
    document = merged(copies[0])
    document["session"].update([changed])
    (copies[0] / "report.json").write_text(json.dumps(document), encoding="utf-8")
    assert main(["merge", str(copies[0]), "-o", str(tmp_path / "out")]) == 1
    assert fnmatch(capsys.readouterr().err.splitlines()[1], f"{copies[0] / 'report.json'}: {message}")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "no JSON: *"),
        ('{"format": "clnrm-report/9"}', "no report of the form clnrm-report/1"),
        ('{"format": "clnrm-report/1", "session": []}', "a damaged report: *"),
    ],
)
def test_damaged_files_are_told(copies: list[Path], tmp_path: Path, text: str, message: str) -> None:
    """Each damaged file is named, the others are merged."""
    out = tmp_path / "out"
    (copies[0] / "report.json").write_text(text, encoding="utf-8")
    for name in ("trace.otlp.json", "history.json", "junit.xml"):
        (copies[1] / name).write_text("nothing", encoding="utf-8")
    (copies[2] / "junit.xml").unlink()
    assert main(["merge", *map(str, copies), "-o", str(out)]) == 3
    problems = merged(out)["session"]["problems"]
    expected = [
        f"{copies[0] / 'report.json'}: {message}",
        "shard 1/3 is missing: *",
        f"{copies[1] / 'trace.otlp.json'}: no trace of OTLP/JSON: *",
        f"{copies[1] / 'history.json'}:1:1: no history of pytest-clnrm: *",
        f"{copies[2] / 'junit.xml'}: not there, so junit.xml lacks its tests",
        f"{copies[1] / 'junit.xml'}: no XML: *",
    ]
    assert len(problems) == len(expected)
    assert [
        each for each, pattern in zip(problems, expected, strict=True) if not fnmatch(each, pattern)
    ] == []


def test_artifacts_are_copied_without_links(copies: list[Path], tmp_path: Path) -> None:
    """What scenarios have kept is in one folder; a link, which a run never keeps, is left out."""
    out = tmp_path / "out"
    for number, each in enumerate(copies):
        folder = each / "artifacts" / f"scenario-{number}"
        folder.mkdir(parents=True)
        (each / "artifacts" / ".clnrm-artifacts").touch()
        (folder / "log").write_text(str(number), encoding="utf-8")
        (folder / "link").symlink_to(tmp_path)
    assert main(["merge", *map(str, copies), "-o", str(out)]) == 0
    assert main(["merge", *map(str, copies), "-o", str(out)]) == 0
    found = sorted(str(each.relative_to(out)) for each in (out / "artifacts").rglob("*") if not each.is_dir())
    assert found == [
        "artifacts/.clnrm-artifacts",
        *(f"artifacts/scenario-{number}/log" for number in range(3)),
    ]
