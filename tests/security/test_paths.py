"""Paths that change, or lead elsewhere, after they were looked at; and what others wrote down."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from clnrm_testing.end_to_end import EndToEnd

from pytest_clnrm.engine.docker.engine import DockerEngine

pytestmark = pytest.mark.engine


def test_linked_scenario_file(project: EndToEnd, tmp_path: Path) -> None:
    """A scenario file that is a link out of the project is not read, so no mistake shows its lines."""
    outside = tmp_path.parent / f"{tmp_path.name}-credentials"
    outside.write_text("password = grouper\n")
    project.folder.mkdir()
    (project.folder / "a.clnrm.toml").symlink_to(outside)
    (project.folder / "b.clnrm.toml").symlink_to("/proc/self/environ")
    project.environment["TOKEN_OF_THE_JOB"] = "grouper"  # noqa: S105 none
    run = project.run()
    assert "grouper" not in run.text, f"DID NOT FAIL\n{run.text}"
    assert run.text.count("it leads out of the project, to ") == 2


def test_forged_run_record(project: EndToEnd, engine: DockerEngine, tmp_path: Path) -> None:
    """A forged record in the ledger makes nobody remove the folder that it names."""
    precious = tmp_path / "clnrm-0badcafe-precious"
    precious.mkdir()
    (precious / "file").touch()
    home = tmp_path / "home"
    home.mkdir()
    (home / "file").touch()
    (tmp_path / "clnrm-1badcafe-link").symlink_to(home)
    (tmp_path / "ledger/runs").mkdir(parents=True)
    for session, folder in (
        ("0badcafe", precious),
        ("1badcafe", tmp_path / "clnrm-1badcafe-link"),
        ("2", home),
    ):
        record = {
            "format": 1,
            "session": session,
            "controller": {"pid": 1 << 30, "started": "1"},
            "folder": str(folder),
            "choice": "auto",
            "identity": engine.facts.identity,
            "url": "unix:///var/run/docker.sock",
        }
        (tmp_path / "ledger/runs" / f"{session}.json").write_text(json.dumps(record))
    project.write("a.clnrm.toml", '[service.box]\nimage = "busybox"\n[[step]]\nrun = "true"\n')
    run = project.run()
    assert run.ret == 0, run.text
    assert not (tmp_path / "ledger/runs/0badcafe.json").exists(), "the record was not looked at"
    assert (precious / "file").exists(), "DID NOT FAIL"
    assert (home / "file").exists(), "DID NOT FAIL"


STEP = '[[step]]\nrun = """{}"""\n'
EXCHANGE = """
def exchange():
    source = {source!r}
    os.rename(source, source + ".old")
    os.symlink({outside!r}, source)


def exchange_back():
    source = {source!r}
    os.unlink(source)
    os.rename(source + ".old", source)
"""


def volume(source: str, step: str, more: str = "") -> str:
    """Return the text of a scenario file whose container has a volume at /w."""
    box = f'volumes = [{{ source = "{source}", target = "/w"{more} }}]\n'
    return f'[service.box]\nimage = "busybox"\n{box}{STEP.format(step)}'


def outside_of(project: EndToEnd) -> Path:
    """Return a folder beside the project, with a file that no container is to see."""
    outside = project.path.parent / f"{project.path.name}-outside"
    outside.mkdir()
    (outside / "note").write_text("sesame")
    return outside


def test_rearranged_volume(project: EndToEnd) -> None:
    """A scenario that could write above another one's source is not run: it might link that elsewhere."""
    project.write("tree/d2/own", "mine")
    rearrange = "rm -r /w/d2 && ln -s / /w/d2"
    project.write("a.clnrm.toml", volume("tree", rearrange, ", read_only = false"))
    project.write("b.clnrm.toml", volume("tree/d2", "cat /w/own"))
    run = project.run("-o", f"clnrm_allow_writable={project.token}")
    assert not (project.folder / "tree/d2").is_symlink(), f"DID NOT FAIL\n{run.text}"
    tree = project.folder / "tree"
    assert f"{tree} is to be writable, but {tree}/d2 is a volume of service 'box' of b.clnrm.toml" in run.text
    assert run.outcomes() == {"a": "error", "b": "passed"}, run.text


def test_volume_exchanged_after_collection(project: EndToEnd) -> None:
    """What was a folder when the file was read, and is a link when its container is made, is not mounted."""
    source = project.write("d2/own", "mine").parent
    exchange = EXCHANGE.format(source=str(source), outside=str(outside_of(project)))
    project.write("conftest.py", f"import os\n{exchange}\ndef pytest_collection_finish():\n    exchange()\n")
    project.write("b.clnrm.toml", volume("d2", "cat /w/note"))
    run = project.run()
    assert "sesame" not in str(run.document), f"DID NOT FAIL\n{run.text}"
    assert f"volume /w: {source}: is a symbolic link; it was exchanged since" in run.text


WHILE_STARTED = """
from pytest_clnrm.engine.docker.engine import DockerEngine

start = DockerEngine.start


def exchanged(self, container, **options):
    exchange()
    try:
        start(self, container, **options)
    finally:
        exchange_back()


DockerEngine.start = exchanged
"""


def test_volume_exchanged_while_started(project: EndToEnd) -> None:
    """Exchanged between the look and the mount, and back again: the container is removed, no step runs."""
    source = project.write("d2/own", "mine").parent
    exchange = EXCHANGE.format(source=str(source), outside=str(outside_of(project)))
    project.write("conftest.py", f"import os\n{exchange}{WHILE_STARTED}")
    project.write("b.clnrm.toml", volume("d2", "cat /w/note"))
    run = project.run()
    assert "sesame" not in str(run.document), f"DID NOT FAIL\n{run.text}"
    assert f"volume /w: {source} was exchanged while the container was started" in run.text
    assert project.leftovers(run) == []


def test_left_in_a_writable_volume(project: EndToEnd) -> None:
    """Files that give whoever runs them more, devices, and what pytest would load fail the scenario."""
    leave = "cd /w && cp /bin/busybox sh && chmod 4755 sh && mknod disk b 8 0 && touch conftest.py fine"
    leave += " && mkdir .git && ln -s / .git/out"
    (project.folder / "out").mkdir(parents=True)
    project.write("a.clnrm.toml", volume("out", leave, ", read_only = false"))
    run = project.run("-o", f"clnrm_allow_writable={project.token}/out")
    assert run.outcomes() == {"a": "failed"}, f"DID NOT FAIL\n{run.text}"
    out = project.folder / "out"
    (message,) = run.failures("a")
    assert message.startswith("volume /w: the scenario left ")
    loaded = (f"{each} (which is loaded on this host)" for each in ("conftest.py", ".git"))
    followed = ".git/out (a link out of it, which is followed on this host)"
    for left in ("sh (a set-uid file)", "disk (a device node)", followed, *loaded):
        assert f"{out}/{left}" in message
    assert "fine" not in message


def test_writable_volumes(project: EndToEnd) -> None:
    """A volume is writable only in a listed folder that holds nothing that the host loads."""
    project.write("out/x", "")
    project.write("tests/conftest.py", "")
    project.write("b.clnrm.toml", volume("out", "true", ", read_only = false"))
    project.write("c.clnrm.toml", volume("tests", "true", ", read_only = false"))
    project.write("d.clnrm.toml", volume(".", "true", ", read_only = false"))
    allow = f"clnrm_allow_writable={project.token}/tests {project.token}/tests/.."
    unlisted = project.run("--collect-only", "-o", "clnrm_allow_writable=elsewhere")
    listed = project.run("--collect-only", "-o", allow)
    assert "<ScenarioItem b>" in listed.text, listed.text
    assert unlisted.text.count("may be mounted read-only alone: the ini option") == 3, (
        f"DID NOT FAIL\n{unlisted.text}"
    )
    assert "volumes[0].read_only: it holds conftest.py, which is loaded on this host" in listed.text
    assert listed.text.count("which is loaded on this host") == 2


def test_volume_of_the_ledger(project: EndToEnd) -> None:
    """No volume shows the ledger, its folders or what holds it: a pipe in it works read-only too."""
    project.write("a.clnrm.toml", volume("..", "true"))
    project.write("b.clnrm.toml", volume("../ledger", "true"))
    (project.path / "ledger/runs").mkdir(parents=True)
    project.write("c.clnrm.toml", volume("../ledger/runs", "true"))
    run = project.run("--collect-only")
    assert run.text.count("no container may see it") == 3, f"DID NOT FAIL\n{run.text}"
