"""What spans cost: a suite of scenarios with and without them, in pairs of runs.

Run from the project's root: ``python benchmarks/spans.py [--scenarios 200] [--pairs 5] [--engine fake|auto]
[--workers 0]``. The order within a pair alternates, so that what slows the machine down slows both. The fake
engine has folders for containers: nearly all of its time is ours, so its ratio is far above that of any real
suite, and the milliseconds a scenario are what to look at. ``auto`` takes the engine that answers, with the
image ``clnrm-busybox:1``.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SCENARIO = """
[meta]
name = "s{number}"
[service.box]
image = "clnrm-busybox:1"
[[step]]
name = "one"
run = "echo one"
[[step]]
name = "two"
run = "echo two"
expect = {{ stdout = {{ contains = "two" }} }}
"""


def run(folder: Path, spans: str, engine: str, workers: int) -> float:
    """Return the seconds of one run."""
    plugins = ["-p", "clnrm_testing.fake_engine"] if engine == "fake" else []
    mode = ["-n", str(workers)] if workers else ["-p", "no:xdist"]
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:randomly",
        "-p",
        "no:cacheprovider",
        *plugins,
        *mode,
    ]
    began_s = time.monotonic()
    ended = subprocess.run(
        [*command, "--clnrm-spans", spans],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT / "tests"), "XDG_RUNTIME_DIR": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )
    took_s = time.monotonic() - began_s
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return took_s


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scenarios", type=int, default=200)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--engine", choices=["fake", "auto"], default="fake")
    parser.add_argument("--workers", type=int, default=0)
    options = parser.parse_args()
    times: dict[str, list[float]] = {"on": [], "off": []}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "pytest.ini").write_text("[pytest]\n")
        for number in range(options.scenarios):
            (folder / f"s{number}.clnrm.toml").write_text(SCENARIO.format(number=number))
        run(folder, "on", options.engine, options.workers)
        for pair in range(options.pairs):
            for spans in ("on", "off") if pair % 2 else ("off", "on"):
                times[spans].append(run(folder, spans, options.engine, options.workers))
            print(f"pair {pair + 1}: on {times['on'][-1]:.2f} s, off {times['off'][-1]:.2f} s", flush=True)
    on, off = statistics.median(times["on"]), statistics.median(times["off"])
    each_ms = (on - off) / options.scenarios * 1000
    print(f"medians: on {on:.2f} s, off {off:.2f} s, {each_ms:.2f} ms a scenario, ratio {on / off:.3f}")


if __name__ == "__main__":
    main()
