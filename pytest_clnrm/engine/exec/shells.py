"""The exec sessions of an engine's containers: one for each container and user, opened when needed."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

from pytest_clnrm.engine.exec.calls import GoneError
from pytest_clnrm.engine.exec.main_shell import attach
from pytest_clnrm.engine.exec.shell import NoSessionError, Session, open_session, session_of
from pytest_clnrm.errors import ContainerError

if TYPE_CHECKING:
    from docker import APIClient

ENDED = "ended"
"""What is told of a main process that was to be a session, and is none any more."""

Key = tuple[str, str | None]


class Sessions:
    """Lends sessions; may be used from several threads at once.

    A container whose image lacks what a session needs is asked once, and other containers of the image never.
    Where a container's main process is a session, it serves those that name no user.
    """

    def __init__(self, client: APIClient) -> None:
        self._client = client
        self._lock = threading.Lock()
        self._idle: dict[Key, Session] = {}
        self._lent: set[Key] = set()
        self._images: dict[str, str] = {}
        self._without: set[str] = set()
        self._notices: dict[str, str] = {}

    def expect(self, container: str, notice: str) -> None:
        """Take note that a container's main process is to be a session, which tells its end by *notice*."""
        with self._lock:
            self._notices[container] = notice

    def start(self, container: str, start: Callable[[], None], deadline_s: float | None) -> bool:
        """Start a container by *start*, and its session if its main process is one.

        :return: False if its main process is to be one, but its streams have ended.
        """
        with self._lock:
            notice = self._notices.get(container)
        connection = attach(self._client, container) if notice else None
        try:
            start()
        except BaseException:
            if connection is not None:
                connection.close()
            raise
        if connection is None or notice is None:
            return True
        try:
            session = session_of(connection, notice, deadline_s)
        except NoSessionError as error:
            self._note(container, error.lacking)
            return not error.ended
        with self._lock:
            self._idle[container, None] = session
            self._images.pop(container, None)
        return True

    def has_shell(self, container: str) -> bool:
        """Tell whether a container's main process is, or was, a session."""
        with self._lock:
            return container in self._notices

    def state_of_shell(self, container: str) -> str | None:
        """Return what the session is like that is the main process of a container at rest; None without one.

        The same twice means that nothing but commands was said in it in between, unless it is :data:`ENDED`.
        """
        with self._lock:
            if container not in self._notices:
                return None
            session = self._idle.get((container, None))
        if session is None or not session.is_main:
            return ENDED
        return "has printed" if session.printed else "runs"

    def begin_anew(
        self, container: str, kill_shell: Callable[[], None], meanwhile: Callable[[], None] = lambda: None
    ) -> None:
        """End the shells of a container at rest; its main process starts another one, if it is of that kind.

        :param kill_shell: ends the main process's shell without asking it, as it may not do what it is told.
        :param meanwhile: called once no shell that has run steps is left, while another one starts.
        :raises ContainerError: if that cannot be.
        """
        with self._lock:
            notice = self._notices.get(container)
            ending = [self._idle.pop(key) for key in list(self._idle) if key[0] == container]
        main = next((each for each in ending if each.is_main), None)
        for session in ending:
            if not session.is_main:
                session.end()
        if main is None or notice is None:
            meanwhile()
            return
        try:
            kill_shell()
            session = main.anew(notice, meanwhile)
        except BaseException as error:
            main.close()
            if isinstance(error, NoSessionError):
                raise ContainerError("its shell cannot be started again") from error
            raise
        with self._lock:
            self._idle[container, None] = session

    def know(self, container: str, image: str) -> None:
        """Take note of a container's image."""
        with self._lock:
            self._images[container] = image

    def take(self, container: str, user: str | None, deadline_s: float | None) -> Session | None:
        """Return a session to be given back; None if there is none, or another thread has it."""
        key = (container, user)
        with self._lock:
            if key in self._lent or not self._without.isdisjoint({container, self._images.get(container)}):
                return None
            self._lent.add(key)
            session = self._idle.pop(key, None)
            for (where, _), other in self._idle.items():
                other.disturbed |= where == container
        if session is not None:
            return session
        try:
            session = open_session(self._client, container, user, deadline_s)
        except NoSessionError as error:
            self._note(container, error.lacking)
        except GoneError:
            pass
        finally:
            if session is None:
                self._return(key)
        with self._lock:
            # It does not lack anything: what it may lack later is its own steps' doing, not the image's.
            if session is not None:
                self._images.pop(container, None)
        return session

    def give_back(self, container: str, user: str | None, session: Session) -> None:
        """Return a session, to be lent again if it is still usable."""
        if not (session.usable or session.worked):
            self._note(container, "container")
        if not self._return((container, user), session):
            session.close()

    def forget(self, container: str) -> None:
        """Close the sessions of a container that is to be removed, and end it if its main process is one.

        One that is lent is closed when it comes back.
        """
        with self._lock:
            self._images.pop(container, None)
            self._without.discard(container)
            self._notices.pop(container, None)
            self._lent = {key for key in self._lent if key[0] != container}
            closing = [self._idle.pop(key) for key in list(self._idle) if key[0] == container]
        # Its own last, as it ends the others.
        for session in sorted(closing, key=lambda each: each.is_main):
            if session.is_main:
                session.end_container()
            else:
                session.close()

    def close(self) -> None:
        """Close all sessions; containers stay."""
        with self._lock:
            self._lent.clear()
            closing, self._idle = list(self._idle.values()), {}
        for session in closing:
            session.close()

    def _return(self, key: Key, session: Session | None = None) -> bool:
        """End a loan; return False if the session is not to be kept."""
        with self._lock:
            wanted = key in self._lent
            self._lent.discard(key)
            if not wanted or session is None or not session.usable:
                return False
            self._idle[key] = session
            return True

    def _note(self, container: str, lacking: Literal["image", "container"] | None) -> None:
        with self._lock:
            if lacking is not None:
                self._without.add(container)
            if lacking == "image" and container in self._images:
                self._without.add(self._images[container])
