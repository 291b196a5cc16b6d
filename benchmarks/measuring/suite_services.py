"""Services that run before the suite of row k does, so that its tests start no containers of their own."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.request import urlopen

from measuring.debian_images import APP, POSTGRES, REDIS

if TYPE_CHECKING:
    from docker import APIClient

    from measuring.engine import Place

__all__ = ["running_services"]

_PATIENCE_S = 120.0
_ACCOUNT = "test"


@contextmanager
def running_services(place: Place, workers: int, schema: str) -> Iterator[dict[str, str]]:
    """Yield where each worker finds its database, its part of Redis and its application, all of them ready.

    There is one PostgreSQL and one Redis for all workers.

    :param schema: SQL that makes the tables of a database.
    :return: "SUITE_DATABASE_gw0", "SUITE_CACHE_gw0", "SUITE_APPLICATION_gw0" -> URL, and so on.
    """
    with place.client() as client, ExitStack() as stack:
        network = f"clnrm-benchmark-{secrets.token_hex(4)}"
        client.create_network(network)
        stack.callback(client.remove_network, network)

        def start(image: str, port: int, *aliases: str, **env: str) -> str:
            networks = {"EndpointsConfig": {network: {"Aliases": aliases}}}
            return stack.enter_context(_running(client, image, port, networks, env))

        account = {"POSTGRES_USER": _ACCOUNT, "POSTGRES_PASSWORD": _ACCOUNT}
        postgres, redis = start(POSTGRES, 5432, "db", **account), start(REDIS, 6379, "cache")
        credentials = f"{_ACCOUNT}:{_ACCOUNT}"
        names = [f"gw{number}" for number in range(workers)]
        _make_databases(f"postgresql://{credentials}@{postgres}", names, schema)
        addresses = {}
        for number, name in enumerate(names):
            addresses[f"SUITE_DATABASE_{name}"] = f"postgresql://{credentials}@{postgres}/{name}"
            addresses[f"SUITE_CACHE_{name}"] = f"redis://{redis}/{number}"
            application = start(
                APP,
                8000,
                DATABASE_URL=f"postgresql://{credentials}@db/{name}",
                REDIS_URL=f"redis://cache/{number}",
            )
            addresses[f"SUITE_APPLICATION_{name}"] = f"http://{application}/"
        for name in names:
            _await(partial(_ask, addresses[f"SUITE_APPLICATION_{name}"]))
        yield addresses


@contextmanager
def _running(
    client: APIClient, image: str, port: int, networks: dict[str, Any], env: dict[str, str]
) -> Iterator[str]:
    """Yield host and port at which a container is reached, and remove it at the end."""
    container = client.create_container(
        image,
        environment=env,
        ports=[port],
        host_config=client.create_host_config(port_bindings={port: ("127.0.0.1", None)}),
        networking_config=networks,
    )["Id"]
    try:
        client.start(container)
        yield f"127.0.0.1:{client.port(container, port)[0]['HostPort']}"
    finally:
        client.remove_container(container, force=True, v=True)


def _make_databases(server: str, names: list[str], schema: str) -> None:
    import psycopg

    def make() -> None:
        with psycopg.connect(f"{server}/postgres", autocommit=True) as admin:
            for name in names:
                admin.execute(f"CREATE DATABASE {name}")

    _await(make)
    for name in names:
        with psycopg.connect(f"{server}/{name}") as own:
            own.execute(schema)


def _ask(url: str) -> None:
    urlopen(url).close()  # noqa: S310 (of the application)


def _await(attempt: Callable[[], None]) -> None:
    """Return once *attempt* raises nothing, or raise what it raises in the end."""
    give_up_s = time.monotonic() + _PATIENCE_S
    while time.monotonic() < give_up_s:
        with suppress(Exception):
            return attempt()
        time.sleep(0.1)
    return attempt()
