"""A program prepares what a Python test copies out of its container, and where to."""

from __future__ import annotations

import pytest
from clnrm_testing.end_to_end import EndToEnd

pytestmark = pytest.mark.engine

TESTS = r"""
import pytest
from pytest_clnrm import ContainerError

SCRIPT = "cd /work; mkdir -p /loot/deep; echo evil >/loot/deep/mine; ln -s .. deep; ln -s ../victim file"
WORK = {"source": "work", "target": "/work", "read_only": False}

def test_links(clnrm):
    with clnrm.container("busybox", volumes=[WORK]) as box:
        box.run(SCRIPT)
        for source, dest in (("/loot", "work"), ("/loot/deep/mine", "work/file")):
            try:
                box.copy_out(source, dest)
            except ContainerError as error:
                print("REFUSED", error)
        box.run("rm -rf /work/*")

def test_without_end(clnrm, tmp_path):
    with clnrm.container("busybox") as box:
        box.run("mkdir /loot; dd if=/dev/zero of=/loot/big bs=1M count=8")
        try:
            box.copy_out("/loot", tmp_path)
        except ContainerError as error:
            print("REFUSED", error)
        print("SIZE", sum(each.stat().st_size for each in tmp_path.rglob("*")))
"""


def test_what_is_copied_out(project: EndToEnd) -> None:
    """Links that a container has planted where the test writes are not followed; size has a bound."""
    folder = project.path / project.token
    project.write("test_it.py", TESTS)
    project.write("work/.keep", "")
    project.write("victim", "precious\n")
    writable = f"clnrm_allow_writable={folder / 'work'}"
    run = project.run("-rP", "-o", writable, "-o", "clnrm_max_artifacts=1m")
    victim = (folder / "victim").read_text("utf-8")
    assert victim == "precious\n", f"OVERWRITTEN {victim}{run.text}"
    assert not (folder / "mine").exists(), f"OVERWRITTEN beside {run.text}"
    assert run.text.count("REFUSED cannot copy /loot") == 3, f"COPIED {run.text}"
    size = int(run.text.partition("SIZE ")[2].split()[0])
    assert size <= 1 << 20, f"COPIED {size} BYTES"
