"""A cluster as the engine: a step's latency, and the time from a scenario's begin to its first step's end."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from typing import TYPE_CHECKING

from measuring.figures import Row, at_most, median_of, ratio_of
from measuring.rounds import in_turns
from pytest_clnrm.engine.api import ContainerSpec, ExecSpec
from pytest_clnrm.engine.exec.waiting import KEEP_ALIVE
from pytest_clnrm.model.priority import Priority

if TYPE_CHECKING:
    from pytest_clnrm.engine.api import Engine

__all__ = ["measure"]

TITLE = "a scenario on a cluster"
LABELS = {"clnrm-benchmark": "q"}
_number = count()


class Alone:
    """The scenario of one container, whose room is there or waited for."""

    name = "benchmark"
    containers = 1
    priority = Priority.NORMAL
    waited_s = 0.0

    def lacks(self, container: str, why: str, *, is_made: bool) -> None:
        """Wait on."""

    def has_room(self, container: str) -> None:
        """Do nothing."""


def measure(*, quick: bool) -> Row:
    """Return the row, of the cluster that CLNRM_KUBECONFIG names; its nodes have CLNRM_CLUSTER_IMAGE."""
    kubeconfig = os.environ.get("CLNRM_KUBECONFIG", "")
    if not kubeconfig:
        return Row(key="q", title=TITLE, notes=("no cluster: CLNRM_KUBECONFIG names no kubeconfig",))
    from pytest_clnrm.engine.kubernetes.connect import connect_cluster

    rounds, steps = (1, 5) if quick else (8, 50)
    image = os.environ.get("CLNRM_CLUSTER_IMAGE", "busybox:1.36")
    engine = connect_cluster("kubernetes", {**os.environ, "KUBECONFIG": kubeconfig})
    try:
        engine.ensure_image(image, "missing")
        contenders = {
            "ours": lambda: fresh(engine, image, steps, Alone()),
            "told": lambda: fresh(engine, image, 0, None),
        }
        in_turns(contenders, 1)
        times = in_turns(contenders, rounds)
    finally:
        engine.close()
    first = {name: [each[0] for each in times[name]] for name in times}
    return Row(
        key="q",
        title=TITLE,
        sizes=f"{rounds} pods of each, {rounds * steps} trivial steps",
        figures=(
            median_of("a step", [step for each in times["ours"] for step in each[1:]], "ms", at_most(5)),
            median_of("network, pod and first step", first["ours"], "ms", at_most(1500)),
            median_of("the same, as the cluster tells that it runs", first["told"], "ms"),
            ratio_of("that : ours", first, "told", "ours"),
        ),
    )


def fresh(engine: Engine, image: str, steps: int, admission: Alone | None) -> list[float]:
    """Return how long network, pod and first step took, and then each further step, in ms."""
    began_s = time.perf_counter()
    with a_container(engine, image, admission) as container:
        run(engine, container)
        times = [(time.perf_counter() - began_s) * 1000]
        for _ in range(steps):
            began_s = time.perf_counter()
            run(engine, container)
            times.append((time.perf_counter() - began_s) * 1000)
    return times


@contextmanager
def a_container(engine: Engine, image: str, admission: Alone | None) -> Iterator[str]:
    """Yield a container that waits for commands, on a network of its own."""
    name = f"clnrm-benchmark-{os.getpid()}-{next(_number)}"
    network = engine.create_network(f"{name}-n", internal=True, labels=LABELS)
    container = engine.create_container(
        ContainerSpec(
            name=name,
            image=image,
            memory_bytes=32 << 20,
            cpus=0.05,
            pids=64,
            command=KEEP_ALIVE,
            networks=(network,),
            aliases=("box",),
            labels=LABELS,
            admission=admission,
        )
    )
    try:
        engine.start(container, deadline_s=time.monotonic() + 120)
        yield container
    finally:
        engine.remove([container])
        engine.remove_network(network)


def run(engine: Engine, container: str) -> None:
    """Run a trivial command."""
    outcome = engine.exec(
        container, ExecSpec(argv=("true",)), on_output=lambda *_: None, deadline_s=time.monotonic() + 60
    )
    if outcome.exit_code != 0:
        raise RuntimeError(f"it ended so: {outcome}")
