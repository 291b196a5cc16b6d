"""How long it takes from a service being ready until we know, for each kind of condition.

Runs alone: ``python benchmarks/ready.py --rounds 8``. The moments at which services are ready are the
engine's own: the time of a line that they print just before, of a health check's end, or of their own end. So
the engine has to be on this host.
"""

from __future__ import annotations

import argparse
import io
import os
import statistics
import tempfile
import time
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from measuring.engine import IMAGE, find_engine

if TYPE_CHECKING:
    from docker import APIClient

    from pytest_clnrm.engine.api import Engine
    from pytest_clnrm.model.service import Ready
    from pytest_clnrm.runtime.network import Network

CHECKED_IMAGE = "clnrm-benchmark-checked:1"
CHECKED = f'FROM {IMAGE}\nHEALTHCHECK --interval=1s CMD ["sh", "-c", "test -e /tmp/up"]\n'
STARTS_IN_S = (0.1, 0.4, 0.7, 1.1, 1.6, 2.3)
"""How long services take to start; not at a probe's usual beat."""

LISTENS = "mkdir -p /tmp/www; echo > /tmp/www/index.html; exec httpd -f -p 80 -h /tmp/www"
HAS_FILE = "touch /tmp/up; exec sleep 1000"


def kinds() -> dict[str, tuple[Ready, str]]:
    """Return the conditions, and what a container does once it is ready."""
    from pytest_clnrm.model.service import HealthCheck, HttpProbe, Ready

    command = ("sh", "-c", "test -e /tmp/up")
    return {
        "log": (Ready(log="^now"), "exec sleep 1000"),
        "port": (Ready(port=80), LISTENS),
        "http": (Ready(http=HttpProbe(target="/")), LISTENS),
        "command": (Ready(command=command), HAS_FILE),
        "healthcheck of the file": (Ready(healthcheck=HealthCheck(command=command)), HAS_FILE),
        "healthcheck of the image": (Ready(healthcheck=True), HAS_FILE),
        "exit": (Ready(exit=(0,)), ":"),
    }


def known_after_ms(
    engine: Engine, client: APIClient, network: Network, what: tuple[Ready, str], starts_in_s: float
) -> float:
    """Return how many milliseconds after a service was ready that was known."""
    from pytest_clnrm.engine.api import ContainerSpec
    from pytest_clnrm.model.service import Service
    from pytest_clnrm.runner.ready import wait_ready

    ready, then = what
    image = CHECKED_IMAGE if ready.healthcheck is True else IMAGE
    container = engine.create_container(
        ContainerSpec(
            name=f"clnrm-benchmark-{os.getpid()}",
            image=image,
            memory_bytes=64 << 20,
            cpus=1.0,
            pids=64,
            command=("sh", "-c", f"sleep {starts_in_s}; echo now; {then}"),
            replace_entrypoint=True,
            networks=(network.id,),
        )
    )
    try:
        engine.start(container)
        service = Service(name="service", image=image, ready=(ready,))
        wait_ready(engine, container, service, network=network, deadline_s=time.monotonic() + 60)
        known_s = time.time()
        return (known_s - ready_at_s(client, container, ready)) * 1000
    finally:
        engine.remove([container])


def ready_at_s(client: APIClient, container: str, ready: Ready) -> float:
    """Return the moment at which a service was ready, in seconds since 1970."""
    from pytest_clnrm.engine.docker.clock import moment_s

    told: Any = client.inspect_container(container)["State"]
    if ready.exit:
        text = told["FinishedAt"]
    elif ready.healthcheck is True:
        text = told["Health"]["Log"][-1]["End"]
    else:
        text = client.logs(container, timestamps=True).decode().split(" ")[0]
    at_s = moment_s(text)
    assert at_s is not None, text
    return at_s


def main() -> None:
    """Measure and print a table."""
    from pytest_clnrm.engine.connect.connect import connect
    from pytest_clnrm.runtime.network import Network

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--kind", choices=sorted(kinds()), action="append", help="only this; may be repeated")
    given = parser.parse_args()
    rounds: int = given.rounds
    place = find_engine()
    if place is None:
        raise SystemExit(1)
    print(f"{place.words}; load {os.getloadavg()[0]:.1f}; {rounds * len(STARTS_IN_S)} services of each kind")
    with tempfile.TemporaryDirectory() as folder, place.client() as client:
        list(client.build(fileobj=io.BytesIO(CHECKED.encode()), tag=CHECKED_IMAGE, rm=True))
        engine = connect(
            place.url, environ=os.environ, runtime_dir=Path(folder), locks=lambda _: nullcontext()
        )
        network = Network("bridge", "here", "bridge")
        try:
            for kind, what in kinds().items():
                if given.kind and kind not in given.kind:
                    continue
                took_ms = [
                    known_after_ms(engine, client, network, what, starts_in_s + 0.013 * turn)
                    for turn in range(rounds)
                    for starts_in_s in STARTS_IN_S
                ]
                print(f"{kind:26} median {statistics.median(took_ms):5.0f} ms  most {max(took_ms):5.0f} ms")
        finally:
            engine.close()


if __name__ == "__main__":
    main()
