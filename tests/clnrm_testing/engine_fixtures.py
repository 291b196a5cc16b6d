"""Fixtures of the tests on a real engine, for the conftest.py of their folders."""

from __future__ import annotations

import itertools
import json
import os
import secrets
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from clnrm_testing.busybox import busybox_tree
from clnrm_testing.capabilities import Needs, needing
from clnrm_testing.end_to_end import EndToEnd
from clnrm_testing.patience import patient_s
from clnrm_testing.relay import Relay, relaying
from pytest_clnrm.engine.api import ContainerSpec, ExecOutcome, ExecSpec
from pytest_clnrm.engine.connect.connect import reach
from pytest_clnrm.engine.exec.waiting import KEEP_SHELL
from pytest_clnrm.errors import EngineUnavailableError
from pytest_clnrm.util.line_count import LineCount

if TYPE_CHECKING:
    from docker import APIClient

    from pytest_clnrm.engine.api import EngineFacts, OnOutput
    from pytest_clnrm.engine.docker.engine import DockerEngine

IMAGE = "clnrm-busybox:1"
MIB = 1024 * 1024
PATIENCE_S = patient_s(60)


@pytest.fixture(scope="session")
def reached(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[APIClient, EngineFacts]]:
    """Return a client of the engine that answers; skip where none does, but fail in CI."""
    try:
        client, facts = reach("auto", environ=os.environ, runtime_dir=tmp_path_factory.mktemp("runtime"))
    except EngineUnavailableError as error:
        reason = "; ".join((error.summary, *error.details))
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    client.timeout = round(PATIENCE_S)
    if not client.images(name=IMAGE):
        import_tree(client, IMAGE, busybox_tree())
    yield client, facts
    client.close()


def import_tree(client: APIClient, image: str, tree: bytes) -> None:
    """Make an image of a root file system."""
    said = client.import_image_from_data(tree, changes=["ENV PATH=/bin", 'CMD ["sh"]'])
    # Podman 4.3 calls what it imports "latest" whatever it is told.
    name, tag = image.split(":")
    client.tag(json.loads(said.splitlines()[-1])["status"], name, tag)


def wait_log(engine: DockerEngine, container: str, pattern: str, *, deadline_s: float) -> bool:
    """Return True once a line of a container's output matches; False at the deadline, or at its end."""
    count = LineCount(pattern)
    with closing(engine.follow_log(container)) as stream:
        while not count.matching and time.monotonic() < deadline_s:
            pieces = stream.receive(time.monotonic() + 0.05)
            count.feed(pieces or ())
            count.pause()
            if pieces is not None and not pieces:
                break
    return count.matching > 0


@pytest.fixture
def image_without(client: APIClient) -> Iterator[Callable[..., str]]:
    """Return a function that makes an image without some of busybox's programs, or of other modes."""
    made: list[str] = []

    def make(missing: Collection[str], copies: Mapping[str, int] | None = None) -> str:
        made.append(f"clnrm-without-{secrets.token_hex(4)}:1")
        import_tree(client, made[-1], busybox_tree(missing, copies))
        return made[-1]

    yield make
    for image in made:
        # Podman removes no image of a container that runs.
        for container in client.containers(all=True, filters={"ancestor": image}):
            client.remove_container(container["Id"], v=True, force=True)
        client.remove_image(image, force=True)


@dataclass
class CountingLocks:
    """Locks by name, for the threads of one process; says which were taken."""

    taken: list[str] = field(default_factory=list)
    _locks: dict[str, threading.Lock] = field(default_factory=lambda: defaultdict(threading.Lock))

    def __call__(self, name: str) -> AbstractContextManager[None]:
        """Return the lock called *name*."""
        self.taken.append(name)
        return self._locks[name]  # type: ignore[return-value]  # what it yields is not used


@pytest.fixture
def locks() -> CountingLocks:
    """Return locks of this test alone."""
    return CountingLocks()


@pytest.fixture
def client(reached: tuple[APIClient, EngineFacts]) -> APIClient:
    """Return the client of the engine, to see what is really there."""
    return reached[0]


@pytest.fixture
def needs(reached: tuple[APIClient, EngineFacts]) -> Needs:
    """Return a function that skips the test, with the reason, if the engine cannot do what it names."""
    return needing(reached[1])


@pytest.fixture
def in_shells() -> bool:
    """Return whether commands run in shells that stay open, as they do for users."""
    return True


@pytest.fixture
def engine(
    reached: tuple[APIClient, EngineFacts], locks: CountingLocks, *, in_shells: bool
) -> Iterator[DockerEngine]:
    """Return the engine; all that the test leaves on it is removed, and has to carry its label."""
    from pytest_clnrm.engine.docker.engine import DockerEngine

    label = {"clnrm-test": secrets.token_hex(6)}

    class LabellingEngine(DockerEngine):
        def create_container(self, spec: ContainerSpec) -> str:
            return super().create_container(replace(spec, labels={**label, **spec.labels}))

        def create_network(self, name: str, *, internal: bool, labels: Mapping[str, str]) -> str:
            return super().create_network(name, internal=internal, labels={**label, **labels})

    engine = LabellingEngine(*reached, locks=locks, in_shells=in_shells)
    yield engine
    engine.remove_owned(engine.list_owned(label))
    # Of containers that were removed by others, with their image; the client is used by the next test.
    engine._execs.close()


@dataclass
class Ran:
    """What a command did."""

    outcome: ExecOutcome
    stdout: bytes
    stderr: bytes

    @property
    def exit_code(self) -> int | None:
        """Return how it ended."""
        return self.outcome.exit_code


@dataclass(frozen=True)
class Box:
    """A running container."""

    engine: DockerEngine
    id: str

    def run(
        self,
        *argv: str,
        within_s: float | None = PATIENCE_S,
        on_output: OnOutput | None = None,
        **spec: object,
    ) -> Ran:
        """Run a command in it.

        :param within_s: time for it; None for no limit.
        """
        pieces: dict[str, list[bytes]] = {"stdout": [], "stderr": []}
        outcome = self.engine.exec(
            self.id,
            ExecSpec(argv=argv, **spec),  # type: ignore[arg-type]
            on_output=on_output or (lambda stream, piece: pieces[stream].append(piece)),
            deadline_s=None if within_s is None else time.monotonic() + within_s,
        )
        return Ran(outcome, b"".join(pieces["stdout"]), b"".join(pieces["stderr"]))

    def shell(self, text: str, **options: object) -> Ran:
        """Run *text* in a shell in it."""
        return self.run("sh", "-c", text, **options)  # type: ignore[arg-type]


_numbers = itertools.count()


@pytest.fixture
def waiting() -> tuple[str, ...]:
    """Return the command of containers that wait, as users have it."""
    return KEEP_SHELL


@pytest.fixture
def spec(waiting: tuple[str, ...]) -> ContainerSpec:
    """Return the specification of a small container that is kept alive."""
    return ContainerSpec(
        name=f"clnrm-test-{os.getpid()}-{next(_numbers)}",
        image=IMAGE,
        memory_bytes=64 * MIB,
        cpus=1.0,
        pids=64,
        command=waiting,
        replace_entrypoint=True,
    )


@pytest.fixture
def start(engine: DockerEngine, spec: ContainerSpec) -> Callable[..., Box]:
    """Return a function that starts a container like ``spec``, with changes."""

    def start(**changes: object) -> Box:
        name = f"clnrm-test-{os.getpid()}-{next(_numbers)}"
        container = engine.create_container(replace(spec, **{"name": name, **changes}))  # type: ignore[arg-type]
        engine.start(container)
        return Box(engine, container)

    return start


@pytest.fixture
def box(start: Callable[..., Box]) -> Box:
    """Return a running container."""
    return start()


@pytest.fixture
def project(client: APIClient, tmp_path: Path) -> Iterator[EndToEnd]:
    """Return an empty project, to be run with the real engine; images built of it are removed."""
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    project = EndToEnd(tmp_path, client, IMAGE)
    yield project
    project.remove_built()


@pytest.fixture
def socket_path(reached: tuple[APIClient, EngineFacts]) -> str:
    """Return the path of the engine's socket."""
    scheme, _, path = reached[1].url.partition("://")
    if scheme != "unix":
        pytest.skip(f"needs the engine's socket, and it is reached over {scheme}")
    return path


@pytest.fixture
def relay(socket_path: str) -> Iterator[Relay]:
    """Return a function that offers the engine's socket on a TCP port, over TLS if given a context."""
    with relaying(socket_path) as start:
        yield start
