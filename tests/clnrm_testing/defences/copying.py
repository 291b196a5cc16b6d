"""What Python tests copy out of containers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from clnrm_testing.defences import Defence


def _written_anywhere(
    root: Path, names: Sequence[str], pieces: Iterator[bytes], _: Callable[[int], None]
) -> None:
    """Write a file as one does who trusts the folder."""
    path = root.joinpath(*names)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"".join(pieces))


DEFENCES = (
    Defence(
        name="links where a file is copied to are not followed",
        target="pytest_clnrm.items.container_files:_write",
        without=lambda _: _written_anywhere,
        attack="test_copying.py::test_what_is_copied_out",
        shows="OVERWRITTEN evil",
    ),
    Defence(
        name="what is copied out of a container is bounded",
        target="pytest_clnrm.items.container_files:_Room.take",
        without=lambda _: lambda *_: None,
        attack="test_copying.py::test_what_is_copied_out",
        shows="COPIED ",
    ),
)
