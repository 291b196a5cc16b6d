"""A run's own folder for temporary files, and its removal: nothing without our mark is ever removed.

The record that names the folder may be forged. So the folder is opened without following links, and is the
run's own only if its name, its owner and a file in it that names the run say so. Only the standard library is
used: the watchdog lives as long as a run, and should be small.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_clnrm.util.beneath import Opened

MARK = "clnrm-run"
"""The file that marks a run's own folder; its first line is the run's session.

Where the second one is LOCKED, the run's controller holds a lock on it as long as it lives. The kernel frees
that, and shows it to all who see the folder, whichever processes they see.
"""

LOCKED = "locked"
_MAX_MARK_BYTES = 256
_marks: dict[str, int] = {}
"""Folder that this process has made -> descriptor of its mark."""


def make(session: str, above: Path | None = None) -> Path:
    """Return a new folder of the run *session*, links in its path resolved.

    :param above: where it is made, None for the host's folder for temporary files.
    """
    folder = Path(os.path.realpath(tempfile.mkdtemp(prefix=_prefix(session), dir=above)))
    mark = os.open(folder / MARK, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    _marks[str(folder)] = mark
    # Locked before it is a mark.
    os.write(mark, f"{session}\n{LOCKED if _lock(mark) else ''}".encode("ascii"))
    return folder


def _lock(mark: int) -> bool:
    """Tell whether this process holds a mark from now on."""
    try:
        import fcntl

        fcntl.flock(mark, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (ImportError, OSError):
        return False
    return True


def _let_go(folder: str) -> None:
    mark = _marks.pop(folder, None)
    if mark is not None:
        os.close(mark)


def abandoned(above: Path | None = None) -> Iterator[tuple[str, str]]:
    """Yield the folders of this user's runs whose controllers have died, each with its session.

    :param above: where they are, None for the host's folder for temporary files.
    """
    with os.scandir(tempfile.gettempdir() if above is None else above) as entries:
        names = [each.path for each in entries if each.name.startswith(_prefix("")[:-1])]
    for path in names:
        folder = os.path.realpath(path)
        session = Path(folder).name.split("-")[1]
        own = None if folder in _marks else open_own(folder, session)
        if own is None:
            continue
        with own, suppress(OSError):
            mark = os.open(f"{own.reach}/{MARK}", os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                is_locked = os.read(mark, _MAX_MARK_BYTES).decode().endswith(f"\n{LOCKED}")
                if is_locked and _lock(mark):
                    yield folder, session
            finally:
                os.close(mark)


def open_own(folder: str, session: str) -> Opened | None:
    """Return the run's own folder, opened; None if *folder* is not this run's and this user's."""
    if not Path(folder).name.startswith(_prefix(session)):
        return None
    from pytest_clnrm.util.beneath import open_beneath

    with suppress(OSError):
        opened = open_beneath("/", folder)
        if _is_marked(opened, session):
            return opened
        opened.close()
    return None


def remove_unused(folder: str) -> bool:
    """Remove a folder that this process has made, if it holds no more than each controller's; else tell so.

    What it takes to remove others is imported by runs that leave something. A watchdog, which imports no
    pytest, has no use for this.
    """
    from pytest_clnrm.names import FACTS_FILE

    with suppress(OSError):
        opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            names = set(os.listdir(opened))  # noqa: PTH208 of a descriptor
            if MARK not in names or names - {MARK, FACTS_FILE}:
                return False
            for name in names:
                os.unlink(name, dir_fd=opened)
        finally:
            os.close(opened)
        os.rmdir(folder)  # noqa: PTH106 as remove() does
        _let_go(folder)
        return True
    return False


def remove(folder: str, session: str) -> bool:
    """Remove the run's own folder; tell whether there was one, and it is gone."""
    own = open_own(folder, session)
    if own is None:
        return False
    from pytest_clnrm.util.beneath import open_beneath

    with own, suppress(OSError):
        # The mark goes last, so that a folder that was removed half can be removed again.
        for name in sorted(own.names(), key=lambda each: each == MARK):
            _remove(f"{own.reach}/{name}")
        with open_beneath("/", str(Path(folder).parent)) as above:
            # Only an empty folder: if another one was put in its place meanwhile, nothing is lost.
            os.rmdir(Path(folder).name, dir_fd=above.fd)
            _let_go(folder)
            return True
    return False


def _remove(path: str) -> None:
    try:
        os.unlink(path)  # noqa: PTH108 of a descriptor
    except (IsADirectoryError, PermissionError):  # what macOS says of a folder
        shutil.rmtree(path, ignore_errors=True)


def _prefix(session: str) -> str:
    return f"clnrm-{session}-"


def _is_marked(opened: Opened, session: str) -> bool:
    if not opened.is_folder or opened.status.st_uid != os.geteuid():
        return False
    with opened.beneath(MARK) as mark:
        is_ours = mark.status.st_uid == os.geteuid()
        return is_ours and mark.read(_MAX_MARK_BYTES).split(b"\n")[0] == session.encode()
