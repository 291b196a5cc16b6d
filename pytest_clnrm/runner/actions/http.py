"""A request to a service of the scenario.

It goes to the container itself, from here or through the relay. A name is that of a service, and nothing else
is looked up: neither this host nor the world can be asked, whatever a redirect says.
"""

from __future__ import annotations

import socket
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from pytest_clnrm.expect.http import judge_answer, source_of
from pytest_clnrm.expect.steps import capture_from
from pytest_clnrm.runner.actions.attempt import Attempt
from pytest_clnrm.runner.http_client import NoAnswerError, send
from pytest_clnrm.runner.ready_network import in_words
from pytest_clnrm.util.output import BoundedOutput
from pytest_clnrm.util.patterns import within

if TYPE_CHECKING:
    from pytest_clnrm.model.http import HttpAnswer, HttpRequest
    from pytest_clnrm.runner.actions.attempt import Setting


def run_http(request: HttpRequest, setting: Setting) -> Attempt:
    """Send *request*, and judge the answer.

    :raises ClnrmError: if the engine does not do what it is asked for.
    """
    span, step = setting.span, setting.step
    traceparent = setting.around.trace.begin_step(step.name, span.traceparent)
    url = urlsplit(request.url)
    span.set("http.request.method", request.method)
    span.set("url.full", request.url)
    span.set("server.address", url.hostname)
    # Until all of it is there nobody knows what is a secret.
    held = BoundedOutput() if any(each.secret for each in step.captures) else None
    try:
        answer = send(
            request,
            dial=lambda host, port, timeout_s: reach(setting, host, port, timeout_s=timeout_s),
            cookies=setting.around.cookies,
            headers={"traceparent": traceparent} if traceparent else {},
            deadline_s=setting.deadline_s,
            show=partial(setting.feed, "stdout") if held is None else held.feed,
        )
    except NoAnswerError as error:
        if error.timed_out:
            cut_off = setting.cut_off()
            failure = replace(cut_off, message=f"{cut_off.message}: {error}")
        else:
            failure = setting.failure(str(error), at=request.at)
        return Attempt(failures=(failure,), timed_out=error.timed_out)
    span.set("http.response.status_code", answer.status)
    with within(setting.deadline_s):
        if held is not None:
            _learn_secrets(answer, setting)
            setting.feed("stdout", held.text().encode())
        failures = judge_answer(step, answer, where=setting.around.where)
        captured: dict[str, str] = {}
        if not failures and step.captures:
            captured, failures = capture_from(step, source_of(answer), where=setting.around.where)
    return Attempt(failures=failures, captured=captured)


def reach(setting: Setting, host: str, port: int, *, timeout_s: float) -> socket.socket:
    """Return a connection to a port of the service that is called *host*.

    :raises NoAnswerError: if there is no such service, or it cannot be reached at all.
    :raises OSError: if it does not accept it.
    """
    around = setting.around
    wanted = host.casefold().rstrip(".")
    names = {
        called.casefold(): each.service.name
        for each in around.containers.values()
        for called in (*each.service.aliases, each.service.name)
    }
    name = names.get(wanted, "")
    if not name:
        known = ", ".join(each.name for each in around.scenario.services) or "none"
        raise NoAnswerError(
            f"the host {host!r} is no service of this scenario ({known}); no other host is ever asked"
        )
    engine, network = around.runtime.engine(), around.network
    state = engine.state(around.containers[name].id)
    if not state.running:
        raise NoAnswerError(f"the service {name!r} does not run any more ({state.describe_end()})")
    places = [] if network is None else [(network, place) for place in network.places(state, port)]
    failed: list[OSError] = []
    for each, place in places:
        try:
            return each.dial(place, timeout_s=timeout_s)
        except OSError as error:  # noqa: PERF203 one or two places
            failed.append(error)
    if failed:
        why, late = in_words(failed[0], timeout_s), isinstance(failed[0], TimeoutError)
        raise NoAnswerError(f"port {port} of the service {name!r}: {why}", timed_out=late)
    why = around.runtime.networks().why_out_of_reach
    raise NoAnswerError(f"the service {name!r} cannot be reached from here" + (f": {why}" if why else ""))


def _learn_secrets(answer: HttpAnswer, setting: Setting) -> None:
    """Hide what the step captures as a secret, even if it fails: then the answer is shown."""
    secret = replace(setting.step, captures=tuple(each for each in setting.step.captures if each.secret))
    captured, _ = capture_from(secret, source_of(answer), where=setting.around.where)
    setting.around.redactor.add(captured.values())
