"""A pytest plugin for tests: an engine whose containers are folders and whose commands run on the host.

What it was asked to do stands in ``engine.jsonl`` in the working folder, one event a line. Image names select
its behaviour: ``missing*`` cannot be pulled, ``pulled*`` is pulled until the file FAKE_PULL_UNTIL is there,
``broken*`` does not start, ``service*`` runs a service of its own (``service-chatty*`` has printed a line
more each time that it is read), everything else is a bare shell. A container has ended once there is the file
``.ended`` in its folder: its exit code, and "oom". Its variable FAKE_AT_START writes such files when it
starts: ``.ended=3;.printed=text``. With FAKE_NEEDS_MB it ends out of memory where its limit is less.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

import pytest

from pytest_clnrm.engine.api import (
    ANYWHERE,
    LOOPBACK,
    BuildSpec,
    ContainerSpec,
    ContainerState,
    CopiedFile,
    EngineFacts,
    ExecOutcome,
    ExecSpec,
    ImageFacts,
    OnOutput,
    OnProgress,
    OwnedObject,
    PullPolicy,
)
from pytest_clnrm.engine.change_stream import ChangeStream
from pytest_clnrm.engine.exec.waiting import KEEP_SHELL
from pytest_clnrm.engine.relay_api import Relay
from pytest_clnrm.engine.snapshot_spec import SnapshotSpec
from pytest_clnrm.errors import (
    ContainerError,
    EngineError,
    EngineUnavailableError,
    ImageError,
    LostContainerError,
    NoShellError,
    UnobservableError,
)
from pytest_clnrm.model.demand import Cap
from pytest_clnrm.model.seen import FileSeen, ImageSeen, PathFacts, ProcessSeen, SocketSeen

CHUNK_BYTES = 65536


class FakeLog:
    """What a container has printed: a line "ready", and what its file holds.

    Another file holds why its beginning may be missing.
    """

    def __init__(self, path: Path, *, ends: bool) -> None:
        self._pieces = [b"ready\n", path.read_bytes() if path.exists() else b""]
        self._lacks = path.with_name(".lacks")
        self._at_end: list[tuple[Literal["stdout", "stderr"], bytes]] | None = [] if ends else None

    def receive(self, deadline_s: float) -> list[tuple[Literal["stdout", "stderr"], bytes]] | None:
        return [("stdout", self._pieces.pop(0))] if self._pieces else self._at_end

    def may_lack(self) -> str:
        return self._lacks.read_text("utf-8").strip() if self._lacks.exists() else ""

    def close(self) -> None:
        pass


class FakeEngine:
    """An engine of folders."""

    def __init__(self, log: Path) -> None:
        self._log = log
        self._containers: dict[str, tuple[ContainerSpec, str]] = {}
        self._networks: dict[str, Mapping[str, str]] = {}
        self._count = 0
        self._logs_read = 0
        self.facts = EngineFacts(
            identity="fake",
            kind="docker",
            version="0",
            url="fake://",
            host="127.0.0.1",
            remote=bool(os.environ.get("FAKE_REMOTE")),
            rootless=False,
            cpus=8,
            memory_bytes=16 << 30,
            published_on=ANYWHERE if os.environ.get("FAKE_REMOTE") else LOOPBACK,
            loses_containers=bool(os.environ.get("FAKE_LOSES")),
            room_is_shared=bool(os.environ.get("FAKE_ROOM")),
            cap=Cap(int(os.environ["FAKE_CAP"]), "the quota: raise it") if "FAKE_CAP" in os.environ else None,
            warnings=tuple(filter(None, [os.environ.get("FAKE_WARNING")])),
        )
        self._has_image = False
        self._note("connect")

    def _note(self, event: str, **facts: Any) -> None:
        line = json.dumps({"event": event, "at": time.time(), "pid": os.getpid(), **facts}) + "\n"
        with self._log.open("a", encoding="utf-8") as log:
            log.write(line)

    def _folder(self, container: str) -> Path:
        return self._log.parent / f".container-{container}"

    def ensure_image(
        self,
        reference: str,
        pull: PullPolicy,
        progress: OnProgress | None = None,
        platform: str | None = None,
    ) -> ImageFacts:
        self._note("image", image=reference, pull=pull)
        self._has_image = True
        if reference.startswith("missing"):
            raise ImageError(f"image {reference!r} does not exist")
        if progress is not None and reference.startswith("pulled"):
            progress(f"pulling {reference}: 1 of 2 layers")
            while not Path(os.environ["FAKE_PULL_UNTIL"]).exists():
                time.sleep(0.01)
                progress(f"pulling {reference}: 1 of 2 layers")
        command = ("serve",) if reference.startswith("service") else ("sh",)
        architecture = "amd64" if reference.startswith("shellless") else ""
        return ImageFacts(id=reference, reference=reference, command=command, architecture=architecture)

    def image_names(self) -> frozenset[str]:
        self._note("images listed")
        return frozenset(filter(None, os.environ.get("FAKE_IMAGES", "").split(",")))

    def build_image(self, spec: BuildSpec) -> ImageFacts:
        self._note("build", context=spec.context, labels=dict(spec.labels))
        return ImageFacts(id="built", reference="built", command=("sh",))

    def take_image(self, spec: SnapshotSpec) -> str:
        self._note("image taken", container=spec.container, labels=dict(spec.labels))
        raise ContainerError("a folder is no image")

    def list_images(self, labels: Mapping[str, str]) -> tuple[str, ...]:
        return ()

    def remove_image(self, image: str) -> bool:
        self._note("image removed", image=image)
        return True

    def create_network(self, name: str, *, internal: bool, labels: Mapping[str, str]) -> str:
        assert self._has_image, "a network is created before any image is asked for, which a cluster refuses"
        self._note("network", name=name, internal=internal, labels=dict(labels))
        self._networks[name] = labels
        return name

    def is_connected_as(self, container: str, seen: Mapping[str, str]) -> bool:
        return False

    def has_network(self, network: str) -> bool:
        return network in self._networks

    def take_names(self, network: str, container: str) -> None:
        self._note("names taken", network=network, container=container)

    def gateway(self, network: str) -> str:
        return "" if self.facts.remote else "127.0.0.1"

    def open_relay(
        self,
        name: str,
        network: str,
        *,
        labels: Mapping[str, str],
        accept: Callable[[], socket.socket | None],
        on_end: Callable[[str], None],
    ) -> Relay:
        self._note("relay", name=name, network=network)
        raise EngineError("there is none for its architecture, abacus")

    def look_at_path(self, container: str, path: str) -> PathFacts | None:
        found = Path(path)
        if self.facts.remote or not found.exists():
            return None
        kind: Literal["folder", "file"] = "folder" if found.is_dir() else "file"
        status = found.stat()
        return PathFacts(kind=kind, size_bytes=status.st_size, modified_s=int(status.st_mtime))

    def look_at_file(
        self, container: str, path: str, *, deadline_s: float, feed: Callable[[bytes], None] | None = None
    ) -> FileSeen | None:
        _, folder = self._containers[container]
        found = Path(folder) / path.removeprefix("/")
        if path.endswith(".lost"):
            raise LostContainerError("it is gone")
        if path.endswith(".unseen"):
            raise ContainerError("the engine does not say")
        if not found.exists():
            return None
        status = found.stat()
        kind: Literal["directory", "file"] = "directory" if found.is_dir() else "file"
        if feed is not None and kind == "file":
            feed(found.read_bytes())
        return FileSeen(kind=kind, mode=status.st_mode & 0o7777, size_bytes=status.st_size, uid=0, gid=0)

    def read_files(
        self, container: str, path: str, *, deadline_s: float
    ) -> Generator[tuple[str, FileSeen, Iterator[bytes]]]:
        self._note("read files", container=container, path=path)
        top = Path(self._containers[container][1]) / path.removeprefix("/")
        if path.endswith(".unseen"):
            raise ContainerError("the engine does not say")
        found = [top, *sorted(top.rglob("*"))] if top.exists() else []
        for each in found:
            seen = FileSeen(
                kind="symlink" if each.is_symlink() else "directory" if each.is_dir() else "file",
                mode=each.lstat().st_mode & 0o7777,
                size_bytes=each.lstat().st_size,
            )
            below = "" if each == top else str(each.relative_to(top))
            yield below, seen, iter([each.read_bytes()] if seen.kind == "file" else [])

    def list_files(self, container: str, *, deadline_s: float) -> Generator[tuple[str, FileSeen]]:
        yield "/bin/su", FileSeen(kind="file", mode=0o4755, size_bytes=1)

    def look_at_image(self, image: str) -> ImageSeen:
        return ImageSeen(cmd=("sh",), env={"PATH": "/bin", "DB_PASSWORD": "x"})

    def processes(self, container: str) -> tuple[ProcessSeen, ...]:
        return (ProcessSeen(pid=1, user="0", name="sh", command="sh -c serve"),)

    def listeners(self, container: str, *, deadline_s: float) -> tuple[SocketSeen, ...]:
        return (SocketSeen(protocol="tcp", address="::", port=80, process=self.processes(container)[0]),)

    def remove_network(self, network: str) -> None:
        if self._networks.pop(network, None) is not None:
            self._note("network removed", name=network)

    def create_volume(self, name: str, *, labels: Mapping[str, str]) -> None:
        self._note("volume", name=name, labels=dict(labels))

    def remove_volume(self, name: str) -> None:
        self._note("volume removed", name=name)

    def create_container(self, spec: ContainerSpec) -> str:
        self._count += 1
        container = f"c{os.getpid()}-{self._count}"
        self._folder(container).mkdir()
        self._containers[container] = (spec, str(self._folder(container)))
        self._note(
            "create",
            container=container,
            name=spec.name,
            image=spec.image,
            memory_bytes=spec.memory_bytes,
            cpus=spec.cpus,
            command=spec.command,
            labels=dict(spec.labels),
        )
        return container

    def start(self, container: str, *, deadline_s: float | None = None) -> None:
        spec, _ = self._containers[container]
        if spec.image.startswith("broken"):
            raise ContainerError(f"container {spec.name} cannot be started: broken")
        if spec.image.startswith("shellless") and spec.command == KEEP_SHELL:
            raise NoShellError("no shell")
        if spec.admission is not None:
            while not self._takes_room(container):
                spec.admission.lacks(container, "all is taken", is_made=True)
                time.sleep(0.01)
            spec.admission.has_room(container)
        (self._folder(container) / ".ended").unlink(missing_ok=True)
        if spec.memory_bytes < int(spec.env.get("FAKE_NEEDS_MB", "0")) << 20:
            (self._folder(container) / ".ended").write_text("137 oom", encoding="utf-8")
        for line in spec.env.get("FAKE_AT_START", "").split(";"):
            # As a service does that ends on its own.
            name, _, text = line.partition("=")
            if name:
                (self._folder(container) / name).write_text(text, encoding="utf-8")
        self._note("start", container=container)

    def _takes_room(self, container: str) -> bool:
        """Tell whether one more container has room, of this or another process, as a cluster gives it."""
        with (self._log.parent / ".room").open("w") as room:
            fcntl.flock(room, fcntl.LOCK_EX)
            placed = list(self._log.parent.glob(".container-*/.placed"))
            if len(placed) < int(os.environ["FAKE_ROOM"]):
                (self._folder(container) / ".placed").touch()
                self._note("placed", container=container, there=len(placed) + 1)
                return True
        return False

    def state(self, container: str) -> ContainerState:
        if container not in self._containers:
            raise LostContainerError(f"container {container} is gone")
        if (Path(self._containers[container][1]) / ".gone").exists():
            raise LostContainerError(f"container {container} is gone")
        ended = Path(self._containers[container][1]) / ".ended"
        if not ended.exists():
            return ContainerState(id=container, running=True, exit_code=None, oom_killed=False)
        code, _, oom = ended.read_text("utf-8").strip().partition(" ")
        return ContainerState(
            id=container, running=False, exit_code=int(code), oom_killed=bool(oom), lived_s=1.5
        )

    def exec(
        self, container: str, spec: ExecSpec, *, on_output: OnOutput, deadline_s: float | None
    ) -> ExecOutcome:
        created, folder = self._containers[container]
        self._note("exec", container=container, argv=list(spec.argv))
        if "ENGINE-GONE-ONCE" in str(spec.argv):
            with suppress(FileExistsError):
                (self._log.parent / ".gone-once").touch(exist_ok=False)
                raise EngineUnavailableError("the engine is gone for now")
        elif "ENGINE-GONE" in str(spec.argv):
            raise EngineUnavailableError(f"the engine is gone ({spec.argv[-1]})")
        if "RAISE-SIGNAL" in spec.argv[-1]:
            # In the midst of a step, as Ctrl-C and other plugins' time limits come.
            on_output("stdout", b"so far\n")
            number = signal.Signals[spec.argv[-1].split()[1]]
            if "AND-PARENT" in spec.argv[-1]:
                os.kill(os.getppid(), number)
            signal.raise_signal(number)
        with subprocess.Popen(  # a session of its own, so that its children can be ended with it
            list(spec.argv),
            env={"PATH": os.environ["PATH"], **created.env, **spec.env},
            cwd=folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        ) as process:
            left_s = None if deadline_s is None else max(0.0, deadline_s - time.monotonic())
            try:
                stdout, stderr = process.communicate(spec.stdin, timeout=left_s)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.communicate()
                return ExecOutcome(exit_code=None, timed_out=True)
            except BaseException:
                # Ctrl-C does not reach its session: without this it would outlive the run.
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                raise
        for stream, data in (("stdout", stdout), ("stderr", stderr)):
            for at in range(0, len(data), CHUNK_BYTES):
                on_output(stream, data[at : at + CHUNK_BYTES])  # type: ignore[arg-type]
        if (Path(folder) / ".cut").exists():
            return ExecOutcome(exit_code=None, container_lost=True)
        code = process.returncode
        return ExecOutcome(exit_code=code, oom=code == 137 and "OOM" in str(spec.argv))

    def observe(
        self,
        container: str,
        *,
        scratch: Sequence[str] = (),
        before: Mapping[str, str] | None = None,
        inside: bool = False,
    ) -> dict[str, str]:
        spec, folder = self._containers[container]
        if spec.image.startswith("opaque"):
            raise ContainerError("its message queues cannot be seen")
        if spec.image.startswith("elsewhere") and before is None and not inside:
            raise UnobservableError("its processes are not on this host")
        self._note("observe", container=container, first=before is None)
        return {
            f"file {path.name}": "" if path.is_dir() else path.read_text("utf-8")
            for path in Path(folder).iterdir()
        }

    def logs(self, container: str, *, tail_bytes: int) -> str:
        spec, _ = self._containers[container]
        self._logs_read += spec.image.startswith("service-chatty")
        return f"logs of {spec.name}\n" + "one more line\n" * self._logs_read

    def clock_s(self) -> float:
        return time.time()

    def find_unenforced(self) -> tuple[str, ...]:
        self._note("limits tried")
        return tuple(filter(None, [os.environ.get("FAKE_UNENFORCED")]))

    def follow_log(self, container: str, *, until_now: bool = False, since_s: float | None = None) -> FakeLog:
        if since_s is not None:
            self._note("log since", since_s=since_s)
        return FakeLog(Path(self._containers[container][1]) / ".printed", ends=until_now)

    def follow_changes(self, container: str) -> ChangeStream:
        raise ContainerError("the fake engine tells nothing by itself")

    def peak_memory_bytes(self, state: ContainerState) -> int | None:
        return 1 << 20

    def written_bytes(self, container: str) -> int:
        return 0

    def copy_in(self, container: str, files: Sequence[CopiedFile]) -> None:
        for each in files:
            target = self._folder(container) / each.target.removeprefix("/")
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(each.content)
            target.chmod(each.mode)

    def control(self, container: str, what: Literal["kill", "pause", "unpause"]) -> None:
        self._note(what, container=container)
        if what == "kill":
            (self._folder(container) / ".ended").write_text("137", encoding="utf-8")

    def disconnect(self, network: str, container: str) -> None:
        self._note("disconnect", container=container)

    def connect(self, network: str, container: str, aliases: Sequence[str]) -> None:
        self._note("connect", container=container, aliases=list(aliases))

    def stop(self, container: str, *, grace_s: float) -> None:
        self._note("stop", container=container, grace_s=grace_s)
        ended = self._folder(container) / ".ended"
        if not ended.exists():
            ended.write_text("143", encoding="utf-8")

    def remove(self, containers: Sequence[str]) -> None:
        for container in containers:
            self._containers.pop(container, None)
            # Of any process; of several that remove it at once one has done it, and the others go on at once.
            at = time.time()
            with suppress(FileNotFoundError):
                gone = self._folder(container).rename(self._folder(f"{container}-{os.getpid()}"))
                shutil.rmtree(gone, ignore_errors=True)
                self._note("remove", container=container, at=at)

    def list_owned(self, labels: Mapping[str, str]) -> tuple[OwnedObject, ...]:
        objects = [
            OwnedObject(kind="container", id=each, name=spec.name, labels=spec.labels)
            for each, (spec, _) in self._containers.items()
        ]
        objects += [
            OwnedObject(kind="network", id=each, name=each, labels=found)
            for each, found in self._networks.items()
        ]
        return tuple(each for each in objects if _matches(each.labels, labels))

    def remove_owned(self, objects: Sequence[OwnedObject]) -> None:
        self.remove([each.id for each in objects if each.kind == "container"])
        for each in objects:
            if each.kind == "network":
                self.remove_network(each.id)

    def close(self) -> None:
        self._note("close")


def _matches(labels: Mapping[str, str], wanted: Mapping[str, str]) -> bool:
    return all(name in labels and value in {"", labels[name]} for name, value in wanted.items())


def pytest_clnrm_engine(config: pytest.Config) -> FakeEngine:
    """Give the fake engine, or the error of a machine without one."""
    if os.environ.get("FAKE_UNAVAILABLE"):
        raise EngineUnavailableError("no container engine answers", ("tried: fake://", "start one"))
    return FakeEngine(config.rootpath / "engine.jsonl")
