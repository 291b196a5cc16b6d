"""Services on a real engine: their order, when they are ready, and how they are reached."""

from __future__ import annotations

import re
import secrets
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

import pytest
from clnrm_testing.capabilities import Needs
from clnrm_testing.end_to_end import HOLD, EndToEnd
from clnrm_testing.patience import patient_s

pytestmark = pytest.mark.engine

STEP = '[[step]]\nname = "done"\nservice = "box"\nrun = "true"\n'


def test_services_start_in_the_order_of_depends_on_and_side_by_side(project: EndToEnd) -> None:
    """A service is created once those it depends on are ready; independent ones do not wait for another.

    By then its variables have what is known of those.
    """
    # The barrier: each of the two independent services is ready only once both have started.
    barrier = "touch /own/up; until test -e /both/left/up -a -e /both/right/up; do sleep 0.05; done"
    for name in ("left", "right"):
        (project.folder / "both" / name).mkdir(parents=True)
    project.write(
        "order.clnrm.toml",
        f"""
        [service.last]
        image = "x"
        depends_on = ["left", "right"]
        env = {{ URL = "{{{{ service.left.url }}}}", AT = "{{{{ service.right.address }}}}" }}
        [service.left]
        ports = [80]
        url = "http://{{host}}:{{port}}/"
        image = "x"
        command = ["sh", "-c", "{barrier}; echo up; sleep 1000"]
        volumes = [
            {{ source = "both", target = "/both" }},
            {{ source = "both/left", target = "/own", read_only = false }},
        ]
        ready = {{ log = "up" }}
        [service.right]
        image = "x"
        command = ["sh", "-c", "{barrier}; echo up; sleep 1000"]
        volumes = [
            {{ source = "both", target = "/both" }},
            {{ source = "both/right", target = "/own", read_only = false }},
        ]
        ready = {{ log = "up" }}
        [[step]]
        name = "done"
        service = "last"
        run = "nslookup right | grep $AT && echo $URL"
        expect.stdout.contains = "http://left:80/"
        """,
    )
    with project.watch() as watch:
        run = project.run("--clnrm-timeout", "90s", "-o", f"clnrm_allow_writable={project.token}/both")
        assert run.outcomes() == {"order": "passed"}, run.text
        watch.wait("destroy", "last")
    at_s = {(each.name, each.service): each.at_s for each in watch.events}
    assert at_s["create", "last"] > max(at_s["start", "left"], at_s["start", "right"])


DOCKERFILE = """
ADD busybox /bin/busybox
RUN ["/bin/busybox", "--install", "-s", "/bin"]
ENV PATH=/bin
HEALTHCHECK --interval=1s --timeout=5s --retries=1 CMD test -e /tmp/well || (echo not well; exit 1)
CMD ["sh", "-c", "mkdir -p /tmp; sleep 0.3; {then}; sleep 1000"]
"""


def test_every_kind_of_readiness_is_waited_for(project: EndToEnd) -> None:
    """Command, log, port, http, and a file, on a disk and in memory, hold up the steps."""
    late = "mkdir -p /srv/up; echo fine > /srv/up/index.html; sleep 0.4"
    kinds = {
        "command": ('{ command = ["test", "-e", "/ready"] }', "sleep 0.4; touch /ready", "test -e /ready"),
        "log": ('{ log = "r[e]ady \\\\d+" }', "echo no; sleep 0.4; touch /r; echo ready 42", "test -e /r"),
        "port": ("{ port = 8080 }", f"{late}; httpd -p 8080 -h /srv", "wget -qO- 127.0.0.1:8080/up/"),
        "http": ('{ http = ":8080/up/" }', f"{late}; httpd -p 8080 -h /srv", "wget -qO- 127.0.0.1:8080/up/"),
        "file": ('{ file = "/up/ready" }', "sleep 0.4; mkdir /up; touch /up/ready", "test -e /up/ready"),
        "memory": ('{ file = "/mem/up" }\nscratch = ["/mem"]', "sleep 0.4; touch /mem/up", "test -e /mem/up"),
    }
    for kind, (ready, command, check) in kinds.items():
        project.write(
            f"{kind}.clnrm.toml",
            f"""
            [service.box]
            image = "x"
            command = ["sh", "-c", '{command}; sleep 1000']
            ready = {ready}
            [[step]]
            name = "check"
            run = "{check}"
            """,
        )
    run = project.run()
    assert run.outcomes() == dict.fromkeys(kinds, "passed"), run.text


def test_an_images_health_check_is_waited_for(project: EndToEnd, needs: Needs) -> None:
    """It holds up the steps, and an image that turns unhealthy ends the wait, with what the check said."""
    needs("health checks")
    for name, then in (("well", "touch /tmp/well"), ("ill", "echo ill")):
        project.write_build(name, DOCKERFILE.format(then=then))
        project.write(
            f"{name}.clnrm.toml",
            f'[service.box]\nbuild = "./{name}"\nready = {{ healthcheck = true, timeout = "60s" }}\n'
            '[[step]]\nname = "check"\nrun = "test -e /tmp/well"\n',
        )
    run = project.run()
    assert run.outcomes() == {"well": "passed", "ill": "failed"}, run.text
    (ill,) = run.scenarios["ill"]["failures"]
    said = "(its last run: exit code 1: not well)"
    assert ill["message"] == f"service 'box' turned unhealthy, as its image's health check says {said}"
    assert "ill" in ill["details"]


def test_a_service_that_ends_is_not_waited_for(project: EndToEnd) -> None:
    """Whatever is waited for, a service that ends fails its scenario at once, with its logs; others too."""
    project.write_build("built", DOCKERFILE.format(then="touch /tmp/well"))
    kinds = {
        "command": '{ command = ["false"], timeout = "5m" }',
        "log": '{ log = "never", timeout = "5m" }',
        "port": '{ port = 8080, timeout = "5m" }',
        "http": '{ http = ":8080/", timeout = "5m" }',
        "healthcheck": '{ healthcheck = true, timeout = "5m" }',
    }
    for kind, ready in kinds.items():
        image = 'build = "./built"' if kind == "healthcheck" else 'image = "x"'
        project.write(
            f"{kind}.clnrm.toml",
            f"""
            [service.box]
            {image}
            command = ["sh", "-c", "echo cannot go on: no licence; exit 3"]
            ready = {ready}
            {STEP}
            """,
        )
    run = project.run("--clnrm-timeout", "10m")
    assert run.outcomes() == dict.fromkeys(kinds, "failed"), run.text
    for kind in kinds:
        first = run.scenarios[kind]["failures"][0]
        assert first["message"].startswith("service 'box' ended before it was ready ("), first
        assert re.search(r"\): exit code 3, \d+\.\d s after its start(; |$)", first["message"]), first
        assert "cannot go on: no licence" in first["details"]
        assert len(run.scenarios[kind]["failures"]) == 1, "that it had ended is said once"
    assert run.text.count("    cannot go on: no licence\n") == len(kinds)
    assert "Captured logs" not in run.text, "what a failure shows is no section too"


def test_a_service_that_is_never_ready_says_what_was_waited_for(project: EndToEnd) -> None:
    """A service's own time ends the wait, with logs."""
    project.write(
        "late.clnrm.toml",
        '[service.box]\nimage = "x"\ncommand = ["sh", "-c", "echo thinking; sleep 1000"]\n'
        f'ready = {{ port = 8080, timeout = "700ms" }}\n{STEP}',
    )
    run = project.run()
    assert run.failures("late") == [
        "service 'box' was not ready after 0.7 s (port 8080): connection refused"
    ], run.text
    assert "thinking" in run.scenarios["late"]["failures"][0]["details"]


LISTENER = """
import socket
with socket.create_server(("198.18.77.2", 8000)) as server:
    print("listens", flush=True)
    while True:
        with server.accept()[0] as connection:
            connection.sendall(b"outside\\n")
"""


@pytest.fixture
def outside() -> Iterator[str]:
    """Return address and port of a listener that is another host to the engine: a network name space."""
    name = f"clnrm-{secrets.token_hex(3)}"
    inside = ("netns", "exec", name)
    steps = (
        ("netns", "add", name),
        ("link", "add", name, "type", "veth", "peer", "eth0", "netns", name),
        ("address", "add", "198.18.77.1/30", "dev", name),
        ("link", "set", name, "up"),
        (*inside, "ip", "address", "add", "198.18.77.2/30", "dev", "eth0"),
        (*inside, "ip", "link", "set", "eth0", "up"),
        (*inside, "ip", "route", "add", "default", "via", "198.18.77.1"),
    )
    if shutil.which("ip") is None:
        pytest.skip("making a network takes the program ip")
    try:
        for step in steps:
            made = subprocess.run(["ip", *step], capture_output=True, text=True, check=False)
            if made.returncode:
                pytest.skip(f"making a network takes more rights: {made.stderr.strip()}")
        command = ["ip", *inside, sys.executable, "-c", LISTENER]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as listener:
            assert listener.stdout is not None
            assert listener.stdout.readline() == b"listens\n"
            yield "198.18.77.2 8000"
            listener.kill()
    finally:
        subprocess.run(["ip", "netns", "delete", name], capture_output=True, check=False)


def test_networks_reach_what_they_should(project: EndToEnd, outside: str) -> None:
    """Services are reached by name; only network = "bridge" has a way out, and "none" has no network."""
    call = f"nc -w 3 {outside} < /dev/null"
    project.write(
        "networks.clnrm.toml",
        f"""
        [service.web]
        image = "x"
        command = ["sh", "-c", "mkdir /srv; echo by name > /srv/index.html; exec httpd -f -p 80 -h /srv"]
        ready = {{ port = 80 }}
        [service.isolated]
        image = "x"
        [service.bridge]
        image = "x"
        network = "bridge"
        [service.none]
        image = "x"
        network = "none"
        [[step]]
        name = "by name"
        service = "isolated"
        run = "wget -qO- http://web/"
        expect = {{ stdout = {{ equals = "by name" }} }}
        [[step]]
        name = "bridge by name"
        service = "bridge"
        run = "wget -qO- http://web/"
        expect = {{ stdout = {{ equals = "by name" }} }}
        [[step]]
        name = "bridge out"
        service = "bridge"
        run = "{call}"
        expect = {{ stdout = {{ equals = "outside" }} }}
        [[step]]
        name = "isolated out"
        service = "isolated"
        run = "{call}"
        expect = {{ exit = {{ ne = 0 }}, stdout = {{ equals = "" }} }}
        [[step]]
        name = "none at all"
        service = "none"
        run = "ls /sys/class/net; {call}"
        expect = {{ exit = {{ ne = 0 }}, stdout = {{ equals = "lo" }} }}
        """,
    )
    run = project.run()
    assert run.outcomes() == {"networks": "passed"}, run.text
    assert project.leftovers(run) == []


def test_ports_are_published_on_the_loopback_address_alone(project: EndToEnd) -> None:
    """A port of a service answers on 127.0.0.1, on a free port of the host, and is bound to nothing else."""
    project.write(
        "ports.clnrm.toml",
        f"""
        [service.web]
        image = "x"
        command = ["sh", "-c", "mkdir /srv; echo published > /srv/index.html; exec httpd -f -p 80 -h /srv"]
        ports = [80]
        ready = {{ http = "/" }}
        [[step]]
        name = "hold"
        run = "{HOLD}"
        """,
    )
    answers: list[bytes] = []

    def look(containers: Mapping[str, dict[str, Any]]) -> None:
        (binding,) = containers["web"]["NetworkSettings"]["Ports"]["80/tcp"]
        assert binding["HostIp"] == "127.0.0.1"
        with socket.create_connection(
            ("127.0.0.1", int(binding["HostPort"])), timeout=patient_s(30)
        ) as connection:
            connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
            with connection.makefile("rb") as reader:
                answers.append(reader.read())

    run = project.look(look)
    assert run.outcomes() == {"ports": "passed"}, run.text
    assert answers[0].endswith(b"published\n")


def test_an_image_without_a_shell_waits_otherwise(
    project: EndToEnd, image_without: Callable[[Collection[str]], str], needs: Needs
) -> None:
    """Its containers are asked once whether they have one; steps run all the same."""
    needs("a shell as main process")
    text = f"""
        [service.box]
        image = "{image_without(["sh"])}"
        [[step]]
        name = "say"
        run = ["busybox", "echo", "hi"]
        expect = {{ stdout = {{ equals = "hi" }} }}
        """
    for name in "ab":
        project.write(f"{name}.clnrm.toml", text)
    with project.watch() as watch:
        run = project.run("--clnrm-pool", "off", mapped=False)
    assert run.outcomes() == {"a": "passed", "b": "passed"}, run.text
    assert [event.name for event in watch.events].count("create") == 3
    assert project.leftovers(run) == []


def test_logs_of_a_container_that_only_waits_are_not_its_steps_output(
    project: EndToEnd, needs: Needs
) -> None:
    """They are what its processes print beside the steps, and nothing of earlier scenarios."""
    needs("a shell as main process")
    project.write(
        "logs.clnrm.toml",
        """
        [service.box]
        image = "x"
        [[scenario]]
        name = "first"
        [[scenario.step]]
        name = "say"
        run = "echo OLD; echo OLD >&2; echo OLD >/proc/1/fd/1"
        [[scenario]]
        name = "second"
        [[scenario.step]]
        name = "say"
        run = "echo OWN; exit 1"
        """,
    )
    run = project.run("--clnrm-pool", "proven")
    assert run.outcomes() == {"first": "passed", "second": "failed"}, run.text
    (first,), (second,) = (run.scenarios[name]["containers"] for name in ("first", "second"))
    assert (second["reused"], first["id"]) == (True, second["id"])
    assert second["logs"] == ""
