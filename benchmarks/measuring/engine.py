"""The engine that a benchmark uses, found as the tests find theirs, and the image that all share."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from measuring.pytest_runs import ROOT

if TYPE_CHECKING:
    from docker import APIClient

__all__ = ["IMAGE", "KEEP_ALIVE", "Lives", "Place", "find_engine", "watch_lives"]

IMAGE = "clnrm-busybox:1"
KEEP_ALIVE = ("sleep", "2147483647")

_PATIENCE_S = 60.0


@dataclass(frozen=True, slots=True)
class Place:
    """An engine that answers.

    :param url: as DOCKER_HOST takes it.
    :param words: what it is.
    """

    url: str
    words: str

    def client(self, timeout_s: int = 120) -> APIClient:
        """Return a client of its own connections."""
        from docker import APIClient

        return APIClient(base_url=self.url, version="auto", timeout=timeout_s)


def find_engine() -> Place | None:
    """Return the engine that DOCKER_HOST names, else one that answers, with the image; None without one."""
    from pytest_clnrm.engine.connect.connect import reach
    from pytest_clnrm.errors import EngineUnavailableError

    sys.path.append(str(ROOT / "examples"))
    from with_engine import make_image

    try:
        client, facts = reach("auto", environ=os.environ, runtime_dir=Path("/nonexistent"))
    except EngineUnavailableError as error:
        print(f"{error.summary}; start one, or run this under examples/with_engine.py", file=sys.stderr)
        return None
    with client:
        client.timeout = 120
        make_image(client, IMAGE)
    return Place(facts.url, f"{facts.kind} {facts.version} at {facts.url}")


@dataclass
class Lives:
    """When containers were created and removed, by the engine's own clock.

    :ivar created_s: seconds since 1970, as *removed_s*.
    """

    created_s: list[float] = field(default_factory=list)
    removed_s: list[float] = field(default_factory=list)
    _more: threading.Condition = field(default_factory=threading.Condition)

    @property
    def span_s(self) -> float:
        """Return the time from the first creation to the last removal."""
        return max(self.removed_s) - min(self.created_s)

    def note(self, action: str, at_s: float) -> None:
        """Take an event of the engine."""
        with self._more:
            (self.created_s if action == "create" else self.removed_s).append(at_s)
            self._more.notify_all()

    def wait_until_gone(self) -> None:
        """Wait until each container that was created has been removed.

        :raises TimeoutError: if one stays.
        """
        with self._more:
            if not self._more.wait_for(
                lambda: 0 < len(self.created_s) == len(self.removed_s), timeout=_PATIENCE_S
            ):
                raise TimeoutError(
                    f"{len(self.created_s)} containers were created, {len(self.removed_s)} removed"
                )


@contextmanager
def watch_lives(place: Place) -> Iterator[Lives]:
    """Yield what happens to the engine's containers; all are gone at the end.

    The engine's events cost the contenders nothing, and are the same clock and the same question for all of
    them. Nobody else may use the engine meanwhile.
    """
    lives = Lives()
    with place.client() as client:
        # Docker says "destroy", Podman "remove".
        wanted = {"type": "container", "event": ["create", "destroy", "remove"]}
        stream = client.events(decode=True, filters=wanted)

        def follow() -> None:
            for event in stream:
                lives.note(event.get("Action") or event["status"], event["timeNano"] / 1e9)

        thread = threading.Thread(target=follow, name="engine events", daemon=True)
        thread.start()
        try:
            yield lives
            lives.wait_until_gone()
        finally:
            stream.close()
            thread.join(_PATIENCE_S)
