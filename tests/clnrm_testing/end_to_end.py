"""A project folder whose scenarios run on the real engine, and what the engine saw of it."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from docker.errors import APIError
from filelock import FileLock

from clnrm_testing.patience import patient_s
from clnrm_testing.project import PYTEST_ADDOPTS

if TYPE_CHECKING:
    from docker import APIClient

__all__ = ["HOLD", "LABEL", "EndToEnd", "Event", "Run", "Watch", "environment_of_a_run", "run_once"]

LABEL = "pytest-clnrm"
WITHOUT_XDIST = ("-p", "no:xdist")
PATIENCE_S = patient_s(120)

HOLD = "touch /tmp/held; until test -e /tmp/go; do sleep 0.05; done"
"""A step that runs until it is let go."""


@dataclass(frozen=True)
class Event:
    """Something that happened to a container of the project.

    :param name: "create", "start", "die", "destroy", "exec_start: sh -c ..." and so on.
    :param service: the scenario's service, from the container's name.
    :param at_s: by the engine's clock, seconds since 1970.
    """

    name: str
    container: str
    service: str
    nodeid: str
    session: str
    at_s: float


class Watch:
    """Follows the engine's events of the containers of one project.

    :param token: the folder of the project's files, with which their node ids begin.
    """

    def __init__(self, client: APIClient, token: str) -> None:
        self.events: list[Event] = []
        self._token = token
        self._more = threading.Condition()
        filters = {"type": "container", "label": f"{LABEL}.session"}
        self._stream = client.events(since=int(time.time()) - 1, filters=filters, decode=True)
        self._thread = threading.Thread(target=self._follow, daemon=True)
        self._thread.start()

    def _follow(self) -> None:
        for event in self._stream:
            labels = event["Actor"]["Attributes"]
            nodeid = labels.get(f"{LABEL}.scenario", "")
            if not nodeid.startswith(f"{self._token}/"):
                continue
            seen = Event(
                # Podman has another word for it.
                name=event["Action"].replace("remove", "destroy"),
                container=event["Actor"]["ID"],
                service=labels["name"].split("-", 4)[-1],
                nodeid=nodeid,
                session=labels[f"{LABEL}.session"],
                at_s=event["timeNano"] / 1e9,
            )
            with self._more:
                self.events.append(seen)
                self._more.notify_all()

    def wait(self, name: str, service: str | None = None, *, nodeid: str = "") -> Event:
        """Return the first event of that name, of that service and scenario; wait for it."""

        def found() -> Event | None:
            for event in self.events:
                fits = event.name.startswith(name) and nodeid in event.nodeid
                if fits and service in {None, event.service}:
                    return event
            return None

        with self._more:
            event = self._more.wait_for(found, PATIENCE_S)
        if event is None:
            pytest.fail(f"no event {name!r} of {service!r}; seen: {self.events}")
        return event

    def close(self) -> None:
        """Stop following."""
        self._stream.close()
        self._thread.join()


@dataclass(frozen=True)
class Run:
    """A run that has ended.

    :param max_rss_kb: of the largest process of the run.
    """

    ret: int
    text: str
    folder: Path
    max_rss_kb: int

    @property
    def document(self) -> dict[str, Any]:
        """Return its report.json."""
        document: dict[str, Any] = json.loads((self.folder / "out" / "report.json").read_text("utf-8"))
        return document

    @property
    def session(self) -> str:
        """Return its session, which is in the labels of what it created."""
        return str(self.document["session"]["id"])

    @property
    def scenarios(self) -> dict[str, dict[str, Any]]:
        """Return its scenarios by name."""
        return {each["name"]: each for each in self.document["scenarios"]}

    def steps(self, scenario: str) -> dict[str, dict[str, Any]]:
        """Return the steps of a scenario by name."""
        return {each["name"]: each for each in self.scenarios[scenario]["steps"]}

    def failures(self, scenario: str) -> list[str]:
        """Return why a scenario failed, a message each."""
        return [each["message"] for each in self.scenarios[scenario]["failures"]]

    def outcomes(self) -> dict[str, str]:
        """Return the outcome of each scenario."""
        return {name: each["outcome"] for name, each in self.scenarios.items()}


def run_once(tmp_path_factory: pytest.TempPathFactory, name: str, make: Callable[[Path], Run]) -> Run:
    """Return what *make* returned: it is called once for all workers of this run of tests.

    :param make: gets an empty folder, in which it runs pytest.
    """
    base = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        base = base.parent
    folder, done = base / name, base / f"{name}.status"
    with FileLock(base / f"{name}.lock"):
        if not done.exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            run = make(folder)
            done.write_text(str(run.ret))
    return Run(int(done.read_text()), (folder / "printed").read_text("utf-8", "replace"), folder, 0)


@dataclass
class EndToEnd:
    """A project folder, and runs of pytest on it with the real engine.

    :param image: which every image of the project's files is mapped to.
    :param through: a command that runs pytest, which is its last arguments.
    """

    path: Path
    client: APIClient
    image: str
    token: str = field(default_factory=lambda: f"p{secrets.token_hex(4)}")
    environment: dict[str, str] = field(default_factory=dict)
    through: tuple[str, ...] = ()

    @property
    def folder(self) -> Path:
        """Return the folder of the project's files, below its rootdir."""
        return self.path / self.token

    def write(self, name: str, text: str) -> Path:
        """Write a file of the project."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    def write_build(self, folder: str, dockerfile: str, *, file: str = "Dockerfile") -> None:
        """Write a folder of which an image is built: a busybox, and *dockerfile* without its FROM."""
        busybox = shutil.which("busybox")
        if busybox is None:
            pytest.fail("images of tests are made of busybox, which is not on PATH")
        self.write(f"{folder}/{file}", f"FROM scratch\nLABEL clnrm-test={self.token}\n{dockerfile}")
        shutil.copy(busybox, self.folder / folder / "busybox")

    def remove_built(self) -> None:
        """Remove the images that were built of its folders."""
        label = {"label": f"clnrm-test={self.token}"}
        images = [each["Id"] for each in self.client.images(all=True, filters=label)]
        # One after the other, as an image goes only after those that were built on it.
        for _ in images:
            for image in images:
                with suppress(APIError):
                    self.client.remove_image(image, force=True)

    def popen(
        self, *args: str, mode: Sequence[str] = WITHOUT_XDIST, mapped: bool = True
    ) -> subprocess.Popen[bytes]:
        """Start pytest on it; what it prints goes to the file ``printed``."""
        options = ["-p", "no:randomly", "-p", "no:cacheprovider", "--clnrm-report", "out"]
        options += ["-o", f"clnrm_ledger_dir={self.path / 'ledger'}", *mode, *args]
        if mapped:
            options += ["--clnrm-image-map", f"*={self.image}"]
        with (self.path / "printed").open("wb") as printed:
            return subprocess.Popen(
                [*self.through, sys.executable, "-m", "pytest", *options, self.token],
                cwd=self.path,
                stdout=printed,
                stderr=subprocess.STDOUT,
                env={**environment_of_a_run(), **self.environment},
            )

    def finish(self, process: subprocess.Popen[bytes]) -> Run:
        """Wait for the end of a run."""
        process.wait(PATIENCE_S * 2)
        rss = self.path / "rss"
        sizes = [int(each) for each in rss.read_text().split()] if rss.exists() else [0]
        text = (self.path / "printed").read_text("utf-8", "replace")
        return Run(process.returncode, text, self.path, max(sizes))

    def run(self, *args: str, mode: Sequence[str] = WITHOUT_XDIST, mapped: bool = True) -> Run:
        """Run pytest on it, to its end."""
        return self.finish(self.popen(*args, mode=mode, mapped=mapped))

    @contextmanager
    def watch(self) -> Iterator[Watch]:
        """Follow the engine's events of it."""
        watch = Watch(self.client, self.token)
        try:
            yield watch
        finally:
            watch.close()

    def look(self, act: Callable[[Mapping[str, dict[str, Any]]], None], *args: str) -> Run:
        """Run it, and call *act* with what the engine says of each service while a step runs :data:`HOLD`."""
        with self.watch() as watch:
            process = self.popen(*args)
            held = self._held(watch)
            ids = {event.service: event.container for event in watch.events if event.name == "start"}
            try:
                act({service: self.client.inspect_container(each) for service, each in ids.items()})
            finally:
                self._exec(held, "touch", "/tmp/go")  # noqa: S108 -- the container's
                run = self.finish(process)
        return run

    def _held(self, watch: Watch) -> str:
        """Return the container in which a step runs :data:`HOLD`."""
        watch.wait("start")
        for _ in range(int(PATIENCE_S / 0.1)):
            for event in list(watch.events):
                if event.name == "start" and self._exec(event.container, "test", "-e", "/tmp/held"):  # noqa: S108
                    return event.container
            time.sleep(0.1)
        pytest.fail(f"no step is held; seen: {watch.events}")

    def _exec(self, container: str, *argv: str) -> bool:
        """Run a command in a container; return whether it could."""
        with suppress(APIError):
            exec_id = self.client.exec_create(container, list(argv))["Id"]
            self.client.exec_start(exec_id)
            return bool(self.client.exec_inspect(exec_id)["ExitCode"] == 0)
        return False

    def leftovers(self, run: Run) -> list[str]:
        """Return the names of the containers and networks of a run that are still there."""
        label = {"label": f"{LABEL}.session={run.session}"}
        containers = self.client.containers(all=True, filters=label)
        names = [name for each in containers for name in each["Names"]]
        return names + [each["Name"] for each in self.client.networks(filters=label)]


def environment_of_a_run() -> dict[str, str]:
    """Return the environment of a pytest that is started here, but is none of ours."""
    names = {"PYTEST_XDIST_WORKER", "PYTEST_XDIST_WORKER_COUNT", "PYTEST_XDIST_TESTRUNUID"}
    names |= {"PYTEST_CURRENT_TEST", "GITHUB_STEP_SUMMARY", "GITLAB_CI"}
    environ = {name: value for name, value in os.environ.items() if name not in names}
    return {**environ, "PYTEST_ADDOPTS": PYTEST_ADDOPTS}
