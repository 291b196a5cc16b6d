"""Writing a whole file: a reader sees the old file or the new one, never a part of one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


@contextmanager
def replacing(path: Path, *, mode: int = 0o666, draft: str = "") -> Iterator[BinaryIO]:
    """Yield a file beside *path* that takes its place when the block ends; after an error nothing changes.

    :param mode: permissions of the file, less the umask.
    :param draft: name of the file until then; by default one of this process alone. Writers that hold a lock
        can share one name: those that are killed then leave one file, not one each.
    :raises OSError: if it cannot be written.
    """
    unfinished = path.with_name(draft or f".{path.name}.{os.getpid()}")
    try:
        # Others may have put a link there, whose target would be written.
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | getattr(os, "O_NOFOLLOW", 0)
        with os.fdopen(os.open(unfinished, flags, mode), "wb") as file:
            yield file
        os.replace(unfinished, path)  # noqa: PTH105 (Path's takes half as long again)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise


def write_whole(path: Path, content: str | bytes, *, mode: int = 0o666, draft: str = "") -> None:
    """Write *content* to *path*, text as UTF-8; the parameters are those of :func:`replacing`.

    :raises OSError: if it cannot be written.
    """
    with replacing(path, mode=mode, draft=draft) as file:
        file.write(content.encode() if isinstance(content, str) else content)
