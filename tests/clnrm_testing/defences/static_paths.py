"""Sources of volumes that lie outside of the project."""

from __future__ import annotations

from pathlib import Path

from clnrm_testing.defences import Defence

DEFENCES = (
    Defence(
        name="sources outside of rootdir are refused",
        target="pytest_clnrm.scenario.mounts:allowed_source",
        without=lambda _: lambda source, *, folder, **_: str(Path(folder, source).resolve()),
        attack="test_static_paths.py::test_source_outside",
        shows="DID NOT FAIL",
    ),
)
