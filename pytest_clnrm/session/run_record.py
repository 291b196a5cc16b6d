"""What the record of a run tells whoever cleans up after it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_clnrm.cleanup import run_records
    from pytest_clnrm.runtime.runtime import Runtime
    from pytest_clnrm.util.processes import Process


def record_of(runtime: Runtime, controller: Process, folder: Path) -> run_records.RunRecord:
    """Return the record of the run that a process belongs to.

    :param folder: the run's own.
    :raises EngineError: if no engine can be used.
    """
    from pytest_clnrm.cleanup import run_records

    facts = runtime.engine().facts
    return run_records.RunRecord(
        session=runtime.session_id,
        controller=controller,
        folder=str(folder),
        choice=runtime.engine_choice(),
        identity=facts.identity,
        url=facts.url,
    )
