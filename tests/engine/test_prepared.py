"""Prepared services: their first start is done once, and later ones begin where it ended."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from typing import Any

import pytest
from clnrm_testing.capabilities import Needs
from clnrm_testing.end_to_end import EndToEnd, environment_of_a_run

pytestmark = pytest.mark.engine

# Its first start takes so long that the next one is faster on a loaded machine, too. It leaves files of
# others in a volume, one beside it, and its name.
SERVE = r"""#!/bin/sh
if [ ! -f /data/made ]; then
    busybox sleep ${TAKES_S:-3}
    busybox mkdir /data/d
    echo x > /data/d/f
    busybox chown 70:71 /data/d/f
    busybox chmod 0640 /data/d/f
    busybox ln -s f /data/d/l
    busybox chown 70 /data
    busybox chmod 0710 /data
    busybox hostname > /data/made
    echo first >> /starts
fi
trap "exit ${CODE:-0}" TERM
echo up
while :; do busybox sleep 0.05; done
"""
IMAGE = "ADD busybox /bin/sh\nADD busybox /bin/busybox\nADD serve /serve\nENV PATH=/bin\nVOLUME /data\n"
SERVICE = """
    build = "db"
    ready = { log = "^up$" }
    files = [{ source = "migration", target = "/migration" }]
    prepare = "busybox cat /migration >> /data/migrated; echo changed >> /migration"
"""


PYTHON = """
SERVICE = {
    "build": "db",
    "ready": {"log": "^up$"},
    "files": [{"source": "migration", "target": "/migration"}],
    "prepare": "busybox cat /migration >> /data/migrated",
}

def test_shared(clnrm_shared):
    db = clnrm_shared("db", **SERVICE)
    assert db.run("busybox cat /starts /data/migrated").stdout == "first\\n2\\n"
"""


def test_what_a_first_start_leaves_is_kept(project: EndToEnd, needs: Needs) -> None:
    """Later starts find it as after a stop; with other content of a file all of it is done anew."""
    needs("images of prepared services")
    project.write_build("db", f'{IMAGE}CMD ["/serve"]\n')
    project.write("db/serve", SERVE).chmod(0o755)
    project.write("migration", "1\n")
    project.write(
        "kept.clnrm.toml",
        f"""
        [service.db]{SERVICE}
        [[scenario]]
        name = "one"
        [[scenario.step]]
        run = "busybox cat /starts /data/made /data/migrated /data/d/l; busybox hostname"
        expect.stdout.equals = "first\\ndb\\n1\\nx\\ndb"
        [[scenario.step]]
        run = "busybox stat -c '%u %g %a' /data /data/d/f; busybox readlink /data/d/l"
        expect.stdout.equals = "70 0 710\\n70 71 640\\nf"
        [[scenario.step]]
        run = "busybox tail -n 1 /migration; echo x > /data/of-one"
        expect.stdout.equals = "changed"
        [[scenario]]
        name = "two"
        [[scenario.step]]
        run = "busybox ls /data; busybox wc -l < /starts"
        expect.stdout.equals = "d\\nmade\\nmigrated\\n1"
        """,
    )
    # Nothing is measured of what is not kept.
    for name, more in (("unclean", 'CODE = "3"'), ("secret", 'KEY = "hush-hush"')):
        project.write(
            f"{name}.clnrm.toml",
            f"""
            [service.db]{SERVICE}    env = {{ {more}, TAKES_S = "0" }}
            [[step]]
            run = "busybox cat /data/migrated"
            expect.stdout.equals = "1"
            """,
        )
    project.environment["KEY"] = "hush-hush"
    options = ("-o", "clnrm_secrets=KEY")
    run = project.run(*options, mapped=False)
    assert set(run.outcomes().values()) == {"passed"}, run.text
    assert _prepared(run.scenarios) == {"one": True, "two": True, "unclean": False, "secret": False}
    why = {name: run.scenarios[name]["notes"][0] for name in ("unclean", "secret")}
    start = "service 'db' is not prepared, and starts from its image: "
    assert why["unclean"].startswith(
        f"{start}it did not end cleanly when it was asked to, but with exit code 3"
    )
    assert why["secret"].startswith(
        f"{start}there is a secret in its environment, which would stay in the image"
    )
    assert not project.leftovers(run)
    kept = {"label": f"clnrm-test={project.token}", "reference": "clnrm-prepared/*"}
    if "io.containerd" not in str(project.client.info()["DriverStatus"]):
        # What is in a volume would be copied at each start.
        (image,) = (project.client.inspect_image(each["Id"]) for each in project.client.images(filters=kept))  # type: ignore[no-untyped-call]
        assert not image["Config"]["Volumes"]

    project.write("migration", "2\n")
    text = project.folder.joinpath("kept.clnrm.toml").read_text("utf-8")
    project.write("kept.clnrm.toml", text.replace("\\n1\\nx", "\\n2\\nx"))
    for name in ("unclean", "secret"):
        project.folder.joinpath(f"{name}.clnrm.toml").unlink()
    run = project.run(*options, mapped=False)
    assert run.outcomes() == {"one": "passed", "two": "passed"}, run.text
    assert _prepared(run.scenarios) == {"one": True, "two": True}
    project.folder.joinpath("kept.clnrm.toml").unlink()
    project.write("test_python.py", PYTHON)
    run = project.run(*options, mapped=False)
    assert run.ret == 0, run.text
    project.folder.joinpath("test_python.py").unlink()

    listed = _tool(project, "status")
    assert listed.count("ready after ") == 3, listed
    assert "(db): none: it did not end cleanly when it was asked to" in listed
    assert _tool(project, "sweep") == "removed: nothing\n"
    assert _tool(project, "sweep", "--prepared") == "removed: 3 images\n"
    assert project.client.images(filters=kept) == []


# Its first start takes so long that the next one is faster on a loaded machine, too.
SLOW = """
[service.db]
image = "x"
prepare = true
command = ["sh", "-c", "trap 'exit 0' TERM; [ -e /made ] || {{ sleep 3; touch /made; }}; \
    echo up; while :; do sleep 0.05; done"]
ready = {{ log = "^up$" }}
[[step]]
run = "echo {name}; test -e /made"
"""

# Of a run that is killed once there is an image, and before that is noted.
DIES = """
import os
import signal

from pytest_clnrm.engine.docker.engine import DockerEngine

take_image = DockerEngine.take_image


def take_and_die(self, spec):
    take_image(self, spec)
    os.kill(os.getpid(), signal.SIGKILL)


DockerEngine.take_image = take_and_die
"""


def test_whoever_is_killed_leaves_nothing_that_is_used(project: EndToEnd, needs: Needs) -> None:
    """Neither during the first start nor once there is an image; of several workers one makes it then."""
    needs("images of prepared services")
    project.write("a.clnrm.toml", SLOW.format(name="a"))
    with project.watch() as watch:
        process = project.popen()
        watch.wait("start", "db")
        process.kill()
        process.wait()
    conftest = project.path / "conftest.py"
    conftest.write_text(DIES)
    assert project.run().ret == -signal.SIGKILL
    conftest.unlink()
    for name in ("b", "c"):
        project.write(f"{name}.clnrm.toml", SLOW.format(name=name))
    with project.watch() as watch:
        run = project.run(mode=("-n", "2"))
        assert set(run.outcomes().values()) == {"passed"}, run.text
    assert _prepared(run.scenarios) == {"a": True, "b": True, "c": True}
    # Two starts prepare it.
    assert sum(each.name == "create" and each.service == "db" for each in watch.events) == 5, watch.events
    (record,) = project.path.glob(f"ledger/**/{'[0-9a-f]' * 32}.json")
    (tag,) = project.client.inspect_image(json.loads(record.read_text())["image"])["RepoTags"]  # type: ignore[no-untyped-call]
    ledger = tag.rpartition(":")[0]
    assert len(project.client.images(name=ledger)) == 1
    label = f"pytest-clnrm.prepared-by={ledger.rpartition('/')[2]}"
    assert len(project.client.images(filters={"label": label})) == 1
    left = project.client.containers(all=True, filters={"label": "pytest-clnrm.session"})
    names = [each["Names"] for each in left if project.token in str(each["Labels"])]
    assert names == []
    assert _tool(project, "sweep", "--prepared") == "removed: 1 image\n"


def _prepared(scenarios: dict[str, dict[str, Any]]) -> dict[str, bool]:
    return {name: all(each["prepared"] for each in found["containers"]) for name, found in scenarios.items()}


def _tool(project: EndToEnd, *arguments: str) -> str:
    command = [sys.executable, "-m", "pytest_clnrm", *arguments, "--ledger-dir", str(project.path / "ledger")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment_of_a_run())
    assert done.returncode == 0, done.stderr
    return done.stdout
