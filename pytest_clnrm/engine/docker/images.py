"""Images: what they are, pulling them once for all processes."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

import docker.errors

from pytest_clnrm.engine.api import ImageFacts, PullPolicy
from pytest_clnrm.engine.plain_errors import CREDENTIAL_PROBLEMS, image_reason, plain_errors, pull_error
from pytest_clnrm.errors import ImageError, PullError
from pytest_clnrm.model.seen import ImageSeen

if TYPE_CHECKING:
    from docker import APIClient

    from pytest_clnrm.engine.api import OnProgress

_HEALTHCHECK_NS = 30_000_000_000
_HEALTHCHECK_RETRIES = 3
_MB = 1_000_000
_DONE = frozenset({"Pull complete", "Already exists"})
_WORDS = frozenset(
    {
        "Pulling fs layer",
        "Waiting",
        "Downloading",
        "Verifying Checksum",
        "Download complete",
        "Extracting",
        *_DONE,
    }
)

Locks = Callable[[str], AbstractContextManager[None]]


def lock_name(kind: str, subject: str) -> str:
    """Return the name of a lock: letters, digits and hyphens."""
    return f"{kind}-{hashlib.sha256(subject.encode()).hexdigest()[:16]}"


def read_image(reference: str, facts: dict[str, Any]) -> ImageFacts:
    """Return the image that the engine's answer to an inspection describes."""
    config = facts.get("Config") or {}
    entrypoint = tuple(config.get("Entrypoint") or ())
    return ImageFacts(
        id=str(facts["Id"]),
        reference=reference,
        command=entrypoint + tuple(config.get("Cmd") or ()),
        entrypoint=entrypoint,
        healthcheck_s=_healthcheck_s(config.get("Healthcheck") or {}),
        volumes=tuple(sorted(config.get("Volumes") or ())),
        exposes=bool(config.get("ExposedPorts")),
        architecture=str(facts.get("Architecture") or ""),
        platform="/".join(str(facts[key]) for key in ("Os", "Architecture", "Variant") if facts.get(key)),
    )


def look_at_image(client: APIClient, image: str) -> ImageSeen:
    """Return what an image says of itself.

    :param image: id or reference.
    :raises ImageError: if the engine does not have it.
    """
    with plain_errors(f"look at the image {image!r}", ImageError):
        facts = client.inspect_image(image)  # type: ignore[no-untyped-call]
    config = facts.get("Config") or {}
    return ImageSeen(
        entrypoint=tuple(config.get("Entrypoint") or ()),
        cmd=tuple(config.get("Cmd") or ()),
        env=dict(each.partition("=")[::2] for each in config.get("Env") or ()),
        labels=dict(config.get("Labels") or {}),
        workdir=str(config.get("WorkingDir") or ""),
        user=str(config.get("User") or ""),
        exposed=tuple(sorted(config.get("ExposedPorts") or ())),
        volumes=tuple(sorted(config.get("Volumes") or ())),
        size_bytes=int(facts.get("Size") or 0),
        layers=len((facts.get("RootFS") or {}).get("Layers") or ()),
    )


def _healthcheck_s(check: dict[str, Any]) -> float:
    """Return how long a health check may take to call a container unhealthy, 0 if there is none.

    Its times are nanoseconds; where one is not said, the engine's default holds
    (https://docs.docker.com/reference/dockerfile/#healthcheck).
    """
    if not check.get("Test") or check["Test"] == ["NONE"]:
        return 0.0
    one_ns = sum(check.get(name) or _HEALTHCHECK_NS for name in ("Interval", "Timeout"))
    retries = check.get("Retries") or _HEALTHCHECK_RETRIES
    return float((check.get("StartPeriod") or 0) + one_ns * retries) / 1e9


class PullProgress:
    """How far a pull is, as a short text: adds up the engine's messages about single layers.

    :param reference: the image's name.
    """

    def __init__(self, reference: str) -> None:
        self._reference = reference
        self._done: dict[str, bool] = {}
        self._bytes: dict[str, tuple[int, int]] = {}
        self.text = f"pulling {reference}"

    def feed(self, event: Mapping[str, Any]) -> bool:
        """Take one message; return True if :attr:`text` has changed."""
        layer, status = str(event.get("id", "")), str(event.get("status", ""))
        if not layer or status not in _WORDS:
            return False
        self._done[layer] = self._done.get(layer, False) or status in _DONE
        detail = event.get("progressDetail") or {}
        if status == "Downloading" and detail.get("total"):
            self._bytes[layer] = (int(detail.get("current") or 0), int(detail["total"]))
        elif status not in {"Pulling fs layer", "Waiting"} and layer in self._bytes:
            total = self._bytes[layer][1]
            self._bytes[layer] = (total, total)
        before, self.text = self.text, self._render()
        return self.text != before

    def _render(self) -> str:
        text = f"pulling {self._reference}: {sum(self._done.values())} of {len(self._done)} layers"
        total = sum(each for _, each in self._bytes.values())
        if total >= _MB:
            text += f", {sum(each for each, _ in self._bytes.values()) // _MB} of {total // _MB} MB"
        return text


class Images:
    """The images of one engine.

    :param locks: gives a lock by name, held by one process of this machine at a time.
    """

    def __init__(self, client: APIClient, locks: Locks) -> None:
        self._client = client
        self._locks = locks
        self._pulled: set[tuple[str, str | None]] = set()
        self._guard = threading.Lock()

    def look(self, reference: str) -> ImageFacts | None:
        """Return the image if the engine has it."""
        with plain_errors(f"look for the image {reference!r}", ImageError):
            try:
                return read_image(reference, self._client.inspect_image(reference))  # type: ignore[no-untyped-call]
            except docker.errors.NotFound:
                return None

    def names(self) -> frozenset[str]:
        """Return the names, with tag or digest, of all images that the engine has, as it writes them."""
        with plain_errors("list the images", ImageError):
            images = self._client.images()
        return frozenset(
            str(name)
            for each in images
            for key in ("RepoTags", "RepoDigests")
            for name in each.get(key) or ()
        )

    def ensure(
        self,
        reference: str,
        pull: PullPolicy,
        progress: OnProgress | None,
        platform: str | None = None,
    ) -> ImageFacts:
        """Return the image, pulled first if *pull* says so: "always" pulls once a process.

        One of another platform is not the one that is meant.
        """
        # An id is of no registry.
        policy = "missing" if reference.startswith("sha256:") and pull == "always" else pull
        if not self._is_due(reference, policy, platform) and (facts := self._look(reference, platform)):
            return facts
        named = f"{reference!r} for {platform}" if platform else repr(reference)
        if policy == "never":
            raise ImageError(
                f"cannot use the image {named}: the engine does not have it, and --clnrm-pull never "
                "forbids to pull it"
            )
        # A name means one image: who pulls it for another platform waits until it has been looked at.
        with self._locks(lock_name("pull", reference)):
            if not self._is_due(reference, policy, platform) and (facts := self._look(reference, platform)):
                return facts
            self._pull(reference, progress, platform)
            with self._guard:
                self._pulled.add((reference, platform))
            if facts := self._look(reference, platform):
                return facts
            other = self.look(reference)
        if other is not None:
            raise ImageError(f"cannot use the image {named}: what was pulled is for {other.platform}")
        raise ImageError(f"cannot use the image {named}: it is not on the engine although it was pulled")

    def _look(self, reference: str, platform: str | None) -> ImageFacts | None:
        """Return the image if the engine has it for a platform; without one, for any."""
        facts = self.look(reference)
        if facts is None or platform is None:
            return facts
        # Where the file names no variant any will do, as a registry gives its usual one.
        return facts if f"{facts.platform}/".startswith(f"{platform}/") else None

    def _is_due(self, reference: str, pull: PullPolicy, platform: str | None) -> bool:
        with self._guard:
            return pull == "always" and (reference, platform) not in self._pulled

    def _pull(self, reference: str, progress: OnProgress | None, platform: str | None) -> None:
        state = PullProgress(reference)
        if progress is not None:
            progress(state.text)
        with plain_errors(f"pull the image {reference!r}", PullError):
            for event in self._pull_events(reference, platform):
                if "error" in event:
                    why = (event.get("errorDetail") or {}).get("message") or event["error"]
                    reason = image_reason(str(why))
                    raise pull_error(f"cannot pull the image {reference!r}: {reason}", str(why))
                if state.feed(event) and progress is not None:
                    progress(state.text)

    def _pull_events(self, reference: str, platform: str | None) -> Any:
        # Without a tag docker-py asks for "latest", as Docker's own command does.
        try:
            return self._client.pull(reference, stream=True, decode=True, platform=platform)
        except docker.errors.APIError:
            raise
        except CREDENTIAL_PROBLEMS:
            # A credential helper that is missing or broken: a public image needs no credentials, and for a
            # private one the registry's refusal says what to do.
            return self._client.pull(reference, stream=True, decode=True, auth_config={}, platform=platform)
