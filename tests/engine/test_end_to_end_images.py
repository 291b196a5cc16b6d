"""Images, volumes and remote engines, from scenario files on a real engine."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from clnrm_testing.capabilities import Needs
from clnrm_testing.end_to_end import EndToEnd
from clnrm_testing.registry import Registry, serve_registry
from clnrm_testing.relay import relaying

pytestmark = pytest.mark.engine

STEP = '[[step]]\nname = "step"\nrun = {run}\n'


def test_an_image_is_built_from_its_folder(project: EndToEnd) -> None:
    """A folder with a Dockerfile is built, with its arguments; a broken build shows its end."""
    project.write_build(
        "good",
        'ARG WHO\nADD busybox /bin/sh\nADD busybox /bin/sleep\nENV WHO=$WHO\nCMD ["sh"]\n',
        file="Dockerfile.box",
    )
    project.write(
        "good.clnrm.toml",
        """
        [service.box]
        build = { context = "./good", dockerfile = "Dockerfile.box", args = { WHO = "me" } }
        [[step]]
        name = "who"
        run = "echo built for $WHO"
        expect = { stdout = { equals = "built for me" } }
        """,
    )
    project.write_build("broken", 'ADD busybox /bin/sh\nRUN ["sh", "-c", "echo no licence found; exit 9"]\n')
    project.write("broken.clnrm.toml", '[service.box]\nbuild = "./broken"\n' + STEP.format(run='"true"'))
    run = project.run()
    assert run.outcomes() == {"good": "passed", "broken": "error"}, run.text
    assert "no licence found" in run.text
    assert "Traceback" not in run.text
    assert project.leftovers(run) == []


def test_an_image_without_a_shell(project: EndToEnd) -> None:
    """A list of arguments runs without a shell; a text says it needs one; a hanging step ends with all."""
    project.write_build("bare", 'ADD busybox /busybox-1\nCMD ["/busybox-1", "sleep", "1000"]\n')
    service = '[service.box]\nbuild = "./bare"\n'
    project.write("argv.clnrm.toml", service + STEP.format(run='["/busybox-1", "echo", "no shell"]'))
    text = STEP.format(run='"echo text"') + "expect = { exit = { ne = 0 } }\n"
    project.write("text.clnrm.toml", service + text)
    hanging = STEP.format(run='["/busybox-1", "sleep", "999"]')
    following = STEP.format(run='["/busybox-1", "true"]').replace('"step"', '"next"')
    project.write(
        "hang.clnrm.toml",
        f'{service}{hanging}timeout = "500ms"\ncontinue_on_failure = true\n{following}',
    )
    run = project.run()
    assert run.outcomes() == {"argv": "passed", "text": "failed", "hang": "failed"}, run.text
    needs_one = "the image has no shell (sh); give `run` as a list of a program and its arguments"
    assert run.failures("text") == [f"step 'step' could not be started: {needs_one}"]
    assert run.failures("hang")[0] == "step 'step' timed out after 0.5 s"
    assert project.leftovers(run) == []


@pytest.fixture
def registry(project: EndToEnd, needs: Needs) -> Iterator[Registry]:
    """Return a registry of this test; what was pulled from it is removed."""
    needs("a registry without TLS")
    with serve_registry(os.urandom(8)) as registry:
        yield registry
        for image in project.client.images():
            for tag in image["RepoTags"] or ():
                if tag.startswith(registry.address):
                    project.client.remove_image(tag)


def test_images_are_pulled_once_or_say_why_not(project: EndToEnd, registry: Registry) -> None:
    """All workers together pull an image once; one that cannot be had is an error in one line of setup."""
    # The image cannot run anything: a scenario that gets to its start has its image.
    for number in range(4):
        project.write(
            f"same{number}.clnrm.toml",
            f'[service.box]\nimage = "{registry.address}/tiny:1"\n' + STEP.format(run='"true"'),
        )
    for name in ("limited", "unknown"):
        project.write(
            f"{name}.clnrm.toml",
            f'[service.box]\nimage = "{registry.address}/{name}:1"\n' + STEP.format(run='"true"'),
        )
    run = project.run("-rE", mode=("-n", "4"), mapped=False)
    pulled = [each for each in registry.asked if each.startswith("GET ") and "/tiny/manifests/" in each]
    assert len(pulled) == 1, registry.asked
    outcomes = run.outcomes()
    assert [outcomes[name] for name in ("limited", "unknown")] == ["error", "error"], run.text
    assert [outcomes[f"same{number}"] for number in range(4)] == ["failed"] * 4
    assert "the registry's rate limit is reached (429)" in run.failures("limited")[0]
    assert "there is no such image or tag in the registry: check its name" in run.failures("unknown")[0]
    assert "Traceback" not in run.text
    never = project.run("--clnrm-pull", "never", "-k", "unknown", mapped=False)
    (message,) = never.failures("unknown")
    assert f"cannot use the image '{registry.address}/unknown:1': the engine does not have it" in message
    assert f"ERROR {project.token}/unknown.clnrm.toml::unknown - {message[:20]}" in never.text


def test_volumes_show_folders_of_the_project_and_nothing_else(project: EndToEnd, tmp_path: Path) -> None:
    """A folder is shared, read-only where asked; what is outside, leads there or is a socket is refused."""
    outside = tmp_path.parent / f"{tmp_path.name}-outside"
    outside.mkdir()
    (outside / "note").write_text("from outside")
    project.write("data/in", "from the host")
    (project.folder / "link").symlink_to(outside)

    def volume(name: str, source: str, check: str = "true", more: str = "") -> None:
        project.write(
            f"{name}.clnrm.toml",
            f'[service.box]\nimage = "x"\nvolumes = [{{ source = "{source}", target = "/data"{more} }}]\n'
            + STEP.format(run=f"'''{check}'''"),
        )

    project.write("other/in", "from the host")
    writable = f"clnrm_allow_writable={project.token}/data"
    volume(
        "shared",
        "./data",
        "test \"$(cat /data/in)\" = 'from the host' && echo back > /data/out",
        ", read_only = false",
    )
    volume("readonly", "./other", "cat /data/in && ! touch /data/other")
    volume("linked", "./link")
    volume("absolute", "/etc")
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(str(project.folder / "a.sock"))
    volume("socket", "./a.sock")
    volume("above", "/var/run")
    run = project.run("--continue-on-collection-errors", "-o", writable)
    listening.close()
    assert run.outcomes() == {"shared": "passed", "readonly": "passed"}, run.text
    assert (project.folder / "data" / "out").read_text() == "back\n"
    assert not (project.folder / "other" / "other").exists()
    assert f"lies outside of the project (it leads to {outside}); allowed are paths below" in run.text
    assert "lies outside of the project; allowed are paths below" in run.text
    assert "a socket cannot be given to a container" in run.text
    assert "docker.sock lies below it" in run.text
    for name in ("absolute", "socket", "above"):
        (project.folder / f"{name}.clnrm.toml").unlink()
    volume("linked", "./link", "grep 'from outside' /data/note", ", read_only = true")
    allowed = project.run("-o", f"clnrm_allow_mounts={outside}", "-o", writable, "-k", "linked")
    assert allowed.outcomes() == {"linked": "passed"}, allowed.text


@pytest.fixture
def far(socket_path: str) -> Iterator[str]:
    """Return the URL of the engine as if it ran on another host."""
    with relaying(socket_path, "127.0.0.2") as start:
        yield f"tcp://127.0.0.2:{start(None)}"


def test_a_remote_engine(project: EndToEnd, far: str) -> None:
    """Over TCP services are asked on the engine's host, and files that it has too are mounted."""
    project.environment["DOCKER_HOST"] = far
    project.write("data/in", "from the host")
    project.write(
        "mount.clnrm.toml",
        '[service.box]\nimage = "x"\nvolumes = [{ source = "./data", target = "/data" }]\n'
        + STEP.format(run='"grep from /data/in"'),
    )
    project.write(
        "asked.clnrm.toml",
        """
        [service.web]
        image = "x"
        command = ["sh", "-c", "mkdir /srv; echo published > /srv/index.html; exec httpd -f -p 80 -h /srv"]
        ports = [80]
        ready = { http = "/" }
        [service.probed]
        image = "x"
        command = ["sh", "-c", "sleep 0.3; exec httpd -f -p 81"]
        ready = { port = 81 }
        [[step]]
        name = "step"
        service = "web"
        run = "cat"
        stdin = "over the wire"
        expect = { stdout = { equals = "over the wire" } }
        """,
    )
    run = project.run()
    assert run.outcomes() == {"mount": "passed", "asked": "passed"}, run.text
    assert project.leftovers(run) == []
