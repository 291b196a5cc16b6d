"""What names a cluster as the engine; nothing of this is imported with it."""

from __future__ import annotations

SCHEME = "kubernetes"


def is_cluster(choice: str) -> bool:
    """Tell whether ``--clnrm-engine`` names a cluster."""
    return choice == SCHEME or choice.startswith(f"{SCHEME}://")
