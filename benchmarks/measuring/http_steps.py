"""A plugin of pytest that times each HTTP step, and after it the same request by bare clients.

What it measured is written to the file that CLNRM_HTTP_TIMES names: milliseconds of each contender.
"""

from __future__ import annotations

import http.client
import json
import os
import time
from collections.abc import Callable, Generator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from pytest_clnrm.model.http import HttpRequest
from pytest_clnrm.runner.steps import StepRunner

if TYPE_CHECKING:
    from pytest_clnrm.model.step import Step

__all__ = ["pytest_runtest_protocol"]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol() -> Generator[None, object, object]:
    """Time the steps of a scenario."""
    times_ms: dict[str, list[float]] = {"ours": [], "http.client": [], "requests": []}
    run = StepRunner.run

    def timed(self: StepRunner, step: Step) -> Any:
        if not isinstance(step.action, HttpRequest):
            return run(self, step)
        result: Any = None

        def ours() -> None:
            nonlocal result
            result = run(self, step)

        host, port, path = _place(self, step.action.url)
        contenders = {
            "ours": ours,
            "http.client": lambda: ask_http_client(host, port, path),
            "requests": lambda: ask_requests(host, port, path),
        }
        # Nobody is always the first after the others.
        turned = len(times_ms["ours"]) % len(contenders)
        for name in (list(contenders) * 2)[turned : turned + len(contenders)]:
            times_ms[name].append(_time_ms(contenders[name]))
        return result

    StepRunner.run = timed  # type: ignore[method-assign]
    try:
        return (yield)
    finally:
        StepRunner.run = run  # type: ignore[method-assign]
        Path(os.environ["CLNRM_HTTP_TIMES"]).write_text(json.dumps(times_ms), encoding="utf-8")


def _time_ms(act: Callable[[], None]) -> float:
    began_s = time.perf_counter()
    act()
    return (time.perf_counter() - began_s) * 1000


def _place(steps: StepRunner, url: str) -> tuple[str, int, str]:
    """Return where the step's service is, and what it is asked for."""
    parts, around = urlsplit(url), steps.around
    assert around.network is not None
    state = around.runtime.engine().state(around.containers[parts.hostname or ""].id)
    ((host, port), *_) = around.network.places(state, parts.port or 80)
    return host, port, parts.path


def ask_http_client(host: str, port: int, path: str) -> None:
    """Make the request with the client of the standard library.

    :raises AssertionError: if it is not answered well.
    """
    with closing(http.client.HTTPConnection(host, port, timeout=60)) as connection:
        connection.request("GET", path)
        answer = connection.getresponse()
        answer.read()
        assert answer.status == http.HTTPStatus.OK


def ask_requests(host: str, port: int, path: str) -> None:
    """Make the request with requests.

    :raises AssertionError: if it is not answered well.
    """
    import requests

    answer = requests.get(f"http://{host}:{port}{path}", timeout=60)
    assert answer.status_code == http.HTTPStatus.OK
    assert answer.content
