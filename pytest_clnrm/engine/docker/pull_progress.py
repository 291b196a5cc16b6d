"""How far a pull is, as a short text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_MB = 1_000_000
_DONE = frozenset({"Pull complete", "Already exists"})
_WORDS = frozenset(
    {
        "Pulling fs layer",
        "Waiting",
        "Downloading",
        "Verifying Checksum",
        "Download complete",
        "Extracting",
        *_DONE,
    }
)


class PullProgress:
    """Adds up the engine's messages about single layers.

    :param reference: the image's name.
    """

    def __init__(self, reference: str) -> None:
        self._reference = reference
        self._done: dict[str, bool] = {}
        self._bytes: dict[str, tuple[int, int]] = {}
        self.text = f"pulling {reference}"

    def feed(self, event: Mapping[str, Any]) -> bool:
        """Take one message; return True if :attr:`text` has changed."""
        layer, status = str(event.get("id", "")), str(event.get("status", ""))
        if not layer or status not in _WORDS:
            return False
        self._done[layer] = self._done.get(layer, False) or status in _DONE
        detail = event.get("progressDetail") or {}
        if status == "Downloading" and detail.get("total"):
            self._bytes[layer] = (int(detail.get("current") or 0), int(detail["total"]))
        elif status not in {"Pulling fs layer", "Waiting"} and layer in self._bytes:
            total = self._bytes[layer][1]
            self._bytes[layer] = (total, total)
        before, self.text = self.text, self._render()
        return self.text != before

    def _render(self) -> str:
        text = f"pulling {self._reference}: {sum(self._done.values())} of {len(self._done)} layers"
        total = sum(each for _, each in self._bytes.values())
        if total >= _MB:
            text += f", {sum(each for each, _ in self._bytes.values()) // _MB} of {total // _MB} MB"
        return text
