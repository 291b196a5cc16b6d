"""Steps in pods: through execs that stay open, with a journal in the pod that outlives their connections.

An exec over the API server breaks when that is restarted, and an end of the stream says nothing about the
command. So a step has ended only if the agent in the pod has said so; a broken stream is opened anew, and the
rest is read from the journal (docs/design/cluster.md).
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from pytest_clnrm.engine.api import ExecOutcome
from pytest_clnrm.engine.kubernetes import frames
from pytest_clnrm.errors import ContainerError, EngineError, EngineUnavailableError

if TYPE_CHECKING:
    from pytest_clnrm.engine.api import ExecSpec, OnOutput

RECONNECT_S = 60.0
"""How long a connection is tried to be had again: longer than an API server takes to be replaced."""
_PAUSE_S = 0.2
_HELLO_S = 20.0
_END_S = 15.0
_KILLED = 137


class Stream(Protocol):
    """The input and output of a command in a pod, as in :mod:`pytest_clnrm.engine.kubernetes.sockets`."""

    said: str

    def send(self, data: bytes) -> None:
        """Write to its input; raises OSError."""

    def receive(self, deadline_s: float | None) -> bytes | None:
        """Return what it says, b"" at the end, None if the moment has passed."""

    def close(self) -> None:
        """Give it up."""


class GoneError(Exception):
    """The container is no more, or has ended."""


class Agent:
    """One open exec of our agent.

    :raises OSError: if it does not say that it is there.
    """

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._reader = frames.Reader()
        self._waiting: list[tuple[int, bytes]] = []
        first = self.next(time.monotonic() + _HELLO_S)
        if first is None or first[0] != frames.HELLO:
            stream.close()
            raise OSError(stream.said.strip() or "the agent says nothing")

    def next(self, deadline_s: float | None) -> tuple[int, bytes] | None:
        """Return the next frame, None if the moment has passed.

        :raises OSError: if the connection has ended.
        """
        while not self._waiting:
            data = self._stream.receive(deadline_s)
            if data is None:
                return None
            if not data:
                raise OSError(self._stream.said.strip() or "the connection has ended")
            self._waiting = list(self._reader.feed(data))
        return self._waiting.pop(0)

    def send(self, data: bytes) -> None:
        """Send a frame; raises OSError."""
        self._stream.send(data)

    def close(self) -> None:
        """Give it up."""
        self._stream.close()


class Steps:
    """Runs steps in the containers of one engine; may be used from several threads at once.

    :param open_stream: starts the agent in a container; raises GoneError or EngineError.
    :param ended: whether a container has ended, and whether out of memory; None while it runs.
    """

    def __init__(
        self, open_stream: Callable[[str], Stream], ended: Callable[[str], tuple[bool, bool] | None]
    ) -> None:
        self._open_stream = open_stream
        self._ended = ended
        self._idle: dict[str, list[Agent]] = {}
        self._guard = threading.Lock()

    def run(
        self, container: str, spec: ExecSpec, *, on_output: OnOutput, deadline_s: float | None
    ) -> ExecOutcome:
        """Run a command and wait for its end; see :meth:`pytest_clnrm.engine.api.Engine.exec`."""
        step = _Step(spec, on_output)
        try:
            request = frames.run(step.id, spec)
        except ValueError as error:
            raise ContainerError(f"cannot run a command: {error}") from None
        try:
            agent = self._take(container) or self._open(container, deadline_s)
        except GoneError:
            return self._lost(container)
        if agent is None:
            return ExecOutcome(exit_code=None, timed_out=True)
        clean = False
        try:
            agent = self._pursue(container, agent, step, request, deadline_s)
            clean = step.ending is not None
        except GoneError:
            return self._lost(container)
        finally:
            if clean and agent is not None and step.forget(agent):
                self._give_back(container, agent)
            elif agent is not None:
                agent.close()
        return self._outcome(container, spec, step, on_output)

    def adopt(self, container: str, stream: Stream) -> bool:
        """Keep an exec for steps if our agent answers in it."""
        try:
            agent = Agent(stream)
        except OSError:
            return False
        self._give_back(container, agent)
        return True

    def drop(self, container: str) -> None:
        """Close the execs in a container."""
        with self._guard:
            agents = self._idle.pop(container, [])
        for agent in agents:
            agent.close()

    def close(self) -> None:
        """Close them all."""
        with self._guard:
            containers = list(self._idle)
        for container in containers:
            self.drop(container)

    def _pursue(
        self, container: str, agent: Agent, step: _Step, request: bytes, deadline_s: float | None
    ) -> Agent | None:
        """Follow a step to its end, over as many connections as that takes; return the last one."""
        following: Agent | None = agent
        begin = request
        while following is not None:
            try:
                following.send(begin)
                step.follow(following, deadline_s)
            except OSError:
                following.close()
                following = self._open(container, None if deadline_s is None else deadline_s + _END_S)
                begin = frames.told_from(step.id, step.heard)
                if step.kills_sent and following is not None:
                    # Asked for anew, whoever was asked before may be dead.
                    begin += frames.kill(step.id)
                continue
            if step.lost == frames.UNKNOWN and not step.heard:
                # The connection broke before it was begun.
                step.lost = 0
                begin = request
                continue
            break
        return following

    def _open(self, container: str, deadline_s: float | None) -> Agent | None:
        """Return a new connection, None if *deadline_s* has passed before there is one.

        :raises GoneError: if the container has ended.
        :raises EngineUnavailableError: if the cluster does not answer for long.
        """
        give_up_s = time.monotonic() + RECONNECT_S
        while True:
            try:
                return Agent(self._open_stream(container))
            except OSError as error:
                problem: EngineError = EngineUnavailableError(
                    f"cannot run a command in {container}: {error}", ()
                )
            except EngineUnavailableError as error:
                problem = error
            except EngineError as error:
                problem = error
            now_s = time.monotonic()
            if deadline_s is not None and now_s >= deadline_s:
                return None
            if now_s >= give_up_s:
                raise problem
            try:
                if self._ended(container) is not None:
                    raise GoneError
            except EngineUnavailableError:
                pass
            time.sleep(_PAUSE_S)

    def _take(self, container: str) -> Agent | None:
        with self._guard:
            idle = self._idle.get(container)
            return idle.pop() if idle else None

    def _give_back(self, container: str, agent: Agent) -> None:
        with self._guard:
            self._idle.setdefault(container, []).append(agent)

    def _lost(self, container: str) -> ExecOutcome:
        ended = self._ended(container)
        return ExecOutcome(exit_code=None, container_lost=True, oom=bool(ended and ended[1]))

    def _outcome(  # noqa: PLR0911 (a step ends in many ways)
        self, container: str, spec: ExecSpec, step: _Step, on_output: OnOutput
    ) -> ExecOutcome:
        ending = step.ending
        if ending is None:
            if step.timed_out:
                return ExecOutcome(exit_code=None, timed_out=True, still_running=True)
            if step.lost == frames.FORGOTTEN:
                raise EngineUnavailableError(
                    "cannot run a command: the connection to the cluster broke, and the output was too much "
                    "to be kept in the pod meanwhile",
                    (),
                )
            ended = self._ended(container)
            if ended is not None:
                return ExecOutcome(exit_code=None, container_lost=True, oom=ended[1])
            # Who noted it was killed with it, by itself or for memory.
            return ExecOutcome(exit_code=_KILLED)
        if step.timed_out and ending.killed:
            return ExecOutcome(exit_code=None, timed_out=True, still_running=ending.left)
        if ending.killed:
            raise EngineUnavailableError(
                "cannot run a command: the connection to the cluster broke before all of its input was sent",
                (),
            )
        if not ending.started:
            text, code = ending.why_not(spec)
            on_output("stderr", f"{text}\n".encode())
            return ExecOutcome(exit_code=code, started=False)
        if ending.code == _KILLED:
            # It may have been killed with all of the container, which is told some moments later.
            ended = self._ended(container)
            if ended is not None:
                return ExecOutcome(exit_code=None, container_lost=True, oom=ended[1] or ending.oom)
        return ExecOutcome(exit_code=ending.code, oom=ending.oom)


class _Step:
    """A step, and what is known of it.

    :ivar heard: bytes of its journal that were told.
    :ivar lost: why no more is known of it; 0 if that is not so.
    """

    def __init__(self, spec: ExecSpec, on_output: OnOutput) -> None:
        self.id = secrets.randbits(63) | 1
        self.heard = 0
        self.lost = 0
        self.timed_out = False
        self.kills_sent = 0
        self.ending: frames.Ending | None = None
        self._on_output = on_output
        self._input = memoryview(spec.stdin or b"")
        self._input_ended = False

    def follow(self, agent: Agent, deadline_s: float | None) -> None:
        """Hear of it until it has ended, is lost, or could not be ended in time.

        :raises OSError: if the connection has ended.
        """
        give_up_s = deadline_s
        while self.ending is None and not self.lost:
            told = agent.next(give_up_s)
            if told is None:
                if self.timed_out:
                    return
                self.timed_out = True
                self.kills_sent += 1
                give_up_s = time.monotonic() + _END_S
                agent.send(frames.kill(self.id))
                continue
            self._hear(agent, *told)

    def forget(self, agent: Agent) -> bool:
        """Let its journal be removed; return False if the connection is no more."""
        try:
            agent.send(frames.forget(self.id))
        except OSError:
            return False
        return True

    def _hear(self, agent: Agent, kind: int, content: bytes) -> None:
        if kind in frames.IN_JOURNAL:
            self.heard += frames.FRAME + len(content)
        if kind == frames.OUTPUT:
            self._on_output("stdout", content)
        elif kind == frames.ERRORS:
            self._on_output("stderr", content)
        elif kind == frames.END:
            self.ending = frames.ending(content)
        elif kind == frames.LOST:
            self.lost = content[0] if content else frames.DEAD
        elif kind == frames.WANTED and not self._input_ended:
            piece, self._input = bytes(self._input[: frames.PIECE]), self._input[frames.PIECE :]
            self._input_ended = not piece
            agent.send(frames.frame(b"I", piece))
