"""What the tests of the queue need, with pytest-clnrm."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import redis
from jobs import Queue

from pytest_clnrm import Container, Containers


@pytest.fixture(scope="session")
def redis_container(clnrm_factory: Containers) -> Iterator[Container]:
    with clnrm_factory.redis() as container:
        yield container


@pytest.fixture(scope="session")
def client(redis_container: Container) -> redis.Redis:
    return redis.Redis.from_url(redis_container.url())


@pytest.fixture
def queue(client: redis.Redis) -> Queue:
    client.flushdb()
    return Queue(client, "queue")
