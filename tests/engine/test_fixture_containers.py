"""What a container of a Python test can do on a real engine."""

from __future__ import annotations

import pytest
from clnrm_testing.end_to_end import EndToEnd

pytestmark = pytest.mark.engine

TESTS = r"""
import asyncio, time, urllib.request
import pytest
from pytest_clnrm import ContainerError, NotReadyError

SERVES = ["sh", "-c", "echo up; mkdir -p /w; echo hi >/w/index.html; exec httpd -f -p 80 -h /w"]

def fetched(box):
    with urllib.request.urlopen(box.url(80, path="index.html"), timeout=10) as answer:
        return answer.read()

def test_life(clnrm):
    ready = {"http": ":80/index.html"}
    with clnrm.container("busybox", command=SERVES, ports=[80], ready=ready, network="bridge",
                         stop_grace="1s") as box:
        assert fetched(box) == b"hi\n"
        assert box.port(80) == box.address(80)[1]
        box.copy_in(b"new\n", "/w/index.html")
        assert fetched(box) == b"new\n"
        box.pause()
        with pytest.raises(ContainerError, match="is paused"):
            box.run("true")
        box.unpause()
        assert box.run("cat /w/index.html").stdout == "new\n"
        box.restart()
        assert fetched(box) == b"hi\n"
        box.stop(timeout=0)
        assert box.exit_code in (137, 143)
        assert box.read_file("/w/index.html") == b"hi\n"
        box.start()
        assert box.run("echo again").stdout == "again\n"
        box.kill()
        assert box.exit_code == 137
        box.start()
        box.pause()

def test_shell(clnrm, tmp_path):
    with clnrm.container("busybox") as box:
        assert box.run(["cat"], stdin=b"\xff\x00\n", text=False).stdout == b"\xff\x00\n"
        box.copy_in("seed", "/seed/in")
        assert box.run("cat /seed/in/deep/a; stat -c %u:%a /seed/in/deep/a").stdout == "a\n0:644\n"
        box.run("ln -s a /seed/in/deep/link; ln /seed/in/deep/a /seed/in/deep/hard; mkfifo /seed/pipe")
        with pytest.warns(Warning, match="2 links or devices are left out"):
            box.copy_out("/seed", tmp_path / "out")
        found = sorted(str(each.relative_to(tmp_path)) for each in tmp_path.rglob("*") if each.is_file())
        assert found == ["out/in/deep/a", "out/in/deep/hard"]
        assert box.read_file("/seed/in/deep/link") == b"a\n"
        box.stop(timeout=1)
        box.start()
        assert box.run("cat /seed/in/deep/a").stdout == "a\n"

def test_logs(clnrm):
    tells = ["sh", "-c", "echo one; while [ ! -e /go ]; do sleep 0.05; done; echo two; printf three; exit 0"]
    with clnrm.container("busybox", command=tells, may_end=0) as box:
        box.wait_for(log="one")
        box.wait_for(file="/bin")
        with pytest.raises(NotReadyError, match=r"was not ready after 0.3 s \(log 'two'\): 0 of 1 matching"):
            box.wait_for(log="two", timeout="300ms")
        time.sleep(0.01)
        before = time.time()
        lines = box.logs(follow=True, timeout=20)
        assert next(lines) == "one"
        box.copy_in(b"", "/go")
        assert list(lines) == ["two", "three"]
        box.wait_for(exit=0)
        assert box.logs(since=before) == "two\nthree"
        assert list(box.logs(follow=True, since=before)) == ["two", "three"]

@pytest.mark.clnrm_limits(containers=3)
def test_networks(clnrm):
    ask = ["wget", "-q", "-O", "-", "http://web/index.html"]
    with clnrm.network() as net, clnrm.container(
        "busybox", name="web", command=SERVES, ready={"http": ":80/index.html"}, network=net
    ), clnrm.container("busybox", network=net) as inside, clnrm.container("busybox") as outside:
        assert inside.run(ask).stdout == "hi\n"
        assert outside.run(ask).exit_code != 0

def test_cancelled(clnrm):
    async def body():
        async with clnrm.container("busybox") as box:
            await box.run("touch /begun; sleep 1000")

    async def main():
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(body(), 3)
        tells = ["sh", "-c", "echo a; sleep 0.5; echo b"]
        async with clnrm.container("busybox", command=tells, may_end=0) as box:
            return [line async for line in box.logs(follow=True)]

    assert asyncio.run(main()) == ["a", "b"]

@pytest.mark.clnrm_limits(containers=2)
def test_keys(clnrm):
    data = {"name": "data", "target": "/data"}
    with (
        clnrm.container("busybox", volumes=[data, {"source": "seed", "target": "/seed"}], scratch=["/s"],
                        files=[{"content": "x", "target": "/etc/x", "mode": "0600"}], env_file="an.env",
                        hostname="here", pids=50) as one,
        clnrm.container("busybox", volumes=[data], entrypoint=["sleep", "100"], aliases=["other"]) as two,
    ):
        one.run("echo shared >/data/f")
        assert two.run("cat /data/f").stdout == "shared\n"
        told = one.run("hostname; cat /seed/deep/a /etc/x; echo $FROM_FILE;touch /seed/n;touch /s/a&&echo k")
        assert told.stdout == "here\na\nxyes\nk\n"
        assert one.run("ping -c 1 -w 5 other >/dev/null && echo there").stdout == "there\n"
"""


def test_containers_of_python_tests(project: EndToEnd) -> None:
    """Stopped and started, files in and out, logs, conditions, and the keys of a service."""
    project.write("test_it.py", TESTS)
    project.write("seed/deep/a", "a\n")
    project.write("an.env", "FROM_FILE=yes\n")
    run = project.run()
    assert " 6 passed" in run.text, run.text
    assert project.leftovers(run) == []
