"""The file system of the tests' image."""

from __future__ import annotations

import io
import shutil
import subprocess
import tarfile
from collections.abc import Collection, Mapping
from pathlib import Path

import pytest

__all__ = ["busybox_tree"]


def busybox_tree(leave_out: Collection[str] = (), copies: Mapping[str, int] | None = None) -> bytes:
    """Return a tar file of a root file system: busybox, a name for each of its programs, two users.

    :param leave_out: programs without a name.
    :param copies: path -> mode of copies of it.
    """
    busybox = shutil.which("busybox")
    if busybox is None:
        pytest.fail("the tests' image is made of busybox, which is not on PATH")
    names = subprocess.check_output([busybox, "--list"], text=True).split()
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:

        def add(name: str, mode: int, kind: bytes, content: bytes = b"", target: str = "") -> None:
            member = tarfile.TarInfo(name)
            member.mode, member.type, member.linkname, member.size = mode, kind, target, len(content)
            tar.addfile(member, io.BytesIO(content))

        for folder, mode in (("bin", 0o755), ("etc", 0o755), ("tmp", 0o1777), ("root", 0o700)):
            add(folder, mode, tarfile.DIRTYPE)
        for name, mode in {"bin/busybox": 0o755, **(copies or {})}.items():
            add(name, mode, tarfile.REGTYPE, Path(busybox).read_bytes())
        for name in names:
            if name != "busybox" and name not in leave_out:
                add(f"bin/{name}", 0o777, tarfile.SYMTYPE, target="busybox")
        users = b"root:x:0:0::/root:/bin/sh\nnobody:x:65534:65534::/:/bin/false\n"
        add("etc/passwd", 0o644, tarfile.REGTYPE, users)
        add("etc/group", 0o644, tarfile.REGTYPE, b"root:x:0:\nnobody:x:65534:\n")
    return buffer.getvalue()
