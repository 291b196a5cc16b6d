"""Builds against a client that answers by the book, and by a command that notes how it is called."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import docker.errors
import pytest
from clnrm_testing.builds import build_of

from pytest_clnrm.engine.docker.builds import build_by_api, build_by_command, command_with_buildkit, tag_of
from pytest_clnrm.engine.docker.fetching import fetched_by_engine
from pytest_clnrm.errors import ImageError

LOCAL: Any = SimpleNamespace(kind="docker", remote=False, url="unix:///our.sock")


@pytest.fixture
def context(tmp_path: Path) -> Path:
    """Return a folder with a Dockerfile."""
    folder = tmp_path / "context"
    folder.mkdir()
    (folder / "Dockerfile").write_text("FROM scratch\n")
    return folder


def test_the_same_request_has_the_same_tag(context: Path) -> None:
    """And any other another one."""
    tags = [
        tag_of(build_of(context)),
        tag_of(build_of(context, args={"a": "b"})),
        tag_of(build_of(context, target="t")),
        tag_of(build_of(context, dockerfile="d")),
        tag_of(build_of(context, network="bridge")),
        tag_of(build_of(context / "x")),
    ]
    assert len(set(tags)) == 6
    args = {"a": "1", "b": "2"}
    assert tag_of(build_of(context, args=args)) == tag_of(
        build_of(context, args=dict(reversed(args.items())))
    )


# By the engine's own builder.


class Response:
    """What the engine answers, a line an event; then it waits to be closed if it is to hang."""

    def __init__(self, *events: dict[str, Any], hangs: bool = False) -> None:
        self._events = events
        self._hangs = hangs
        self.closed = threading.Event()
        # Where docker-py looks for the connection.
        self.raw = SimpleNamespace(closed=False, _fp=SimpleNamespace(fp=SimpleNamespace(raw=self)))
        self.sock = self

    def iter_lines(self) -> Iterator[bytes]:
        """Yield the events."""
        for event in self._events:
            yield json.dumps(event).encode()
        if self._hangs:
            self.closed.wait()
            raise OSError("closed")

    def shutdown(self, _how: int) -> None:
        """End the connection."""
        self.closed.set()

    def close(self) -> None:
        """End the connection."""
        self.closed.set()


class Client:
    """Answers a build, and notes what is asked for."""

    base_url = "http+docker://localhost"
    api_version = "1.41"
    timeout = 60
    _proxy_configs = SimpleNamespace(get_environment=lambda: {"http_proxy": "http://proxy"})

    def __init__(self, response: Response, *, helper: Exception | None = None) -> None:
        self.response = response
        self.helper = helper
        self.posts: list[tuple[str, dict[str, Any]]] = []
        self.containers: dict[str, dict[str, Any]] = {}

    def post(self, url: str, **options: Any) -> Any:
        """Note it."""
        self.posts.append((url.partition("1.41/")[2], options))
        return self.response if url.endswith("/build") else SimpleNamespace(status_code=200)

    def _raise_for_status(self, _response: Any) -> None:
        pass

    def _set_auth_headers(self, headers: dict[str, str]) -> None:
        if self.helper is not None:
            raise self.helper
        headers["X-Registry-Config"] = "secret"

    def inspect_container(self, container: str) -> dict[str, Any]:
        """Return what is known of it."""
        hosts = {"0" * 12: [self.posts[0][1]["params"]["extrahosts"]], "1" * 12: ["other:127.0.0.1"]}
        if container not in hosts:
            raise docker.errors.NotFound("gone")
        return {"HostConfig": {"ExtraHosts": hosts[container]}}


def build(client: Client, context: Path, **options: Any) -> None:
    """Build *context* with *client*."""
    spec = build_of(context, **options)
    build_by_api(client, spec, "tag", watched=True)  # type: ignore[arg-type]


def test_a_build_is_limited(context: Path) -> None:
    """Memory without swap, CPUs and network go with it; the user's proxies where they can be reached."""
    client = Client(Response({"stream": "Step 1\n"}))
    build(client, context, cpus=0.5, args={"A": "b"}, labels={"l": "v"})
    (_, options), *_ = client.posts
    asked = options["params"]
    assert (asked["memory"], asked["memswap"]) == (64 << 20, 64 << 20)
    assert (asked["cpuperiod"], asked["cpuquota"]) == (100_000, 50_000)
    assert (asked["networkmode"], asked["buildargs"]) == ("none", '{"A": "b"}')
    assert (asked["labels"], asked["dockerfile"]) == ('{"l": "v"}', "Dockerfile")
    assert options["headers"]["X-Registry-Config"] == "secret"
    assert client.response.closed.is_set()
    client = Client(Response())
    build(client, context, network="bridge")
    (_, options), *_ = client.posts
    assert options["params"]["networkmode"] == "bridge"
    assert json.loads(options["params"]["buildargs"]) == {"http_proxy": "http://proxy"}


def test_processes_of_its_own_containers_are_limited(context: Path) -> None:
    """What the build prints cannot make another container look like its own, or one that is gone an error."""
    lines = [f" ---> Running in {each * 12}\n" for each in "012"]
    client = Client(Response(*({"stream": line} for line in [*lines, f"> {lines[0]}"])))
    build(client, context)
    updates = [(url, options["json"]) for url, options in client.posts[1:]]
    assert updates == [(f"containers/{'0' * 12}/update", {"PidsLimit": 64})]


def test_a_build_that_fails(context: Path) -> None:
    """An error of the engine ends it, with what was said before, and a hint where BuildKit may be needed."""
    client = Client(Response({"stream": "Step 1\n"}, {"error": "it broke"}, {"stream": "never"}))
    with pytest.raises(ImageError, match=r"its output:\n    Step 1\n    it broke$"):
        build(client, context)
    client = Client(Response({"stream": "a\x0cb\x85c\n\nd\n"}, {"error": "it broke"}))
    with pytest.raises(ImageError, match=r"its output:\n    a\x0cb\x85c\n    d\n    it broke$"):
        build(client, context)
    client = Client(Response({"error": "dockerfile parse error line 2: Unknown flag: mount"}))
    with pytest.raises(ImageError, match="clnrm_builder = buildkit builds with it, without limits of memory"):
        build(client, context)


def test_a_build_that_takes_too_long(context: Path) -> None:
    """It is ended by closing the connection."""
    client = Client(Response({"stream": "Step 1\n"}, hangs=True))
    with pytest.raises(ImageError, match=r"took longer than 0.1 s and was stopped; .*:\n    Step 1$"):
        build(client, context, timeout_s=0.1)
    assert client.response.closed.is_set()


def test_a_build_without_credentials(context: Path) -> None:
    """A broken helper is no obstacle."""
    client = Client(Response(), helper=docker.errors.DockerException("helper"))
    build(client, context)
    assert "X-Registry-Config" not in client.posts[0][1]["headers"]


@pytest.mark.parametrize("behind", [False, True])
def test_a_dockerfile_that_is_a_link(context: Path, *, behind: bool) -> None:
    """What the engine would find there is not what was read, so nothing is sent."""
    (context / "real").mkdir()
    (context / "real/Dockerfile").write_text("FROM scratch\n")
    (context / "link").symlink_to("real" if behind else "real/Dockerfile")
    name = "link/Dockerfile" if behind else "link"
    client = Client(Response())
    with pytest.raises(ImageError, match=f"{name} is a link, or lies behind one: name the file itself"):
        build(client, context, dockerfile=name)
    assert client.posts == []


def test_an_address_is_found_before_anything_is_sent(context: Path) -> None:
    """The engine would go on with a step that it has announced."""
    (context / "Dockerfile").write_text("FROM scratch\nADD $WHERE /x\n")
    client = Client(Response())
    with pytest.raises(ImageError, match=r"ADD \$WHERE would make the engine fetch it"):
        build(client, context)
    assert client.posts == []


@pytest.mark.parametrize(
    "told",
    [
        "Step 2/3 : ADD http://127.0.0.1/x /x",
        "STEP 2/3: ADD --chown=1 https://a /x",
        "Step 2/3 : add  a git@b:c /x",
        'Step 2/3 : ADD ["a", "http://b", "/x"]',
        "Step 2/3 : ADD $WHERE /x",
        "Step 2/3 : ADD ${A}ttp://b /x",
        "Step 2/3 : ADD ht$X /x",
        'Step 2/3 : ADD h"tt"p://b /x',
        "Step 2/3 : ADD h\\ttp://b /x",
        'Step 2/3 : ADD --chmod=1 ["$A", "/x"]',
        "# Executing 1 build trigger",
        "# Executing 12 build triggers\n",
    ],
)
def test_what_the_engine_would_fetch(told: str) -> None:
    """An address, however it is written, or what may become one; the text that shows it is named."""
    assert fetched_by_engine(told).startswith(("ADD ", "a step that its base image adds"))


@pytest.mark.parametrize(
    "told",
    [
        "Step 2/3 : ADD a /x",
        "Step 2/3 : ADD app-$VERSION.tar ./$NAME /x",
        "Step 2/3 : ADD a http://b",
        'Step 2/3 : ADD ["a b", "/x"]',
        "Step 2/3 : ADD [a] /x",
        "Step 2/3 : ADD",
        "Step 2/3 : COPY http /x",
        "Step 2/3 : ONBUILD ADD http://a /x",
        "ADD http://a /x",
        "it said # Executing 1 build trigger",
        "",
    ],
)
def test_what_the_engine_has_already(told: str) -> None:
    """Files of the context, and steps that add nothing."""
    assert fetched_by_engine(told) == ""


# By Docker's command.


@pytest.fixture
def docker_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Return a ``docker`` that notes how it is called, and does what files beside it say."""
    folder = tmp_path / "bin"
    folder.mkdir()
    command = folder / "docker"
    command.write_text(
        "#!/usr/bin/env python3\nimport json, os, sys, tarfile, time\nfrom pathlib import Path\n"
        "here = Path(__file__).parent\n"
        "if sys.argv[1] == 'buildx': sys.exit((here / 'fail').exists())\n"
        "names = ('DOCKER_HOST', 'DOCKER_CONTEXT', 'DOCKER_BUILDKIT')\n"
        "sent = tarfile.open(fileobj=sys.stdin.buffer, mode='r|').getnames()\n"
        "call = [sys.argv[1:], {each: os.environ.get(each) for each in names}, sent]\n"
        "(here / 'call.json').write_text(json.dumps(call))\n"
        "for number in range(100): print('line', number, flush=True)\n"
        "while (here / 'hang').exists(): time.sleep(0.1)\n"
        "sys.exit((here / 'fail-to-build').exists())\n"
    )
    command.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=":")
    monkeypatch.setenv("DOCKER_CONTEXT", "elsewhere")
    command_with_buildkit.cache_clear()
    yield command
    command_with_buildkit.cache_clear()


def test_a_build_by_the_command_goes_to_our_engine(docker_command: Path, context: Path) -> None:
    """With all that was asked for, the context as an archive, and with BuildKit."""
    (context / "d").write_text("FROM scratch\n")
    spec = build_of(context, dockerfile="d", target="t", args={"A": "b c"}, labels={"l": "v"})
    build_by_command(spec, "tag", LOCAL)
    argv, environ, sent = json.loads((docker_command.parent / "call.json").read_text())
    assert argv == [
        *("build", "--progress=plain", "--load", "--tag", "tag", "--network", "none", "--file", "d"),
        *("--target", "t", "--build-arg", "A=b c", "--label", "l=v", "-"),
    ]
    assert environ == {"DOCKER_HOST": "unix:///our.sock", "DOCKER_CONTEXT": None, "DOCKER_BUILDKIT": "1"}
    assert sent == ["Dockerfile", "d"]
    build_by_command(build_of(context, network="bridge"), "tag", LOCAL)
    argv, *_ = json.loads((docker_command.parent / "call.json").read_text())
    assert argv[5:] == ["--network", "default", "--file", "Dockerfile", "-"]


def test_a_build_by_the_command_that_fails(docker_command: Path, context: Path) -> None:
    """The end of its output is shown; and also that of one that takes too long."""
    (docker_command.parent / "fail-to-build").touch()
    with pytest.raises(ImageError, match=r"its output:\n    line 70\n(?s:.*)    line 99$"):
        build_by_command(build_of(context), "tag", LOCAL)
    (docker_command.parent / "hang").touch()
    with pytest.raises(ImageError, match=r"took longer than 1 s and was stopped;"):
        build_by_command(build_of(context, timeout_s=1.0), "tag", LOCAL)


@pytest.mark.parametrize("why_not", ["fail", "no command", "podman", "remote"])
def test_buildkit_has_to_be_there(
    docker_command: Path, context: Path, monkeypatch: Any, why_not: str
) -> None:
    """Its command, with its plugin, for an engine on this host that is Docker."""
    facts: Any = SimpleNamespace(**{**vars(LOCAL), "remote": why_not == "remote"})
    facts.kind = "podman" if why_not == "podman" else "docker"
    if why_not == "fail":
        (docker_command.parent / "fail").touch()
    if why_not == "no command":
        monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(ImageError, match=r"clnrm_builder = buildkit needs Docker on this host, and the comm"):
        build_by_command(build_of(context), "tag", facts)
