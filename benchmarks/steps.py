"""A step's latency: our exec of trivial commands in one container, beside a plain exec over the API."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from measuring.engine import IMAGE, KEEP_ALIVE, Place
from measuring.figures import Row, at_most, median_of, ratio_of
from measuring.rounds import in_turns

if TYPE_CHECKING:
    from docker import APIClient

    from pytest_clnrm.engine.api import Engine

__all__ = ["measure"]

TITLE = "a step's latency"
COMMAND = ("sh", "-c", ":")


def measure(place: Place | None, *, quick: bool) -> Row:
    """Return the row: the median of all steps, in ten rounds of ours and of plain execs in turns."""
    if place is None:
        return Row(key="c", title=TITLE, notes=("no engine answers",))
    rounds, ours_a_round, plain_a_round = (2, 10, 3) if quick else (10, 100, 20)
    from pytest_clnrm.engine.api import ContainerSpec
    from pytest_clnrm.engine.connect.connect import connect

    with tempfile.TemporaryDirectory() as folder, place.client() as client:
        engine = connect(
            place.url, environ=os.environ, runtime_dir=Path(folder), locks=lambda _: nullcontext()
        )
        container = engine.create_container(
            ContainerSpec(
                name=f"clnrm-benchmark-{os.getpid()}",
                image=IMAGE,
                memory_bytes=64 << 20,
                cpus=1.0,
                pids=64,
                command=KEEP_ALIVE,
                replace_entrypoint=True,
            )
        )
        try:
            engine.start(container)
            contenders = {
                "ours": lambda: timed(lambda: run_ours(engine, container), ours_a_round),
                "plain": lambda: timed(lambda: run_plain(client, container), plain_a_round),
            }
            in_turns(contenders, 1)
            times = in_turns(contenders, rounds)
        finally:
            engine.remove([container])
            engine.close()
    ours, plain = ([each for one in times[name] for each in one] for name in ("ours", "plain"))
    medians = {name: [median_of(name, one, "ms").value for one in times[name]] for name in times}
    return Row(
        key="c",
        title=TITLE,
        sizes=f"{len(ours)} trivial steps in one container, {len(plain)} plain execs",
        figures=(
            median_of("Engine.exec", ours, "ms", at_most(2)),
            median_of("exec over the API: create, start, inspect", plain, "ms"),
            ratio_of("plain exec : Engine.exec", medians, "plain", "ours"),
        ),
    )


def timed(step: Callable[[], object], count: int) -> list[float]:
    """Return how long each of *count* calls took, milliseconds."""
    times_ms = []
    for _ in range(count):
        began_s = time.perf_counter()
        step()
        times_ms.append((time.perf_counter() - began_s) * 1000)
    return times_ms


def run_ours(engine: Engine, container: str) -> None:
    """Run the command as steps are run."""
    from pytest_clnrm.engine.api import ExecSpec

    outcome = engine.exec(
        container, ExecSpec(argv=COMMAND), on_output=lambda *_: None, deadline_s=time.monotonic() + 60
    )
    assert outcome.exit_code == 0, outcome


def run_plain(client: APIClient, container: str, command: tuple[str, ...] = COMMAND) -> None:
    """Run a command by an exec of its own, as ``docker exec`` does.

    :raises AssertionError: if it fails.
    """
    execution = client.exec_create(container, list(command))["Id"]
    output = client.exec_start(execution)
    assert client.exec_inspect(execution)["ExitCode"] == 0, output
