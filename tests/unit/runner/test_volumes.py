"""What a writable volume may hold."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from pytest_clnrm.model.scenario import Scenario
from pytest_clnrm.model.service import Build, Copy, Service, Volume
from pytest_clnrm.runner.volumes import imported, shared_with


def _service(source: Path, *, read_only: bool = True) -> Service:
    return Service(name="box", volumes=(Volume(source=str(source), target="/w", read_only=read_only),))


def _scenario(file: str, *services: Service) -> Scenario:
    return Scenario(name=file, file=f"/{file}", services=services, steps=())


@pytest.mark.parametrize(
    ("other", "why"),
    [
        ("/p/out", "/p/out is a volume of service 'box' of b"),
        ("/p/out/d2", "/p/out/d2 is a volume of service 'box' of b"),
        ("/p", ""),
        ("/p/out2", ""),
    ],
)
def test_volumes_that_hold_others(other: str, why: str) -> None:
    """A writable volume neither is nor holds another source; above it one may be."""
    own = _scenario("a", _service(Path("/p/out"), read_only=False))
    found = shared_with(own, [own, _scenario("b", _service(Path(other)))], {})
    expected = f"/p/out is to be writable, but {why}: a writable volume holds nothing that others use"
    assert found == (expected if why else "")


def test_what_else_a_writable_volume_holds() -> None:
    """Build contexts, what is loaded, and other entries of the file; read-only ones may hold anything."""
    writable = _service(Path("/p/out"), read_only=False)
    own = _scenario("a", writable)
    builds = _scenario("b", Service(name="x", build=Build(context="/p/out/ctx")))
    assert "/p/out/ctx is the build context of service 'x' of b" in shared_with(own, [own, builds], {})
    copies = Service(name="x", files=(Copy(source="/p/out/f", target="/f"), Copy(content="", target="/g")))
    told = "/p/out/f is a file of service 'x' of b"
    assert told in shared_with(own, [own, _scenario("b", copies)], {})
    reads = _scenario("b", Service(name="x", env_files=("/p/out/.env",)))
    assert "/p/out/.env is a file of variables of service 'x' of b" in shared_with(own, [own, reads], {})
    assert "/p/out/x.py is loaded" in shared_with(own, [own], {"/p/out/x.py": "loaded"})
    again = Volume(source="/p/out", target="/y", at=("y",))
    two = _scenario("a", writable, Service(name="y", volumes=(again,)))
    assert "/p/out is a volume of service 'y'" in shared_with(two, [two], {})
    reader = _scenario("c", _service(Path("/p/out")))
    assert shared_with(reader, [reader, builds], {"/p/out/x.py": "loaded"}) == ""


def test_imported_folders(monkeypatch: pytest.MonkeyPatch) -> None:
    """The folders that Python imports from are known."""
    monkeypatch.setattr(sys, "path", ["", "/p/out"])
    assert list(imported()) == ["/p/out"]
