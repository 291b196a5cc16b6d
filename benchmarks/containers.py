"""Scenarios a second: ours fresh and reused, beside the engine's own limit and testcontainers-python.

All contenders do the same work: containers of the same image under the same limits, the same commands, whose
exit code is checked. Their output is checked by ours alone: docker-py, on which the others stand, loses what
the engine sends in one piece with its answer's head, which happens on a busy machine.

What is timed is what the engine tells by its events: from the first container's creation to the last one's
removal, so that no contender's way of starting up counts.

* the engine's limit: threads that only create, start, exec and remove, over docker-py's low-level client,
  with the limits and the network of ours, and no init process;
* the least that fresh containers take: the same threads, which ask for no exec, as ours does not: the
  container's main process is a shell that gets the commands and ends by itself. What ours takes beyond that
  is the work of pytest, its workers and this plugin;
* testcontainers-python under ``-n 8``, a container a test, without its reaper, which would have to be pulled:
  once on a network without a way out, one a worker, as our scenarios have it, and once as it comes, on the
  engine's default bridge, which costs the engine less;
* ours under ``-n 8``, a scenario a file.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache, partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from measuring.engine import IMAGE, KEEP_ALIVE, Place, watch_lives
from measuring.figures import Figure, Row, at_least, at_most, median_of, ratio_of
from measuring.pytest_runs import run_pytest
from measuring.rounds import in_turns
from steps import run_plain

if TYPE_CHECKING:
    from docker import APIClient

__all__ = ["measure"]

TITLES = {"a": "fresh containers, -n 8", "b": "reusable containers, -n 8"}
POOL_OPTION = "--clnrm-pool"
PROOF_SPAN = "clnrm.container.prove"
NO_POOL = "no pool in this version"
NO_PEER = "testcontainers is not installed: pip install 'pytest-clnrm[benchmark]'"
AT_ONCE = 8
# What hypothesis's plugin imports takes each worker a tenth of a second, at its end.
COMMON = ("-n", str(AT_ONCE), "-p", "no:hypothesispytest")
STEPS = 2
MEMORY_MB = 64
CPUS = 1.0
PIDS = 512
CONTAINER = f"""
[service.box]
image = "{IMAGE}"
"""
STEP = """
[[step]]
name = "step {number}"
run = "echo {number}"
expect = {{ stdout = {{ equals = "{number}\\n" }} }}
"""
PEER = f"""
import pytest
from testcontainers.core.container import DockerContainer
from testcontainers.core.network import Network

LIMITS = dict(mem_limit={MEMORY_MB << 20}, memswap_limit={MEMORY_MB << 20}, nano_cpus={round(CPUS * 1e9)},
              pids_limit={PIDS}, security_opt=["no-new-privileges"])

@pytest.fixture(scope="session")
def network():
    if {{isolated}}:
        with Network(docker_network_kw=dict(internal=True)) as made:
            yield made
    else:
        yield None

@pytest.mark.parametrize("number", range({{count}}))
def test(network, number):
    box = DockerContainer("{IMAGE}").with_command("{" ".join(KEEP_ALIVE)}").with_kwargs(**LIMITS)
    with box.with_network(network) if network else box:
        for step in range({STEPS}):
            assert box.exec(["sh", "-c", f"echo {{{{step}}}}"]).exit_code == 0
"""


@dataclass(frozen=True, slots=True)
class Sample:
    """What one contender did in one round.

    :param per_s: scenarios a second.
    :param created: how many containers were created.
    :param proof_ms: of each proof of a container's cleanliness.
    """

    per_s: float
    created: int
    wall_s: float
    proof_ms: tuple[float, ...] = ()


Work = Callable[[], Sequence[float]]
"""Does the work; returns the proofs' milliseconds."""


def measure(place: Place | None, wanted: Sequence[str], *, quick: bool) -> list[Row]:
    """Return row (a), row (b) or both; all contenders run side by side.

    :param wanted: "a", "b" or both.
    """
    pool = has_pool()
    keys = [key for key in wanted if key == "a" or pool]
    rows = [Row(key=key, title=TITLES[key], notes=(NO_POOL,)) for key in wanted if key not in keys]
    if place is None:
        return [Row(key=key, title=TITLES[key], notes=("no engine answers",)) for key in wanted]
    if not keys:
        return rows
    rounds, fresh, reused = (1, 8, 16) if quick else (5, 48, 1000)
    has_peer = find_spec("testcontainers") is not None
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        contenders: dict[str, Callable[[], Sample]] = {
            "engine": partial(timed, place, fresh, partial(use_engine, place, fresh, use_execs))
        }
        if "a" in keys:
            contenders["least"] = partial(timed, place, fresh, partial(use_engine, place, fresh, use_shell))
        if has_peer:
            for name in ("isolated", "bridged"):
                project = peer_project(folder / name, place, fresh, isolated=name == "isolated")
                contenders[name] = partial(timed, place, fresh, project)
        if "a" in keys:
            project = our_project(folder / "fresh", place, fresh, "off" if pool else "")
            contenders["a"] = partial(timed, place, fresh, project)
        if "b" in keys:
            project = our_project(folder / "reused", place, reused, "proven")
            contenders["b"] = partial(timed, place, reused, project, reuses=True)
        samples = in_turns(contenders, rounds)
    notes = () if has_peer else (NO_PEER,)
    counts = {"a": fresh, "b": reused}
    rows += [
        Row(
            key=key,
            title=TITLES[key],
            sizes=f"{rounds} rounds, {counts[key]} scenarios of {STEPS} steps; the others {fresh}",
            figures=tuple(figures(key, samples)),
            notes=(*notes, *told(key, samples[key], counts[key])),
        )
        for key in keys
    ]
    return sorted(rows, key=lambda row: row.key)


def figures(key: str, samples: Mapping[str, Sequence[Sample]]) -> list[Figure]:
    """Return a row's figures."""
    rates = {name: [each.per_s for each in one] for name, one in samples.items()}
    targets = {
        "isolated": at_least(1.3 if key == "a" else 20),
        "bridged": at_least(1.3 if key == "a" else 12),
        **({"engine": at_least(0.95)} if key == "a" else {}),
    }
    names = {
        "engine": "the engine's limit",
        "least": "the least that fresh containers take",
        "isolated": "testcontainers-python, isolated as ours",
        "bridged": "testcontainers-python, default bridge",
    }
    found = [
        ratio_of(f"ours : {words}", rates, key, name, targets.get(name))
        for name, words in names.items()
        if name in rates
    ]
    if key == "a":
        found += [
            ratio_of(f"{names['least']} : {names[name]}", rates, "least", name)
            for name in ("isolated", "bridged")
            if name in rates
        ]
    found += [
        median_of(words, rates[name], "/s") for name, words in {key: "ours", **names}.items() if name in rates
    ]
    proofs = [each for one in samples[key] for each in one.proof_ms]
    if proofs:
        found.append(median_of("proof of a container", proofs, "ms", at_most(40)))
    return found


def told(key: str, samples: Sequence[Sample], count: int) -> list[str]:
    """Return what else is to be known of our runs."""
    walls = statistics.median(each.wall_s for each in samples)
    notes = [f"the whole run, pytest and its workers included: {count / walls:.2f} scenarios/s"]
    if key == "b":
        created = ", ".join(str(each.created) for each in samples)
        notes.append(f"containers created for {count} scenarios: {created}")
        if not any(each.proof_ms for each in samples):
            notes.append("no span tells what the proofs cost")
    return notes


def timed(place: Place, count: int, work: Work, *, reuses: bool = False) -> Sample:
    """Let a contender run *count* scenarios.

    :raises RuntimeError: if the number of containers that it created is not what it has to be.
    """
    with watch_lives(place) as lives:
        began_s = time.monotonic()
        proof_ms = work()
        wall_s = time.monotonic() - began_s
    created = len(lives.created_s)
    if created > count or (created < count and not reuses):
        raise RuntimeError(
            f"{created} containers were created for {count} scenarios: does somebody else use {place.url}?"
        )
    return Sample(count / lives.span_s, created, wall_s, tuple(proof_ms))


@cache
def has_pool() -> bool:
    """Tell whether this version has a pool of containers."""
    said = subprocess.run(
        [sys.executable, "-m", "pytest", "--help"], capture_output=True, text=True, check=True
    ).stdout
    return POOL_OPTION in said


def our_project(folder: Path, place: Place, count: int, pool: str) -> Work:
    """Write a project of scenario files; return what runs it.

    :param pool: how containers are reused, "" where that is no question.
    """
    folder.mkdir()
    (folder / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
    text = CONTAINER + "".join(STEP.format(number=number) for number in range(STEPS))
    for number in range(count):
        (folder / f"s{number}.clnrm.toml").write_text(text, encoding="utf-8")
    arguments = [*COMMON, "--clnrm-max-containers", str(AT_ONCE), "--clnrm-pull", "never"]
    arguments += ["--clnrm-memory", str(MEMORY_MB), "--clnrm-cpu", str(CPUS)]
    if pool:
        arguments += [POOL_OPTION, pool]
    if pool == "proven":
        arguments += ["--clnrm-report", str(folder / "report")]

    def run() -> list[float]:
        run_pytest(folder, arguments, {"DOCKER_HOST": place.url})
        return proofs_ms(folder / "report" / "trace.otlp.json")

    return run


def proofs_ms(trace: Path) -> list[float]:
    """Return how long each proof of a container's cleanliness took, from the spans of the run's report."""
    if not trace.exists():
        return []
    groups = json.loads(trace.read_text(encoding="utf-8"))["resourceSpans"]
    spans = [span for group in groups for scope in group["scopeSpans"] for span in scope["spans"]]
    return [
        (int(span["endTimeUnixNano"]) - int(span["startTimeUnixNano"])) / 1e6
        for span in spans
        if span["name"] == PROOF_SPAN
    ]


def peer_project(folder: Path, place: Place, count: int, *, isolated: bool) -> Work:
    """Write a project of tests with testcontainers-python; return what runs it."""
    folder.mkdir()
    (folder / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
    (folder / "test_peer.py").write_text(PEER.format(count=count, isolated=isolated), encoding="utf-8")
    environ = {"DOCKER_HOST": place.url, "TESTCONTAINERS_RYUK_DISABLED": "true"}

    def run() -> list[float]:
        run_pytest(folder, [*COMMON, "-p", "no:clnrm"], environ)
        return []

    return run


Use = Callable[["APIClient", str, str], None]
"""Creates a container of a name on a network, runs the steps in it, and removes it."""


def use_engine(place: Place, count: int, use: Use) -> list[float]:
    """Run as many containers through the engine as threads can that do nothing else."""
    numbers = iter(range(count))

    def work(thread: int) -> None:
        name = f"clnrm-benchmark-{os.getpid()}-{thread}"
        with place.client() as client, ExitStack() as cleanup:
            network = client.create_network(name, internal=True)["Id"]
            cleanup.callback(client.remove_network, network)
            for number in numbers:
                use(client, f"{name}-{number}", network)

    with ThreadPoolExecutor(AT_ONCE) as threads:
        list(threads.map(work, range(AT_ONCE)))
    return []


def use_execs(client: APIClient, name: str, network: str) -> None:
    """Have an exec for each step, in a container that sleeps."""
    container = create(client, name, network, KEEP_ALIVE)
    try:
        client.start(container)
        for number in range(STEPS):
            run_plain(client, container, ("sh", "-c", f"echo {number}"))
    finally:
        client.remove_container(container, v=True, force=True)


def use_shell(client: APIClient, name: str, network: str) -> None:
    """Give the steps to a shell that is the container's main process."""
    container = create(client, name, network, ("sh", "-s"), end_mark="benchmark")
    try:
        stream = client.attach_socket(container, params={"stdin": 1, "stdout": 1, "stderr": 1, "stream": 1})
        with stream._sock as connection:  # noqa: SLF001 (the stream itself only reads)
            client.start(container)
            for number in range(STEPS):
                connection.sendall(f"setsid sh -c 'echo step {number}'; echo exit $?\n".encode())
                said = b""
                while said.count(b"\n") < 2:  # noqa: PLR2004 (the step's line and its exit code)
                    said += connection.recv(1 << 16) or b"ended\n\n"
                if f"step {number}\n".encode() not in said or b"exit 0\n" not in said:
                    raise RuntimeError(f"a step's shell said {said!r}")
            connection.sendall(b"exit\n")
            while connection.recv(1 << 16):
                pass
    finally:
        client.remove_container(container, v=True, force=True)


def create(client: APIClient, name: str, network: str, command: Sequence[str], *, end_mark: str = "") -> str:
    """Create a container as ours are, and return its id.

    :param end_mark: of one that takes its commands on its standard input.
    """
    from pytest_clnrm.engine.api import ContainerSpec
    from pytest_clnrm.engine.docker.create_arguments import create_arguments

    spec = ContainerSpec(
        name=name,
        image=IMAGE,
        memory_bytes=MEMORY_MB << 20,
        cpus=CPUS,
        pids=PIDS,
        command=tuple(command),
        replace_entrypoint=True,
        networks=(network,),
        aliases=("box",),
    )
    arguments = create_arguments(
        client, spec, proxies={}, published_on="127.0.0.1", relabel=False, end_mark=end_mark
    )
    # As ours, which waits in a shell; who sleeps instead is not to pay for what it could do without.
    arguments["host_config"]["Init"] = False
    return str(client.create_container(**arguments)["Id"])
