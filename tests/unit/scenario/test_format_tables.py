"""docs/scenario-format.md has all keys, as the types of the format say them."""

from __future__ import annotations

import re

import pytest
from clnrm_testing.format_tables import DOCS, anchor_of, keys_in, toml, with_tables
from clnrm_testing.format_types import keys, tables

PAGE = DOCS.read_text(encoding="utf-8")
REPEATED = {
    "ScenarioDoc": "MetaDoc",
    "EndCheckDoc": "CheckDoc",
    "HeaderDoc": "TextDoc",
    "AttrAnyDoc": "ConditionDoc",
}


def test_the_tables_are_up_to_date() -> None:
    """A key that is added or described anew is in them."""
    assert with_tables(PAGE) == PAGE, "write them: cd tests && python -m clnrm_testing.format_tables"


@pytest.mark.parametrize("name", tables())
def test_every_key_is_in_a_table(name: str) -> None:
    """A table that has the keys of another one says so, and has its own."""
    found = keys_in(PAGE)
    shown = {key for table, key in found if table in {name, REPEATED.get(name)}}
    missing = {key.name for key in keys(tables()[name])} - shown
    assert not missing, f"{DOCS.name} needs <!-- keys of {name} --> and <!-- end of keys -->"


def test_links_to_parts_of_the_page_lead_somewhere() -> None:
    """From itself and from the other pages."""
    prose = re.sub(r"^```.*?^```$", "", PAGE, flags=re.MULTILINE | re.DOTALL)
    anchors = {anchor_of(heading) for heading in re.findall(r"^#+ (.*)$", prose, re.MULTILINE)}
    links = set(re.findall(r"\]\(#([^)]+)\)", PAGE))
    for page in DOCS.parent.rglob("*.md"):
        links |= set(re.findall(r"scenario-format\.md#([^)]+)\)", page.read_text(encoding="utf-8")))
    assert links <= anchors


def test_examples_are_toml() -> None:
    """In one line."""
    assert toml({"a": [1, 2.5, True], "b c": {"d": 'e"\n'}, "f": {}}) == (
        '{ a = [1, 2.5, true], "b c" = { d = "e\\"\\n" }, f = {} }'
    )
