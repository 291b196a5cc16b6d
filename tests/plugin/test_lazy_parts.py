"""Under xdist the parts for containers are made by who needs them, and not in a run that does not."""

from __future__ import annotations

from pathlib import Path

import pytest
from clnrm_testing.project import PYTEST_ADDOPTS
from clnrm_testing.requirements import needs_xdist

pytestmark = needs_xdist

TELLS = """
import os, sys
import pytest

def pytest_unconfigure(config):
    with open(os.path.join(config.rootpath, "made"), "a") as file:
        who = os.environ.get("PYTEST_XDIST_WORKER", "controller")
        made = config.pluginmanager.hasplugin("clnrm-reservations")
        file.write(f"{who} {made} {'pytest_clnrm.session.wiring' in sys.modules}\\n")
"""


@pytest.mark.parametrize("dist", ["load", "worksteal"])
@pytest.mark.parametrize(
    ("marks", "needed"),
    [("", False), ("@pytest.mark.clnrm_limits()", True), ("@pytest.mark.clnrm_priority('high')", True)],
    ids=["plain", "containers", "priority"],
)
def test_parts_are_made_where_something_needs_them(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, dist: str, marks: str, *, needed: bool
) -> None:
    """Controller and workers have all parts, or none of them; the tests pass either way."""
    monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)
    monkeypatch.setenv("PYTEST_ADDOPTS", PYTEST_ADDOPTS)
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[1]))
    pytester.makeini("[pytest]\n")
    pytester.makeconftest(TELLS)
    pytester.makepyfile(f"import pytest\n{marks}\ndef test_it(): pass\ndef test_other(): pass")
    done = pytester.runpytest_subprocess(
        "-p",
        "clnrm_testing.fake_engine",
        "-o",
        "clnrm_ledger_dir=ledger",
        "-n",
        "2",
        "--dist",
        dist,
        timeout=60,
    )
    done.assert_outcomes(passed=2)
    made = (pytester.path / "made").read_text(encoding="utf-8").splitlines()
    assert sorted(made) == [f"{who} {needed} {needed}" for who in ("controller", "gw0", "gw1")]
