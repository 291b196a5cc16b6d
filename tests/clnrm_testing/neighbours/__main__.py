"""``python -m clnrm_testing.neighbours [NAME ...]``: run the suite beside neighbours, all if none is named.

If all were right, docs/neighbours.md is written. Environments are kept, see ``ENVIRONMENTS``.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from clnrm_testing.neighbours.declared import NEIGHBOURS, NONE, Neighbour
from clnrm_testing.neighbours.run import environment_of, problems, run_beside
from clnrm_testing.neighbours.table import DOCS, WORKERS, Counts, with_table

ENVIRONMENTS = Path(sys.prefix) / "neighbours"
"""Where the environments are that this one does not do for."""

_OUTPUT_CHARS = 2000


def tried(neighbour: Neighbour, folder: Path) -> tuple[list[Counts], list[str]]:
    """Return what was seen beside a neighbour, and what was wrong."""
    counts: list[Counts] = []
    wrong: list[str] = []
    try:
        python = environment_of(neighbour, ENVIRONMENTS) if neighbour.package else sys.executable
        for workers in WORKERS:
            run = run_beside(neighbour, python, folder / f"{neighbour.name}-{workers}", workers=workers)
            found = [f"{workers} workers: {each}" for each in problems(neighbour, run)]
            if found:
                wrong += [*found, run.output[-_OUTPUT_CHARS:]]
                continue
            counts.append(Counts.of(run.outcomes().values(), (row["attempts"] for row in run.rows())))
    except subprocess.SubprocessError as error:
        wrong.append(f"{error}\n{getattr(error, 'stderr', '')}")
    return counts, wrong


def main(names: list[str]) -> int:
    """Try neighbours; return how many of them were wrong."""
    wanted = [each for each in (NONE, *NEIGHBOURS) if not names or each.name in names]
    seen: dict[str, list[Counts]] = {}
    failed = 0
    with tempfile.TemporaryDirectory(prefix="clnrm-neighbours.") as folder, ThreadPoolExecutor(2) as pool:
        all_tried = pool.map(lambda each: tried(each, Path(folder)), wanted)
        for neighbour, (counts, wrong) in zip(wanted, all_tried, strict=True):
            seen[neighbour.name] = counts
            failed += bool(wrong)
            print(f"{neighbour.name} {neighbour.version}: {'WRONG' if wrong else 'right'}", flush=True)  # noqa: T201
            for line in wrong:
                print(f"  {line}", flush=True)  # noqa: T201
    if not names and not failed:
        DOCS.write_text(with_table(DOCS.read_text(encoding="utf-8"), seen), encoding="utf-8")
    print(f"{len(wanted) - failed} passed, {failed} failed")  # noqa: T201
    return failed


if __name__ == "__main__":
    sys.exit(min(main(sys.argv[1:]), 1))
