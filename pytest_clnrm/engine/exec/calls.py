"""The calls that an exec is made of: create it, start it, pass its output on, ask for its exit code."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

import docker.errors

from pytest_clnrm.engine.exec.streams import Connection, Demultiplexer
from pytest_clnrm.engine.plain_errors import container_reason, engine_text, plain_errors
from pytest_clnrm.errors import ContainerError

if TYPE_CHECKING:
    from docker import APIClient

    from pytest_clnrm.engine.api import ExecSpec, OnOutput, StreamName

NOT_EXECUTABLE = 126
NOT_FOUND = 127
_CONFLICT = 409

# The stream ends some milliseconds before the engine knows the exit code.
_CODE_S = 10.0
_POLL_S = 0.01


class GoneError(Exception):
    """The container, or its exec, is no more."""


class NotStartedError(Exception):
    """The engine could not start the command.

    :param text: what the engine said.
    """

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = container_reason(text)
        self.exit_code = NOT_FOUND if says_not_found(text) else NOT_EXECUTABLE


class Output:
    """Hands output on, but holds back what may be the engine's own message.

    Engines say why they could not start a command on its stdout (Docker: one piece that ends with CR LF) or
    stderr (Podman: lines that begin with "Error: "), and only later that the exit code is their own. Such a
    message is all of the output; anything else passes at once.
    """

    def __init__(self, on_output: OnOutput) -> None:
        self._on_output = on_output
        self._frames = Demultiplexer()
        self._passed = False
        self._held: list[tuple[StreamName, bytes]] = []

    def feed(self, data: bytes) -> None:
        """Take the next bytes of the framed stream."""
        for stream, piece in self._frames.feed(data):
            said = (
                piece.startswith(b"Error: ")
                if stream == "stderr"
                else piece.endswith(b"\r\n") and not self._held
            )
            if said and not self._passed:
                self._held.append((stream, piece))
            else:
                self.release()
                self._on_output(stream, piece)

    def message(self, *, started: bool | None) -> str:
        """Return the engine's message, and forget it; "" if what is held back is the command's own.

        :param started: whether the engine has started the command; None where it does not tell (Podman).
        """
        text = b"".join(piece for _, piece in self._held).decode("utf-8", "replace")
        if started or (started is None and not re.match(r"Error: .*\bOCI\b", text)):
            return ""
        self._held = []
        return text

    def release(self) -> None:
        """Hand on what is held back: it was the command's own."""
        self._passed = True
        held, self._held = self._held, []
        for stream, piece in held:
            self._on_output(stream, piece)

    def say(self, text: str) -> None:
        """Hand on a message of the engine, as a line of stderr."""
        self._on_output("stderr", f"{text}\n".encode())


def says_not_found(text: str) -> bool:
    """Tell whether the engine's message means that there is no such command."""
    lower = text.lower()
    _, _, behind = lower.partition("executable file ")
    return "chdir to cwd" not in text and ("not found" in behind or ": no such file or directory" in lower)


def create_exec(
    client: APIClient, container: str, spec: ExecSpec, environment: Mapping[str, str] | None = None
) -> str:
    """Return the id of a new exec, not started yet.

    :param environment: on top of that of *spec*.
    :raises GoneError: if the container is not there, or does not run.
    :raises NotStartedError: where the engine refuses the command itself: since 28 Docker looks its user up
        here.
    """
    with plain_errors("run a command", ContainerError):
        try:
            answer = client.exec_create(
                container,
                list(spec.argv),
                stdin=spec.stdin is not None,
                environment={**spec.env, **(environment or {})},
                workdir=spec.workdir,
                user=spec.user or "",
            )
        except docker.errors.APIError as error:
            raise _refusal(error) from error
    return str(answer["Id"])


def start_exec(client: APIClient, exec_id: str, stdin: bytes | None) -> Connection:
    """Start an exec and return the connection to it.

    :raises GoneError: as :func:`create_exec`.
    :raises NotStartedError: where the engine refuses the start itself, as Podman does; Docker mostly tells
        its reason as output.
    """
    with plain_errors("run a command", ContainerError):
        try:
            return Connection(client.exec_start(exec_id, socket=True), stdin)
        except docker.errors.APIError as error:
            raise _refusal(error) from error


def pump(connection: Connection, output: Output, deadline_s: float | None) -> bool:
    """Hand on output until the stream ends; return False if *deadline_s* passed before."""
    while deadline_s is None or time.monotonic() < deadline_s:
        data = connection.receive(deadline_s)
        if data is None:
            return False
        if not data:
            return True
        output.feed(data)
    return False


def exit_code_of(client: APIClient, exec_id: str) -> tuple[int, bool]:
    """Return the exit code of an exec whose stream has ended, and whether its command was started at all.

    :raises GoneError: if the engine does not know it any more.
    """
    deadline_s = time.monotonic() + _CODE_S
    while True:
        with plain_errors("ask for an exit code", ContainerError):
            try:
                facts = client.exec_inspect(exec_id)
            except docker.errors.NotFound as error:
                raise GoneError from error
        if not facts["Running"] and facts["ExitCode"] is not None:
            return int(facts["ExitCode"]), bool(facts.get("Pid"))
        if time.monotonic() >= deadline_s:
            raise ContainerError("cannot run a command: the engine closed its stream but says that it runs")
        time.sleep(_POLL_S)


def run_quietly(
    client: APIClient, container: str, spec: ExecSpec, *, deadline_s: float
) -> tuple[int | None, str]:
    """Run one of our own small commands; return its exit code and output, None for a code that did not come.

    :raises GoneError: if the container is not there, or does not run.
    """
    try:
        exec_id = create_exec(client, container, spec)
        connection = start_exec(client, exec_id, None)
    except NotStartedError as error:
        return error.exit_code, error.text
    printed = bytearray()
    output = Output(lambda _, piece: printed.extend(piece))
    try:
        ended = pump(connection, output, deadline_s)
    finally:
        connection.close()
    output.release()
    code = exit_code_of(client, exec_id)[0] if ended else None
    return code, printed.decode("utf-8", "replace")


def _refusal(error: docker.errors.APIError) -> GoneError | NotStartedError:
    """Return what it means that the engine refuses to create or start an exec."""
    return GoneError() if _is_gone(error) else NotStartedError(engine_text(error))


def _is_gone(error: docker.errors.APIError) -> bool:
    text = engine_text(error).lower()
    return (
        error.status_code == _CONFLICT
        or "no such container" in text
        or "no such exec" in text
        or "is not running" in text
        or "container state improper" in text
    )
