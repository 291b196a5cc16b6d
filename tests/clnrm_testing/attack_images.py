"""Images for attacks: programs of busybox or of this Debian, and perl for other system calls."""

from __future__ import annotations

import io
import platform
import re
import shutil
import subprocess
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from clnrm_testing.busybox import busybox_tree
from clnrm_testing.engine_fixtures import import_tree

if TYPE_CHECKING:
    from docker import APIClient

__all__ = ["BASES", "DEFAULT_LIST", "SET_IDLE", "has_attribute", "image_of", "set_attribute"]

BASES = ("busybox", "debian")

# Of dash, coreutils, util-linux, grep and perl.
_PROGRAMS = (
    "cat", "chgrp", "chmod", "chown", "cut", "env", "grep", "head", "ionice", "ln", "mkdir", "mkfifo",
    "mknod", "mv", "perl", "prlimit", "printf", "renice", "rm", "setsid", "sleep", "stat", "taskset", "touch",
    "tr", "true",
)  # fmt: skip


# Numbers of system calls of x86-64, and of all younger architectures.
_SETXATTR, _GETXATTR, _SETSCHEDULER = (188, 191, 144) if platform.machine() == "x86_64" else (5, 8, 119)

SET_IDLE = f"""perl -e '$p = pack("i", 0); exit(syscall({_SETSCHEDULER}, $ARGV[0] + 0, 5, $p) ? 1 : 0)'"""
"""Followed by a process, gives it the scheduling policy SCHED_IDLE."""

DEFAULT_LIST = r"\2\0\0\0" + "".join(rf"\{tag}\0\7\0\377\377\377\377" for tag in ("1", "4", "40"))
"""An access control list, as an attribute and as perl writes it: rwx for owner, group and others."""


def set_attribute(path: str, name: str, value: str) -> str:
    """Return a command that sets an extended attribute; *value* is as perl writes it."""
    call = f"syscall({_SETXATTR}, $ARGV[0], $ARGV[1], $v, length $v, 0)"
    return f"""perl -e '$v = "{value}"; exit({call} ? 1 : 0)' {path} {name}"""


def has_attribute(path: str, name: str) -> str:
    """Return a command that ends well if there is an extended attribute."""
    call = f"syscall({_GETXATTR}, $ARGV[0], $ARGV[1], $v, 99)"
    return f"""perl -e '$v = " " x 99; exit({call} > 0 ? 0 : 1)' {path} {name}"""


def image_of(client: APIClient, base: str) -> str:
    """Return the name of an image, made when it is missing."""
    image = f"clnrm-attacker-{base}:1"
    if not client.images(name=image):
        import_tree(client, image, _tree(base))
    return image


def _tree(base: str) -> bytes:
    buffer = io.BytesIO(busybox_tree() if base == "busybox" else b"")
    programs = ("perl",) if base == "busybox" else _PROGRAMS
    with tarfile.open(fileobj=buffer, mode="a" if base == "busybox" else "w") as tar:
        if base == "debian":
            for folder, mode in (("bin", 0o755), ("etc", 0o755), ("tmp", 0o1777), ("root", 0o700)):
                member = tarfile.TarInfo(folder)
                member.type, member.mode = tarfile.DIRTYPE, mode
                tar.addfile(member)
            _add_file(tar, "etc/passwd", b"root:x:0:0::/root:/bin/sh\nnobody:x:65534:65534::/:/bin/false\n")
            _add_file(tar, "etc/group", b"root:x:0:\nnobody:x:65534:\n")
            _add_file(tar, "bin/sh", Path("/bin/dash").read_bytes(), 0o755)
        libraries: set[str] = set()
        for name in programs:
            program = shutil.which(name)
            if program is None:
                pytest.fail(f"the attacks' image is made of {name}, which is not on PATH")
            _add_file(tar, f"bin/{name}", Path(program).read_bytes(), 0o755)
            libraries |= _libraries(program)
        for library in sorted(libraries | _libraries("/bin/dash")):
            _add_file(tar, library.lstrip("/"), Path(library).read_bytes(), 0o755)
    return buffer.getvalue()


def _libraries(program: str) -> set[str]:
    said = subprocess.run(["ldd", program], capture_output=True, text=True, check=False).stdout
    return set(re.findall(r"(?:=> )?(/\S+) \(0x", said))


def _add_file(tar: tarfile.TarFile, name: str, content: bytes, mode: int = 0o644) -> None:
    member = tarfile.TarInfo(name)
    member.mode, member.size = mode, len(content)
    tar.addfile(member, io.BytesIO(content))
