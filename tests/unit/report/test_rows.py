"""Rows of Python tests, from pytest's own reports."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from pytest_clnrm.model.result import ContainerFacts, Failure, Result
from pytest_clnrm.report.rows import PLAIN_KEYS, Rows, failure_of, key_of


def report(when: Any, outcome: Any = "passed", longrepr: Any = None, nodeid: str = "a.py::b") -> Any:
    """Return the report of a phase that took half a second."""
    return pytest.TestReport(nodeid, ("a.py", 3, "b"), {}, outcome, longrepr, when, duration=0.5)


def outcome(*phases: tuple[str, str, str]) -> str:
    """Return the outcome of a test whose phases ended like this, and were counted as such."""
    rows = Rows()
    for when, ended, category in phases:
        rows.add(report(when, ended, "why\nnot" if ended == "failed" else None), category, "gw0")
    (row,) = rows.tests({}, {})
    return str(row["outcome"])


def test_a_row_without_containers() -> None:
    """It has the sum of the times, why it failed, what it printed, and nothing that only containers have."""
    rows = Rows()
    failed = report("call", "failed", "why\nnot")
    failed.sections = [("Captured stdout call", "one")]
    for each, category in ((report("setup"), ""), (failed, "failed")):
        rows.add(each, category, "gw1")
    (row,) = rows.tests({}, {})
    assert tuple(row) == PLAIN_KEYS
    assert (row["line"], row["duration_s"], row["worker"]) == (4, 1.0, "gw1")
    assert row["failures"] == [
        {
            "message": "why",
            "where": "",
            "step": "",
            "details": "why\nnot",
            "kind": "error",
            "is_infrastructure": False,
        },
    ]
    assert rows.counts == {"failed": 1}
    assert row["counted"] == ["failed"]
    assert row["output"] == [{"name": "Captured stdout call", "text": "one"}]


def raised(path: str, *places: tuple[str, int]) -> Any:
    """Return what pytest shows of an exception that was raised in a file, below calls at *places*."""
    entries = [SimpleNamespace(reprfileloc=SimpleNamespace(path=file, lineno=line)) for file, line in places]
    crash = SimpleNamespace(path=path, lineno=703, message="AssertionError: 1 != 2")
    return SimpleNamespace(reprcrash=crash, reprtraceback=SimpleNamespace(reprentries=entries))


@pytest.mark.parametrize(
    ("path", "places", "where"),
    [
        ("/home/me/shop/a.py", [("a.py", 9)], "a.py:703"),
        ("/usr/lib/python3.11/unittest/case.py", [("a.py", 5), ("a.py", 9)], "a.py:9"),
        ("/v/lib/python3.11/site-packages/x.py", [("shop/a.py", 9), ("/v/x.py", 1)], "a.py:9"),
        ("/home/me/shop/helper.py", [("a.py", 9)], "/home/me/shop/helper.py:703"),
        ("/usr/lib/python3.11/unittest/case.py", [("ba.py", 9)], "/usr/lib/python3.11/unittest/case.py:703"),
    ],
)
def test_the_place_is_where_a_reader_can_act(path: str, places: list[tuple[str, int]], where: str) -> None:
    """It is that of the exception, or of a library's the line of the test that called the library."""
    shown = report("call", "failed")
    shown.longrepr = raised(path, *places)
    assert failure_of(shown).where == where


def test_a_mistake_of_a_file_is_at_its_place() -> None:
    """What could not be collected names file, line and column in front of its message."""
    told = pytest.CollectReport("a.toml", "failed", "a/b.toml:19:1: meta.nam: unknown key\n    nam = 1", None)
    assert failure_of(told).where == "a/b.toml:19"
    told.longrepr = "ImportError: no module named x"
    assert failure_of(told).where == ""


@pytest.mark.parametrize(
    ("phases", "expected"),
    [
        ([("setup", "passed", ""), ("call", "passed", "passed"), ("teardown", "failed", "error")], "error"),
        ([("call", "failed", "failed"), ("teardown", "failed", "error")], "failed"),
        ([("call", "rerun", "rerun"), ("call", "passed", "passed")], "passed"),
        ([("call", "skipped", "xfailed")], "xfailed"),
        ([("call", "passed", "xpassed")], "xpassed"),
        ([("call", "failed", "of another plugin")], "failed"),
        ([("call", "failed", "failed"), ("call", "passed", "passed")], "failed"),
    ],
)
def test_the_outcome_is_the_worst(phases: list[tuple[str, str, str]], expected: str) -> None:
    """What pytest counts, and of several the one that fails the run."""
    assert outcome(*phases) == expected


def test_a_row_with_containers_is_whole() -> None:
    """It is the result of the test's own process, with the outcome that pytest counts."""
    rows = Rows()
    rows.add(report("call", "failed", "secret"), "failed", "gw0")
    facts = ContainerFacts(id="1", name="n", service="s", image="i", memory_bytes=1, cpus=1.0)
    why = Failure(message="***")
    result = Result(nodeid="a.py::b", name="b", file="a.py", line=4, containers=(facts,), failures=(why,))
    (row,) = rows.tests({"a.py::b": result.to_data()}, {})
    assert (row["outcome"], row["failures"][0]["message"]) == ("failed", "***")
    assert row["containers"][0]["service"] == "s"
    # What pytest shows of it may hold secrets that its own process alone knows.
    assert "output" not in row


def test_scenarios_and_what_never_ended_are_no_rows() -> None:
    """They are reported elsewhere, or not at all."""
    rows = Rows()
    rows.add(report("call", nodeid="a.toml::a"), "passed", "gw0")
    rows.add(report("setup", nodeid="a.py::c"), "", "gw0")
    assert rows.tests({}, {"a.toml::a": {}}) == []


def test_what_pytest_alone_knows_of_scenarios() -> None:
    """Expected failures, how often it ran, and why it was skipped; what is known already stays."""
    rows = Rows()
    again = report("call", "skipped", nodeid="a.toml::a")
    again.clnrm_runs = 3
    rows.add(again, "xfailed", "gw0")
    rows.add(
        report("setup", "skipped", ("b.toml", 7, "Skipped: not here"), nodeid="b.toml::b"), "skipped", "gw0"
    )
    why = [{"message": "known"}]
    results: dict[str, dict[str, Any]] = {
        "a.toml::a": {"outcome": "skipped", "attempts": 1, "failures": why},
        "b.toml::b": {"outcome": "skipped", "attempts": 1, "failures": []},
        "c.toml::c": {"outcome": "crashed"},
    }
    rows.complete(results)
    assert results["a.toml::a"] == {"outcome": "xfailed", "attempts": 3, "failures": why}
    assert [each["message"] for each in results["b.toml::b"]["failures"]] == ["not here"]
    assert results["c.toml::c"] == {"outcome": "crashed"}


def test_items_of_equal_name_are_told_apart() -> None:
    """With --keep-duplicates each has a row of its own."""
    rows = Rows()
    copy = report("call", "failed", "why")
    copy.clnrm_copy = 1
    rows.add(report("call"), "passed", "gw0")
    rows.add(copy, "failed", "gw0")
    assert [(row["nodeid"], row["outcome"]) for row in rows.tests({}, {})] == [
        ("a.py::b", "passed"),
        ("a.py::b", "failed"),
    ]
    assert key_of(copy) != key_of(report("call"))
