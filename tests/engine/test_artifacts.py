"""Files of containers that are kept, copied out by a real engine."""

from __future__ import annotations

from pathlib import Path

import pytest
from clnrm_testing.end_to_end import EndToEnd, Run

pytestmark = pytest.mark.engine

KINDS = """
[service.app]
build = "./bare"
artifacts = ["/logs/*.log", "/deep/**/x", "/one", "/kinds", "/proc-link/mounts", "/shared/s"]
volumes = [{ name = "shared", target = "/shared" }]

[[step]]
run = ["/busybox-1", "ash", "-c", '''
b=/busybox-1; $b mkdir -p /data /deep/a/b /kinds; $b ln -s data /logs; echo "pw hunter2" > /data/a.log
echo no > /data/a.txt
$b ln /data/a.log /data/b.log; $b ln -s /data/a.log /data/c.log; echo 1 > /deep/x; echo 2 > /deep/a/b/x
$b ln -s /deep/x /one; echo s > /shared/s; $b mknod /kinds/null c 1 3; $b mkfifo /kinds/pipe
$b ln -s /etc/shadow /kinds/shadow; echo x > /kinds/suid; $b chmod 6777 /kinds/suid; $b ln -s /proc /proc-link
echo x > "/kinds/$(printf 'a\\nb\\377<i>')"
''']

[vars]
password = { value = "hunter2", secret = true }
"""

ENDED = """
[meta]
timeout = "8s"

[service.job]
image = "busybox"
command = ["sh", "-c", "echo made > /made"]
ready = { exit = 0 }
artifacts = ["/made"]

[service.box]
image = "busybox"
depends_on = ["job"]
artifacts = ["/begun", { path = "/dump", when = "failure" }]

[[step]]
service = "box"
run = "echo 1 > /begun; echo 2 > /dump; sleep 60"
"""

STOPPED = '''
[service.late]
image = "busybox"
command = """
trap 'echo flushed > /tmp/late; exit 0' TERM; touch /tmp/up; while :; do sleep 0.1; done
"""
ready = { command = "test -e /tmp/up" }
artifacts = ["/tmp/late"]
[[step]]
run = "test ! -e /tmp/late"
[[cleanup]]
stop = "late"
'''

POOLED = """
[[scenario]]
name = "one"
[[scenario.step]]
service = "box"
run = "cat /etc/passwd"

[[scenario]]
name = "two"
[[scenario.step]]
service = "box"
run = "echo mine > /tmp/mark"

[[scenario]]
name = "three"
[[scenario.step]]
service = "box"
run = "test ! -e /tmp/mark"

[service.box]
image = "busybox"
artifacts = ["/etc/passwd", "/tmp/mark*"]
"""


def kept(run: Run, scenario: str) -> dict[str, bytes]:
    """Return the files that a scenario's artifacts are, by service and path."""
    return {
        f"{each['service']}:{each['path']}": Path(run.folder, "out", each["file"]).read_bytes()
        for each in run.scenarios[scenario]["artifacts"]
    }


def test_artifacts(project: EndToEnd) -> None:
    """Whatever the containers are at: without a shell, used again, ended, in the midst of a step."""
    project.write_build("bare", 'COPY busybox /busybox-1\nCMD ["/busybox-1", "sleep", "1000"]\n')
    project.write("kinds.clnrm.toml", KINDS)
    project.write("ended.clnrm.toml", ENDED)
    project.write("stopped.clnrm.toml", STOPPED)
    project.write("pooled.clnrm.toml", POOLED)
    run = project.run()
    assert run.outcomes() == {
        "kinds": "passed",
        "ended": "failed",
        "stopped": "passed",
        "one": "passed",
        "two": "passed",
        "three": "passed",
    }, run.text
    assert kept(run, "kinds") == {
        "app:/logs/a.log": b"pw ***\n",
        "app:/logs/b.log": b"pw ***\n",
        "app:/deep/x": b"1\n",
        "app:/deep/a/b/x": b"2\n",
        "app:/one": b"1\n",
        "app:/kinds/suid": b"x\n",
        "app:/kinds/a\nb\ufffd\ufffd\ufffd<i>": b"x\n",
        "app:/shared/s": b"s\n",
    }
    artifacts = Path(run.folder, "out", "artifacts")
    files = [each for each in artifacts.rglob("*") if not each.is_dir()]
    assert all(each.is_file() and not each.is_symlink() for each in files)
    assert all(each.stat().st_mode & 0o7111 == 0 and each.stat().st_nlink == 1 for each in files)
    assert sorted(run.scenarios["kinds"]["notes"]) == [
        "artifact /kinds of service 'app': 3 links, devices and the like are left out",
        "artifact /logs/*.log of service 'app': a link, device or the like is left out",
        "artifact /proc-link/mounts of service 'app': nothing lies there",
    ]
    assert kept(run, "ended") == {"job:/made": b"made\n", "box:/begun": b"1\n", "box:/dump": b"2\n"}
    assert "artifacts: 3 files, out/artifacts/ended-" in run.text
    assert kept(run, "stopped") == {"late:/tmp/late": b"flushed\n"}
    # Reading them changes nothing, so what is clean is used again; nobody gets what another one has left.
    assert [kept(run, each).keys() for each in ("one", "two", "three")] == [
        {"box:/etc/passwd"},
        {"box:/etc/passwd", "box:/tmp/mark"},
        {"box:/etc/passwd"},
    ]
    used_again = [run.scenarios[each]["containers"][0]["reused"] for each in ("one", "two", "three")]
    assert used_again[1:] == [True, False] or not _can_be_proven(run)
    assert project.leftovers(run) == []


def _can_be_proven(run: Run) -> bool:
    """Tell whether containers can be looked at from outside here."""
    return "cannot be looked at" not in run.scenarios["one"]["containers"][0]["reuse"]
