"""Running one command in a container: through a shell where there is one, else by an exec of its own."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from typing import TYPE_CHECKING

from pytest_clnrm.engine.api import ExecOutcome, ExecSpec
from pytest_clnrm.engine.exec.calls import (
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
from pytest_clnrm.engine.exec.kill import MARK, end_processes, oom_kills, watch_ending
from pytest_clnrm.engine.exec.shells import Shells
from pytest_clnrm.engine.plain_errors import container_reason

if TYPE_CHECKING:
    from docker import APIClient

    from pytest_clnrm.engine.api import OnOutput
    from pytest_clnrm.engine.exec.shell import Shell

_KILLED = frozenset({137, -9})
# https://docs.podman.io/en/latest/markdown/podman-exec.1.html#exit-status
_PODMAN_NOT_STARTED = frozenset({125, NOT_EXECUTABLE, NOT_FOUND})

# What an ended command still has to say is there at once; processes that survive would keep the stream open.
_DRAIN_S = 1.0
_SLICE_S = 0.1


class Execs:
    """Runs commands in the containers of one engine.

    :param is_podman: Podman tells less: its events know no out-of-memory kills, so the container's cgroup is
        asked, from inside.
    :param in_shells: False to run each command by an exec of its own.
    :ivar shells: those that stay open in the containers.
    """

    def __init__(self, client: APIClient, *, is_podman: bool, in_shells: bool = True) -> None:
        self._client = client
        self._is_podman = is_podman
        self.shells = Shells(client)
        self._in_shells = in_shells
        self._known_kills: dict[str, int] = {}
        self._lock = threading.Lock()

    def run(
        self, container: str, spec: ExecSpec, *, on_output: OnOutput, deadline_s: float | None
    ) -> ExecOutcome:
        """Run a command and wait for its end; see :meth:`pytest_clnrm.engine.api.Engine.exec`."""
        shell = self.shells.take(container, spec.user, deadline_s) if self._in_shells else None
        if shell is not None:
            try:
                outcome = self._run_in(shell, container, spec, on_output, deadline_s)
            except BaseException:
                shell.usable = False
                raise
            finally:
                self.shells.give_back(container, spec.user, shell)
            if outcome is not None:
                return outcome
        return self._run_alone(container, spec, on_output, deadline_s)

    def register_container(self, container: str, image: str, end_mark: str = "") -> None:
        """Take note of a container's image: containers of one image have the same programs.

        :param end_mark: of the shell that is its main process, "" if it is none.
        """
        self.shells.register_container(container, image)
        if end_mark and self._in_shells:
            self.shells.expect_main_shell(container, end_mark)

    def forget(self, container: str) -> None:
        """Forget what is known of a container that is removed, and close its shells."""
        self.shells.forget(container)
        with self._lock:
            self._known_kills.pop(container, None)

    def close(self) -> None:
        """Close all shells."""
        self.shells.close()

    def _run_in(
        self,
        shell: Shell,
        container: str,
        spec: ExecSpec,
        on_output: OnOutput,
        deadline_s: float | None,
    ) -> ExecOutcome | None:
        """Run a command in a shell; return None if nothing of it was run."""
        mark = secrets.token_hex(8)
        run = shell.begin(spec, (MARK, mark), on_output)
        if run is None:
            return None
        if not run.pump(deadline_s):
            shell.usable = False
            ended = self._end(container, spec.user, mark, run.pump, (shell.facts.pid,))
            run.release()
            return ExecOutcome(exit_code=None, timed_out=True, still_running=not ended)
        ending = run.ending()
        if not ending.started:
            return None
        if ending.exit_code is None:
            return self._shell_lost(shell, container, spec.user, mark)
        if ending.oom:
            # The engine's events would tell of this kill again after a later step: the shell is given up.
            shell.usable = False
        # Podman only counts kills: it is asked here too, so that the count is known when the next step ends.
        if ending.exit_code not in _KILLED or (ending.oom and not self._is_podman):
            return ExecOutcome(exit_code=ending.exit_code, oom=ending.oom)
        _, lost = self._why_killed(container, shell.exec_id)
        exit_code = None if lost else ending.exit_code
        return ExecOutcome(exit_code=exit_code, container_lost=lost, oom=ending.oom)

    def _shell_lost(self, shell: Shell, container: str, user: str | None, mark: str) -> ExecOutcome:
        """Return the outcome of a command whose shell broke under it: its own exit code is not known.

        It is ended, and counts as killed, with the exit code of the shell.
        """
        end_processes(self._client, container, user, f"{MARK}={mark}", (shell.facts.pid,))
        try:
            exit_code = shell.exit_code if shell.is_main else exit_code_of(self._client, shell.exec_id)[0]
        except GoneError:
            return ExecOutcome(exit_code=None, container_lost=True)
        oom, lost = self._why_killed(container, shell.exec_id)
        if lost:
            return ExecOutcome(exit_code=None, container_lost=True)
        return ExecOutcome(exit_code=exit_code or max(_KILLED), oom=oom)

    def _run_alone(
        self, container: str, spec: ExecSpec, on_output: OnOutput, deadline_s: float | None
    ) -> ExecOutcome:
        """Run a command by an exec of its own."""
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
                ended = self._end(container, spec.user, mark, partial(pump, connection, output))
                output.release()
                return ExecOutcome(exit_code=None, timed_out=True, still_running=not ended)
        finally:
            connection.close()
        return self._outcome(container, exec_id, output)

    def _end(
        self,
        container: str,
        user: str | None,
        mark: str,
        pump: Callable[[float], bool],
        shells: tuple[int, ...] = (),
    ) -> bool:
        """End the command's processes, and pass on what they still have to say.

        Both at once: the engine tells of no end in a container while output of it is not taken.

        :param pump: hands on output until the moment given; returns True at its end.
        :param shells: our shells that are to be ended too.
        """
        ended: Future[bool] = Future()

        def end() -> None:
            try:
                done = end_processes(self._client, container, user, f"{MARK}={mark}", shells)
                ended.set_result(done)
            except BaseException as error:  # noqa: BLE001 -- raised again by result()
                ended.set_exception(error)

        threading.Thread(target=end, name="clnrm-end-exec", daemon=True).start()
        while not ended.done():
            if pump(time.monotonic() + _SLICE_S):
                return ended.result()
        pump(time.monotonic() + _DRAIN_S)
        return ended.result()

    def _outcome(self, container: str, exec_id: str, output: Output) -> ExecOutcome:
        try:
            exit_code, started = exit_code_of(self._client, exec_id)
        except GoneError:
            output.release()
            return ExecOutcome(exit_code=None, container_lost=True)
        # Podman forgets the process with its end, but has three exit codes for what it could not start; those
        # of Docker are many.
        if not started and (not self._is_podman or exit_code in _PODMAN_NOT_STARTED):
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
