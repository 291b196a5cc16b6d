"""Python tests with containers of their own, under the same limits and cap as scenario files."""

from collections.abc import Iterator

import pytest

from pytest_clnrm import Container, Containers

IMAGE = "clnrm-examples/shell:1"


@pytest.mark.clnrm_limits(memory="64m", cpu=0.5)
def test_runs_commands(clnrm: Containers) -> None:
    """A container lives as long as its block, and runs one command after the other."""
    with clnrm.container(IMAGE, env={"NAME": "you"}, memory="64m", cpu=0.5) as box:
        assert box.run("echo hello $NAME").stdout == "hello you\n"
        assert box.run(["cat"], stdin="as it is").stdout == "as it is"
        assert box.run("exit 3").exit_code == 3


@pytest.mark.clnrm_limits(containers=2, memory="64m", cpu=0.5)
def test_talks_to_a_server(clnrm: Containers) -> None:
    """Two containers at once are reserved together, and reach each other by name."""
    serve = ["sh", "-c", "echo served > /tmp/index.html; exec httpd -f -p 8080 -h /tmp"]
    with (
        clnrm.container(
            IMAGE, name="web", command=serve, ready={"http": ":8080/index.html"}, memory="64m", cpu=0.5
        ),
        clnrm.container(IMAGE, memory="64m", cpu=0.5) as client,
    ):
        assert client.run("wget -q -O - http://web:8080/index.html").stdout == "served\n"


@pytest.mark.skipif(
    "'kubernetes' in str(config.getoption('--clnrm-engine'))", reason="a pod cannot be started again"
)
@pytest.mark.clnrm_limits(memory="64m", cpu=0.5)
def test_survives_a_restart(clnrm: Containers) -> None:
    """A server reads a file that is put into its container, and has it after it was started again."""
    serve = ["sh", "-c", "mkdir -p /www; echo serving; exec httpd -f -p 8080 -h /www"]
    with clnrm.container(IMAGE, command=serve, ready={"port": 8080}, memory="64m", cpu=0.5) as web:
        web.copy_in(b"kept\n", "/www/index.html")
        web.restart()
        web.wait_for(http=":8080/index.html", timeout=10)
        web.wait_for(log="serving", times=2)
        assert web.read_file("/www/index.html") == b"kept\n"
        web.stop(timeout=1)
        assert web.exit_code is not None


def test_runs_a_scenario(clnrm: Containers) -> None:
    """A scenario file is a part of a test, whose result it can look at."""
    result = clnrm.scenario("hello.clnrm.toml")
    assert result.steps[0].stdout.startswith("hello from ")


@pytest.fixture(scope="module")
def shared(clnrm_factory: Containers) -> Iterator[Container]:
    """Return one container for all tests of this module."""
    with clnrm_factory.container(IMAGE, memory="64m", cpu=0.5) as box:
        yield box


def test_writes(shared: Container) -> None:
    """A fixture of a wider scope keeps its container."""
    assert shared.run("echo kept > /tmp/note").exit_code == 0


def test_lists(shared: Container) -> None:
    """Another test uses the same container, if both run on the same worker."""
    assert shared.run("ls /tmp").exit_code == 0
