"""What CONTRIBUTING.md and tests/README.md say of this tree is so."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from unit.test_rooms import FLOORS

ROOT = Path(__file__).parents[2]
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")


def test_the_table_of_rooms_has_their_floors() -> None:
    """Each room stands in it, on its floor."""
    rows = re.findall(r"^\| (\d) \| `([a-z_]+)(?:/|\.py)` \|", CONTRIBUTING, re.MULTILINE)
    assert {room: int(floor) for floor, room in rows} == {
        room: floor for room, floor in FLOORS.items() if not room.startswith("__")
    }


@pytest.mark.parametrize(
    "name", sorted(set(re.findall(r"`((?:pytest_clnrm|tests|docs)/[\w/.-]+)`", CONTRIBUTING)))
)
def test_named_files_exist(name: str) -> None:
    """A file that the examples send you to is there."""
    assert (ROOT / name).exists()


def test_each_folder_of_tests_is_described() -> None:
    """The table of tests/README.md has all folders, and the unit tests' are named as the rooms are."""
    text = (ROOT / "tests" / "README.md").read_text(encoding="utf-8")
    described = {name.split("/")[0] for name in re.findall(r"^\| `([a-z_]+/)", text, re.MULTILINE)}
    folders = {each.parent.relative_to(ROOT / "tests").parts for each in (ROOT / "tests").rglob("*.*")}
    assert described == {parts[0] for parts in folders if parts and parts[0] != "__pycache__"}
    rooms = {parts[1] for parts in folders if len(parts) == 2 and parts[0] == "unit"} - {"__pycache__"}
    assert rooms <= set(FLOORS)
