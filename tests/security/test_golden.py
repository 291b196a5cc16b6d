"""Files that outputs are compared with, which are none of the scenario's, or are loaded on the host."""

from __future__ import annotations

import pytest
from clnrm_testing.end_to_end import EndToEnd

pytestmark = pytest.mark.engine

SERVICE = '[service.box]\nimage = "busybox"\n'
STEP = """
[[step]]
run = "echo 'raise SystemExit'"
continue_on_failure = true
expect.stdout = {{ file = "{path}" }}
"""


def test_a_file_that_leads_elsewhere(project: EndToEnd) -> None:
    """What a link leads to is not shown, whether the link is the file or one of its folders."""
    secret = project.path / "elsewhere"
    secret.mkdir()
    (secret / "key").write_text("hunter22")
    project.folder.mkdir(exist_ok=True)
    (project.folder / "link").symlink_to(secret / "key")
    (project.folder / "folder").symlink_to(secret)
    (project.folder / "pipes").symlink_to("/proc/self/environ")
    steps = "".join(STEP.format(path=each) for each in ("link", "folder/key", "pipes"))
    project.write("a.clnrm.toml", SERVICE + steps)
    run = project.run()
    assert "hunter22" not in run.text, f"IT WAS SHOWN\n{run.text}"
    why = "it is a link, or lies behind one: name the file itself"
    assert len([each for each in run.failures("a") if each.endswith(why)]) == 3, run.text


def test_a_file_that_is_loaded(project: EndToEnd) -> None:
    """What a program prints becomes no file that the next run loads, however it is named."""
    scenario = SERVICE + "".join(
        STEP.format(path=each)
        for each in (
            "conftest.py",
            "b.clnrm.toml",
            "../.clnrm/config.toml",
            ".github/workflows/a.yml",
        )
    )
    project.write("c.clnrm.toml", SERVICE + STEP.format(path="ok.txt"))
    project.write("a.clnrm.toml", scenario)
    project.write("b.clnrm.toml", '[[step]]\nrun = "true"\n')
    before = {each for each in project.path.rglob("*") if "ledger" not in each.parts}
    run = project.run("--clnrm-update-golden", "-k", "not b.clnrm.toml")
    after = {each.name for each in set(project.path.rglob("*")) - before if "ledger" not in each.parts}
    got = after & {"conftest.py", "config.toml", "a.yml"}
    assert not got, f"IT WAS WRITTEN: {got}"
    assert (project.folder / "b.clnrm.toml").read_text() == '[[step]]\nrun = "true"\n'
    assert (project.folder / "ok.txt").read_text() == "raise SystemExit\n"
    assert [each.rpartition(": ")[2] for each in run.failures("a")] == [
        "conftest.py may be loaded on this host; choose another name",
        "b.clnrm.toml may be loaded on this host; choose another name",
        ".clnrm may be loaded on this host; choose another name",
        ".github is hidden; choose another name",
    ], run.text
