"""The list of neighbours, in the docs and in the extra that pins some."""

from __future__ import annotations

from pathlib import Path

import tomli
from clnrm_testing.neighbours.declared import NEIGHBOURS, PINNED
from clnrm_testing.neighbours.table import DOCS, declared_document

ROOT = Path(__file__).parents[2]


def test_the_docs_name_each_neighbour_as_it_is_declared() -> None:
    """``tox -e neighbours`` writes them from what it saw, which has to be what is declared."""
    text = DOCS.read_text("utf-8")
    assert text == declared_document(text)


def test_each_is_declared_once() -> None:
    """Its name is that of its environment's folder."""
    names = [each.name for each in NEIGHBOURS]
    assert len(names) == len(set(names))


def test_the_extra_pins_the_same_versions() -> None:
    """CI runs the suite beside those of the extra."""
    extras = tomli.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"]
    asynchronous = ["anyio[trio]==4.16.0", "pytest-asyncio==1.5.0"]  # of tests/neighbours/test_async.py
    dividing = ["pytest-split==0.11.0"]  # of tests/neighbours/test_split.py
    pinned = [requirement for each in PINNED for requirement in each.requirements]
    assert sorted(extras["neighbours"]) == sorted([*asynchronous, *dividing, *pinned])
