"""A program leaves files that hurt whoever keeps them; unit tests of the runner have more."""

from __future__ import annotations

import subprocess
import sys

import pytest
from clnrm_testing.end_to_end import EndToEnd, environment_of_a_run

pytestmark = pytest.mark.engine

LOOT = """
[service.box]
image = "busybox"
artifacts = ["/loot"]
[[step]]
run = '''
{script}
'''
[vars]
password = {{ value = "hunter2", secret = true }}
"""


def test_without_end_and_with_a_secret(project: EndToEnd) -> None:
    """More than is allowed is cut, and the secret in it is masked."""
    script = "mkdir /loot; echo password is hunter2 > /loot/a; dd if=/dev/zero of=/loot/b bs=1M count=8"
    project.write("a.clnrm.toml", LOOT.format(script=script))
    run = project.run("-o", "clnrm_max_artifacts=1m")
    (kept, cut) = run.scenarios["a"]["artifacts"]
    files = [run.folder / "out" / each["file"] for each in (kept, cut)]
    size = sum(each.stat().st_size for each in files)
    assert size <= 1 << 20, f"KEPT {size} BYTES"
    text = files[0].read_text("utf-8")
    assert text == "password is ***\n", f"KEPT {text}"
    assert cut["is_cut"]


@pytest.mark.parametrize("by", ["pytest alone", "doctest"])
def test_code_for_the_next_run(project: EndToEnd, by: str) -> None:
    """Nothing of what was kept runs on this host when pytest runs there again, with us or without."""
    owned = project.path / "owned"
    script = f"""
        mkdir -p /loot/.git; cd /loot; printf 'open("{owned}", "w")\\n' | tee conftest.py > test_it.py
        printf '>>> open("{owned}", "w")\\n' > x.txt
    """
    project.write("a.clnrm.toml", LOOT.format(script=script))
    run = project.run("--clnrm-report", f"{project.token}/out")
    assert run.ret == 0, run.text
    command = [sys.executable, "-m", "pytest", project.token]
    environ = environment_of_a_run()
    if by == "doctest":
        command += ["--doctest-glob=*.txt", "-k", "x.txt"]
    else:
        environ |= {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTEST_ADDOPTS": "", "PYTEST_PLUGINS": ""}
    again = subprocess.run(
        command, cwd=project.path, env=environ, capture_output=True, text=True, check=False
    )
    assert again.returncode == pytest.ExitCode.NO_TESTS_COLLECTED, f"RAN {again.stdout}{again.stderr}"
    assert not owned.exists(), f"RAN {again.stdout}"
