"""The documentation of what engines cannot do is what the tests know of them."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import pytest
from clnrm_testing.capabilities import LACKS, Capability, EngineName, lack
from clnrm_testing.engine_tables import PAGES, with_table

from pytest_clnrm.engine.api import EngineFacts


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_tables_are_up_to_date(page: Path) -> None:
    """What is added or said anew is in them."""
    text = page.read_text(encoding="utf-8")
    assert with_table(text) == text, "write them: cd tests && python -m clnrm_testing.engine_tables"


def test_each_capability_is_lacking_somewhere() -> None:
    """One that every engine has needs no name, and an engine without a row none either."""
    assert {each for one in LACKS for each in one.lacks} == set(get_args(Capability))
    assert {one.engine for one in LACKS} == set(get_args(EngineName))


@pytest.mark.parametrize(
    ("kind", "version", "rootless", "needed", "engine"),
    [
        ("docker", "28.0", False, "a pool", ""),
        ("docker", "28.0", True, "a pool", "any, rootless"),
        ("podman", "5.0", False, "a shell as main process", "Podman"),
        ("podman", "5.0", False, "networks apart", ""),
        ("podman", "4.3", False, "networks apart", "Podman 4 with CNI"),
        ("kubernetes", "1.30", False, "a pool", "a cluster"),
    ],
)
def test_who_lacks_what(kind: str, version: str, *, rootless: bool, needed: Capability, engine: str) -> None:
    """What an engine cannot do is known by what it says of itself."""
    facts = EngineFacts(
        identity="x",
        kind=kind,
        version=version,
        url="",
        host="",
        remote=False,
        rootless=rootless,
        cpus=1,
        memory_bytes=1,
    )
    found = lack(needed, facts)
    assert (found.engine if found else "") == engine
