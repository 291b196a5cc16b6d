"""A shell that stays open in a container, through which steps run without an exec of their own.

An exec costs a tenth of a second, most of it the engine's; a step in such a shell costs what its
processes do. It sees what it would see in an exec of its own, but for its parent: the shell, where an exec
has none.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

from pytest_clnrm.engine.api import ExecOutcome, ExecSpec
from pytest_clnrm.engine.exec.calls import (
    NOT_EXECUTABLE,
    NOT_FOUND,
    NotStartedError,
    create_exec,
    says_not_found,
    start_exec,
)
from pytest_clnrm.engine.exec.main_shell import MainStreams, ask_for_another, leave, tell_to_end
from pytest_clnrm.engine.exec.shell_marks import Marks, Scanner
from pytest_clnrm.engine.exec.shell_script import (
    AGAIN,
    SHELL,
    STALE,
    Facts,
    common_text,
    read_facts,
    setup_again_text,
    setup_text,
    step_text,
)
from pytest_clnrm.engine.exec.streams import Connection, Demultiplexer

if TYPE_CHECKING:
    from docker import APIClient

    from pytest_clnrm.engine.api import OnOutput, StreamName

# A shell answers within milliseconds; what does not is something else.
_OPEN_S = 20.0
_REST_S = 0.1
_COMPLAINT_BYTES = 8192
# What a shell says where processes are left, for which the engine waits once the shell has ended.
_LEFT = 1


class ShellUnavailableError(Exception):
    """A shell cannot be had.

    :param lacking: what lacks something that it needs; None if it may be otherwise the next time.
    :param ended: its stream has ended.
    """

    def __init__(self, lacking: Literal["image", "container"] | None, *, ended: bool = False) -> None:
        super().__init__("no shell")
        self.lacking = lacking
        self.ended = ended


class Shell:
    """One shell in one container, for one user; used by one thread at a time.

    Its ``usable`` says whether another step may run in it, ``worked`` whether one did, ``printed`` whether
    something came that was no step's, ``disturbed`` whether others have had commands in the container since.

    :param exec_id: the engine's name for it, "" if it is the container's main process.
    """

    def __init__(self, connection: Connection, frames: Demultiplexer, exec_id: str, facts: Facts) -> None:
        self._connection = connection
        self._frames = frames
        self._known = {SHELL[0]}
        self.exec_id = exec_id
        self.facts = facts
        self.usable = True
        self.worked = False
        self.printed = False
        self.disturbed = False
        # Until when output is still awaited after the shell has ended.
        self._over_s: float | None = None

    @property
    def is_main(self) -> bool:
        """Tell whether it is the container's main process rather than an exec."""
        return not self.exec_id

    @property
    def exit_code(self) -> int | None:
        """Return what its shell ended with, if it tells that itself."""
        return self._frames.exit_code

    def begin(self, spec: ExecSpec, variable: tuple[str, str], on_output: OnOutput) -> ShellRun | None:
        """Start a step; return None if it is one for an exec of its own.

        :param variable: one more of its environment, by which its processes are found.
        :param on_output: gets each piece of output as it arrives.
        """
        marks = Marks()
        text = step_text(self.facts, spec, marks, variable, known=self._known)
        if text is None:
            return None
        if self.disturbed:
            text = AGAIN + text
            self.disturbed = False
        self._connection.send(text)
        return ShellRun(self, marks, spec.argv[0], on_output)

    def receive(self, deadline_s: float | None) -> list[tuple[StreamName, bytes]] | None:
        """Return the next pieces of output, [] at the end, None if *deadline_s* passed before."""
        while self._over_s is None or time.monotonic() < self._over_s:
            data = self._connection.receive(deadline_s if self._over_s is None else self._over_s)
            if data is None:
                return None if self._over_s is None else []
            pieces = list(self._frames.feed(data))
            if self._over_s is None and self.exit_code is not None:
                # What was said before that may still be on its way, on the other stream.
                self._over_s = time.monotonic() + _REST_S
                # Its parent waits for a line, and with this one goes on to take in orphans.
                self._connection.send(b"\n")
            if pieces or not data:
                return pieces
        return []

    def learn(self, program: str) -> None:
        """Take note that *program* has a format that the kernel runs."""
        # A relative path is another program in another folder.
        if program.startswith("/") or "/" not in program:
            self._known.add(program)

    def close(self) -> None:
        """Give it up: its shell ends once the step in it has ended; the container runs on."""
        self.usable = False
        if self.is_main:
            leave(self._connection)
        self._connection.close()

    def let_go(self) -> None:
        """Give up the connection to it; it waits on, for another process."""
        self.usable = False
        self._connection.close()

    def end(self) -> None:
        """End it, in which no step runs, and its container if it is the main process; wait for that."""
        tell_to_end(self._connection)
        self.let_go()

    def anew(self, end_mark: str, meanwhile: Callable[[], None]) -> Shell:
        """Return another shell in place of this one, which was killed and has said nothing.

        :param end_mark: by which it told its end, and tells that of the other one.
        :param meanwhile: called while that one starts.
        :raises ShellUnavailableError: if there is none; the streams are then to be closed.
        """
        self.usable = False
        deadline_s = time.monotonic() + _OPEN_S
        while self.exit_code is None:
            data = self._connection.receive(deadline_s)
            if not data or any(self._frames.feed(data)):
                raise ShellUnavailableError(None)
        ask_for_another(self._connection, end_mark)
        marks, frames = Marks(), MainStreams(end_mark)
        try:
            self._connection.send(setup_again_text(marks).encode() + common_text(self.facts))
            meanwhile()
            pid = int(_answer(self._connection, frames, marks, deadline_s))
        except (_EndedError, ValueError) as error:
            raise ShellUnavailableError(None) from error
        return Shell(self._connection, frames, "", replace(self.facts, pid=pid))


class ShellRun:
    """One step in a shell, from its start to its end."""

    def __init__(self, shell: Shell, marks: Marks, program: str, on_output: OnOutput) -> None:
        self._shell = shell
        self._scanners: dict[StreamName, Scanner] = {"stdout": Scanner(marks), "stderr": Scanner(marks)}
        self._complaint = _Complaint(program, on_output)
        self._program = program
        self._broken = False
        self._left = False

    def pump(self, deadline_s: float | None) -> bool:
        """Hand on output until the step has ended; return False if *deadline_s* passed before.

        Where a step leaves processes behind that may still print something, it ends when the shell does: the
        engine waits for them, as long as after an exec.
        """
        while not self._broken:
            pieces = self._shell.receive(deadline_s)
            if pieces is None:
                return False
            if not pieces:
                self._broken = True
                self._shell.usable = False
            for stream, piece in pieces:
                own = piece if self._left else self._scanners[stream].feed(piece)
                if own:
                    self._complaint.feed(stream, own)
            if self._ended and not self._left and not self._take_end():
                break
            if deadline_s is not None and not self._broken and time.monotonic() >= deadline_s:
                # More may come faster than it is handed on.
                return False
        return True

    def ending(self) -> ExecOutcome:
        """Return how it ended; :meth:`pump` has returned True.

        It has no exit code if the shell broke before it told. Where nothing of it was run it is not started,
        and is to be run by an exec of its own.
        """
        out = self._scanners["stdout"]
        self._shell.printed |= any(each.early for each in self._scanners.values())
        if not out.begun:
            if not out.ended:
                self._shell.usable = False
            elif out.numbers[0] == STALE:
                # Only users or groups have changed since it was opened: a new one will do.
                self._shell.usable, self._shell.worked = False, True
            return ExecOutcome(exit_code=None, started=False)
        self._shell.worked = True
        if not self._ended:
            self.release()
            return ExecOutcome(exit_code=None)
        exit_code, oom, _ = out.numbers
        if exit_code in {NOT_FOUND, NOT_EXECUTABLE} and self._complaint.is_all:
            return ExecOutcome(exit_code=None, started=False)
        self.release()
        self._shell.learn(self._program)
        return ExecOutcome(exit_code=exit_code, oom=bool(oom))

    def release(self) -> None:
        """Hand on all that is held back."""
        for stream, scanner in self._scanners.items():
            if held := scanner.rest():
                self._complaint.feed(stream, held)
        self._complaint.release()

    @property
    def _ended(self) -> bool:
        return all(each.ended for each in self._scanners.values())

    def _take_end(self) -> bool:
        """Return True if there is more to come behind the end."""
        late = [(stream, scanner.late) for stream, scanner in self._scanners.items() if scanner.late]
        left = self._scanners["stdout"].numbers[2]
        self._left = left == _LEFT
        if left or late:
            self._shell.usable = False
        if self._left:
            for stream, piece in late:
                self._complaint.feed(stream, piece)
        return self._left


class _Complaint:
    """Hands output on, but holds back what may be ``env``'s or ``setsid``'s message that it cannot run it.

    Only seen where the kernel refuses a program that looks sound, such as one whose loader is missing.
    """

    def __init__(self, program: str, on_output: OnOutput) -> None:
        self._on_output = on_output
        self._program = program.encode("utf-8", "replace")
        self._holding = program != SHELL[0]
        self._held = b""

    def feed(self, stream: StreamName, piece: bytes) -> None:
        """Take the next output."""
        if self._holding and stream == "stderr":
            held = self._held + piece
            short = len(held) <= _COMPLAINT_BYTES and b"\n" not in held[:-1]
            if short and any(held.startswith(name[: len(held)]) for name in (b"env: ", b"setsid: ")):
                self._held = held
                return
        self.release()
        self._on_output(stream, piece)

    @property
    def is_all(self) -> bool:
        """Return whether such a message is all of the output."""
        return self._held.endswith(b"\n") and self._program in self._held

    def release(self) -> None:
        """Hand on what is held back: it was the program's own."""
        self._holding = False
        held, self._held = self._held, b""
        if held:
            self._on_output("stderr", held)


def open_shell(client: APIClient, container: str, user: str | None, deadline_s: float | None) -> Shell:
    """Open a shell.

    :raises ShellUnavailableError: if there can be none, or not before *deadline_s*.
    :raises GoneError: if the container is not there, or does not run.
    """
    try:
        exec_id = create_exec(client, container, ExecSpec(argv=SHELL, user=user, stdin=b""))
        connection = start_exec(client, exec_id, None)
    except NotStartedError as error:
        raise ShellUnavailableError("image" if error.exit_code == NOT_FOUND else None) from error
    return _begin(connection, Demultiplexer(), exec_id, user=user, deadline_s=deadline_s)


def open_main_shell(connection: Connection, end_mark: str, deadline_s: float | None) -> Shell:
    """Return the shell that is a container's main process.

    :param connection: to its streams.
    :param end_mark: by which it tells that its shell has ended.
    :param deadline_s: there is none if it does not answer before.
    :raises ShellUnavailableError: if there can be none.
    """
    return _begin(connection, MainStreams(end_mark), "", deadline_s=deadline_s)


def _begin(
    connection: Connection,
    frames: Demultiplexer,
    exec_id: str,
    *,
    user: str | None = None,
    deadline_s: float | None = None,
) -> Shell:
    facts = None
    try:
        connection.send(setup_text(marks := Marks(), is_main=not exec_id).encode())
        told = _answer(connection, frames, marks, deadline_s)
        facts = read_facts(told)
    except _EndedError as error:
        # A user who is missing may be made yet.
        lacking: Literal["image", "container"] | None = None if user else "container"
        if says_not_found(error.said) or frames.exit_code == NOT_FOUND:
            lacking = "image"
        raise ShellUnavailableError(lacking, ended=frames.exit_code is None) from error
    finally:
        if facts is None or not facts.usable:
            if not exec_id:
                leave(connection)
            connection.close()
    if facts is None or not facts.usable:
        raise ShellUnavailableError("container" if facts is None or facts.has_programs else "image")
    connection.send(common_text(facts))
    return Shell(connection, frames, exec_id, facts)


class _EndedError(Exception):
    """The stream has ended instead of an answer.

    :param said: what came on it: a message of the engine, or of a shell.
    """

    def __init__(self, said: str) -> None:
        super().__init__(said)
        self.said = said


def _answer(connection: Connection, frames: Demultiplexer, marks: Marks, deadline_s: float | None) -> bytes:
    """Return what the shell answers on its stdout.

    :raises ShellUnavailableError: if it does not in time.
    :raises _EndedError: if the stream ends instead.
    """
    patience_s = time.monotonic() + _OPEN_S
    until_s = patience_s if deadline_s is None else min(patience_s, deadline_s)
    scanners = {"stdout": Scanner(marks), "stderr": Scanner(marks)}
    told, raw = bytearray(), bytearray()
    while not all(each.ended for each in scanners.values()):
        data = b"" if frames.exit_code is not None else connection.receive(until_s)
        if data is None:
            raise ShellUnavailableError("container" if time.monotonic() >= patience_s else None)
        if not data:
            raise _EndedError(raw.decode("utf-8", "replace"))
        for stream, piece in frames.feed(data):
            raw += piece
            part = scanners[stream].feed(piece)
            told += part if stream == "stdout" else b""
    return bytes(told)
