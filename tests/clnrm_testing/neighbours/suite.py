"""The suite that every neighbour runs: Python tests and scenarios, of each outcome, on the fake engine."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

FILES = {
    "pytest.ini": "[pytest]\n",
    "conftest.py": """
import pytest

def pytest_collection_modifyitems(items):
    for item in items:
        if item.get_closest_marker("left-out"):
            item.add_marker(pytest.mark.skip(reason="left out by the project"))
        if item.get_closest_marker("known"):
            item.add_marker(pytest.mark.xfail(reason="a known fault", strict=True))
""",
    "test_outcomes.py": """
import pathlib

import pytest

@pytest.fixture
def broken():
    raise RuntimeError("set-up is broken")

@pytest.fixture
def untidy():
    yield
    raise RuntimeError("teardown is broken")

def test_passes():
    pass

def test_fails():
    assert 1 + 1 == 3

def test_raises():
    raise RuntimeError("no assertion")

def test_skips():
    pytest.skip("not today")

@pytest.mark.skip(reason="never")
def test_skipped():
    pass

@pytest.mark.xfail(reason="a known fault", strict=True)
def test_xfails():
    assert False

def test_set_up_breaks(broken):
    pass

def test_teardown_breaks(untidy):
    pass

def test_second_time():
    tried = pathlib.Path(__file__).with_name("tried-by-python")
    if not tried.exists():
        tried.touch()
        assert False, "the first time it fails"

@pytest.mark.parametrize("letter", ["a", "b"])
def test_each(letter):
    assert letter in "ab"
""",
    "test_containers.py": """
import pathlib

import pytest

@pytest.fixture(scope="module")
def shared(clnrm_factory):
    with clnrm_factory.container("alpine") as container:
        yield container
    with pathlib.Path(__file__).with_name("torn-down").open("a") as file:
        file.write("module\\n")

def test_own(clnrm):
    with clnrm.container("alpine") as box:
        assert box.run("echo hello").stdout == "hello\\n"

def test_wrong_word(clnrm):
    with clnrm.container("alpine") as box:
        assert box.run("echo hello").stdout == "goodbye\\n"

def test_skips_late(clnrm):
    with clnrm.container("alpine"):
        pytest.skip("no such hardware")

def test_no_image(clnrm):
    with clnrm.container("missing:1"):
        pass

@pytest.mark.parametrize("word", ["one", "two"])
def test_shared(shared, word):
    assert word in shared.run(f"echo {word}").stdout
""",
    "test_unit.py": '''
import unittest

def double(number):
    """Return twice *number*."""
    return 2 * number

class Arithmetic(unittest.TestCase):
    def test_double(self):
        self.assertEqual(double(2), 4)

    @unittest.skip("never")
    def test_left_out(self):
        self.fail()
''',
    "test_document.txt": """
>>> 1 + 1
2
""",
    "orders.clnrm.toml": """
[meta]
name = "orders"
priority = "high"

[matrix]
size = ["small", "large"]

[[step]]
name = "order"
run = "echo {{ matrix.size }}"
expect = { stdout = { contains = "{{ matrix.size }}" } }
""",
    "fails.clnrm.toml": """
[meta]
name = "fails"

[[step]]
name = "greet"
run = "echo hello"
expect = { stdout = { contains = "goodbye" } }

[[step]]
name = "never"
run = "echo never"
""",
    "broken.clnrm.toml": """
[meta]
name = "broken"

[service.db]
image = "missing:1"

[[step]]
name = "ask"
run = "true"
""",
    "skipped.clnrm.toml": """
[meta]
name = "skipped"
tags = ["left-out"]

[[step]]
name = "greet"
run = "true"
""",
    "known.clnrm.toml": """
[meta]
name = "known"
tags = ["known"]

[[step]]
name = "greet"
run = "exit 1"
""",
    "again.clnrm.toml": """
[meta]
name = "again"

[[step]]
name = "once more"
run = "test -e ../tried-by-scenario || { touch ../tried-by-scenario; exit 1; }"
""",
}
"""What stands in the suite's folder, by name."""

OUTCOMES = {
    "again.clnrm.toml::again": "failed",
    "broken.clnrm.toml::broken": "error",
    "fails.clnrm.toml::fails": "failed",
    "known.clnrm.toml::known": "xfailed",
    "orders.clnrm.toml::orders[size=large]": "passed",
    "orders.clnrm.toml::orders[size=small]": "passed",
    "skipped.clnrm.toml::skipped": "skipped",
    "test_containers.py::test_no_image": "failed",
    "test_containers.py::test_own": "passed",
    "test_containers.py::test_shared[one]": "passed",
    "test_containers.py::test_shared[two]": "passed",
    "test_containers.py::test_skips_late": "skipped",
    "test_containers.py::test_wrong_word": "failed",
    "test_document.txt::test_document.txt": "passed",
    "test_outcomes.py::test_each[a]": "passed",
    "test_outcomes.py::test_each[b]": "passed",
    "test_outcomes.py::test_fails": "failed",
    "test_outcomes.py::test_passes": "passed",
    "test_outcomes.py::test_raises": "failed",
    "test_outcomes.py::test_second_time": "failed",
    "test_outcomes.py::test_set_up_breaks": "error",
    "test_outcomes.py::test_skipped": "skipped",
    "test_outcomes.py::test_skips": "skipped",
    "test_outcomes.py::test_teardown_breaks": "error",
    "test_outcomes.py::test_xfails": "xfailed",
    "test_unit.py::Arithmetic::test_double": "passed",
    "test_unit.py::Arithmetic::test_left_out": "skipped",
}
"""How each test of the suite ends without neighbours, by its node id."""

BROKEN = frozenset(
    {
        "broken.clnrm.toml::broken",
        "test_containers.py::test_no_image",
        "test_outcomes.py::test_raises",
        "test_outcomes.py::test_set_up_breaks",
    }
)
"""Tests that could not tell whether what they test is right: reports that know the word call them broken."""

BREAKS_LATE = "test_outcomes.py::test_teardown_breaks"
"""The test that passes, and whose teardown fails."""

SECOND_TIME = ("again.clnrm.toml::again", "test_outcomes.py::test_second_time")
"""Tests that pass when they are run once more."""

DOCUMENT = "test_document.txt::test_document.txt"
"""A doctest in a text file: some neighbours know no other items than functions."""


def write_suite(folder: Path, more: Mapping[str, str]) -> None:
    """Write the suite, and *more* files."""
    for name, text in {**FILES, **more}.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
