"""What a container may use at most."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Limits of one container; None means: the next wider setting decides."""

    memory_bytes: int | None = None
    cpus: float | None = None
    pids: int | None = None
    gpus: int | None = None

    def over(self, wider: Limits) -> Limits:
        """Return these limits, completed from *wider* where they are None."""
        return Limits(
            memory_bytes=wider.memory_bytes if self.memory_bytes is None else self.memory_bytes,
            cpus=wider.cpus if self.cpus is None else self.cpus,
            pids=wider.pids if self.pids is None else self.pids,
            gpus=wider.gpus if self.gpus is None else self.gpus,
        )
