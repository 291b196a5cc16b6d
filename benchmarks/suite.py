"""A real suite: 200 tests over PostgreSQL, Redis and a small application, under ``-n 8``, written twice.

For testcontainers-python with fixtures of session scope, as its docs say: each worker has services of its
own. For us with one PostgreSQL and one Redis for all workers, a database a worker made from a template, and
an application a worker on it: from plain images; as a second run, whose PostgreSQL starts from the image
that the first one has prepared; and as one for which the first one's services have stayed, too. And without
any containers of theirs, on services that run before they do: what takes longer than that is what containers
cost, and all that any tool can save. The tests are the same file. What is timed is the whole run, as a user
waits for it, and where its time goes.
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
from functools import partial
from importlib.util import find_spec
from pathlib import Path

from measuring.debian_images import APP, POSTGRES, REDIS, make_debian_images
from measuring.engine import Place
from measuring.figures import Figure, Row, at_least, median_of, ratio_of
from measuring.pytest_runs import run_pytest
from measuring.rounds import in_turns
from measuring.suite_services import running_services

__all__ = ["measure"]

TITLE = "a suite over PostgreSQL, Redis and an application, -n 8"
NO_PEER = "testcontainers, psycopg or redis is not installed: pip install 'pytest-clnrm[benchmark]'"
WORKERS = 8
SCHEMA = """CREATE TABLE orders (id serial PRIMARY KEY, customer integer NOT NULL);
CREATE INDEX ON orders (customer);
"""
TESTS = """
import json
from urllib.request import Request, urlopen

import pytest


def orders(url):
    with urlopen(url) as answer:
        return json.load(answer)["orders"]


@pytest.mark.parametrize("number", range({count}))
def test_an_order_is_kept_and_counted(application, database, cache, number):
    before = orders(application)
    with urlopen(Request(application, data=json.dumps({{"customer": number}}).encode())) as answer:
        assert answer.status == 201
    assert orders(application) == before + 1
    assert database.execute("SELECT count(*) FROM orders WHERE customer = %s", [number]).fetchone() == (1,)
    assert cache.get(f"customer:{{number}}") == b"1"
"""
TIMES = """
import json
import os
import time
from collections import Counter
from pathlib import Path

times = Counter()
ends = {}


@pytest.hookimpl(wrapper=True)
def pytest_fixture_setup(fixturedef):
    began = time.perf_counter()
    try:
        return (yield)
    finally:
        times[fixturedef.argname] += time.perf_counter() - began


def pytest_runtest_logstart():
    ends.setdefault("first", time.time())


def pytest_runtest_logreport(report):
    ends["last"] = time.time()
    if report.when == "call":
        times["tests"] += report.duration


def pytest_sessionfinish(session):
    if hasattr(session.config, "workerinput"):
        path = Path(os.environ["SUITE_TIMES"]) / session.config.workerinput["workerid"]
        path.write_text(json.dumps({"times": times, **ends}))
"""
PEER = f"""
import psycopg
import pytest
import redis
from testcontainers.core.container import DockerContainer
from testcontainers.core.network import Network
from testcontainers.core.wait_strategies import HttpWaitStrategy
from testcontainers.postgres import PostgresContainer
from testcontainers.redis import RedisContainer


@pytest.fixture(scope="session")
def network():
    with Network() as network:
        yield network


@pytest.fixture(scope="session")
def postgres(network):
    container = PostgresContainer("{POSTGRES}", driver=None)
    with container.with_network(network).with_network_aliases("db") as running:
        with psycopg.connect(running.get_connection_url()) as connection:
            connection.execute('''{SCHEMA}''')
        yield running


@pytest.fixture(scope="session")
def database(postgres):
    with psycopg.connect(postgres.get_connection_url(), autocommit=True) as connection:
        yield connection


@pytest.fixture(scope="session")
def redis_container(network):
    with RedisContainer("{REDIS}").with_network(network).with_network_aliases("cache") as running:
        yield running


@pytest.fixture(scope="session")
def cache(redis_container):
    return redis_container.get_client()


@pytest.fixture(scope="session")
def application(network, postgres, redis_container):
    container = (
        DockerContainer("{APP}")
        .with_env("DATABASE_URL", "postgresql://test:test@db/test")
        .with_env("REDIS_URL", "redis://cache")
        .with_network(network)
        .with_exposed_ports(8000)
        .waiting_for(HttpWaitStrategy(8000, "/"))
    )
    with container as running:
        yield f"http://{{running.get_container_host_ip()}}:{{running.get_exposed_port(8000)}}/"
"""
OURS = f"""
from urllib.parse import urlsplit

import psycopg
import pytest
import redis


@pytest.fixture(scope="session")
def postgres(clnrm_shared):
    return clnrm_shared(
        "db", "{POSTGRES}", preset="postgres",
        files=[{{"source": "schema.sql", "target": "/docker-entrypoint-initdb.d/schema.sql"}}],
        prepare=PREPARE,
    )


@pytest.fixture(scope="session")
def redis_container(clnrm_shared):
    return clnrm_shared("cache", "{REDIS}", preset="redis")


@pytest.fixture(scope="session")
def own_database(postgres, worker_id):
    url = urlsplit(postgres.url())._replace(path="/postgres").geturl()
    with psycopg.connect(url, autocommit=True) as admin:
        admin.execute(f"DROP DATABASE IF EXISTS {{worker_id}}")
        admin.execute(f"CREATE DATABASE {{worker_id}} TEMPLATE test")
    return worker_id


@pytest.fixture(scope="session")
def database(postgres, own_database):
    url = urlsplit(postgres.url())._replace(path=f"/{{own_database}}").geturl()
    with psycopg.connect(url, autocommit=True) as connection:
        yield connection


@pytest.fixture(scope="session")
def cache(redis_container, worker_id):
    client = redis.Redis.from_url(redis_container.url(), db=int(worker_id[2:]))
    client.flushdb()
    return client


@pytest.fixture(scope="session")
def application(clnrm_factory, own_database, redis_container, worker_id):
    env = {{
        "DATABASE_URL": f"postgresql://test:test@db/{{own_database}}",
        "REDIS_URL": f"redis://cache/{{worker_id[2:]}}",
    }}
    ready = {{"http": ":8000/"}}
    with clnrm_factory.container("{APP}", env=env, ports=[8000], ready=ready, memory="64m") as running:
        yield running.url(8000)
"""
RUNNING = """
import os

import psycopg
import pytest
import redis


@pytest.fixture(scope="session")
def database(worker_id):
    with psycopg.connect(os.environ[f"SUITE_DATABASE_{worker_id}"], autocommit=True) as connection:
        yield connection


@pytest.fixture(scope="session")
def cache(worker_id):
    return redis.Redis.from_url(os.environ[f"SUITE_CACHE_{worker_id}"])


@pytest.fixture(scope="session")
def application(worker_id):
    return os.environ[f"SUITE_APPLICATION_{worker_id}"]
"""
PLAIN, PREPARED = "PREPARE = False\n", "PREPARE = True\n"
OUR_ARGUMENTS = ("--clnrm-pull", "never")
WARM_ARGUMENTS = (*OUR_ARGUMENTS, "--clnrm-warm", "10m")
WITHOUT_OURS = ("-p", "no:clnrm")
WORDS = {
    "floor": "on services that run already",
    "peer": "testcontainers-python",
    "cold": "ours, cold",
    "second": "ours, second run",
    "warm": "ours, second run with warm services",
}
TARGETS = {"cold": at_least(8), "second": at_least(15), "warm": at_least(15)}
PARTS = {
    "until the first test": ("start",),
    "fixtures of ours": ("clnrm_factory", "clnrm_shared"),
    "networks": ("network",),
    "PostgreSQL": ("postgres",),
    "databases and clients": ("own_database", "database", "cache"),
    "Redis": ("redis_container",),
    "the application": ("application",),
    "a worker's tests": ("tests",),
    "after the last test": ("end",),
}
"""What of a run takes time, in words -> how that is called in the samples."""

Times = Mapping[str, float]


def measure(place: Place | None, *, quick: bool) -> Row:
    """Return the row: whole runs side by side."""
    if place is None:
        return Row(key="k", title=TITLE, notes=("no engine answers",))
    if not all(map(find_spec, ("testcontainers", "psycopg", "redis"))):
        return Row(key="k", title=TITLE, notes=(NO_PEER,))
    rounds, count = (1, 16) if quick else (5, 200)
    with place.client() as client:
        make_debian_images(client)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        floor = project(folder / "floor", place, RUNNING, count, WITHOUT_OURS)
        contenders: dict[str, Callable[[], Times]] = {
            "floor": partial(on_running_services, place, floor),
            "peer": project(folder / "peer", place, PEER, count, WITHOUT_OURS),
            "cold": project(folder / "cold", place, PLAIN + OURS, count, OUR_ARGUMENTS),
            "second": project(folder / "second", place, PREPARED + OURS, count, OUR_ARGUMENTS),
            "warm": project(folder / "warm", place, PREPARED + OURS, count, WARM_ARGUMENTS),
        }
        try:
            for name in ("second", "warm"):
                contenders[name]()
            samples = in_turns(contenders, rounds)
        finally:
            for name in ("second", "warm"):
                sweep(folder / name, place)
    return Row(
        key="k",
        title=TITLE,
        sizes=f"{rounds} rounds of {count} tests, -n {WORKERS}",
        figures=tuple(figures(samples)),
    )


def figures(samples: Mapping[str, Sequence[Times]]) -> list[Figure]:
    """Return ratios, whole runs, and where their time goes."""
    walls = {name: [each["wall"] for each in one] for name, one in samples.items()}
    found = [
        ratio_of(f"{WORDS['peer']} : {WORDS[name]}", walls, "peer", name, target)
        for name, target in TARGETS.items()
    ]
    found += [median_of(WORDS[name], one, "s") for name, one in walls.items()]
    above = {
        name: [whole - least for whole, least in zip(one, walls["floor"], strict=True)]
        for name, one in walls.items()
        if name != "floor"
    }
    found += [median_of(f"{WORDS[name]}: what containers cost", one, "s") for name, one in above.items()]
    found += [
        ratio_of(f"{WORDS['peer']} : {WORDS[name]}: what containers cost", above, "peer", name)
        for name in TARGETS
        # A busy machine may make the run without containers the longest: no ratio says anything then.
        if min(*above["peer"], *above[name]) > 0
    ]
    found += [
        median_of(
            f"{WORDS[name]}: processor time of pytest and its workers", [each["cpu"] for each in one], "s"
        )
        for name, one in samples.items()
    ]
    return found + [
        median_of(f"{WORDS[name]}: {part}", [sum(each.get(key, 0.0) for key in keys) for each in one], "s")
        for name, one in samples.items()
        for part, keys in PARTS.items()
        if any(key in each for each in one for key in keys)
    ]


def project(
    folder: Path, place: Place, fixtures: str, count: int, arguments: Sequence[str]
) -> Callable[..., Times]:
    """Write the tests with these fixtures; return what runs them, with more variables if it is given some."""
    folder.mkdir(mode=0o700)
    (folder / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
    (folder / "conftest.py").write_text(fixtures + TIMES, encoding="utf-8")
    (folder / "schema.sql").write_text(SCHEMA, encoding="utf-8")
    (folder / "test_orders.py").write_text(TESTS.format(count=count), encoding="utf-8")
    common = ["-n", str(WORKERS), "-p", "no:hypothesispytest", "--clnrm-max-containers", "16"]
    if "no:clnrm" in arguments:
        common = common[:-2]
    return partial(timed, folder, place, [*common, *arguments])


def own_environ(folder: Path, place: Place) -> dict[str, str]:
    """Return the variables of a project with a ledger of its own, and so images that nobody else prepared."""
    # In CI nothing stays warm.
    return {"DOCKER_HOST": place.url, "XDG_RUNTIME_DIR": str(folder), "CI": ""}


def sweep(folder: Path, place: Place) -> None:
    """Remove what a project's runs have kept for the next one."""
    command = [sys.executable, "-m", "pytest_clnrm", "sweep", "--prepared"]
    subprocess.run(
        command, env={**os.environ, **own_environ(folder, place)}, check=True, stdout=subprocess.DEVNULL
    )


def on_running_services(place: Place, run: Callable[..., Times]) -> Times:
    """Run a project on services that are started before it and end after it."""
    with running_services(place, WORKERS, SCHEMA) as addresses:
        return run(addresses)


def timed(
    folder: Path, place: Place, arguments: Sequence[str], more: Mapping[str, str] | None = None
) -> Times:
    """Run a project once; return its parts, seconds, each the mean of its workers."""
    out = folder / f"times-{time.monotonic_ns()}"
    out.mkdir()
    environ = {**own_environ(folder, place), "TESTCONTAINERS_RYUK_DISABLED": "true", "SUITE_TIMES": str(out)}
    environ |= more or {}
    began_s = time.time()
    ran = run_pytest(folder, arguments, environ)
    workers = [json.loads(path.read_text(encoding="utf-8")) for path in out.iterdir()]
    parts = {
        name: statistics.mean(each["times"].get(name, 0.0) for each in workers)
        for name in {name for each in workers for name in each["times"]}
    }
    start_s = min(each["first"] for each in workers) - began_s
    end_s = began_s + ran.wall_s - max(each["last"] for each in workers)
    return {**parts, "start": start_s, "end": end_s, "wall": ran.wall_s, "cpu": ran.cpu_s}
