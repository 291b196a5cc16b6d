"""What the processes of a run tell one another of a shared container, in the run's own folder.

A record is written once, when the container is ready or could not be started. It is of one lease: whoever
starts the container anew, under another lease, writes another record.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, fields
from typing import TYPE_CHECKING

from pytest_clnrm.util.files import write_whole

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_OWN_MODE = 0o600  # variables of services may be secrets


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedRecord:
    """A shared container that is ready, or why it could not be started.

    :param needs: ids of the shared containers that it depends on.
    :param network: id and name of the network that is its own, () if it has none.
    :param command: with which it was created, None for its image's.
    :param env: with which it was created.
    :param worker: which process has started it.
    :param owner: the process in the ledger that receives its spans, "" if none does.
    :param ready_s: seconds since 1970.
    :param failed: why it could not be started, "" if it is ready.
    :param logs: its last output then.
    :param file: of the scenario or test that it was started for.
    :param service: its name there.
    :param made_of: a hash of all that makes it, "" if it must not outlive the run.
    :param receiver: address and port to which it sends its spans, () if it sends none to us.
    :param token: that it sends with them.
    """

    id: str = ""
    needs: tuple[str, ...] = ()
    network: tuple[str, ...] = ()
    command: tuple[str, ...] | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    worker: str = ""
    owner: str = ""
    ready_s: float = 0.0
    failed: str = ""
    logs: str = ""
    file: str = ""
    service: str = ""
    made_of: str = ""
    receiver: tuple[str, int] | tuple[()] = ()
    token: str = ""

    def write(self, file: Path) -> None:
        """Write it, whole.

        :raises OSError: if it cannot be written.
        """
        write_whole(file, json.dumps(asdict(self)), mode=_OWN_MODE)

    @classmethod
    def read(cls, file: Path) -> SharedRecord | None:
        """Return what stands in a file, None if there is none.

        :raises OSError: if it cannot be read.
        """
        try:
            data = json.loads(file.read_bytes())
        except FileNotFoundError:
            return None
        if data.keys() != {each.name for each in fields(cls)}:
            # It is of an idle container.
            return None
        command = data["command"]
        return cls(
            **{
                **data,
                "network": tuple(data["network"]),
                "needs": tuple(data["needs"]),
                "receiver": tuple(data["receiver"]),
                "command": None if command is None else tuple(command),
            }
        )
