"""The ledger's folder, as who only looks finds it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_clnrm.ledger.folder import Folder


def ledger_folder(configured: Path | None) -> Folder | None:
    """Return the ledger's folder, None where no run has used it yet: who looks makes nothing.

    :raises LedgerError: if it cannot be used, or was named and is not there.
    """
    from pytest_clnrm.errors import LedgerError
    from pytest_clnrm.ledger.folder import default_path, open_folder, was_opened

    path = configured.resolve() if configured else default_path(os.environ)[0]
    if was_opened(path):
        return open_folder(path if configured else None, os.environ)
    if configured and not path.is_dir():
        raise LedgerError(f"--ledger-dir {configured}: there is no such folder")
    return None
