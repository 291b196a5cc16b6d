"""Which containers may be used again, and how a difference is told."""

from __future__ import annotations

import time
from typing import Any

import pytest

from pytest_clnrm.engine.api import ContainerSpec, ImageFacts, Mount
from pytest_clnrm.engine.exec.waiting import KEEP_ALIVE
from pytest_clnrm.errors import ContainerError
from pytest_clnrm.model.service import Service
from pytest_clnrm.pool import proof
from pytest_clnrm.pool.running import RunningContainer

BOX = Service(name="box", image="box")
IMAGE = ImageFacts(id="i", reference="box")
SPEC: dict[str, Any] = {
    "name": "n",
    "image": "i",
    "memory_bytes": 1,
    "cpus": 1.0,
    "pids": 1,
    "command": KEEP_ALIVE,
}


@pytest.mark.parametrize(
    ("service", "image", "spec", "expected"),
    [
        ({}, {}, {}, ""),
        ({"fresh": True}, {}, {}, "fresh = true"),
        ({}, {}, {"command": None}, "it runs a service, whose memory cannot be looked at"),
        ({}, {}, {"mounts": (Mount(source="/a", target="/a", read_only=True),)}, ""),
        ({}, {}, {"mounts": (Mount(source="/a", target="/a", read_only=False),)}, "it can write to a volume"),
        ({}, {"volumes": ("/data",)}, {}, "its image has volumes"),
        ({}, {}, {"ports": (80,)}, "it publishes ports"),
        ({}, {}, {"gpus": 1}, "it has a GPU"),
        ({}, {"healthcheck_s": 90.0}, {}, "its image has a health check"),
    ],
)
def test_who_is_never_used_again(
    service: dict[str, Any], image: dict[str, Any], spec: dict[str, Any], expected: str
) -> None:
    """Only a container that cannot hold anything that is not looked at may be used again."""
    given = Service(name="box", image="box", **service)
    facts = ImageFacts(id="i", reference="box", **image)
    assert proof.why_not_reusable(given, facts, ContainerSpec(**{**SPEC, **spec})) == expected


NEW = {"process init, pid 1": "S", "process sleep, pid 7": "S", "folder /data": "a", "mounts": "m"}


@pytest.mark.parametrize(
    ("after", "expected"),
    [
        (NEW, ""),
        ({**NEW, "process nc, pid 9": "S"}, "left behind: process nc, pid 9"),
        ({**NEW, "process sleep, pid 7": "T"}, "changed: process sleep, pid 7"),
        ({**NEW, "folder /data": "b"}, "changed: folder /data"),
        ({**NEW, "file /data/x": "added"}, "left behind: file /data/x"),
        ({**NEW, "file /data/x": "added|100644"}, "left behind: file /data/x"),
        ({**NEW, "file /data/x": "changed|100644"}, "changed: file /data/x"),
        ({**NEW, "file /data/x": "removed|"}, "gone: file /data/x"),
        ({**NEW, "tcp socket on port 80": "0A"}, "left behind: tcp socket on port 80"),
        ({key: value for key, value in NEW.items() if key != "mounts"}, "gone: mounts"),
    ],
)
def test_what_was_left_is_named(after: dict[str, str], expected: str) -> None:
    """Each difference is one, and the first is told."""
    assert proof.difference(NEW, after) == expected


def test_a_process_that_was_there_from_the_start_is_one_too_many() -> None:
    """A container that never had only ours running is not used again, even if nothing has changed."""
    busy = {**NEW, "process daemon, pid 9": "S"}
    assert proof.difference(busy, busy) == "left behind: process daemon, pid 9"


class Engine:
    """Shows what it is told to."""

    def __init__(self, seen: dict[str, str] | Exception) -> None:
        self.seen = seen

    def observe(self, container: str, *, scratch: tuple[str, ...], before: dict[str, str]) -> dict[str, str]:
        assert (container, scratch, before) == ("c", ("/scratch",), NEW)
        if isinstance(self.seen, Exception):
            raise self.seen
        return self.seen


def running(**changes: Any) -> RunningContainer:
    """Return a container that looked as :data:`NEW` when it was new."""
    facts: dict[str, Any] = {
        "id": "c",
        "name": "n",
        "service": BOX,
        "image": IMAGE,
        "spec": ContainerSpec(**SPEC, tmpfs=("/scratch",)),
        "env": {},
        "created_s": time.monotonic(),
        "fingerprint": NEW,
    }
    return RunningContainer(**{**facts, **changes})


@pytest.mark.parametrize(
    ("seen", "expected"),
    [(NEW, ""), ({}, "gone: process init, pid 1"), (ContainerError("no shell"), "no shell")],
)
def test_a_container_is_looked_at(seen: dict[str, str] | Exception, expected: str) -> None:
    """It is compared with what it was when it was new; what cannot be told is not proven."""
    engine: Any = Engine(seen)
    assert proof.why_changed(engine, running()) == expected
    assert proof.why_changed(engine, running(reused=True)) == expected


def test_an_old_container_is_not_kept() -> None:
    """What cannot be seen adds up."""
    engine: Any = Engine(NEW)
    old = running(created_s=time.monotonic() - proof.MAX_AGE_S - 1)
    assert proof.why_changed(engine, old) == "it is older than 900 s"


def test_which_container_serves() -> None:
    """One of the same specification does, whatever it is called; any other difference counts."""
    box = running()
    assert box.serves(ContainerSpec(**{**SPEC, "name": "other", "labels": {"a": "b"}}, tmpfs=("/scratch",)))
    assert not box.serves(ContainerSpec(**{**SPEC, "memory_bytes": 2}, tmpfs=("/scratch",)))
    assert not box.serves(ContainerSpec(**SPEC))
