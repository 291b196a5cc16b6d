"""What the tests of the queue need, with testcontainers-python."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import redis
from jobs import Queue
from testcontainers.redis import RedisContainer


@pytest.fixture(scope="session")
def redis_container() -> Iterator[RedisContainer]:
    with RedisContainer("redis:7") as container:
        yield container


@pytest.fixture(scope="session")
def client(redis_container: RedisContainer) -> redis.Redis:
    return redis_container.get_client()


@pytest.fixture
def queue(client: redis.Redis) -> Queue:
    client.flushdb()
    return Queue(client, "queue")
