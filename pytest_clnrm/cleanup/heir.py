"""A worker starts a watchdog when its controller has died: the run's own one may have died with it.

The worker waits for that in the kernel. Where the run's watchdog lives, the new one finds the record locked
and ends at once.
"""

from __future__ import annotations

import os
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

from pytest_clnrm.cleanup import run_records, watchdog
from pytest_clnrm.util.processes import is_alive, parent_process, wait_for_end

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_clnrm.cleanup.run_records import RunRecord


class Heir:
    """Waits for the end of this process's parent, which is the controller, until it is closed.

    :param record: the file in which the run is written down.
    :ivar controller: of the run.
    """

    def __init__(self, record: Path) -> None:
        self._record = record
        self.controller = parent_process()
        self._bell = os.pipe()
        self._started = False
        # No daemon thread: a worker that ends because its controller has ended must wait for it.
        self._thread = threading.Thread(target=self._wait, name="clnrm-heir")
        self._thread.start()

    def watch(self, record: RunRecord) -> None:
        """Write the run down and start its watchdog, where the controller has not: it knows of no containers.

        So it is where a test asks for a fixture of ours only while it runs.

        :raises OSError: if it cannot be written, or started.
        """
        if self._record.exists():
            return
        run_records.write(self._record.parent, record)
        # Popen warns of a process that was not waited for, unless it has a return code.
        watchdog.start(self._record).returncode = 0

    def close(self) -> None:
        """Wait no longer."""
        os.write(self._bell[1], b"!")
        self._thread.join()
        for end in self._bell:
            os.close(end)
        # This process may be ending because its controller has, before the thread noticed that.
        if not is_alive(self.controller):
            self._start()

    def _wait(self) -> None:
        if wait_for_end(self.controller, None, self._bell[0]):
            self._start()

    def _start(self) -> None:
        if not self._started and self._record.exists():
            self._started = True
            with suppress(OSError):
                watchdog.start(self._record)
