"""Telling the pod of a run's object, again and again, that this process lives.

The pod ends once nobody has told it that for :data:`QUIET_S`.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from pytest_clnrm.engine.kubernetes.pods import JOURNAL, MAIN, TOOLS
from pytest_clnrm.engine.kubernetes.rest import NOT_FOUND, RefusedError
from pytest_clnrm.engine.kubernetes.sockets import open_exec
from pytest_clnrm.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_clnrm.engine.kubernetes.rest import Rest
    from pytest_clnrm.engine.kubernetes.sockets import ExecStream

QUIET_S = 15
"""Without a beat for so long the run is over. What it had is gone half a minute after its end: the cluster
takes the rest of that."""
BEAT_S = 3.0
_ANSWER_S = 6.0
_AGAIN_S = 0.3
_CLOSE_S = 2.0


class Beats:
    """Beats in a thread, over an exec that stays open.

    :param find: returns the name of the pod, "" if there is none now: then nobody has to be told.
    :param may_come_again: another pod may take the place of one that is lost.
    :ivar lost: why there is nobody to be told any more.
    """

    def __init__(self, rest: Rest, find: Callable[[], str], *, may_come_again: bool = False) -> None:
        self._rest = rest
        self._find = find
        self._may_come_again = may_come_again
        self._closing = threading.Event()
        self._stream: ExecStream | None = None
        self._pod = ""
        self._heard_s = time.monotonic()
        self._thread = threading.Thread(target=self._keep_beating, name="clnrm-beat", daemon=True)
        self.lost = ""

    def begin(self) -> None:
        """Beat from now on."""
        self._thread.start()

    def beat(self) -> None:
        """Beat once, connecting first if need be.

        :raises OSError: if it was not heard.
        :raises EngineError: if there is no connection.
        """
        if self._stream is None:
            self._pod = self._find()
            if not self._pod:
                self._heard_s = time.monotonic()
                return
            self._stream = open_exec(self._rest, self._pod, MAIN, [f"{TOOLS}/agent", "beat", JOURNAL])
        self._stream.send(b".")
        if not self._stream.receive(time.monotonic() + _ANSWER_S):
            raise OSError(self._stream.said or "no answer")
        self._heard_s = time.monotonic()

    def close(self) -> None:
        """Beat no more."""
        self._closing.set()
        if self._stream is not None:
            self._stream.close()
        if self._thread.is_alive():
            # It asks over connections that the caller gives up next.
            self._thread.join(_CLOSE_S)

    def _keep_beating(self) -> None:
        while not self._closing.wait(BEAT_S):
            while not self._is_heard():
                stream, self._stream = self._stream, None
                if stream is not None:
                    stream.close()
                if self.lost or self._closing.wait(_AGAIN_S):
                    return

    def _is_heard(self) -> bool:
        """Beat; :attr:`lost` says why that makes no sense any more."""
        try:
            self.beat()
        except RefusedError as error:
            if error.status == NOT_FOUND:
                self._lose(str(error))
        except (OSError, EngineError):
            pass
        else:
            return True
        if time.monotonic() > self._heard_s + QUIET_S:
            # It has ended by itself, or its node is lost: what belongs to it goes.
            self._lose(f"the run's pod {self._pod} was not reached for {QUIET_S} s")
        return False

    def _lose(self, why: str) -> None:
        if not self._may_come_again:
            self.lost = self.lost or why
