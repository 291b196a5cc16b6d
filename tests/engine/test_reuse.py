"""What steps name of running services and of this host."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from clnrm_testing.end_to_end import EndToEnd

pytestmark = pytest.mark.engine

WEB = """
[meta]
service = "client"
[service.web]
image = "x"
command = "mkdir -p /w; echo hello >/w/index.html; exec httpd -f -p 80 -h /w"
ports = [80]
ready = { http = ":80/index.html" }
[service.client]
image = "x"
"""
PLACES = """
[[step]]
name = "address"
run = "wget -q -O - http://{{ service.web.address }}/index.html"
expect = { stdout = { equals = "hello" } }
[[step]]
name = "port"
run = "echo {{ service.web.ports.80 }}"
[[step]]
name = "host"
run = "wget -q -O - http://{{ host }}:{{ vars.port }}/"
expect = { stdout = { equals = "from here" } }
[[step]]
name = "host from a bridge"
service = "web"
run = ["wget", "-q", "-O", "-", "http://host.clnrm.internal:{{ vars.port }}/"]
expect = { stdout = { equals = "from here" } }
[[step]]
name = "a new port"
restart = "web"
[[step]]
name = "address again"
run = "wget -q -O - http://{{ service.web.address }}/index.html"
[[step]]
name = "ended"
kill = "web"
[[step]]
name = "no address"
run = "echo {{ service.web.address }}"
"""


class Here(BaseHTTPRequestHandler):
    """Answers that it is here."""

    def do_GET(self) -> None:
        """Answer."""
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"from here")

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def serving() -> Iterator[int]:
    """Yield a port of all addresses of this host at which a server answers."""
    with HTTPServer(("", 0), Here) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


def test_running_services_and_this_host(project: EndToEnd) -> None:
    """Steps reach what they name; one that names what is gone says why it is not known."""
    with serving() as port:
        project.write("places.clnrm.toml", f"[vars]\nport = {port}\n{WEB}{PLACES}")
        run = project.run()
    steps = run.steps("places")
    failed = {name: each["failures"] for name, each in steps.items() if each["failures"]}
    assert list(failed) == ["no address"], run.text
    assert failed["no address"][0]["message"] == (
        "{{ service.web.address }} is not known: the service 'web' does not run (exit code 137 "
        "(killed by SIGKILL))"
    )
    assert 1024 < int(steps["port"]["stdout"]) < 65536


LOGIN = """
[steps.login]
args = ["user"]
defaults = { code = 0 }
[[steps.login.step]]
name = "ask"
run = "echo token of {{ args.user }}"
capture = { token = { regex = "token of (.*)" } }
[[steps.login.step]]
name = "show"
run = "echo {{ token }}; exit 3"
expect = { exit = "{{ args.code }}", stdout = { equals = "{{ args.user }}" } }
"""
USES = """
[service.box]
image = "x"
[[setup]]
use = "shared/login.toml#login"
with = { user = "root", code = 3 }
[[step]]
name = "bob"
run = "test {{ token }} = root && echo bob"
capture = { name = { regex = "b.b" } }
[[step]]
use = "shared/login.toml#login"
with = { user = "{{ name }}", code = 3 }
[[step]]
run = "test {{ token }} = bob"
[[step]]
use = "shared/login.toml#login"
name = "once more"
with = { user = "eve" }
"""


def test_blocks(project: EndToEnd) -> None:
    """Captured values of a block are known behind it; a failure shows its name, and its place in its file."""
    project.write("uses.clnrm.toml", USES)
    project.write("shared/login.toml", LOGIN)
    run = project.run()
    steps = run.steps("uses")
    assert [(name, each["outcome"]) for name, each in steps.items()] == [
        ("login: ask", "passed"),
        ("login: show", "passed"),
        ("bob", "passed"),
        ("login (2): ask", "passed"),
        ("login (2): show", "passed"),
        ("step 4", "passed"),
        ("once more: ask", "passed"),
        ("once more: show", "failed"),
    ], run.text
    (failure,) = steps["once more: show"]["failures"]
    assert failure["where"].endswith("/shared/login.toml:12")
    assert f"{failure['where']}: step 'once more: show': {failure['message']}" in run.text
    assert "> 12 | expect = " in run.text
