"""The program of ours that runs in containers: for which architectures it is there, and packed for an engine.

It is built from ``clnrm.c`` beside it, of which a test makes the same bytes again (docs/design/relay.md).
"""

from __future__ import annotations

import hashlib
import io
import tarfile
from pathlib import Path

PAUSE = ("pause",)
"""Its arguments to keep a container running until SIGTERM, taking in orphans."""

_ARCHITECTURES = {"x86_64": "x86_64", "amd64": "x86_64", "aarch64": "aarch64", "arm64": "aarch64"}
_MODE = 0o755


def relay_arguments(port: int) -> tuple[str, ...]:
    """Return its arguments to relay between its standard streams and TCP.

    :param port: on which it takes connections in; 0 for none.
    """
    return ("relay", str(port))


def program(architecture: str) -> bytes | None:
    """Return the program for an engine's machine, None if there is none.

    :param architecture: as engines and images call it: "x86_64", "amd64", "aarch64", "arm64".
    """
    known = _ARCHITECTURES.get(architecture.lower())
    return None if known is None else (Path(__file__).parent / f"clnrm-{known}").read_bytes()


def packed(content: bytes, name: str) -> bytes:
    """Return the program as a tar archive, the same for the same content.

    :param name: its path in the archive, without a slash before it.
    """
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        entry = tarfile.TarInfo(name)
        entry.size, entry.mode = len(content), _MODE
        tar.addfile(entry, io.BytesIO(content))
    return archive.getvalue()


def short_digest(content: bytes) -> str:
    """Return what tells one build of it from another."""
    return hashlib.sha256(content).hexdigest()[:12]


def agent(architecture: str) -> bytes | None:
    """Return the program that runs steps in a cluster's pods, None if there is none; see :func:`program`."""
    known = _ARCHITECTURES.get(architecture.lower())
    return None if known is None else (Path(__file__).parent / f"agent-{known}").read_bytes()
