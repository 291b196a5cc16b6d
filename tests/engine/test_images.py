"""Pulling and building on a real engine, from a small registry of the tests' own."""

from __future__ import annotations

import gc
import json
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import docker
import pytest
from clnrm_testing.builds import build_of
from clnrm_testing.capabilities import Needs
from clnrm_testing.registry import Registry, serve_registry

from pytest_clnrm.engine.docker.engine import DockerEngine
from pytest_clnrm.errors import ImageError

if TYPE_CHECKING:
    from docker import APIClient

pytestmark = pytest.mark.engine


@pytest.fixture
def registry(client: APIClient, needs: Needs) -> Iterator[Registry]:
    """Return a registry that the engine can reach; images pulled from it are removed."""
    needs("a registry without TLS")
    with serve_registry(os.urandom(8)) as registry:
        yield registry
        for image in client.images():
            for tag in image["RepoTags"] or ():
                if tag.startswith(registry.address):
                    client.remove_image(tag)


def manifests(registry: Registry) -> int:
    """Return how often an image was asked for, apart from looking whether it changed."""
    return sum(each.startswith("GET ") and "/manifests/" in each for each in registry.asked)


def test_a_missing_image_is_pulled_once_and_told_of(engine: DockerEngine, registry: Registry) -> None:
    """Its facts are the registry's; progress is short texts."""
    texts: list[str] = []
    reference = f"{registry.address}/tiny:1"
    assert reference not in engine.image_names()
    image = engine.ensure_image(reference, "missing", texts.append)
    assert reference in engine.image_names()
    assert (image.reference, image.command, image.entrypoint) == (reference, ("/entry", "-x"), ("/entry",))
    assert (image.healthcheck_s > 0, image.volumes) == (True, ("/data",))
    assert image.id.startswith("sha256:")
    assert texts[0] == f"pulling {reference}"
    assert texts[-1] == f"pulling {reference}: 1 of 1 layers"
    assert engine.ensure_image(reference, "missing") == image
    assert engine.ensure_image(reference, "never") == image
    assert engine.ensure_image(image.id, "always").id == image.id
    assert manifests(registry) == 1


def test_always_asks_the_registry_once_a_process(
    engine: DockerEngine, registry: Registry, client: APIClient
) -> None:
    """An image that is there is brought up to date, not for each scenario again."""
    reference = f"{registry.address}/tiny:1"
    client.pull(reference)
    asked = len(registry.asked)
    engine.ensure_image(reference, "always")
    assert len(registry.asked) > asked
    asked = len(registry.asked)
    engine.ensure_image(reference, "always")
    assert len(registry.asked) == asked


def test_engines_that_ask_at_the_same_time_pull_once(
    reached: Any, engine: DockerEngine, registry: Registry, locks: Any
) -> None:
    """The lock is taken, then they look again."""
    reference = f"{registry.address}/tiny:2"
    engines = [engine, *(DockerEngine(*reached, locks=locks) for _ in range(3))]
    threads = [threading.Thread(target=each.ensure_image, args=(reference, "missing")) for each in engines]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert manifests(registry) == 1
    assert len(set(locks.taken)) == 1


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("limited", "the registry's rate limit is reached \\(429\\): log in with `docker login`"),
        ("private", "the registry refuses access: log in with `docker login`"),
        ("forbidden", "the registry refuses access: log in with `docker login`"),
        ("unknown", "there is no such image or tag in the registry: check its name"),
    ],
)
def test_a_refusal_is_said_in_plain_words(
    engine: DockerEngine, registry: Registry, name: str, words: str
) -> None:
    """The reason first, then the engine's own words."""
    reference = f"{registry.address}/{name}:1"
    with pytest.raises(ImageError, match=rf"^cannot pull the image '{reference}': {words}.* \[.+\]$"):
        engine.ensure_image(reference, "missing")


def test_a_registry_that_cannot_be_reached(engine: DockerEngine) -> None:
    """Told from one that refuses."""
    with pytest.raises(
        ImageError, match=r"the engine cannot reach the registry: is it offline\? \[.*refused"
    ):
        engine.ensure_image("127.0.0.1:1/tiny:1", "missing")


def test_a_name_that_is_none(engine: DockerEngine) -> None:
    """The engine need not ask anybody."""
    with pytest.raises(ImageError, match=r"this is no valid name of an image \["):
        engine.ensure_image("Not/A:Name:", "missing")


def test_never_means_never(engine: DockerEngine, registry: Registry) -> None:
    """The message names the option."""
    reference = f"{registry.address}/tiny:3"
    words = (
        rf"^cannot use the image '{reference}': the engine does not have it, and --clnrm-pull never forbids"
    )
    with pytest.raises(ImageError, match=words):
        engine.ensure_image(reference, "never")
    assert registry.asked == []


@pytest.fixture
def broken_helper(
    reached: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, locks: Any
) -> Iterator[DockerEngine]:
    """Return an engine whose client is told to ask a credential helper that fails."""
    if not reached[1].url.startswith("unix:"):
        pytest.skip("builds a client of its own, for a socket only")
    helper = tmp_path / "docker-credential-broken"
    helper.write_text("#!/bin/sh\necho no keyring here >&2; exit 1\n")
    helper.chmod(0o755)
    (tmp_path / "config.json").write_text(json.dumps({"credsStore": "broken"}))
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    client = docker.APIClient(reached[1].url, version="auto")
    yield DockerEngine(client, reached[1], locks=locks)
    client.close()


def test_a_broken_credential_helper_does_not_block_a_public_pull(
    broken_helper: DockerEngine, registry: Registry
) -> None:
    """It is pulled without credentials."""
    reference = f"{registry.address}/tiny:4"
    assert broken_helper.ensure_image(reference, "missing").reference == reference


Folder = Callable[..., str]


@pytest.fixture
def folder(tmp_path: Path, client: APIClient, monkeypatch: pytest.MonkeyPatch) -> Iterator[Folder]:
    """Return a function that writes a context with a ``Dockerfile``; what was built from it is removed.

    Only that: others may build at the same time.
    """
    build, built = DockerEngine.build_image, set[str]()

    def noted(*args: Any, **options: Any) -> Any:
        image = build(*args, **options)
        built.add(image.reference)
        return image

    monkeypatch.setattr(DockerEngine, "build_image", noted)

    def folder(dockerfile: str, **files: str) -> str:
        context = tmp_path / "context"
        context.mkdir(exist_ok=True)
        (context / "Dockerfile").write_text(dockerfile)
        for name, content in files.items():
            (context / name.replace("_dot_", ".")).write_text(content)
        return str(context)

    yield folder
    for reference in built:
        client.remove_image(reference, force=True)
    # A stage that is not the last one stays behind without a name.
    for image in client.images(filters={"dangling": True, "label": f"clnrm-test={tmp_path}"}):
        # It may have gone with the one before.
        with suppress(docker.errors.NotFound):
            client.remove_image(image["Id"], force=True)


def test_an_image_is_built_from_a_folder(
    engine: DockerEngine, folder: Folder, start: Callable[..., Any], tmp_path: Path
) -> None:
    """Arguments, target, the Dockerfile's name, .dockerignore; built twice is one image."""
    context = folder(
        'FROM scratch\nCMD ["wrong"]\n',
        own=f"FROM clnrm-busybox:1 AS first\nLABEL clnrm-test={tmp_path}\nARG WORD=no\nCOPY . /here\n"
        "RUN echo $WORD > /word\n"
        'ENTRYPOINT ["cat"]\nCMD ["/word"]\nFROM first\nCMD ["later"]\n',
        left_out="x",
        _dot_dockerignore="left_out\n",
    )
    options: dict[str, Any] = {"dockerfile": "own", "target": "first", "args": {"WORD": "yes"}}
    image = engine.build_image(build_of(context, **options))
    assert image.command == ("cat", "/word")
    assert image.reference.startswith("clnrm-build/")
    assert engine.build_image(build_of(context, **options)) == image
    box = start(image=image.id)
    assert box.shell("cat /word; ls /here").stdout == b"yes\nDockerfile\nown\n"
    engine.remove([box.id])


def test_builds_of_the_same_folder_wait_for_each_other(
    engine: DockerEngine, folder: Folder, locks: Any
) -> None:
    """One lock for one request; a different request has another."""
    context = folder("FROM scratch\nADD Dockerfile /\n")
    found: list[str] = []
    threads = [
        threading.Thread(target=lambda: found.append(engine.build_image(build_of(context)).id))
        for _ in range(3)
    ]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert len(set(found)) == 1
    engine.build_image(build_of(context, args={"A": "b"}))
    assert len(set(locks.taken)) == 2


def test_a_failed_build_shows_the_end_of_its_output(engine: DockerEngine, folder: Folder) -> None:
    """The command that failed and what it said."""
    context = folder("FROM clnrm-busybox:1\nRUN echo because of this; exit 7\n")
    with pytest.raises(
        ImageError, match=r"(?s)^cannot build the image of .*/context; the end.*because of this.*7"
    ):
        engine.build_image(build_of(context))


def test_a_dockerfile_that_is_no_dockerfile(engine: DockerEngine, folder: Folder) -> None:
    """The engine's own words."""
    words = "unknown instruction: NONSENSE|no FROM statement found|requires a FROM instruction"
    with pytest.raises(ImageError, match=rf"(?s)^cannot build the image of .*({words})"):
        engine.build_image(build_of(folder("NONSENSE\n")))


# docker-py leaves the file of a context that it could not send to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_broken_credential_helper_does_not_block_a_build(
    broken_helper: DockerEngine, folder: Folder
) -> None:
    """An image from nothing needs no credentials."""
    context = folder("FROM scratch\nADD Dockerfile /\n")
    assert broken_helper.build_image(build_of(context)).id
    gc.collect()
