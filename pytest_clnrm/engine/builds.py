"""Building an image from a folder."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import tempfile
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import docker.errors

from pytest_clnrm.engine.problems import CREDENTIAL_PROBLEMS, plain_errors
from pytest_clnrm.errors import ImageError

if TYPE_CHECKING:
    from docker import APIClient

__all__ = ["BuildRequest", "build_by_api", "build_by_command", "command_with_buildkit"]

# What is shown of a build that failed.
_END_LINES = 30


class BuildRequest:
    """What is to be built.

    :param context: absolute path of a folder.
    :param dockerfile: below the context; None for its ``Dockerfile``.
    :param target: the stage to be built; None for the last.
    :param args: build arguments.
    :param labels: put on the image; others make another image.
    """

    def __init__(
        self,
        context: str,
        *,
        dockerfile: str | None,
        target: str | None,
        args: Mapping[str, str],
        labels: Mapping[str, str] | None = None,
    ) -> None:
        self.context = context
        self.dockerfile = dockerfile
        self.target = target
        self.args = dict(args)
        self.labels = dict(labels or {})

    @property
    def tag(self) -> str:
        """Return the name that the image gets: the same for the same request, so a new build replaces it."""
        text = json.dumps([self.context, self.dockerfile, self.target, sorted(self.args.items())])
        return f"clnrm-build/{hashlib.sha256(text.encode()).hexdigest()[:16]}:latest"

    def check(self) -> None:
        """Refuse what cannot be built.

        :raises ImageError: if the folder or its Dockerfile is not there.
        """
        file = Path(self.context, self.dockerfile or "Dockerfile")
        if not Path(self.context).is_dir():
            raise ImageError(f"cannot build an image: there is no folder {self.context}")
        if not file.is_file():
            raise ImageError(f"cannot build the image of {self.context}: there is no file {file}")


@lru_cache(maxsize=1)
def command_with_buildkit() -> str:
    """Return the path of a ``docker`` command that has BuildKit, "" if there is none."""
    command = shutil.which("docker")
    if not command:
        return ""
    asked = subprocess.run([command, "buildx", "version"], capture_output=True, check=False)
    return command if asked.returncode == 0 else ""


def build_by_command(request: BuildRequest, *, command: str, url: str) -> None:
    """Build with Docker's own command, whose BuildKit the API of the client library lacks.

    :param url: the engine's address.
    :raises ImageError: with the end of the build's output.
    """
    argv = [command, "build", "--progress=plain", "--load", "--tag", request.tag]
    if request.dockerfile is not None:
        argv += ["--file", str(Path(request.context, request.dockerfile))]
    if request.target is not None:
        argv += ["--target", request.target]
    for name, value in request.args.items():
        argv += ["--build-arg", f"{name}={value}"]
    for name, value in request.labels.items():
        argv += ["--label", f"{name}={value}"]
    env = {name: value for name, value in os.environ.items() if name != "DOCKER_CONTEXT"}
    with tempfile.TemporaryFile() as output:
        done = subprocess.run(
            [*argv, request.context],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**env, "DOCKER_HOST": url, "DOCKER_BUILDKIT": "1"},
            check=False,
        )
        if done.returncode == 0:
            return
        output.seek(0)
        lines = deque((line.decode("utf-8", "replace").rstrip() for line in output), _END_LINES)
    raise _failure(request, lines)


def build_by_api(client: APIClient, request: BuildRequest) -> None:
    """Build with the engine's own builder.

    :raises ImageError: with the end of the build's output.
    """
    with plain_errors(f"build the image of {request.context}", ImageError):
        try:
            _follow(client, request)
        except docker.errors.APIError:
            raise
        except CREDENTIAL_PROBLEMS:
            # docker-py asks each credential helper there is before a build; one that is broken must not stop
            # the build of an image that needs no credentials.
            with _no_credentials(client):
                _follow(client, request)


@contextmanager
def _no_credentials(client: APIClient) -> Iterator[None]:
    with tempfile.NamedTemporaryFile("w", prefix="clnrm-", suffix=".json") as settings:
        # Not empty: then docker-py would read the user's settings again.
        settings.write('{"auths": {"registry.invalid": {}}}')
        settings.flush()
        client.reload_config(settings.name)
    try:
        yield
    finally:
        client.reload_config()


def _follow(client: APIClient, request: BuildRequest) -> None:
    lines: deque[str] = deque(maxlen=_END_LINES)
    for event in client.build(
        path=request.context,
        dockerfile=request.dockerfile,
        tag=request.tag,
        buildargs=request.args,
        target=request.target,
        labels=request.labels,
        rm=True,
        forcerm=True,
        decode=True,
    ):
        lines.extend(str(event.get("stream") or event.get("error") or "").splitlines())
        if "error" in event:
            raise _failure(request, lines)


def _failure(request: BuildRequest, lines: Sequence[str] | deque[str]) -> ImageError:
    end = "\n".join(f"    {line}" for line in lines if line.strip())
    return ImageError(f"cannot build the image of {request.context}; the end of its output:\n{end}")
