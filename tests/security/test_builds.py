"""What the build of a pull request can do to the host: its commands, its context, its labels."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from clnrm_testing.end_to_end import EndToEnd, Run
from clnrm_testing.left_behind import GONE_WITHIN_S
from clnrm_testing.patience import wait_until

from pytest_clnrm.ledger.folder import open_folder

pytestmark = pytest.mark.engine

FAILS = "cannot build the image of"


def build(project: EndToEnd, dockerfile: str, *args: str, limits: str = "", meta: str = "") -> Run:
    """Run a scenario that builds *dockerfile*, a busybox in front of it."""
    project.write_build("ctx", f"COPY busybox /bin/busybox\nCOPY busybox /bin/sh\n{dockerfile}")
    project.write(
        "a.clnrm.toml",
        f'{meta}\n[service.box]\nbuild = "./ctx"\n{limits}\n[[step]]\nrun = "cat /found; true"\n',
    )
    return project.run("-q", *args)


def test_a_build_takes_memory(project: EndToEnd) -> None:
    """A command of a build that takes more memory than its service may have is killed."""
    hog = "RUN busybox head -c 100m /dev/zero | busybox tail -c 90m > /dev/null\n"
    run = build(project, hog, limits='limits = { memory = "32m" }')
    assert FAILS in run.text, f"DID NOT FAIL\n{run.text}"


def test_a_build_takes_processes(project: EndToEnd) -> None:
    """A command of a build that starts more processes than its service may have cannot, once it is seen."""
    limited = "busybox grep -qsv max /sys/fs/cgroup/pids/pids.max /sys/fs/cgroup/pids.max"
    wait = f"for i in $(busybox seq 40); do {limited} && break; busybox sleep 0.1; done"
    forks = "for i in $(busybox seq 60); do busybox sleep 3 & done"
    run = build(project, f"RUN {wait}; {forks}\n", limits="limits = { pids = 20 }")
    assert FAILS in run.text, f"DID NOT FAIL\n{run.text}"
    assert "fork" in run.text


def test_a_build_takes_time(project: EndToEnd) -> None:
    """At the scenario's time it is stopped, and nothing of it runs on."""
    run = build(project, "RUN busybox sleep 100\n", meta='[meta]\ntimeout = "1s"')
    assert "took longer than 1 s and was stopped" in run.text, f"DID NOT FAIL\n{run.text}"
    label = {"label": f"clnrm-test={project.token}"}
    # The engine ends the command once it has noticed that nobody listens any more.
    wait_until(
        lambda: not project.client.containers(all=True, filters=label), GONE_WITHIN_S, "the build's end"
    )


def test_a_build_reaches_a_network(project: EndToEnd) -> None:
    """A command of a build has a network only where the file says so."""
    run = build(project, "RUN busybox test -e /sys/class/net/eth0\n")
    assert FAILS in run.text, f"DID NOT FAIL\n{run.text}"
    project.write(
        "a.clnrm.toml",
        '[service.box]\nbuild = { context = "./ctx", network = "bridge" }\n[[step]]\nrun = "true"\n',
    )
    assert project.run().outcomes() == {"a": "passed"}


class Secret(BaseHTTPRequestHandler):
    """Answers with what only the host should see."""

    def do_GET(self) -> None:
        """Answer."""
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"host secret")

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 -- the base class's name
        """Say nothing."""


@pytest.fixture
def service() -> Iterator[str]:
    """Return the address of a service that only this host reaches."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Secret) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_a_build_makes_the_engine_fetch(project: EndToEnd, service: str) -> None:
    """ADD of an address would have the engine read a service of the host's own loopback."""
    run = build(project, f'ARG T=http\nADD \\\n "${{T}}://{service}/x" /found\n')
    # The engine goes on with a step that it has announced: what it fetches is in an image without a name.
    left = project.client.images(all=True, filters={"label": f"clnrm-test={project.token}"})
    assert not left, f"DID NOT FAIL\n{run.text}"
    assert "would make the engine fetch it" in run.text


def test_a_base_image_makes_the_engine_fetch(project: EndToEnd, service: str) -> None:
    """A trigger of a base image would have it do the same; its text is not in the Dockerfile."""
    base = f"clnrm-test-{project.token}:triggers"
    project.client.import_image_from_data(
        bytes(10240),
        repository=base.partition(":")[0],
        tag="triggers",
        changes=[f"ONBUILD ADD http://{service}/x /found"],
    )
    try:
        run = build(project, f"FROM {base}\n")
        assert "adds (ONBUILD) would make the engine fetch it" in run.text, f"DID NOT FAIL\n{run.text}"
    finally:
        project.client.remove_image(base, force=True)


def _id_of_image(project: EndToEnd) -> str:
    """Return the first digits of the id of an image that is there."""
    image = project.client.inspect_image(project.image)  # type: ignore[no-untyped-call]
    return str(image["Id"]).removeprefix("sha256:")[:9]


def test_an_image_by_its_id(project: EndToEnd) -> None:
    """An image that nobody has named for others is reached by no digits of its id."""
    digits = _id_of_image(project)
    project.write("a.clnrm.toml", f'[service.a]\nimage = "{digits}"\n[[step]]\nrun = "true"\n')
    run = project.run(mapped=False)
    assert f"{digits} may be the id of any image" in run.text, f"DID NOT FAIL\n{run.text}"


def test_a_build_from_an_id(project: EndToEnd) -> None:
    """Neither is it by a build."""
    digits = _id_of_image(project)
    run = build(project, f"FROM {digits}\n")
    assert f"FROM {digits} may be the id of any image" in run.text, f"DID NOT FAIL\n{run.text}"


def test_a_context_leads_out(project: EndToEnd) -> None:
    """A link in a context is sent as a link; a context that has become one is not followed."""
    outside = project.path / "outside"
    outside.mkdir()
    (outside / "Dockerfile").write_text("FROM scratch\nCOPY busybox secret /\nCMD /busybox\n")
    (outside / "secret").write_text("host secret")
    (outside / "busybox").touch()
    (project.path / "conftest.py").write_text(
        "from pathlib import Path\n"
        "def pytest_collection_finish():\n"
        f"    ctx = Path({str(project.folder / 'ctx')!r})\n"
        "    ctx.rename(ctx.with_name('old'))\n"
        f"    ctx.symlink_to({str(outside)!r})\n"
    )
    run = build(project, "")
    assert f"its context cannot be read: is a symbolic link: {project.folder}/ctx" in run.text, (
        f"DID NOT FAIL\n{run.text}"
    )
    (project.path / "conftest.py").unlink()
    (project.folder / "ctx").unlink()
    project.write("ctx/x", "")
    (project.folder / "ctx/out").symlink_to(outside / "secret")
    run = build(project, "COPY out /found\n")
    assert FAILS in run.text
    assert "host secret" not in run.text


def test_a_context_is_large(project: EndToEnd) -> None:
    """It is refused before it is sent."""
    with project.write("ctx/hole", "").open("wb") as file:
        file.truncate(64 << 20)
    run = build(project, "", "-o", "clnrm_max_context=32m")
    assert "its context is larger than 32 MB" in run.text, f"DID NOT FAIL\n{run.text}"


def test_labels_of_an_image(project: EndToEnd) -> None:
    """A container that others start of an image with labels of ours is neither removed nor counted."""
    (project.path / "ledger").mkdir(mode=0o700)
    ledger = open_folder(Path(project.path, "ledger"), {}).ledger_id
    ours = {"ledger": ledger, "owner": "dead", "session": "s", "worker": "w", "scenario": "x"}
    labels = {f"pytest-clnrm.{name}": value for name, value in ours.items()}
    # As an image's labels would be on it, too: the engine does not tell them apart.
    theirs = project.client.create_container(project.image, ["sleep", "1000"], labels=labels)["Id"]
    try:
        project.write("a.clnrm.toml", '[[step]]\nrun = "true"\n')
        run = project.run("--clnrm-max-containers", "1")
        left = [each["Id"] for each in project.client.containers(all=True)]
        assert theirs in left, f"DID NOT FAIL\n{run.text}"
        assert run.outcomes() == {"a": "passed"}
    finally:
        if theirs in [each["Id"] for each in project.client.containers(all=True)]:
            project.client.remove_container(theirs, force=True)
