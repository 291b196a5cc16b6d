"""The shells that stay open in containers: one for each container and user, opened when needed."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Literal

from pytest_clnrm.engine.exec.calls import GoneError
from pytest_clnrm.engine.exec.main_shell import MainStreams, attach
from pytest_clnrm.engine.exec.shell import Shell, ShellUnavailableError, open_main_shell, open_shell
from pytest_clnrm.engine.exec.shell_script import Facts
from pytest_clnrm.errors import ContainerError

if TYPE_CHECKING:
    from docker import APIClient

ENDED = "ended"
"""The state of a main process that was a shell, and is none any more."""

Key = tuple[str, str | None]


class Shells:
    """Lends shells; may be used from several threads at once.

    A container whose image lacks what a shell needs is asked once, and other containers of the image never.
    Where a container's main process is a shell, it serves those that name no user.
    """

    def __init__(self, client: APIClient) -> None:
        self._client = client
        self._lock = threading.Lock()
        self._idle: dict[Key, Shell] = {}
        self._lent: set[Key] = set()
        self._images: dict[str, str] = {}
        self._without: set[str] = set()
        self._end_marks: dict[str, str] = {}

    def expect_main_shell(self, container: str, end_mark: str) -> None:
        """Take note that a container's main process is to be a shell, which tells its end by *end_mark*."""
        with self._lock:
            self._end_marks[container] = end_mark

    def start(self, container: str, start: Callable[[], None], deadline_s: float | None) -> bool:
        """Start a container by *start*, and its shell if its main process is one.

        :return: False if its main process is to be one, but its streams have ended.
        """
        with self._lock:
            end_mark = self._end_marks.get(container)
        connection = attach(self._client, container) if end_mark else None
        try:
            start()
        except BaseException:
            if connection is not None:
                connection.close()
            raise
        if connection is None or end_mark is None:
            return True
        try:
            shell = open_main_shell(connection, end_mark, deadline_s)
        except ShellUnavailableError as error:
            self._note(container, error.lacking)
            return not error.ended
        with self._lock:
            self._idle[container, None] = shell
            self._images.pop(container, None)
        return True

    def has_main_shell(self, container: str) -> bool:
        """Tell whether a container's main process is, or was, a shell."""
        with self._lock:
            return container in self._end_marks

    def state_of_main_shell(self, container: str) -> str | None:
        """Return the state of the shell that is the main process of a container at rest; None without one.

        The same state twice means that nothing but steps used it in between, unless it is :data:`ENDED`.
        """
        with self._lock:
            if container not in self._end_marks:
                return None
            shell = self._idle.get((container, None))
        if shell is None or not shell.is_main:
            return ENDED
        return "has printed" if shell.printed else "runs"

    def end_execs(self, container: str) -> None:
        """End the shells of a container at rest but the one that is its main process."""
        with self._lock:
            keys = [key for key, shell in self._idle.items() if key[0] == container and not shell.is_main]
            ending = [self._idle.pop(key) for key in keys]
        for shell in ending:
            shell.end()

    def begin_anew(
        self, container: str, kill_shell: Callable[[], None], meanwhile: Callable[[], None] = lambda: None
    ) -> None:
        """End the shells of a container at rest; its main process starts another one, if it is of that kind.

        :param kill_shell: ends the main process's shell without asking it, as it may not do what it is told.
        :param meanwhile: called once no shell that has run steps is left, while another one starts.
        :raises ContainerError: if that cannot be.
        """
        self.end_execs(container)
        with self._lock:
            end_mark = self._end_marks.get(container)
            main = self._idle.pop((container, None), None)
        if main is None or end_mark is None:
            meanwhile()
            return
        try:
            kill_shell()
            shell = main.anew(end_mark, meanwhile)
        except BaseException as error:
            main.close()
            if isinstance(error, ShellUnavailableError):
                raise ContainerError("its shell cannot be started again") from error
            raise
        with self._lock:
            self._idle[container, None] = shell

    def let_go(self, container: str) -> dict[str, Any]:
        """Give up the shells of a container at rest; the one that is its main process stays.

        :return: plain data for :meth:`take_up`, empty if its commands have execs.
        :raises ContainerError: if the shell that is to be its main process has ended.
        """
        self.end_execs(container)
        with self._lock:
            end_mark = self._end_marks.get(container)
            main = self._idle.pop((container, None), None)
        if end_mark is None:
            return {}
        if main is None:
            raise ContainerError("its shell has ended")
        main.let_go()
        return {"end_mark": end_mark, "facts": asdict(main.facts)}

    def take_up(self, container: str, told: Mapping[str, Any]) -> None:
        """Connect to the main process of a container that another process has let go.

        Its shell is the one that waited then, if it was not touched since: it is to be begun anew.

        :raises ContainerError: if that cannot be.
        """
        if not told:
            return
        try:
            end_mark, facts = str(told["end_mark"]), Facts(**told["facts"])
        except (KeyError, TypeError) as error:
            raise ContainerError("it is not told which shell waits in it") from error
        connection = attach(self._client, container)
        if connection is None:
            raise ContainerError("its main process cannot be reached")
        with self._lock:
            self._end_marks[container] = end_mark
            self._idle[container, None] = Shell(connection, MainStreams(end_mark), "", facts)

    def register_container(self, container: str, image: str) -> None:
        """Take note of a container's image."""
        with self._lock:
            self._images[container] = image

    def take(self, container: str, user: str | None, deadline_s: float | None) -> Shell | None:
        """Return a shell to be given back; None if there is none, or another thread has it."""
        key = (container, user)
        with self._lock:
            if key in self._lent or not self._without.isdisjoint({container, self._images.get(container)}):
                return None
            self._lent.add(key)
            shell = self._idle.pop(key, None)
            for (where, _), other in self._idle.items():
                other.disturbed |= where == container
        if shell is not None:
            return shell
        try:
            shell = open_shell(self._client, container, user, deadline_s)
        except ShellUnavailableError as error:
            self._note(container, error.lacking)
        except GoneError:
            pass
        finally:
            if shell is None:
                self._return(key)
        with self._lock:
            # The image has what a shell needs; what is missing later, steps of this container have removed.
            if shell is not None:
                self._images.pop(container, None)
        return shell

    def give_back(self, container: str, user: str | None, shell: Shell) -> None:
        """Return a shell, to be lent again if it is still usable."""
        if not (shell.usable or shell.worked):
            self._note(container, "container")
        if not self._return((container, user), shell):
            shell.close()

    def forget(self, container: str) -> None:
        """Close the shells of a container that is to be removed, and end it if its main process is one.

        One that is lent is closed when it comes back.
        """
        with self._lock:
            self._images.pop(container, None)
            self._without.discard(container)
            self._end_marks.pop(container, None)
            self._lent = {key for key in self._lent if key[0] != container}
            closing = [self._idle.pop(key) for key in list(self._idle) if key[0] == container]
        # The main process last, as the container ends with it.
        for shell in sorted(closing, key=lambda each: each.is_main):
            if shell.is_main:
                shell.end()
            else:
                shell.close()

    def drop(self, container: str) -> None:
        """Close the shells that a container which has ended had; it may get others."""
        with self._lock:
            closing = [self._idle.pop(key) for key in list(self._idle) if key[0] == container]
        for shell in closing:
            shell.close()

    def close(self) -> None:
        """Close all shells; containers stay."""
        with self._lock:
            self._lent.clear()
            closing, self._idle = list(self._idle.values()), {}
        for shell in closing:
            shell.close()

    def _return(self, key: Key, shell: Shell | None = None) -> bool:
        """End a loan; return False if the shell is not to be kept."""
        with self._lock:
            wanted = key in self._lent
            self._lent.discard(key)
            if not wanted or shell is None or not shell.usable:
                return False
            self._idle[key] = shell
            return True

    def _note(self, container: str, lacking: Literal["image", "container"] | None) -> None:
        with self._lock:
            if lacking is not None:
                self._without.add(container)
            if lacking == "image" and container in self._images:
                self._without.add(self._images[container])
