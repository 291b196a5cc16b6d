"""Receiving what programs in containers export over OTLP/HTTP.

One receiver a worker, one inbox a scenario.
"""

from __future__ import annotations

import secrets
import socket
import threading
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from pytest_clnrm.telemetry.clock import Clock

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_clnrm.telemetry.receive.inbox import Inbox
    from pytest_clnrm.telemetry.receive.server import OtlpServer

_POLL_S = 0.1


class Receiver:
    """Listens on a free port of all addresses, and hangs up on who came in over one that is not allowed.

    More ports are listened on by :meth:`listen`.

    :param path_dir: the run's folder of spans; it exists. All that is accepted is stored there at once.
    :param worker_id: "master", "gw0"...; part of the file's name.
    :param addresses: local addresses to serve; more with :meth:`allow`.
    :raises OSError: if no port is free, or the file cannot be created.
    """

    def __init__(self, path_dir: Path, worker_id: str, *, addresses: Iterable[str] = ()) -> None:
        from pytest_clnrm.telemetry.receive.inboxes import Inboxes
        from pytest_clnrm.telemetry.receive.server import OtlpServer
        from pytest_clnrm.telemetry.span_store import STORE_SUFFIX, SpanStore, file_stem

        self._clock = Clock()
        self._lock = threading.Lock()
        self._inboxes = Inboxes()
        self._server = OtlpServer(self._inboxes)
        self._servers = [self._server]
        self._server.addresses = frozenset(addresses)
        try:
            self._store = SpanStore(path_dir / f"{file_stem(worker_id)}{STORE_SUFFIX}")
        except OSError:
            self._server.server_close()
            raise
        self._threads = [_serving(self._server)]

    @property
    def port(self) -> int:
        """The port it listens on."""
        return int(self._server.server_address[1])

    @property
    def problem(self) -> str:
        """What went wrong within the receiver, "" if nothing did."""
        return self._inboxes.problem or self._store.problem

    def listen(self, port: int) -> bool:
        """Listen on a port too, which an earlier receiver had; return False if it is not free any more."""
        from pytest_clnrm.telemetry.receive.server import OtlpServer

        with self._lock:
            if port in {each.server_address[1] for each in self._servers}:
                return True
            try:
                server = OtlpServer(self._inboxes, port)
            except OSError:
                return False
            server.addresses = self._server.addresses
            self._servers.append(server)
            self._threads.append(_serving(server))
        return True

    def allow(self, address: str) -> None:
        """Serve connections to the local *address* from now on (a network's gateway, 127.0.0.1)."""
        with self._lock:
            for each in self._servers:
                each.addresses |= {address}

    def forbid(self, address: str) -> None:
        """Hang up on new connections to the local *address* from now on."""
        with self._lock:
            for each in self._servers:
                each.addresses -= {address}

    def connect(self) -> socket.socket:
        """Return a new connection to it, for a program that reaches it over this process alone.

        :raises OSError: if there is none.
        """
        return self._server.connect()

    def lose_connections(self, why: str) -> None:
        """Note that spans of every scenario that runs here may have been lost."""
        self._inboxes.lose("connection", why)

    def open(
        self,
        scenario_id: str,
        parent: str | None = None,
        *,
        redact: Callable[[str], str] | None = None,
        held: bool = False,
        book: Path | None = None,
        token: str = "",
    ) -> Inbox:
        """Return a new inbox.

        :param parent: ``traceparent`` of the scenario's span, under which the spans are shown.
        :param redact: hides secrets in a text before it is stored.
        :param held: store nothing before the inbox is released.
        :param book: the file in which the users of a shared service find its spans.
        :param token: by which its programs know it already, "" for a new one.
        :raises OSError: if that cannot be created.
        """
        from pytest_clnrm.telemetry.receive.inbox import TOKEN_BYTES, Inbox
        from pytest_clnrm.telemetry.receive.shared_book import SharedBook

        inbox = Inbox(
            token=token or secrets.token_urlsafe(TOKEN_BYTES),
            scenario_id=scenario_id,
            parent=parent,
            store=self._store,
            now_ns=self._clock.now_ns,
            forget=self._inboxes.forget,
            redact=redact,
            held=held,
            book=None if book is None else SharedBook(book),
        )
        self._inboxes.add(inbox)
        return inbox

    def close(self) -> None:
        """Hang up on everybody and close the file; safe to call twice."""
        with self._lock:
            serving = list(zip(self._servers, self._threads, strict=True))
        for server, thread in serving:
            if thread.is_alive():
                server.end()
                thread.join()
        self._store.close()


def _serving(server: OtlpServer) -> threading.Thread:
    thread = threading.Thread(
        target=server.serve_forever, args=(_POLL_S,), name="clnrm-receiver", daemon=True
    )
    thread.start()
    return thread
