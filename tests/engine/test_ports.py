"""Ports of other tools' files (tests/data/ports) on a real engine: they pass, and notice what is not so."""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from clnrm_testing.end_to_end import EndToEnd, Run, run_once
from clnrm_testing.ports import ALL, IMAGE, PORTS, Port
from clnrm_testing.python_image import python_image
from docker import APIClient

pytestmark = pytest.mark.engine

ORDERS = PORTS.parent / "programs/orders.py"
DOCKERFILE = 'EXPOSE 8080\nCMD ["python", "/program.py"]\n'

BROKEN = {
    "container-structure-test": (
        'content.not_regex = "debug = true"',
        'content.not_regex = "debug = false"',
        "the content of file /etc/app/app.conf matches 'debug = false', which it must not",
    ),
    "goss": (
        'mode = "0640"',
        'mode = "0644"',
        "file /etc/app/app.conf has mode 0640, expected 0644",
    ),
    "venom": (
        '"$.checks[0].name" = "db"',
        '"$.checks[0].name" = "cache"',
        'body is not the expected JSON: $.checks[0].name: expected "cache", got "db"',
    ),
    "hurl": (
        'headers.Cache-Control = "no-store"',
        'headers.Cache-Control = "no-cache"',
        "header 'Cache-Control' does not equal 'no-cache', got 'no-store'",
    ),
    "tavern": (
        "expect.status = [401, 403]",
        "expect.status = [400, 404]",
        "status 401 Unauthorized, expected 400 or 404",
    ),
    "bats": (
        '2 = { regex = "^1 +tea" }',
        '2 = { regex = "^1 +milk" }',
        "line 2 of stdout does not match '^1 +milk', got '1   tea   3.50'",
    ),
    "tracetest": (
        'attrs."http.route" = "/orders"',
        'attrs."http.route" = "/order"',
        "expect.span[POST /orders]: attribute 'http.route' is '/orders', expected '/order'",
    ),
    "commander": (
        "lines = 6",
        "lines = 7",
        "stdout has 6 lines, expected exactly 7",
    ),
    "runn": (
        '"$.id" = "{{ id }}"',
        '"$.id" = "{{ id }}0"',
        'body is not the expected JSON: $.id: expected the string "10", got the number 1',
    ),
    "compose-smoke-test": (
        'count = { regex = "GET /orders/99 404", eq = 1 }',
        'count = { regex = "GET /orders/99 404", eq = 2 }',
        "the log of service 'orders' has 1 line that matches 'GET /orders/99 404', expected exactly 2",
    ),
}
"""Tool -> what its port says, what a copy of it says instead, and why that fails."""


DISTROLESS = """
COPY busybox /httpd
COPY passwd /etc/
COPY index.html /srv/
LABEL org.opencontainers.image.version=2.1
EXPOSE 8080
USER 65532
WORKDIR /srv
ENTRYPOINT ["/httpd"]
CMD ["-f", "-vv", "-p", "8080"]
"""
"""One static program, of a name by which it can do one thing: there is no shell, and nothing else to run."""

CHECKED = """
[service.web]
build = "."
ready = { http = ":8080/" }

[[step]]
name = "ask"
http = "GET http://web:8080/"
expect = { status = 200, headers.Content-Type = "text/html", body.equals = "hello" }
[[step.check]]
log = "web"
since = "ask"
content = { regex = "GET /|url:/", not_contains = "404" }
[[step.check]]
process = "httpd"
user = "nonroot"

[[check]]
image = "web"
entrypoint = ["/httpd"]
user = "65532"
exposed = [8080]
labels."org.opencontainers.image.version" = "2.1"
no_setuid = true
no_secrets = true
size = { lt = "10m" }

[[check]]
file = "/httpd"
owner = 0
executable_by = "other"

[[check]]
file = "/srv/index.html"
content.equals = "hello"

[[check]]
file = "/bin/sh"
exists = false

[[check]]
port = 8080
address = "any"

[[check]]
user = "nonroot"
shell = "/none"
"""


def _broken(port: Port) -> tuple[str, str]:
    """Return a port with one expectation changed, and the line in which that is."""
    text = port.path.read_text("utf-8")
    old, new, _ = BROKEN[port.tool]
    assert old in text
    broken = text.replace(old, new, 1)
    at = broken.index(new)
    # An expectation about spans is told where its table begins.
    at = broken.rindex("[[expect.span]]", 0, at) if new.startswith("attrs") else at
    return broken, str(broken.count("\n", 0, at) + 1)


@pytest.fixture(scope="module")
def judged(reached: tuple[APIClient, object], tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Return one run of all ports, and of a copy of each that expects something else once."""
    return run_once(tmp_path_factory, "ports", partial(_run_ports, reached[0]))


def _run_ports(client: APIClient, folder: Path) -> Run:
    (folder / "pytest.ini").write_text("[pytest]\n")
    project = EndToEnd(folder, client, "")
    shutil.copytree(PORTS, project.folder)
    project.write_build("distroless", DISTROLESS)
    project.write("distroless/passwd", "root:x:0:0::/:/none\nnonroot:x:65532:65532::/:/none\n")
    project.write("distroless/index.html", "hello")
    project.write("distroless/web.clnrm.toml", CHECKED)
    project.write_build("image", "")
    dockerfile = (IMAGE / "Dockerfile").read_text("utf-8")
    project.write("image/Dockerfile", f"{dockerfile}LABEL clnrm-test={project.token}\n")
    for port in ALL:
        project.write(f"{port.tool}/broken.clnrm.toml", _broken(port)[0])
    try:
        with python_image(client, folder / "orders", ORDERS, DOCKERFILE) as image:
            return project.run("--clnrm-image-map", f"orders:*={image}", mode=("-n", "2"), mapped=False)
    finally:
        project.remove_built()


def _of_file(run: Run, name: str) -> list[dict[str, Any]]:
    """Return the scenarios of a file that were not skipped."""
    found = [each for each in run.document["scenarios"] if f"/{name}::" in each["nodeid"]]
    return [each for each in found if each["outcome"] != "skipped"]


@pytest.mark.parametrize("port", ALL, ids=lambda port: port.tool)
def test_a_port_passes(judged: Run, port: Port) -> None:
    """All that the original asserts holds."""
    found = _of_file(judged, f"{port.tool}/{port.path.name}")
    assert {each["outcome"] for each in found} == {"passed"}, judged.text


@pytest.mark.parametrize("port", ALL, ids=lambda port: port.tool)
def test_a_changed_expectation_fails(judged: Run, port: Port) -> None:
    """It alone is told, with its place, what was expected and what was got."""
    failures = [
        each for found in _of_file(judged, f"{port.tool}/broken.clnrm.toml") for each in found["failures"]
    ]
    message, line = BROKEN[port.tool][2], _broken(port)[1]
    told = {(each["message"], each["where"].rpartition(":")[2]) for each in failures}
    assert told == {(message, line)}, judged.text


def test_an_image_without_a_shell_needs_no_helper(judged: Run) -> None:
    """One static program is tested by requests, files, image and log, and nothing is run in it."""
    (found,) = _of_file(judged, "distroless/web.clnrm.toml")
    assert found["outcome"] == "passed", judged.text
