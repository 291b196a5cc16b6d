"""What steps name of running services and of this host."""

from __future__ import annotations

import json
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


IMAGES = """
[limits]
memory = "64m"
[service.web]
image = "clnrm-busybox:1"
command = "mkdir -p /w; echo hello >/w/index.html; exec httpd -f -p 80 -h /w"
ready = { port = 80 }
[[step]]
name = "arguments of its entry point"
image = "TOOL"
run = ["one word", "two"]
env = { GREETING = "hi" }
workdir = "/tmp"
user = "123"
expect = { exit = 3, stdout = { equals = "hi [one word] [two] /tmp 123" }, stderr = { equals = "oops" } }
capture = { word = { regex = "two" } }
[[step]]
name = "its own arguments"
image = "TOOL"
expect = { exit = 3, stdout = { contains = "[of its own]" } }
[[step]]
name = "on the network"
image = "clnrm-busybox:1"
entrypoint = ["sh", "-c"]
run = ["wget -q -O - http://web/index.html; echo {{ word }} $TRACEPARENT; hostname -i | wc -l"]
expect.stdout.regex = 'hello\\ntwo 00-[0-9a-f]{32}-[0-9a-f]{16}-01\\n1\\n'
[[step]]
name = "until"
image = "clnrm-busybox:1"
run = ["sh", "-c", "sleep 0.1; exit 1"]
until = { times = 2 }
expect = { exit = 1 }
[[step]]
name = "too long"
image = "clnrm-busybox:1"
run = ["sleep", "600"]
timeout = "1s"
continue_on_failure = true
[[step]]
name = "no such program"
image = "clnrm-busybox:1"
run = ["nothing-of-that-name"]
continue_on_failure = true
[[step]]
name = "too much"
image = "clnrm-busybox:1"
run = ["sh", "-c", "x=aaaaaaaaaaaaaaaa; while :; do x=$x$x; done"]
continue_on_failure = true
[[step]]
name = "wrong"
image = "TOOL"
run = ["a"]
"""


TOOL = """printf "$GREETING"; printf ' [%s]' "$@"; echo " $PWD $(id -u)"; echo oops >&2; exit 3"""


@contextmanager
def made_of_busybox(project: EndToEnd, config: dict[str, list[str]]) -> Iterator[str]:
    """Yield an image of the tests' own with other words of a Dockerfile."""
    name = f"clnrm-{project.token}"
    container = project.client.create_container("clnrm-busybox:1", ["true"])["Id"]
    changes = [f"{word} {json.dumps(value)}" for word, value in config.items()]
    project.client.commit(container, name, "1", changes=changes)
    project.client.remove_container(container)
    yield f"{name}:1"
    project.client.remove_image(f"{name}:1", force=True)


def test_images_run_once(project: EndToEnd) -> None:
    """Exit code and both streams are the result; the limits of the file hold, and nothing is left."""
    with made_of_busybox(project, {"ENTRYPOINT": ["sh", "-c", TOOL, "tool"], "CMD": ["of its own"]}) as tool:
        project.write("images.clnrm.toml", IMAGES.replace("TOOL", tool))
        run = project.run(mapped=False)
    steps = run.steps("images")
    failures = {
        name: [f["message"] for f in each["failures"]] for name, each in steps.items() if each["failures"]
    }
    assert failures == {
        "too long": ["step 'too long' timed out after 1 s"],
        "no such program": ["exit code 127, expected 0"],
        "too much": ["step 'too much' ran out of memory: its container is limited to 64 MB"],
        "wrong": ["exit code 3, expected 0"],
    }, run.text
    assert (steps["until"]["attempts"], steps["until"]["service"]) == (1, "")
    assert steps["wrong"]["stdout"] == " [a] / 0\n"
    assert f"ran in a container of its own: {tool} a" in run.text
    assert project.leftovers(run) == []
