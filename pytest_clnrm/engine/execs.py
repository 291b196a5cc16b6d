"""Running one command in a container by an exec of its own."""

from __future__ import annotations

import secrets
import threading
import time
from concurrent.futures import Future
from typing import TYPE_CHECKING

from pytest_clnrm.engine.api import ExecOutcome, ExecSpec
from pytest_clnrm.engine.endings import MARK, end_processes, oom_kills, watch_ending
from pytest_clnrm.engine.exec_calls import (
    NOT_EXECUTABLE,
    NOT_FOUND,
    GoneError,
    NotStartedError,
    Output,
    create_exec,
    exit_code_of,
    pump,
    says_not_found,
    start_exec,
)
from pytest_clnrm.engine.problems import container_reason

if TYPE_CHECKING:
    from docker import APIClient

    from pytest_clnrm.engine.api import OnOutput
    from pytest_clnrm.engine.streams import Connection

__all__ = ["Execs"]

_KILLED = frozenset({137, -9})

# What an ended command still has to say is there at once; processes that survive would keep the stream open.
_DRAIN_S = 1.0
_SLICE_S = 0.1


class Execs:
    """Runs commands in the containers of one engine.

    :param is_podman: Podman tells less: its events know no out-of-memory kills, so the container's cgroup is
        asked, from inside.
    """

    def __init__(self, client: APIClient, *, is_podman: bool) -> None:
        self._client = client
        self._is_podman = is_podman
        self._known_kills: dict[str, int] = {}
        self._lock = threading.Lock()

    def run(
        self, container: str, spec: ExecSpec, *, on_output: OnOutput, deadline_s: float | None
    ) -> ExecOutcome:
        """Run a command and wait for its end; see :meth:`pytest_clnrm.engine.api.Engine.exec`."""
        mark = secrets.token_hex(8)
        try:
            exec_id = create_exec(self._client, container, spec, {MARK: mark})
            connection = start_exec(self._client, exec_id, spec.stdin)
        except GoneError:
            return ExecOutcome(exit_code=None, container_lost=True)
        except NotStartedError as error:
            on_output("stderr", f"{error.text}\n".encode())
            return ExecOutcome(exit_code=error.exit_code, started=False)
        output = Output(on_output)
        try:
            if not pump(connection, output, deadline_s):
                ended = self._end(container, spec.user, mark, connection, output)
                output.release()
                return ExecOutcome(exit_code=None, timed_out=True, still_running=not ended)
        finally:
            connection.close()
        return self._outcome(container, exec_id, output)

    def forget(self, container: str) -> None:
        """Forget what is known of a container that is removed."""
        with self._lock:
            self._known_kills.pop(container, None)

    def _end(
        self, container: str, user: str | None, mark: str, connection: Connection, output: Output
    ) -> bool:
        """End the command's processes, and pass on what they still have to say.

        Both at once: the engine tells of no end in a container while output of it is not taken.
        """
        ended: Future[bool] = Future()

        def end() -> None:
            try:
                ended.set_result(end_processes(self._client, container, user, f"{MARK}={mark}"))
            except BaseException as error:  # noqa: BLE001 -- raised again by result()
                ended.set_exception(error)

        threading.Thread(target=end, name="clnrm-end-exec", daemon=True).start()
        while not ended.done():
            if pump(connection, output, time.monotonic() + _SLICE_S):
                return ended.result()
        pump(connection, output, time.monotonic() + _DRAIN_S)
        return ended.result()

    def _outcome(self, container: str, exec_id: str, output: Output) -> ExecOutcome:
        try:
            exit_code, started = exit_code_of(self._client, exec_id)
        except GoneError:
            output.release()
            return ExecOutcome(exit_code=None, container_lost=True)
        if exit_code in {NOT_FOUND, NOT_EXECUTABLE}:
            # Podman forgets the process with its end.
            text = output.message(started=None if self._is_podman else started)
            if text:
                output.say(container_reason(text))
                # Engines differ in which of the two they give; these are a shell's.
                exit_code = NOT_FOUND if says_not_found(text) else NOT_EXECUTABLE
                return ExecOutcome(exit_code=exit_code, started=False)
        output.release()
        if exit_code not in _KILLED:
            return ExecOutcome(exit_code=exit_code)
        oom, lost = self._why_killed(container, exec_id)
        return ExecOutcome(exit_code=None if lost else exit_code, container_lost=lost, oom=oom)

    def _why_killed(self, container: str, exec_id: str) -> tuple[bool, bool]:
        """Tell whether memory ran out, and whether the container ended."""
        if not self._is_podman:
            return watch_ending(self._client, container, exec_id)
        try:
            kills = oom_kills(self._client, container)
        except GoneError:
            return False, True
        with self._lock:
            known, self._known_kills[container] = self._known_kills.get(container, 0), kills
        return kills > known, False
