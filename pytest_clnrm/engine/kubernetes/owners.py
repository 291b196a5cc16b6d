"""The objects that what a process has on a cluster belongs to: its own, and that of the whole run."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING

from pytest_clnrm.engine.kubernetes.run_object import RunObject
from pytest_clnrm.engine.kubernetes.shared_run import SharedRun
from pytest_clnrm.engine.kubernetes.starts import START_S, wait_started
from pytest_clnrm.errors import EngineError

if TYPE_CHECKING:
    from pytest_clnrm.engine.api import PullPolicy
    from pytest_clnrm.engine.kubernetes.rest import Rest


class Owners:
    """Those of one process, each begun when something is to belong to it.

    :param pulls: the images that were asked for so far: of the first one are the pods of these objects.
    :ivar own: that of this process, None as long as nothing belongs to it.
    """

    def __init__(
        self,
        rest: Rest,
        pulls: Mapping[str, PullPolicy],
        *,
        architecture: str,
        pull_secrets: tuple[str, ...],
    ) -> None:
        self._rest = rest
        self._pulls = pulls
        self._architecture = architecture
        self._pull_secrets = pull_secrets
        self._shared: SharedRun | None = None
        self._guard = threading.RLock()
        self.own: RunObject | None = None

    def keep_run(self, name: str, labels: Mapping[str, str]) -> None:
        """See :meth:`pytest_clnrm.engine.run_api.RunKeeping.keep_run`."""
        with self._guard:
            if self._shared is None:
                self._shared = SharedRun(self._rest, name, labels)

    def of(self, name: str, labels: Mapping[str, str]) -> RunObject:
        """Return to what a thing with these labels belongs: to the whole run, or to this process.

        :param name: of the thing; if it is the first one, that of what it belongs to begins with it.
        """
        with self._guard:
            run = self._shared
            if run is None or not run.has(labels):
                return self.of_process(name, labels)
            return run.object(lambda name, key: self._begun(name, run.labels, shared_as=key))

    def of_process(self, name: str, labels: Mapping[str, str]) -> RunObject:
        """Return what belongs to this process alone belongs to; see :meth:`of`."""
        with self._guard:
            if self.own is None or self.own.lost:
                if self.own is not None:
                    self.own.close()
                self.own = self._begun(f"{name}-run", labels)
            return self.own

    def close(self) -> None:
        """End what belongs to this process alone; the rest stays as long as others of the run live."""
        own, self.own = self.own, None
        if own is not None:
            with suppress(EngineError):
                own.close()
        if self._shared is not None:
            self._shared.close()

    def _begun(self, name: str, labels: Mapping[str, str], shared_as: str = "") -> RunObject:
        image = next(iter(self._pulls), "")
        if not image:
            raise EngineError("cannot begin the run on the cluster: no image is known so far")
        return RunObject(
            self._rest,
            name,
            labels,
            image=image,
            pull=self._pulls[image],
            pull_secrets=self._pull_secrets,
            architecture=self._architecture,
            wait=lambda pod: wait_started(self._rest, pod, time.monotonic() + START_S),
            shared_as=shared_as,
        )
