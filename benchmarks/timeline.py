"""Where the time of a fresh scenario goes: the spans of a run of scenarios with services that are waited for.

Runs alone: ``python benchmarks/timeline.py -n 8 --waits 1``. Each scenario has one service, which is ready so
many seconds after its start, and one step.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
from pathlib import Path

from measuring.engine import IMAGE, find_engine
from measuring.pytest_runs import run_pytest
from measuring.trace import spans_of

SCENARIO = """
[service.one]
image = "{image}"
command = ["sh", "-c", "sleep {waits_s}; echo up; exec sleep 1000"]
ready = {{ log = "^up" }}
[[step]]
service = "one"
run = "true"
"""


def main() -> None:
    """Run the scenarios, and print what each part of them took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-n", type=int, default=1, help="workers")
    parser.add_argument("--scenarios", type=int, default=40)
    parser.add_argument("--waits", type=float, default=1.0, help="seconds until a service is ready")
    given = parser.parse_args()
    if (place := find_engine()) is None:
        raise SystemExit(1)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for number in range(given.scenarios):
            text = SCENARIO.format(image=IMAGE, waits_s=given.waits)
            (root / f"s{number}.clnrm.toml").write_text(text, encoding="utf-8")
        load = os.getloadavg()[0]
        pools = ("--clnrm-pool", "off", "--clnrm-max-containers", str(max(10, given.n)))
        run_pytest(root, ["-n", str(given.n), *pools, "--clnrm-report", "out"], {"DOCKER_HOST": place.url})
        spans = spans_of(root / "out" / "trace.otlp.json")
    scenarios = spans["clnrm.scenario"]
    took_s = max(end for _, end in scenarios) - min(begin for begin, _ in scenarios)
    print(f"{place.words}; load {load:.1f}; {given.scenarios} scenarios, -n {given.n}: {took_s:.1f} s")
    for name, times in spans.items():
        median_ms = statistics.median(end - begin for begin, end in times) * 1000
        print(f"{name:26} {len(times):4} of a median of {median_ms:7.1f} ms")


if __name__ == "__main__":
    main()
