"""A small queue of jobs in Redis: they are kept, run once, tried again and given up."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

Handlers = dict[str, Callable[..., Any]]


class Queue:
    """Jobs of one name of a queue.

    :param client: of redis-py.
    :param tries: how often a job is tried.
    """

    def __init__(self, client: Any, name: str, *, tries: int = 3) -> None:
        self._client = client
        self._name = name
        self._tries = tries

    def _key(self, kind: str) -> str:
        return f"{self._name}:{kind}"

    def put(self, function: str, *args: Any) -> int:
        """Add a job and return its number."""
        number = int(self._client.incr(self._key("last")))
        job = {"number": number, "function": function, "args": args, "tried": 0}
        self._client.rpush(self._key("waiting"), json.dumps(job))
        return number

    def work(self, handlers: Handlers) -> int:
        """Run jobs until none waits, and return how many runs that were."""
        runs = 0
        while (data := self._client.lpop(self._key("waiting"))) is not None:
            runs += 1
            self._run(json.loads(data), handlers)
        return runs

    def _run(self, job: dict[str, Any], handlers: Handlers) -> None:
        job["tried"] += 1
        try:
            result = handlers[job["function"]](*job["args"])
        except Exception as error:  # noqa: BLE001 (whatever a job raises)
            if job["tried"] < self._tries:
                self._client.rpush(self._key("waiting"), json.dumps(job))
            else:
                self._client.hset(self._key("failed"), str(job["number"]), repr(error))
        else:
            self._client.hset(self._key("results"), str(job["number"]), json.dumps(result))

    def result(self, number: int) -> Any:
        """Return what a job has returned; None if it has not."""
        data = self._client.hget(self._key("results"), str(number))
        return None if data is None else json.loads(data)

    def failure(self, number: int) -> str | None:
        """Return what a job was given up for."""
        data = self._client.hget(self._key("failed"), str(number))
        return None if data is None else data.decode()

    def __len__(self) -> int:
        return int(self._client.llen(self._key("waiting")))
