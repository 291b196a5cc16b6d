"""What this process is at: noted by the parts that do the work, for those who watch.

Nothing is written until somebody opens a file for it.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pytest_clnrm.status.status_file import Phase, QueueStatus, StatusFile, WorkerStatus


class _Noted:
    """The fields of a status, written into its file at each change while that is open.

    :param name: of the file.
    """

    def __init__(self, name: str, status: WorkerStatus | QueueStatus, now: Callable[[], float]) -> None:
        self._name = name
        self._now = now
        self._lock = threading.RLock()
        self._file: StatusFile | None = None
        self._pid = os.getpid()
        # Plain data, as a new frozen value for each change would take longer than writing it.
        self._data = asdict(status)

    def open(self, folder: Path) -> None:
        """Write the status into the run's *folder* from now on."""
        with self._lock:
            if self._file is None:
                self._file = StatusFile(folder, self._name)
                self._file.write(self._data)

    def close(self) -> None:
        """Remove the file; in a forked child it stays, as it is its parent's."""
        with self._lock:
            if self._file is not None and os.getpid() == self._pid:
                self._file.close()
            self._file = None

    def _put(self, **changed: Any) -> None:
        with self._lock:
            self._data.update(changed)
            if self._file is not None and os.getpid() == self._pid:
                self._file.write(self._data)


class Board(_Noted):
    """The status of this process. Calls may come from several threads.

    :param worker: "gw0" and so on, "master" without xdist.
    :param now: the clock.
    """

    def __init__(self, worker: str, now: Callable[[], float] = time.monotonic) -> None:
        super().__init__(worker, WorkerStatus(worker=worker, pid=os.getpid(), since_s=now()), now)
        self._unready: list[str] = []
        self._hide: Callable[[str], str] = str

    @property
    def status(self) -> WorkerStatus:
        """Return what this process is at."""
        with self._lock:
            return WorkerStatus(**self._data)

    def begin(self, item: str, phase: Phase) -> None:
        """Note that *item* (a node id) begins here."""
        now_s = self._now()
        self._put(item=item, item_since_s=now_s, phase=phase, detail="", since_s=now_s)

    def end(self) -> None:
        """Note that the item has ended."""
        self._unready.clear()
        self._hide = str
        ended = self._data["ended"] + 1
        self._put(item="", item_since_s=0.0, phase="idle", detail="", since_s=self._now(), ended=ended)

    def hide(self, redact: Callable[[str], str]) -> None:
        """Hide secrets in all that is noted of the item until its end."""
        self._hide = redact

    def at(self, phase: Phase, detail: str = "") -> None:
        """Note what the item is at; the phase's time goes on while only the detail changes."""
        with self._lock:
            same = phase == self._data["phase"] and phase != "step"
            since_s = self._data["since_s"] if same else self._now()
            self._put(phase=phase, detail=self._hide(detail), since_s=since_s)

    @contextmanager
    def during(self, phase: Phase, detail: str = "") -> Iterator[None]:
        """Note a phase for the time of a block, and then what was before."""
        before = self.status
        self.at(phase, detail)
        try:
            yield
        finally:
            self._put(phase=before.phase, detail=before.detail, since_s=before.since_s)

    @contextmanager
    def starting(self, service: str) -> Iterator[None]:
        """Note that *service* is not ready yet for the time of a block; several may start side by side."""
        with self._lock:
            self._unready.append(service)
            self.at("service", ", ".join(self._unready))
        try:
            yield
        finally:
            with self._lock:
                # The end of an item forgets all of them.
                if service in self._unready:
                    self._unready.remove(service)
                    self.at("service" if self._unready else "test", ", ".join(self._unready))

    def count(self, containers: int, memory_bytes: int) -> None:
        """Note that so many containers came, or went if negative."""
        with self._lock:
            self._put(
                containers=max(0, self._data["containers"] + containers),
                memory_bytes=max(0, self._data["memory_bytes"] + memory_bytes),
            )


class QueueBoard(_Noted):
    """How many items of this run wait; nothing is written until a file is opened for it."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        super().__init__("queue", QueueStatus(pid=os.getpid()), now)

    def tell(self, waiting: Mapping[str, int], head: str = "") -> None:
        """Note what waits.

        :param waiting: label of a priority -> how many items have not been started; highest priority first.
        :param head: node id of the item that waits for its slot before all others.
        """
        if waiting == self._data["waiting"] and head == self._data["head"]:
            return
        since_s = self._data["head_since_s"]
        if head != self._data["head"]:
            since_s = self._now() if head else 0.0
        self._put(waiting=dict(waiting), head=head, head_since_s=since_s)
