"""What somebody does first who has the wheel and an engine, and no file of the repository."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable

import pytest
from clnrm_testing.fresh import Fresh

pytestmark = pytest.mark.engine


@pytest.mark.usefixtures("reached")
def test_install_write_run_break_read(fresh: Callable[[], Fresh]) -> None:
    """A first scenario is written, passes, is broken, and its failure names line, expectation and output."""
    user = fresh()
    assert "wrote first.clnrm.toml; run it: pytest first.clnrm.toml" in user.run("clnrm", "new")
    assert "1 file, 1 scenario, no mistake" in user.run("clnrm", "check", "first.clnrm.toml")
    options = ("-n", "2", "--clnrm-report", "report", "--clnrm-image-map", "busybox:1.37=clnrm-busybox:1")
    assert "1 passed" in user.run("pytest", *options)

    file = user.folder / "first.clnrm.toml"
    text = file.read_text("utf-8")
    (line,) = (number for number, each in enumerate(text.splitlines(), 1) if 'equals = "root\\n"' in each)
    file.write_text(text.replace('equals = "root\\n"', 'equals = "toor\\n"'), "utf-8")
    said = f"first.clnrm.toml:{line}: step 'the service runs as root': stdout does not equal 'toor\\n'"
    printed = user.run("pytest", *options, exits=pytest.ExitCode.TESTS_FAILED)
    assert said in printed
    again = shlex.split(printed.partition("reproduce with: ")[2].splitlines()[0])
    assert said in user.run(*again, exits=pytest.ExitCode.TESTS_FAILED)

    report = json.loads((user.folder / "report" / "report.json").read_text("utf-8"))
    assert [each["outcome"] for each in report["scenarios"]] == ["failed"]
    assert "toor" in (user.folder / "report" / "report.html").read_text("utf-8")
