"""Tests of the queue: the same with either conftest."""

from __future__ import annotations

from typing import Any

import pytest
from jobs import Queue


def test_a_new_queue_is_empty(queue: Queue) -> None:
    assert len(queue) == 0
    assert queue.work({}) == 0


def test_a_job_runs_once(queue: Queue) -> None:
    ran: list[int] = []
    queue.put("note", 1)
    assert queue.work({"note": ran.append}) == 1
    assert queue.work({"note": ran.append}) == 0
    assert ran == [1]


def test_jobs_run_in_their_order(queue: Queue) -> None:
    ran: list[int] = []
    for number in range(5):
        queue.put("note", number)
    assert len(queue) == 5
    queue.work({"note": ran.append})
    assert ran == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("value", [0, "text", [1, 2], {"a": None}, None])
def test_a_result_is_kept(queue: Queue, value: Any) -> None:
    number = queue.put("same", value)
    assert queue.result(number) is None
    queue.work({"same": lambda each: each})
    assert queue.result(number) == value


def test_each_job_has_its_number(queue: Queue) -> None:
    assert [queue.put("x") for _ in range(3)] == [1, 2, 3]


def test_a_job_is_tried_again(queue: Queue) -> None:
    left = [OSError("busy"), OSError("busy")]

    def flaky() -> str:
        if left:
            raise left.pop()
        return "done"

    number = queue.put("flaky")
    assert queue.work({"flaky": flaky}) == 3
    assert queue.result(number) == "done"
    assert queue.failure(number) is None


def test_a_job_that_always_fails_is_given_up(queue: Queue) -> None:
    def fails() -> None:
        raise ValueError("never")

    number = queue.put("fails")
    assert queue.work({"fails": fails}) == 3
    assert queue.failure(number) == "ValueError('never')"
    assert queue.result(number) is None


def test_an_unknown_function_is_a_failure(queue: Queue) -> None:
    number = queue.put("nobody")
    queue.work({})
    assert queue.failure(number) == "KeyError('nobody')"


def test_a_failure_keeps_nobody_waiting(queue: Queue) -> None:
    ran: list[int] = []
    queue.put("nobody")
    queue.put("note", 1)
    queue.work({"note": ran.append})
    assert ran == [1]
