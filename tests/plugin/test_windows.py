"""Windows itself is refused, in one line, where a run needs us; other runs do not feel that."""

from __future__ import annotations

from pathlib import Path

import pytest
from clnrm_testing.requirements import skip_without_xdist

from pytest_clnrm.session.lazy import WINDOWS

AS_ON_WINDOWS = """
import sys
from pytest_clnrm.session import lazy

lazy._SYSTEM = "nt"
for module in ("fcntl", "resource", "pytest_clnrm.cleanup.run_folder", "pytest_clnrm.session.wiring"):
    sys.modules[module] = None
"""
SCENARIO = """
[meta]
name = "one"
[service.box]
image = "any"
[[step]]
name = "work"
run = "true"
"""


@pytest.fixture(params=[(), ("-n", "2")], ids=["alone", "n2"])
def windows(request: pytest.FixtureRequest, pytester: pytest.Pytester) -> tuple[str, ...]:
    """Return options of a run as on Windows, which lacks the modules that are of POSIX alone."""
    if request.param:
        skip_without_xdist()
    pytester.makepyfile(as_on_windows=AS_ON_WINDOWS)
    pytester.makepyfile(test_plain="def test_it(): pass")
    return ("-p", "as_on_windows", *request.param)


def test_other_runs_pass(pytester: pytest.Pytester, windows: tuple[str, ...]) -> None:
    """A run without scenarios and containers is as without the plugin."""
    pytester.runpytest_subprocess(*windows).assert_outcomes(passed=1)


@pytest.mark.parametrize("needs", ["scenario", "fixture"])
def test_what_needs_us_is_refused(pytester: pytest.Pytester, windows: tuple[str, ...], needs: str) -> None:
    """A scenario file and a fixture are refused with the remedy, without a traceback of ours."""
    if needs == "scenario":
        Path(pytester.path, "one.clnrm.toml").write_text(SCENARIO, encoding="utf-8")
    else:
        pytester.makepyfile(test_with="def test_with(clnrm): pass")
    result = pytester.runpytest_subprocess(*windows)
    assert result.ret in {pytest.ExitCode.TESTS_FAILED, pytest.ExitCode.INTERRUPTED}
    result.stdout.no_fnmatch_line("*INTERNALERROR*")
    result.stdout.no_fnmatch_line("*lazy.py*")
    result.stdout.fnmatch_lines([WINDOWS])
