"""What engines and the client library say, in plain words."""

from __future__ import annotations

import docker.credentials.errors
import docker.errors
import pytest
import requests.exceptions
import urllib3.exceptions

from pytest_clnrm.engine.plain_errors import container_reason, image_reason, plain_errors
from pytest_clnrm.errors import (
    ContainerError,
    EngineError,
    EngineFullError,
    EngineUnavailableError,
    ImageError,
    PullError,
)

CREATE = "failed to create shim task: OCI runtime create failed: runc create failed: "
PROCESS = f"{CREATE}unable to start container process: "


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            f'{PROCESS}exec: "nosuch": executable file not found in $PATH: unknown',
            "command not found: nosuch",
        ),
        (f'{PROCESS}exec: "/x": stat /x: no such file or directory: unknown', "command not found: /x"),
        (
            "crun: executable file `nosuch` not found in $PATH: No such file or directory: OCI runtime",
            "command not found: nosuch",
        ),
        ("[FATAL tini (7)] exec nosuch failed: No such file or directory", "command not found: nosuch"),
        (
            'finding catatonit binary: exec: "catatonit": executable file not found in $PATH',
            "the engine's own init program is missing: install catatonit on its host",
        ),
        ("ERROR (catatonit:2): failed to exec x: No such file or directory", "command not found: x"),
        (f'{PROCESS}exec: "/etc": permission denied: unknown', "permission denied: /etc is no program"),
        ("[FATAL tini (7)] exec /etc failed: Permission denied", "permission denied: /etc is no program"),
        ("failed to exec /x: Permission denied", "permission denied: /x is no program"),
        (
            "driver failed programming: Bind for 127.0.0.1:80 failed: port is already allocated",
            "port taken: 127.0.0.1:80 is used by another container",
        ),
        ("listen tcp 127.0.0.1:80: bind: address already in use", "port taken: 127.0.0.1:80 is in use"),
        ("No such image: nosuch:1", "no such image on the engine: nosuch:1"),
        ("no such image: docker.io/x:1: image not known", "no such image on the engine: docker.io/x:1"),
        ("Minimum memory limit allowed is 6MB", "the memory limit is too low: the engine's minimum is 6MB"),
        (
            "runc: unable to set memory limit to 1048576 (current usage: 2285568)",
            "the memory limit is too low: nothing can be started with 1048576 bytes",
        ),
        (
            "Range of CPUs is from 0.01 to 2.00, as there are only 2 CPUs available",
            "the CPU limit is out of range: the engine allows 0.01 to 2.00",
        ),
        (
            'could not select device driver "" with capabilities: [[gpu]]',
            "the engine cannot pass GPUs to containers: it has no driver for them",
        ),
        (
            "runc did not terminate successfully: exit status 1: unable to get all container pids: lstat",
            "a rootless Docker knows a container's processes only with cgroup v2",
        ),
        (
            "OCI runtime pause failed: cannot toggle freezer: cgroups not configured for container",
            "a rootless engine pauses containers only with cgroup v2",
        ),
        ("unable to find user me: no matching entries in passwd file", "the image has no user 'me'"),
        ("unable to find group us: no matching entries in group file", "the image has no group 'us'"),
        ("network nonet not found", "no such network: nonet"),
        ("unable to find network with name or ID nonet: network not found", "no such network: nonet"),
        (
            f'{PROCESS}chdir to cwd ("/no") set in config.json failed: no such file or directory: unknown',
            "no such folder in the container: /no",
        ),
        ("write /x: no space left on device", "the engine's disk is full"),
        (f"{PROCESS}something\nelse: unknown", "something else"),
    ],
)
def test_why_a_container_does_not_start(text: str, words: str) -> None:
    """The reasons that users can do something about are named; of others the wrapping is taken off."""
    assert container_reason(text) == words


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("toomanyrequests: You have reached your pull rate limit.", "rate limit is reached (429)"),
        ("received unexpected HTTP status: 429 Too Many Requests", "rate limit is reached (429)"),
        (
            "pull access denied for x, repository does not exist or may require 'docker login': denied",
            "there is no such image, or it is private",
        ),
        ("unauthorized: authentication required", "the registry refuses access"),
        ("no basic auth credentials", "the registry refuses access"),
        ("error parsing HTTP 403 response body", "the registry refuses access"),
        ("manifest for x:9 not found: manifest unknown: manifest unknown", "no such image or tag"),
        ("reading manifest 9 in quay.io/x: name unknown: repository not found", "no such image or tag"),
        ("invalid reference format: repository name must be lowercase", "no valid name of an image"),
        ("no matching manifest for linux/amd64 in the manifest list entries", "none for the platform"),
        ("write /x: no space left on device", "disk is full"),
        ('Get "https://r/v2/": dial tcp: lookup r on 10.0.0.1:53: no such host', "cannot reach the registry"),
        ('Get "https://r/v2/": dial tcp 10.0.0.1:443: i/o timeout', "cannot reach the registry"),
        ('Get "https://r/v2/": net/http: TLS handshake timeout', "cannot reach the registry"),
        (
            'Get "https://r/v2/": net/http: request canceled while waiting for connection',
            "cannot reach the registry",
        ),
    ],
)
def test_why_an_image_cannot_be_had(text: str, words: str) -> None:
    """What to do comes first, the engine's own words stand behind it."""
    assert words in image_reason(text)
    assert image_reason(text).endswith(f"[{text}]")


def test_a_reason_that_is_not_known_is_the_engines_own() -> None:
    """Nothing is made up."""
    assert image_reason("strange\nthing") == "strange thing"


@pytest.mark.parametrize(
    ("error", "raising", "kind", "words"),
    [
        (
            docker.errors.APIError("500", explanation="No such image: x"),
            ContainerError,
            ContainerError,
            "cannot do it: no such image on the engine: x",
        ),
        (
            docker.errors.NotFound("404", explanation="toomanyrequests"),
            ImageError,
            ImageError,
            "cannot do it: the registry's rate limit is reached",
        ),
        (docker.errors.APIError("plain"), EngineError, EngineError, "cannot do it: plain"),
        (docker.errors.DockerException("odd"), EngineError, EngineError, "cannot do it: odd"),
        (docker.credentials.errors.StoreError("no"), ImageError, ImageError, "cannot do it: no"),
        (
            requests.exceptions.ReadTimeout("slow"),
            ContainerError,
            EngineUnavailableError,
            "the container engine did not answer in time (to do it)",
        ),
        (
            requests.exceptions.ConnectionError("refused"),
            ContainerError,
            EngineUnavailableError,
            "the container engine does not answer any more (to do it): refused",
        ),
        (
            urllib3.exceptions.ProtocolError("broken"),
            ImageError,
            EngineUnavailableError,
            "the container engine does not answer any more (to do it): broken",
        ),
        (
            BrokenPipeError("pipe"),
            ImageError,
            EngineUnavailableError,
            "the container engine does not answer any more (to do it): pipe",
        ),
    ],
)
def test_errors_of_the_client_library_become_ours(
    error: Exception, raising: type[EngineError], kind: type[EngineError], words: str
) -> None:
    """A refusal is of the kind asked for; an engine that is gone is always said as such."""
    with pytest.raises(kind) as caught, plain_errors("do it", raising):
        raise error
    assert type(caught.value) is kind
    assert str(caught.value).startswith(words)
    assert caught.value.__cause__ is error


@pytest.mark.parametrize(
    ("text", "raising", "kind"),
    [
        ("no space left on device", ContainerError, EngineFullError),
        ("unauthorized: log in", PullError, PullError),
        ("dial tcp: lookup registry: no such host", PullError, PullError),
        ("manifest unknown", PullError, ImageError),
        ("no matching manifest for linux/s390x", PullError, ImageError),
        ("pull access denied for x, repository does not exist or may require login", PullError, ImageError),
    ],
)
def test_whose_fault_it_is(text: str, raising: type[EngineError], kind: type[EngineError]) -> None:
    """That of the machine or of a registry is told from that of a file."""
    error = docker.errors.APIError("500", explanation=text)
    with pytest.raises(EngineError) as caught, plain_errors("do it", raising):
        raise error
    assert type(caught.value) is kind
    assert kind.is_infrastructure == (kind in {EngineFullError, PullError})


@pytest.mark.parametrize("error", [KeyboardInterrupt(), ContainerError("ours"), ValueError("a bug")])
def test_other_errors_pass(error: BaseException) -> None:
    """Interrupts, errors of ours and bugs stay what they are."""
    with pytest.raises(type(error)) as caught, plain_errors("do it"):
        raise error
    assert caught.value is error
