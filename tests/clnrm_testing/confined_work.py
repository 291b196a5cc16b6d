"""What a confined process is asked to do in tests, in ways that only a limit ends."""

from __future__ import annotations

import contextlib
import os
import time

from pytest_clnrm.util.confined import note

__all__ = ["work"]


def for_ever() -> None:
    """Go on after each exception."""
    while True:
        with contextlib.suppress(Exception):
            while True:
                pass


def work(request: bytes) -> bytes:
    """Do what *request* names."""
    if request.startswith(b"echo"):
        return request[4:]
    note(b"doing " + request)
    if request == b"pid":
        return str(os.getpid()).encode()
    if request == b"loop":
        for_ever()
    if request == b"one call":
        # In one call into C no signal is looked at.
        return bytes(pow(3, 10**9) > 0)
    if request == b"memory":
        return bytes(1 << 30)
    if request == b"exit":
        os._exit(0)
    if request == b"large reply":
        return bytes(2 << 20)
    if request == b"sleep":
        time.sleep(1000)
    raise RuntimeError(request)
