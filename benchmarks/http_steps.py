"""An HTTP step's latency: ours, beside bare clients that ask the same service in the same process."""

from __future__ import annotations

import json
import tempfile
from functools import partial
from pathlib import Path
from statistics import median

from measuring.engine import IMAGE, Place
from measuring.figures import Row, at_most, median_of
from measuring.pytest_runs import ROOT, run_pytest

__all__ = ["measure"]

TITLE = "an HTTP step's latency"
SCENARIO = f"""
[service.web]
image = "{IMAGE}"
command = ["sh", "-c", "mkdir /w; echo hello > /w/hello; exec httpd -f -p 80 -h /w"]
ready = {{ http = "/hello" }}
"""
STEP = """
[[step]]
http = "GET http://web/hello"
expect = { status = 200, body = { equals = "hello" } }
"""


def measure(place: Place | None, *, quick: bool) -> Row:
    """Return the row: each step of some scenarios is followed, or preceded, by the bare clients' requests."""
    if place is None:
        return Row(key="j", title=TITLE, notes=("no engine answers",))
    rounds, steps = (1, 10) if quick else (5, 200)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
        (folder / "web.clnrm.toml").write_text(SCENARIO + STEP * steps, encoding="utf-8")
        out = folder / "times"
        environ = {
            "DOCKER_HOST": place.url,
            "XDG_RUNTIME_DIR": name,
            "CLNRM_HTTP_TIMES": str(out),
            "PYTHONPATH": str(ROOT / "benchmarks"),
        }
        run = partial(run_pytest, folder, ["-p", "no:xdist", "-p", "measuring.http_steps"], environ)
        medians_ms: dict[str, list[float]] = {}
        for _ in range(rounds):
            run()
            times: dict[str, list[float]] = json.loads(out.read_text(encoding="utf-8"))
            times["added"] = [
                ours - bare for ours, bare in zip(times["ours"], times["http.client"], strict=True)
            ]
            for what, each in times.items():
                medians_ms.setdefault(what, []).append(median(each))
    return Row(
        key="j",
        title=TITLE,
        sizes=f"{rounds} rounds of {steps} trivial GETs by steps, as many by each bare client",
        figures=(
            median_of("a step", medians_ms["ours"], "ms"),
            median_of("http.client", medians_ms["http.client"], "ms"),
            median_of("requests.get", medians_ms["requests"], "ms"),
            median_of("a step over http.client", medians_ms["added"], "ms", at_most(3)),
        ),
    )
