"""How a scenario waits for the room of its containers, where others want the same room: on a cluster.

A cluster gives room to one container after the other. So two scenarios could have a part of theirs each, and
wait for one another. Within a run that cannot last: the scenarios that lack room stand in a line, by priority
and place. The first one waits; the others give up what they have, and are begun anew when they are first.
Between runs nobody knows of the other: one that has a part, and gets no more for some time, gives it up, and
is begun anew after a pause of another length each time.

Containers of Python tests wait as scenarios of one container do. What a test or a fixture has already it
cannot give up: who holds something comes first, as others may wait for just that, and waits no longer than a
scenario may take, as two of them may wait for one another.

Shared services that nobody uses at the moment make room for who is first, and has waited for some time. Who
gives up its containers uses none.

None of that is the scenario's time.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from pytest_clnrm.errors import NoRoomError, SlotTimeoutError
from pytest_clnrm.runner.sharing.lending import end_unused
from pytest_clnrm.util.waiting_line import WaitingLine

if TYPE_CHECKING:
    from types import TracebackType

    from pytest_clnrm.model.priority import Priority
    from pytest_clnrm.runtime.runtime import Runtime

PART_S = 5.0
"""How long a part is held on to while the rest has no room: about as long as small scenarios take."""
_MAX_PART_S = 60.0
_POLL_S = 0.1
LONGEST_S = 3600.0
"""How long room is waited for where ``--clnrm-slot-timeout`` does not say: a pod may be too large for it."""
_FOLDER = "room"


class Room:
    """The room of one scenario; implements :class:`pytest_clnrm.engine.admission_api.Admission`.

    Use it as a context manager for as long as its containers are being started.

    :param containers: how many it needs, besides those that it shares with others.
    :param check: raises what it is if waiting makes no sense any more.
    :ivar waited_s: how long it has waited so far, attempts that were given up among it.
    """

    def __init__(
        self,
        runtime: Runtime,
        priority: Priority,
        containers: int,
        check: Callable[[], None] = lambda: None,
    ) -> None:
        current = runtime.holdings.current()
        folder = runtime.run_folder() / _FOLDER if runtime.run_folder is not None else None
        self._holds = runtime.board.status.containers > 0 or bool(runtime.holdings.fixtures_containers())
        rank = f"{int(not self._holds)}-{int(priority)}-{current.index if current else 0:09d}"
        self._runtime = runtime
        self._check = check
        self._line = None if folder is None else WaitingLine(folder, rank)
        self._guard = threading.Lock()
        self._lacking: dict[str, bool] = {}
        self._placed: set[str] = set()
        self._given_up = ""
        self._attempts = 0
        self._began_s = 0.0
        self._waited_before_s = 0.0
        self._lacking_since_s = 0.0
        self._asked_s = time.monotonic()
        self.name = ""
        self.containers = containers
        self.priority = priority
        self.waited_s = 0.0

    def __enter__(self) -> Room:  # noqa: PYI034 (typing.Self needs Python 3.11)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._line is not None:
            self._line.leave()

    def start(self, name: str, start: Callable[[str], None], undo: Callable[[], None]) -> None:
        """Start the containers, anew until all of them have room.

        :param name: of them, at the first attempt.
        :param start: starts them under a name.
        :param undo: removes what of them was started.
        """
        while True:
            self.begin(name)
            try:
                start(name)
            except NoRoomError:
                undo()
                self.give_up()
                name = self._runtime.next_name()
            else:
                return

    def begin(self, name: str) -> None:
        """Wait until no other scenario of the run comes first, and begin.

        :param name: of the containers that are begun now.
        :raises SlotTimeoutError: if that takes too long.
        """
        if self._line is not None and not self._line.is_first():
            with self._runtime.board.during("slot", "room on the cluster, after others of this run"):
                began_s = time.monotonic()
                self._line.join()
                while not self._line.is_first():
                    self._check_time("others of this run, which come first, wait for room on the cluster")
                    time.sleep(_POLL_S)
                self.waited_s += time.monotonic() - began_s
        self.name = name
        self._lacking, self._placed, self._given_up = {}, set(), ""
        self._attempts += 1
        self._began_s, self._waited_before_s = time.monotonic(), self.waited_s

    def give_up(self) -> None:
        """Note that what there was of it is gone; wait for another moment than those of other runs."""
        if not self._is_first():
            # Whoever is before it will leave it no time.
            pause_s = 0.0
        else:
            self._lend()
            pause_s = random.uniform(0, min(_MAX_PART_S, PART_S * self._attempts))  # noqa: S311 (no secret)
        with self._runtime.board.during("slot", f"room on the cluster: {self._given_up}"):
            time.sleep(pause_s)
        self.waited_s = self._waited_before_s + time.monotonic() - self._began_s

    def lacks(self, container: str, why: str, *, is_made: bool) -> None:
        """See :class:`pytest_clnrm.engine.admission_api.Admission`."""
        with self._guard:
            now_s = time.monotonic()
            if not self._lacking:
                self._lacking_since_s = now_s
            self._lacking[container] = is_made
            if self._line is not None:
                self._line.join()
            self._runtime.board.at("slot", f"room on the cluster: {why}")
            if self._is_first() and now_s > self._lacking_since_s + PART_S:
                self._lend()
            if not self._given_up:
                has_part = bool(self._placed) or len(set(self._lacking.values())) > 1
                patience_s = min(_MAX_PART_S, PART_S * self._attempts)
                if not self._is_first():
                    self._given_up = "others of this run, which come first, need it"
                elif has_part and now_s > self._lacking_since_s + patience_s:
                    self._given_up = f"only a part of it was had: {why}"
            if self._given_up:
                raise NoRoomError(f"{container} has no room: {self._given_up}")
            self._check_time(why)

    def has_room(self, container: str) -> None:
        """See :class:`pytest_clnrm.engine.admission_api.Admission`."""
        with self._guard:
            self._placed.add(container)
            if self._lacking.pop(container, None) is not None and not self._lacking:
                self.waited_s += time.monotonic() - self._lacking_since_s

    def make_way(self, service: str) -> None:
        """Give up if another scenario of the run waits for room, which it may wait for this one to leave.

        :param service: that another process starts, and this one waits for.
        :raises NoRoomError: if there is one.
        """
        with self._guard:
            if not self._is_first():
                self._given_up = "others of this run, which come first, need it"
                raise NoRoomError(f"the service {service!r} waits for room: {self._given_up}")

    def _lend(self) -> None:
        """Give up what the run has and nobody uses."""
        if self._line is not None:
            end_unused(self._runtime)

    def _is_first(self) -> bool:
        return self._line is None or self._line.is_first()

    def _check_time(self, why: str) -> None:
        self._check()
        settings = self._runtime.settings
        limit_s = LONGEST_S if settings.slot_timeout_s is None else settings.slot_timeout_s
        option = "--clnrm-slot-timeout"
        if self._holds and settings.timeout_s < limit_s:
            limit_s, option = settings.timeout_s, "--clnrm-timeout, as this worker holds containers meanwhile"
        if time.monotonic() > self._asked_s + limit_s:
            raise SlotTimeoutError(f"no room on the cluster: {why} ({option})")
