"""Output of a step, bounded in memory: its end, and how much came before."""

from __future__ import annotations

KEPT_BYTES = 4 << 20


class BoundedOutput:
    """Keeps the last *kept_bytes* of what it is fed.

    :param kept_bytes: bytes kept; up to twice as many are held for a moment.
    """

    def __init__(self, *, kept_bytes: int = KEPT_BYTES) -> None:
        self._kept_bytes = kept_bytes
        self._data = bytearray()
        self._total_bytes = 0

    def feed(self, data: bytes) -> None:
        """Take the next piece."""
        self._total_bytes += len(data)
        self._data += data
        if len(self._data) > 2 * self._kept_bytes:
            del self._data[: -self._kept_bytes]

    @property
    def omitted_bytes(self) -> int:
        """Return how many bytes came before those that were kept."""
        return self._total_bytes - min(len(self._data), self._kept_bytes)

    def data(self) -> bytes:
        """Return what was kept."""
        return bytes(self._data[-self._kept_bytes :])

    def text(self) -> str:
        """Return what was kept, decoded as UTF-8 with replacements."""
        return self.data().decode("utf-8", "replace")
