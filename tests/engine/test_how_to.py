"""The files of the tutorial and of docs/how-to, all in one run on a real engine."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
from clnrm_testing.busybox import busybox_tree
from clnrm_testing.end_to_end import EndToEnd
from clnrm_testing.how_to import PAGES, blocks, comparable, files

pytestmark = pytest.mark.engine

DATA = Path(__file__).parents[1] / "data" / "how_to"
FAILED = re.compile(r"^_+ (.+?) _+$", re.MULTILINE)
XFAILED = re.compile(r"^XFAIL (\S+) - ", re.MULTILINE)
SKIPPED = re.compile(r"^SKIPPED \[1\] ", re.MULTILINE)


def build_shop(project: EndToEnd, folder: Path) -> str:
    """Build the image of the service that the pages ask, and return its name."""
    shutil.copytree(DATA, folder)
    # Git keeps no more of modes than who may execute.
    (folder / "app.conf").chmod(0o640)
    (folder / "root.tar").write_bytes(busybox_tree())
    tag = f"clnrm-how-to:{project.token}"
    for line in project.client.build(
        path=str(folder), tag=tag, rm=True, labels={"clnrm-test": project.token}
    ):
        assert b'"error"' not in line, line
    return tag


def test_the_pages_are_right(project: EndToEnd, tmp_path: Path) -> None:
    """Each scenario has the outcome that its page says, and each output is what the run prints."""
    shop = build_shop(project, tmp_path / "shop")
    for page in PAGES:
        for name, text in files(page).items():
            project.write(f"{page.stem}/{name}", text)
    maps = [f"--clnrm-image-map=shop/*={shop}", f"--clnrm-image-map=*={project.image}"]
    run = project.run("-rsx", "-v", *maps, mode=("-n", "2"), mapped=False)
    wanted: dict[str, str] = {}
    skipped = 0
    for page in PAGES:
        printed = comparable(run.text.replace(f"{project.token}/{page.stem}/", ""))
        for block in blocks(page):
            if block.language == "console":
                assert comparable(block.printed) in printed, f"{page.name}: {block.command}\n{run.text}"
                path = f"{page.stem}/{block.command.split()[-1]}"
                wanted |= {f"{path}::{name}": "failed" for name in FAILED.findall(block.printed)}
                wanted |= {f"{page.stem}/{nodeid}": "xfailed" for nodeid in XFAILED.findall(block.printed)}
                skipped += len(SKIPPED.findall(block.printed))
    outcomes = {
        each["nodeid"].removeprefix(f"{project.token}/"): each["outcome"]
        for each in run.document["scenarios"]
    }
    assert {
        nodeid: outcome for nodeid, outcome in outcomes.items() if outcome not in {"passed", "skipped"}
    } == wanted, run.text
    assert list(outcomes.values()).count("skipped") == skipped
    written = {
        f"{page.stem}/{name}" for page in PAGES for name in files(page) if name.endswith(".clnrm.toml")
    }
    assert {nodeid.partition("::")[0] for nodeid in outcomes} == written
