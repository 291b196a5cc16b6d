"""What is written down of an idle container that outlives its run, for whoever takes it up (docs/warm.md).

The workers of the run that leaves it write their records into the run's own folder; they come into the
ledger's folder with the lease. What stands in one decides what a container is compared with: so it is
believed only where nobody but this user can have written it.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any

from pytest_clnrm.util.files import write_whole

if TYPE_CHECKING:
    from pathlib import Path

FOLDER = "idle"
"""Where the records are, in the run's own folder; their names are those of the leases that the run had."""

_OWN_MODE = 0o600
_NOT_OURS = stat.S_IRWXG | stat.S_IRWXO


@dataclass(frozen=True, slots=True, kw_only=True)
class IdleRecord:
    """An idle container, as it was when it was last proven to be unchanged.

    :param name: of the container.
    :param owner: of the ledger, in its labels.
    :param lease: id of its lease from then on.
    :param network: id and name of its network, on which it is alone; () if it has none.
    :param service: its name in the scenarios' files.
    :param specification: which scenarios may use it.
    :param made_of: a hash of all that makes it.
    :param fingerprint: what it looked like when it was new.
    :param told: by which another process takes it up, see :meth:`pytest_clnrm.engine.api.Engine.let_go`.
    :param created_s: by the monotonic clock, as a ledger is of one boot.
    """

    id: str
    name: str
    owner: str
    lease: str
    network: tuple[str, ...]
    service: str
    specification: str
    made_of: str
    fingerprint: Mapping[str, str]
    told: Mapping[str, Any]
    created_s: float

    def write(self, file: Path) -> None:
        """Write it, whole.

        :raises OSError: if it cannot be written.
        """
        write_whole(file, json.dumps(asdict(self)), mode=_OWN_MODE)

    @classmethod
    def read(cls, file: Path) -> IdleRecord | None:
        """Return what stands in a file, None if there is none, or it may not be believed."""
        with suppress(OSError, ValueError, TypeError, AttributeError):
            data = json.loads(read_own(file))
            if data.keys() == {each.name for each in fields(cls)}:
                return cls(**{**data, "network": tuple(data["network"])})
        return None


def read_own(file: Path) -> bytes:
    """Return the content of a file that nobody but this user may write or read.

    :raises OSError: if it is another one, or is not there.
    """
    descriptor = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as opened:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & _NOT_OURS:
            raise PermissionError(f"{file} is not this user's alone")
        return opened.read()
