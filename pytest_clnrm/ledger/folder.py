"""The runtime directory: where the ledgers of one user on one machine lie."""

from __future__ import annotations

import hashlib
import os
import secrets
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pytest_clnrm.errors import LedgerError

ID_FILE = "ledger-id"


@dataclass(frozen=True, slots=True, kw_only=True)
class Folder:
    """An existing directory that we can write to.

    :param ledger_id: random, made once for the directory: tells our containers from those of others.
    """

    path: Path
    ledger_id: str

    def state_file(self, engine: str) -> Path:
        """Return where the state of the engine of identity *engine* lies."""
        return self.path / f"{_digest(engine)}.json"

    def lock_file(self, engine: str) -> Path:
        """Return the file whose lock guards that state."""
        return self.path / f"{_digest(engine)}.lock"

    def owners(self, engine: str) -> Path:
        """Return the directory of that ledger's owners."""
        return self.path / f"{_digest(engine)}.owners"

    def kept(self, engine: str) -> Path:
        """Return the directory with a file for each object on that engine that was kept on purpose."""
        return self.path / f"{_digest(engine)}.kept"

    def prepared(self, engine: str) -> Path:
        """Return the directory with what is known of the images of prepared services on that engine."""
        return self.path / f"{_digest(engine)}.prepared"

    def warm(self, engine: str) -> Path:
        """Return the directory with what is known of shared containers on that engine that outlive runs."""
        return self.path / f"{_digest(engine)}.warm"

    def all_prepared(self) -> list[Path]:
        """Return those directories of all engines."""
        return sorted(self.path.glob("*.prepared"))

    @property
    def runs(self) -> Path:
        """Return the directory in which runs are written down."""
        return self.path / "runs"

    def host_lock_file(self, name: str) -> Path:
        """Return the file of the lock called *name*, which may hold any characters."""
        return self.path / "locks" / f"{_digest(name)}.lock"

    def state_files(self) -> list[Path]:
        """Return the state files of all engines."""
        return sorted(self.path.glob("*.json"))


def default_path(environ: Mapping[str, str]) -> tuple[Path, bool]:
    """Return the directory to use if none is configured, and whether other users can write beside it."""
    runtime = environ.get("XDG_RUNTIME_DIR", "")
    if runtime and Path(runtime).is_absolute() and Path(runtime).is_dir():
        return Path(runtime) / "pytest-clnrm", False
    return Path("/tmp") / f"pytest-clnrm-{os.getuid()}", True  # noqa: S108 (verified to be ours below)


def open_folder(configured: Path | None, environ: Mapping[str, str]) -> Folder:
    """Return the runtime directory, made with mode 0700 where it is missing.

    :param configured: ``clnrm_ledger_dir``, None if it is not set.

    :raises LedgerError: if it cannot be made or written to, or if the fallback in /tmp is not ours alone.
    """
    path, shared = (configured, False) if configured else default_path(environ)
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        if shared:
            _verify_ours(path)
        (path / "locks").mkdir(mode=0o700, exist_ok=True)
        return Folder(path=path, ledger_id=_ledger_id(path))
    except OSError as error:
        raise unusable(path, error) from error


def was_opened(path: Path) -> bool:
    """Tell whether *path* has been opened before: opening it again makes nothing."""
    return (path / ID_FILE).exists()


def unusable(path: Path, error: OSError) -> LedgerError:
    """Return the error to be raised where *error* ended work in the directory *path*."""
    return LedgerError(
        f"the ledger's folder {path} cannot be used: {error.strerror or error}; "
        "make room or give access there, or set clnrm_ledger_dir to another folder"
    )


def _verify_ours(path: Path) -> None:
    """Check that nobody else made *path*, or can change it.

    :raises LedgerError: if it is a link, belongs to someone else or is open to others.
    """
    facts = path.lstat()
    if not stat.S_ISDIR(facts.st_mode) or facts.st_uid != os.getuid() or facts.st_mode & 0o077:
        raise LedgerError(
            f"the ledger's folder {path} is not a directory that belongs to this user alone (mode 0700); "
            "remove it, or set XDG_RUNTIME_DIR or clnrm_ledger_dir"
        )


def _ledger_id(path: Path) -> str:
    file = path / ID_FILE
    draft = path / f"{ID_FILE}.{secrets.token_hex(4)}"
    if file.exists():
        return _read_id(file)
    try:
        draft.write_text(secrets.token_hex(8), encoding="ascii")
        # A link appears whole or not at all, and never replaces the id that another process made meanwhile.
        os.link(draft, file)
    except FileExistsError:
        pass
    finally:
        draft.unlink(missing_ok=True)
    return _read_id(file)


def _read_id(file: Path) -> str:
    text = file.read_text(encoding="utf-8", errors="replace").strip()
    if not text.isalnum() or not text.isascii():
        raise LedgerError(f"{file} holds no ledger id; remove it once no run of pytest-clnrm is left")
    return text


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:16]
