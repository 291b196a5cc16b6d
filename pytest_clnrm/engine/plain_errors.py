"""What the client library and the engine report, as our errors in plain words."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import docker.credentials.errors
import docker.errors
import requests.exceptions
import urllib3.exceptions

from pytest_clnrm.errors import (
    ContainerError,
    EngineError,
    EngineFullError,
    EngineUnavailableError,
    ImageError,
    PullError,
)

# What docker-py raises where a credential helper is missing (a warning, which may be an error) or fails.
CREDENTIAL_PROBLEMS = (docker.errors.DockerException, docker.credentials.errors.StoreError, UserWarning)

# An engine that does not answer shows as one of these, whatever the transport.
_GONE = (requests.exceptions.RequestException, urllib3.exceptions.HTTPError, OSError)

MAX_CHARS = 8192

# Runtimes wrap the reason in the chain of those who passed it on.
_CHAIN = re.compile(
    r"failed to create (?:shim )?task(?: for container)?: |OCI runtime (?:create|exec|start) failed: |"
    r"OCI runtime error: |(?:runc|crun|exec)(?: create)? failed: |"
    r"unable to start container process: |error during container init: |: unknown(?=$|:)"
)

_FULL = r"no space left on device"

_CONTAINER_REASONS: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern, re.IGNORECASE), words)
    for pattern, words in (
        (
            r'exec: "(catatonit|docker-init)": executable file not found',
            "the engine's own init program is missing: install {0} on its host",
        ),
        (
            r'exec: "([^"]*)": (?:executable file not found|stat [^:]+: no such file)',
            "command not found: {0}",
        ),
        (r"executable file [`'\"]?([^`'\"]+?)[`'\"]? not found in \$PATH", "command not found: {0}"),
        (r"\[FATAL tini \(\d+\)\] exec (.+?) failed: No such file", "command not found: {0}"),
        (r"failed to exec (\S+): No such file", "command not found: {0}"),
        (r'exec: "([^"]*)": .*(?:permission denied|is a directory)', "permission denied: {0} is no program"),
        (
            r"\[FATAL tini \(\d+\)\] exec (.+?) failed: Permission denied",
            "permission denied: {0} is no program",
        ),
        (r"failed to exec (\S+): Permission denied", "permission denied: {0} is no program"),
        (r"Bind for (\S+) failed: port is already allocated", "port taken: {0} is used by another container"),
        (r"listen (?:tcp|udp)\d? (\S+?): bind: address already in use", "port taken: {0} is in use"),
        (r"No such image: (\S+?):?(?:\s|$)", "no such image on the engine: {0}"),
        (
            r"Minimum memory limit (?:allowed|can be set) is (\w+)",
            "the memory limit is too low: the engine's minimum is {0}",
        ),
        (
            r"unable to set memory limit to (\d+)",
            "the memory limit is too low: nothing can be started with {0} bytes",
        ),
        (
            r"Range of CPUs is from ([\d.]+) to ([\d.]+)",
            "the CPU limit is out of range: the engine allows {0} to {1}",
        ),
        (
            r"could not select device driver .*capabilities: .*gpu",
            "the engine cannot pass GPUs to containers: it has no driver for them",
        ),
        (r"unable to find user ([^:]+):", "the image has no user {0!r}"),
        (r"unable to find group ([^:]+):", "the image has no group {0!r}"),
        (r"network (\S+) not found|unable to find network with name or ID (\S+):", "no such network: {0}"),
        (r"chdir to cwd \(\"([^\"]*)\"\).*no such file", "no such folder in the container: {0}"),
        (_FULL, "the engine's disk is full"),
        (
            r"unable to get all container pids",
            "a rootless Docker knows a container's processes only with cgroup v2",
        ),
        (
            r"cannot toggle freezer: cgroups not configured",
            "a rootless engine pauses containers only with cgroup v2",
        ),
    )
)

_IMAGE_REASONS: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern, re.IGNORECASE), words)
    for pattern, words in (
        (
            r"toomanyrequests|too many requests|\b429\b|rate limit",
            "the registry's rate limit is reached (429): log in with `docker login`, or wait",
        ),
        (
            r"repository does not exist or may require",
            "there is no such image, or it is private: check its name, or log in with `docker login`",
        ),
        (
            r"unauthorized|no basic auth credentials|authentication required|denied|forbidden|\b40[13]\b",
            "the registry refuses access: log in with `docker login`",
        ),
        (
            r"manifest unknown|name unknown|repository name not known|\b404\b|: not found",
            "there is no such image or tag in the registry: check its name",
        ),
        (
            r"invalid reference format|invalid repository name|invalid tag",
            "this is no valid name of an image",
        ),
        (r"no matching manifest", "there is none for the platform of the engine"),
        (_FULL, "the engine's disk is full"),
        (
            r"dial tcp|lookup |timeout|no such host|connection refused|canceled|proxyconnect|deadline",
            "the engine cannot reach the registry: is it offline?",
        ),
    )
)

# What the name of an image, or the platform that a file asks for, is to blame for.
_WRONG_IMAGE = re.compile(
    r"repository does not exist|manifest unknown|name unknown|repository name not known|\b404\b|: not found|"
    r"invalid reference format|invalid repository name|invalid tag|no matching manifest|no such image",
    re.IGNORECASE,
)


def engine_text(error: Exception) -> str:
    """Return the engine's own words in *error*, on one line."""
    explanation = error.explanation if isinstance(error, docker.errors.APIError) else None
    return " ".join(str(explanation or error).split())


def container_reason(text: str) -> str:
    """Return why a container or its command did not start, in plain words.

    :param text: what the engine, its runtime or the container's init process said.
    """
    if len(text) > MAX_CHARS:
        # It may hold a whole command of a file, on which these patterns would take long.
        text = f"{text[: MAX_CHARS // 2]} ... {text[-MAX_CHARS // 2 :]}"
    for pattern, words in _CONTAINER_REASONS:
        if match := pattern.search(text):
            return words.format(*(group for group in match.groups() if group is not None))
    return _CHAIN.sub("", " ".join(text.split())).strip()


def image_reason(text: str) -> str:
    """Return why an image cannot be had, in plain words, with the engine's own behind them."""
    text = " ".join(text.split())
    for pattern, words in _IMAGE_REASONS:
        if pattern.search(text):
            return f"{words} [{text}]"
    return text


def pull_error(message: str, text: str) -> ImageError:
    """Return the error that an image cannot be pulled.

    :param text: what the engine says; it decides whether the image's name is wrong, or the way to it.
    """
    return (ImageError if _WRONG_IMAGE.search(text) else PullError)(message)


def container_error(message: str, text: str, raising: type[ContainerError]) -> ContainerError:
    """Return the error of a container: that the engine's disk is full is none of the container's own."""
    return (EngineFullError if re.search(_FULL, text, re.IGNORECASE) else raising)(message)


@contextmanager
def plain_errors(doing: str, raising: type[EngineError] = EngineError) -> Iterator[None]:
    """Turn what the client library raises inside into errors of ours.

    :param doing: what was tried, for the message: "create the container 'db'".
    :param raising: the error for a refusal; an engine that does not answer is always
        :class:`EngineUnavailableError`.
    """
    try:
        yield
    except docker.errors.APIError as error:
        text = engine_text(error)
        if issubclass(raising, ContainerError):
            raise container_error(f"cannot {doing}: {container_reason(text)}", text, raising) from error
        if issubclass(raising, PullError):
            raise pull_error(f"cannot {doing}: {image_reason(text)}", text) from error
        if issubclass(raising, ImageError):
            text = image_reason(text)
        raise raising(f"cannot {doing}: {text}") from error
    except CREDENTIAL_PROBLEMS as error:
        raise raising(f"cannot {doing}: {engine_text(error)}") from error
    except (requests.exceptions.Timeout, TimeoutError) as error:
        raise EngineUnavailableError(f"the container engine did not answer in time (to {doing})") from error
    except _GONE as error:
        raise EngineUnavailableError(
            f"the container engine does not answer any more (to {doing}): {engine_text(error)}"
        ) from error
