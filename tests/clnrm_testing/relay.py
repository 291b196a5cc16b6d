"""An engine's socket offered on TCP ports of this host, as a remote engine's would be."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable, Iterator

__all__ = ["Relay", "relaying"]

Relay = Callable[["ssl.SSLContext | None"], int]


def pump(source: socket.socket, sink: socket.socket) -> None:
    """Copy what comes from one socket to another until it ends, then end that direction."""
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
    for each, how in ((source, socket.SHUT_RD), (sink, socket.SHUT_WR)):
        with contextlib.suppress(OSError):
            socket.socket.shutdown(each, how)


@contextlib.contextmanager
def relaying(path: str, address: str = "127.0.0.1") -> Iterator[Relay]:
    """Give a function that offers the socket *path* on a TCP port, over TLS if given a context.

    :param address: of this host; another one than 127.0.0.1 is taken for another host.
    """
    opened: list[socket.socket] = []
    threads: list[threading.Thread] = []

    def spawn(target: Callable[..., None], *args: object) -> None:
        threads.append(threading.Thread(target=target, args=args))
        threads[-1].start()

    def accept(listener: socket.socket, context: ssl.SSLContext | None) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = listener.accept()
                opened.append(near)
                if context:
                    try:
                        near = context.wrap_socket(near, server_side=True)
                    except OSError:
                        continue
                    opened.append(near)
                far = socket.socket(socket.AF_UNIX)
                opened.append(far)
                far.connect(path)
                spawn(pump, near, far)
                spawn(pump, far, near)

    def start(context: ssl.SSLContext | None) -> int:
        listener = socket.create_server((address, 0))
        opened.append(listener)
        spawn(accept, listener, context)
        port: int = listener.getsockname()[1]
        return port

    try:
        yield start
    finally:
        for each in opened:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        for thread in threads:
            thread.join()
        for each in opened:
            each.close()
