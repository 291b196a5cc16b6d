"""Pulling the images of later scenarios while earlier ones run."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from pytest_clnrm.errors import ClnrmError
from pytest_clnrm.reservation.item_demand import is_scenario

if TYPE_CHECKING:
    from pytest_clnrm.runtime.runtime import Runtime

_CLAIM = "pulls-images"
_END_S = 1.0


class _RunEndedError(Exception):
    """The run has ended: nothing needs the image any more."""


class ComingImages:
    """Pulls in one process of a run what its scenarios will need, one image after another in their order.

    It begins once the first scenario has its own images, so that it takes nothing from that. Where a scenario
    gets to an image that is being pulled it waits for that pull, as it would for another process's. What
    cannot be pulled is not told here: the scenario that needs it tries again, and fails with the reason.
    """

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._thread: threading.Thread | None = None
        self._begun = False
        self._ended = threading.Event()

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_call(self, item: pytest.Item) -> None:
        """Begin, where no other process of the run has."""
        if self._begun or not is_scenario(item):
            return
        self._begun = True
        if self._runtime.settings.pull != "never" and self._claims():
            self._thread = threading.Thread(
                target=self._pull, args=(item, item.session.items), name="clnrm-images", daemon=True
            )
            self._thread.start()

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self) -> None:
        """Break off what is being pulled."""
        self._ended.set()
        if self._thread is not None:
            self._thread.join(_END_S)

    def _claims(self) -> bool:
        """Tell whether this process is the one that pulls."""
        with suppress(OSError):
            if self._runtime.run_folder is not None:
                (self._runtime.run_folder() / _CLAIM).touch(exist_ok=False)
                return True
        return False

    def _pull(self, first: pytest.Item, items: Sequence[pytest.Item]) -> None:
        # Also if the engine is closed meanwhile: whoever needs an image is told why it cannot be had.
        with suppress(Exception):
            engine, policy = self._runtime.engine(), self._runtime.settings.pull
            had = frozenset(self._wanted([first]))
            wanted = [each for each in dict.fromkeys(self._wanted(items)) if each not in had]
            there = engine.image_names() if wanted and policy == "missing" else frozenset()
            for name, platform in wanted:
                # Podman writes the registry too: there the image is looked for.
                if platform is None and _with_tag(name) in there:
                    continue
                self._go_on("")
                with suppress(ClnrmError):
                    engine.ensure_image(name, policy, self._go_on, platform)

    def _go_on(self, _progress: str) -> None:
        """Break off once the run has ended."""
        if self._ended.is_set():
            raise _RunEndedError

    def _wanted(self, items: Sequence[pytest.Item]) -> Iterator[tuple[str, str | None]]:
        """Yield names and platforms of the images of all scenarios, in their order."""
        from pytest_clnrm.model.scenario import service_of
        from pytest_clnrm.runner.launch import image_name

        for item in items:
            if not is_scenario(item) or item.is_skipped:  # type: ignore[attr-defined]
                continue
            scenario = item.scenario  # type: ignore[attr-defined]
            for service in (*scenario.services, *(service_of(run) for run in scenario.image_runs)):
                name = image_name(self._runtime.settings, service)
                # An id is of no registry.
                if service.build is None and not name.startswith("sha256:"):
                    yield name, service.platform


def _with_tag(name: str) -> str:
    return name if "@" in name or ":" in name.rpartition("/")[2] else f"{name}:latest"
