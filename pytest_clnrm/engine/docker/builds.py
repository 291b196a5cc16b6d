"""Building an image from a folder, under limits.

The engine's own builder is asked, as it holds to a limit of memory and CPUs; BuildKit, whose command is used
only where the project's configuration says so, limits neither.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
import shutil
import signal
import subprocess
import tarfile
import tempfile
import threading
import time
from collections import deque
from contextlib import closing, suppress
from functools import lru_cache
from typing import IO, TYPE_CHECKING, Any

import docker.errors
from docker.types.daemon import CancellableStream

from pytest_clnrm.engine.docker.build_context import DOCKERFILE, write_context
from pytest_clnrm.engine.docker.dockerfiles import MAX_BYTES, problem_of_dockerfile
from pytest_clnrm.engine.docker.fetching import REMEDY, fetched_by_engine
from pytest_clnrm.engine.plain_errors import CREDENTIAL_PROBLEMS, plain_errors
from pytest_clnrm.errors import ImageError

if TYPE_CHECKING:
    from docker import APIClient

    from pytest_clnrm.engine.api import BuildSpec, EngineFacts

# What is shown of a build that failed.
_END_LINES = 30
_CPU_PERIOD_US = 100_000
_RUNNING_IN = re.compile(r" ---> Running in ([0-9a-f]{12})\n?")
_NEEDS_BUILDKIT = re.compile(r"BuildKit|unknown flag: ", re.IGNORECASE)


def tag_of(spec: BuildSpec) -> str:
    """Return the name that the image gets: the same for the same request, so a new build replaces it."""
    about = [spec.context, spec.dockerfile, spec.target, sorted(spec.args.items()), spec.network]
    if spec.platform is not None:
        about.append(spec.platform)
    return f"clnrm-build/{hashlib.sha256(json.dumps(about).encode()).hexdigest()[:16]}:latest"


# By the engine's own builder.


def build_by_api(client: APIClient, spec: BuildSpec, tag: str, *, watched: bool) -> None:
    """Build with the engine's own builder.

    :param watched: True where the containers of its commands are seen on the engine, and can be limited.
    :raises ImageError: with the end of the build's output.
    """
    deadline_s = time.monotonic() + spec.timeout_s
    with (
        _archive(spec, deadline_s) as archive,
        plain_errors(f"build the image of {spec.context}", ImageError),
    ):
        # Once the engine has told of a step, it goes on with it although nobody listens any more.
        if problem := problem_of_dockerfile(_dockerfile(spec, archive), spec.args):
            raise ImageError(f"cannot build the image of {spec.context}: {problem}")
        _Build(client, spec, tag, watched=watched).run(archive, deadline_s)


class _Build:
    """One build by the engine's own builder."""

    def __init__(self, client: APIClient, spec: BuildSpec, tag: str, *, watched: bool) -> None:
        self._client = client
        self._spec = spec
        self._tag = tag
        # In the list of hosts of each of its containers, by which they are known: nothing that the build
        # prints, or that an image says, can make another one look like them.
        self._own_host = f"clnrm-build-{secrets.token_hex(8)}:127.0.0.1" if watched else ""
        self._lines: deque[str] = deque(maxlen=_END_LINES)

    def run(self, archive: IO[bytes], deadline_s: float) -> None:
        """Build; at the deadline, and if anything goes wrong, the engine is told to stop.

        :raises ImageError: if it fails.
        """
        over = threading.Event()
        try:
            with closing(self._begin(archive)) as response:

                def stop() -> None:
                    over.set()
                    # The engine ends a build, with its containers, when nobody listens any more. Over SSH
                    # nothing interrupts who listens: the answer's own timeout does.
                    with suppress(docker.errors.DockerException):
                        CancellableStream(iter(()), response).close()

                timer = threading.Timer(max(deadline_s - time.monotonic(), 0), stop)
                timer.daemon = True
                timer.start()
                try:
                    for line in response.iter_lines():
                        self._event(json.loads(line))
                finally:
                    timer.cancel()
        except ImageError:
            raise
        except Exception as error:
            if over.is_set() or time.monotonic() >= deadline_s:
                raise _too_long(self._spec, self._lines) from error
            raise

    def _begin(self, archive: IO[bytes]) -> Any:
        client, spec = self._client, self._spec
        parameters: dict[str, Any] = {
            "t": self._tag,
            "dockerfile": spec.dockerfile or DOCKERFILE,
            "rm": True,
            "forcerm": True,
            "networkmode": spec.network,
            "buildargs": json.dumps(self._arguments()),
            "labels": json.dumps(dict(spec.labels)),
            **_limits(spec),
        }
        if spec.target is not None:
            parameters["target"] = spec.target
        if spec.platform is not None:
            parameters["platform"] = spec.platform
        if self._own_host:
            parameters["extrahosts"] = self._own_host
        # docker-py's own call knows no limit of CPUs.
        response = client.post(
            f"{client.base_url}/v{client.api_version}/build",
            data=archive,
            params=parameters,
            headers={"Content-Type": "application/x-tar", **_credentials(client)},
            stream=True,
            timeout=(client.timeout, spec.timeout_s),
        )
        try:
            client._raise_for_status(response)  # type: ignore[attr-defined]  # noqa: SLF001
        except BaseException:
            response.close()
            raise
        return response

    def _arguments(self) -> dict[str, str]:
        """Return the build arguments, with the user's proxies for commands that can reach one."""
        reachable = self._spec.network != "none"
        proxies = self._client._proxy_configs.get_environment() if reachable else {}  # type: ignore[attr-defined]  # noqa: SLF001
        return {**proxies, **self._spec.args}

    def _event(self, event: dict[str, Any]) -> None:
        text = str(event.get("stream") or event.get("error") or "")
        self._lines.extend(text.removesuffix("\n").split("\n") if text else ())
        if "error" in event:
            raise _failure(self._spec, self._lines)
        if fetched := fetched_by_engine(text):
            raise ImageError(f"cannot build the image of {self._spec.context}: {fetched} {REMEDY}")
        running = _RUNNING_IN.fullmatch(text)
        if running and self._own_host:
            limit_processes(self._client, running[1], self._spec.pids, self._own_host)


def _limits(spec: BuildSpec) -> dict[str, int]:
    """Return the parameters of a build by which the engine limits each of its commands."""
    return {
        "memory": spec.memory_bytes,
        # The sum of memory and swap: equal means no swap.
        "memswap": spec.memory_bytes,
        "cpuperiod": _CPU_PERIOD_US,
        "cpuquota": max(round(spec.cpus * _CPU_PERIOD_US), 1000),
    }


def limit_processes(client: APIClient, container: str, pids: int, own_host: str) -> None:
    """Limit the processes of a container of a build, which the build itself cannot.

    The engine tells of a container after it has been created, and before it is started.

    :param own_host: what the container has in its list of hosts if it is of the build.
    """
    with suppress(docker.errors.NotFound):  # then it has ended
        hosts = client.inspect_container(container)["HostConfig"].get("ExtraHosts") or ()
        if own_host not in hosts:
            # It was a command of the build that printed the engine's line.
            return
        url = f"{client.base_url}/v{client.api_version}/containers/{container}/update"
        answer = client.post(url, json={"PidsLimit": pids}, timeout=client.timeout)
        if answer.status_code >= 400 and client.inspect_container(container)["State"]["Running"]:  # noqa: PLR2004
            client._raise_for_status(answer)  # type: ignore[attr-defined]  # noqa: SLF001


def _credentials(client: APIClient) -> dict[str, str]:
    headers: dict[str, str] = {}
    try:
        client._set_auth_headers(headers)  # type: ignore[attr-defined]  # noqa: SLF001
    except CREDENTIAL_PROBLEMS:
        # docker-py asks each credential helper there is; one that is broken must not stop the build of an
        # image that needs no credentials.
        return {}
    return headers


# By Docker's command.


@lru_cache(maxsize=1)
def command_with_buildkit() -> str:
    """Return the path of a ``docker`` command that has BuildKit, "" if there is none."""
    command = shutil.which("docker")
    if not command:
        return ""
    asked = subprocess.run([command, "buildx", "version"], capture_output=True, check=False)
    return command if asked.returncode == 0 else ""


def build_by_command(spec: BuildSpec, tag: str, facts: EngineFacts) -> None:
    """Build with Docker's own command, whose BuildKit the API of the client library lacks.

    Network and time are limited; memory, CPUs and processes are not.

    :raises ImageError: with the end of the build's output.
    """
    command = command_with_buildkit() if facts.kind == "docker" and not facts.remote else ""
    if not command:
        raise ImageError(
            f"cannot build the image of {spec.context}: clnrm_builder = buildkit needs Docker on this host, "
            "and the command docker with its plugin buildx; clnrm_builder = engine needs neither"
        )
    argv = [command, "build", "--progress=plain", "--load", "--tag", tag]
    argv += ["--network", "none" if spec.network == "none" else "default"]
    argv += ["--file", spec.dockerfile or DOCKERFILE]
    if spec.target is not None:
        argv += ["--target", spec.target]
    if spec.platform is not None:
        argv += ["--platform", spec.platform]
    for name, value in spec.args.items():
        argv += ["--build-arg", f"{name}={value}"]
    for name, value in spec.labels.items():
        argv += ["--label", f"{name}={value}"]
    env = {name: value for name, value in os.environ.items() if name != "DOCKER_CONTEXT"}
    env |= {"DOCKER_HOST": facts.url, "DOCKER_BUILDKIT": "1"}
    deadline_s = time.monotonic() + spec.timeout_s
    with tempfile.TemporaryFile() as output, _archive(spec, deadline_s) as archive:
        code = _run([*argv, "-"], env, archive, output, deadline_s)
        if code == 0:
            return
        output.seek(0)
        lines = deque((line.decode("utf-8", "replace").rstrip() for line in output), _END_LINES)
    raise _too_long(spec, lines) if code is None else _failure(spec, lines)


def _run(
    argv: list[str], env: dict[str, str], stdin: IO[bytes], output: IO[bytes], deadline_s: float
) -> int | None:
    """Return the exit code of a command, None if it was ended at the deadline."""
    process = subprocess.Popen(
        argv, stdin=stdin, stdout=output, stderr=subprocess.STDOUT, env=env, start_new_session=True
    )
    try:
        return process.wait(max(deadline_s - time.monotonic(), 0))
    except subprocess.TimeoutExpired:
        return None
    finally:
        # The command has its plugin do the work.
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


# Both.


def _archive(spec: BuildSpec, deadline_s: float) -> IO[bytes]:
    return write_context(
        spec.context, dockerfile=spec.dockerfile, max_bytes=spec.max_context_bytes, deadline_s=deadline_s
    )


def _dockerfile(spec: BuildSpec, archive: IO[bytes]) -> bytes:
    """Return the content of the Dockerfile that the engine will find in an archive, which is rewound.

    :raises ImageError: if it is none, or a link: what it is then is told by the engine alone.
    """
    name = os.path.normpath(spec.dockerfile or DOCKERFILE)
    with tarfile.open(fileobj=archive, mode="r:") as sent:
        file = next((each for each in sent if each.name == name and each.isreg()), None)
        content = None if file is None else sent.extractfile(file)
        found = None if content is None else content.read(MAX_BYTES + 1)
    archive.seek(0)
    if found is None:
        raise ImageError(
            f"cannot build the image of {spec.context}: {name} is a link, or lies behind one: name the file "
            "itself (dockerfile)"
        )
    return found


def _failure(spec: BuildSpec, lines: deque[str]) -> ImageError:
    text = f"cannot build the image of {spec.context}; the end of its output:\n{_indented(lines)}"
    if any(map(_NEEDS_BUILDKIT.search, lines)):
        text += (
            "\nIt may need BuildKit: clnrm_builder = buildkit builds with it, without limits of memory, CPUs "
            "and processes."
        )
    return ImageError(text)


def _too_long(spec: BuildSpec, lines: deque[str]) -> ImageError:
    return ImageError(
        f"cannot build the image of {spec.context}: it took longer than {spec.timeout_s:g} s and was "
        f"stopped; the end of its output:\n{_indented(lines)}"
    )


def _indented(lines: deque[str]) -> str:
    return "\n".join(f"    {line}" for line in lines if line.strip())
