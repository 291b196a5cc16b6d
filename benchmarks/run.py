"""All benchmarks side by side, with their targets: a table, and JSON for programs.

    python benchmarks/run.py [--rows a,c,f] [--quick] [--json FILE]

README.md, beside this file, says what each row means. Rows a, b, c, i, j and k need a container engine: the
one that DOCKER_HOST names, else one that answers; without any, run it under examples/with_engine.py.
Row q needs a cluster, the one whose kubeconfig CLNRM_KUBECONFIG names.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

import collection
import containers
import handoff
import http_steps
import memory
import on_cluster
import order
import overhead
import prepared
import scale
import scheduling
import spans
import steps
import suite
from measuring.engine import Place, find_engine
from measuring.machine import machine_facts
from measuring.table import print_machine, print_row, to_data

if TYPE_CHECKING:
    from measuring.figures import Row

ROWS = "abcdefghijklopq"
ON_AN_ENGINE = frozenset("abchijkp")


def main() -> None:
    """Measure and print what the command line asks for."""
    options = parse()
    place = find_engine() if ON_AN_ENGINE & set(options.rows) else None
    facts = machine_facts(place.words if place else "")
    console = Console(width=None if sys.stdout.isatty() else 120)
    print_machine(console, facts)
    rows = []
    for row in measured(options.rows, place, quick=options.quick):
        rows.append(row.without_targets() if options.quick else row)
        print_row(console, rows[-1])
    if options.json:
        options.json.write_text(json.dumps(to_data(rows, facts), indent=1) + "\n", encoding="utf-8")


def parse() -> argparse.Namespace:
    """Return what the command line says."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--rows", type=row_keys, default=ROWS, help="which ones, such as a,c,f (default: all)"
    )
    parser.add_argument(
        "--quick", action="store_true", help="small sizes: shows that it works, not how fast it is"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything there too")
    return parser.parse_args()


def row_keys(text: str) -> str:
    """Return the rows that *text* names, each once, in the order of the table."""
    keys = set(text.replace(",", "").replace(" ", ""))
    if not keys or not keys <= set(ROWS):
        raise argparse.ArgumentTypeError(f"{text!r}: rows are {', '.join(ROWS)}")
    return "".join(sorted(keys))


def measured(keys: str, place: Place | None, *, quick: bool) -> Iterator[Row]:
    """Yield the rows as they are measured."""
    on_containers = [key for key in keys if key in "ab"]
    if on_containers:
        yield from containers.measure(place, on_containers, quick=quick)
    rest: dict[str, Callable[[], Row]] = {
        "c": lambda: steps.measure(place, quick=quick),
        "d": lambda: scheduling.measure(quick=quick),
        "e": lambda: handoff.measure(quick=quick),
        "f": lambda: collection.measure(quick=quick),
        "g": lambda: overhead.measure(quick=quick),
        "h": lambda: spans.measure(place, quick=quick),
        "i": lambda: memory.measure(place, quick=quick),
        "j": lambda: http_steps.measure(place, quick=quick),
        "k": lambda: suite.measure(place, quick=quick),
        "l": lambda: scale.measure(quick=quick),
        "o": lambda: order.measure(quick=quick),
        "p": lambda: prepared.measure(place, quick=quick),
        "q": lambda: on_cluster.measure(quick=quick),
    }
    for key in keys:
        if key in rest:
            yield rest[key]()


if __name__ == "__main__":
    main()
