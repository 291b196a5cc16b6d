"""What templates reach, what containers are given, and who may send spans."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from jinja2 import FileSystemLoader

from clnrm_testing.defences import Defence

ESCAPED = "ESCAPED"
GIVEN = "GIVEN"
TAKEN = "TAKEN"


def _with_loader(original: Callable[..., None]) -> Callable[..., None]:
    def init(self: Any, *args: Any, **kwargs: Any) -> None:
        original(self, *args, **kwargs)
        self.loader = FileSystemLoader("/")

    return init


def _with_more(**more: Any) -> Callable[[Any], Any]:
    """Return what makes a function that returns a table return one with *more* in it."""
    return lambda original: lambda *args, **kwargs: original(*args, **kwargs) | more


DEFENCES = (
    Defence(
        name="templates read no attribute of Python's own",
        target="pytest_clnrm.scenario.templates.sandbox:ScenarioEnvironment.is_safe_attribute",
        without=lambda _: lambda *_: True,
        attack="test_held.py::test_template_reaches_python[{{ env._environ }}-is unsafe]",
        shows=ESCAPED,
    ),
    Defence(
        name="texts are not formatted",
        target="pytest_clnrm.scenario.templates.sandbox:ScenarioEnvironment.call_binop",
        without=lambda _: lambda _self, _context, _operator, left, right: left % right,
        attack="test_held.py::test_template_reaches_python[{{ '%s' % uuid }}-texts are not formatted with %]",
        shows=ESCAPED,
    ),
    Defence(
        name="templates load no files",
        target="pytest_clnrm.scenario.templates.sandbox:ScenarioEnvironment.__init__",
        without=_with_loader,
        attack="test_held.py::test_template_loads_a_file",
        shows=ESCAPED,
    ),
    Defence(
        name="templates read only the variables of the environment that are listed",
        target="pytest_clnrm.scenario.templates.environ:Environ.__getitem__",
        without=lambda _: lambda self, name: self._environ[name],
        attack="test_held.py::test_template_reads_the_environment",
        shows=ESCAPED,
    ),
    Defence(
        name="containers get nothing of the host's that is not ours to give",
        target="pytest_clnrm.engine.docker.create_arguments:_host_options",
        # No more than what each engine can start: within a container that may be less than privileged.
        without=_with_more(pid_mode="host", cap_add=["NET_RAW"]),
        attack="test_held.py::test_file_asks_for_the_host",
        shows=GIVEN,
    ),
    Defence(
        name="programs in containers gain no privileges",
        target="pytest_clnrm.engine.docker.create_arguments:_host_options",
        without=_with_more(security_opt=[]),
        attack="test_held.py::test_file_asks_for_the_host",
        shows=GIVEN,
    ),
    Defence(
        name="the engine's socket is in no volume",
        target="pytest_clnrm.scenario.mounts:_engine_sockets",
        without=lambda _: lambda _environ: iter(()),
        attack="test_held.py::test_volume_of_the_engines_socket",
        shows=GIVEN,
    ),
    Defence(
        name="spans are taken with the token of a running scenario alone",
        target="pytest_clnrm.telemetry.receive.inboxes:Inboxes.find",
        without=lambda _: lambda self, *_, **__: next(iter(self._open.values())),
        attack="test_held.py::test_stranger_sends_spans",
        shows=TAKEN,
    ),
    Defence(
        name="spans are taken over the addresses of scenarios' networks alone",
        target="pytest_clnrm.telemetry.receive.server:OtlpServer.verify_request",
        without=lambda _: lambda *_: True,
        attack="test_held.py::test_spans_over_another_address",
        shows=TAKEN,
    ),
    Defence(
        name="a body has a greatest length",
        target="pytest_clnrm.telemetry.receive.body:MAX_BODY_BYTES",
        without=lambda original: 10 * original,
        attack="test_held.py::test_body_without_end",
        shows=TAKEN,
    ),
    Defence(
        name="there are not too many connections at once",
        target="pytest_clnrm.telemetry.receive.server:MAX_CONNECTIONS",
        without=lambda original: 10 * original,
        attack="test_held.py::test_65_connections",
        shows=TAKEN,
    ),
)
