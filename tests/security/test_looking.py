"""Files of a container that look like others, or take for ever to be looked at."""

from __future__ import annotations

import pytest
from clnrm_testing.end_to_end import EndToEnd

pytestmark = pytest.mark.engine

FILES = """
[service.box]
image = "busybox"
[[step]]
run = '''
mkdir -p /d; cd /d; truncate -s 400M big; mkfifo pipe; ln -s /proc proc; ln -s ../../../proc/1 up
ln -s a b; ln -s b a; mknod device c 1 5
'''
"""
CHECKS = """
[[check]]
file = "/d/big"
sha256 = "0000000000000000000000000000000000000000000000000000000000000000"
timeout = "200ms"
[[check]]
file = "/d/pipe"
content = { contains = "x" }
[[check]]
file = "/d/device"
content = { contains = "x" }
[[check]]
file = "/d/b"
[[check]]
file = "/d/../../../../etc/shadow-of-the-host"
[[check]]
file = "/d/proc/1/root/etc/hostname"
exists = false
[[check]]
file = "/d/up/environ"
exists = false
"""


def test_files_without_an_end(project: EndToEnd) -> None:
    """What is huge, a pipe, a device or a circle of links ends in time; all of it is the container's own."""
    project.write("a.clnrm.toml", FILES + CHECKS)
    run = project.run()
    got = run.failures("a")
    assert "SHA-256" not in got[0], f"IT WAS READ TO ITS END: {got[0]}"
    absent = len(got) == 5
    assert not absent, f"IT WAS TAKEN FOR ABSENT: {got}"
    unseen = "could not be checked: /proc is in memory, which is not seen from outside: use a step"
    assert got == [
        "file /d/big could not be checked: cannot look at /d/big in the container: the time for it is over",
        "file /d/pipe is a named pipe, which has no content: expected a regular file",
        "file /d/device is a device, which has no content: expected a regular file",
        "file /d/b could not be checked: /d/b is a circle of symbolic links",
        "file /d/../../../../etc/shadow-of-the-host does not exist",
        f"file /d/proc/1/root/etc/hostname {unseen}",
        f"file /d/up/environ {unseen}",
    ], run.text
