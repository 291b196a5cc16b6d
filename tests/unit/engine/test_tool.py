"""The program of ours that runs in containers: as it is shipped, and as a relay of this machine's own."""

from __future__ import annotations

import io
import os
import platform
import signal
import subprocess
import sys
import tarfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from clnrm_testing import tool

from pytest_clnrm.engine.tool.program import PAUSE, agent, packed, program

OWN = program(platform.machine())
needs_program = pytest.mark.skipif(
    OWN is None or sys.platform != "linux", reason=f"there is no program for {platform.machine()}"
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return the path of this machine's program."""
    path = tmp_path / "clnrm"
    path.write_bytes(OWN or b"")
    path.chmod(0o755)
    return path


@pytest.mark.parametrize("architecture", tool.ARCHITECTURES)
@pytest.mark.parametrize(("name", "shipped"), [("clnrm", program), ("agent", agent)])
def test_what_is_shipped_is_what_the_source_makes(
    name: str, shipped: Callable[[str], bytes | None], architecture: str, tmp_path: Path
) -> None:
    """The compiler of `tox -e tool` makes the same bytes of the source, for each architecture."""
    pytest.importorskip("ziglang", reason="the compiler is not installed: tox -e tool")
    assert tool.build(name, architecture, tmp_path / "out").read_bytes() == shipped(architecture)


def test_architectures_by_all_their_names() -> None:
    """Engines and images call them otherwise; what there is no program for is told."""
    assert program("amd64") == program("x86_64")
    assert program("arm64") == program("AARCH64") != program("amd64")
    assert program("riscv64") is None


def test_it_is_small_and_static() -> None:
    """A few kilobytes, without an interpreter that an image would have to have."""
    for architecture in tool.ARCHITECTURES:
        for content, most in ((program(architecture) or b"", 8192), (agent(architecture) or b"", 16384)):
            assert content.startswith(b"\x7fELF")
            assert len(content) < most
            assert b"/ld" not in content


def test_packed() -> None:
    """The archive holds it as a program, and is the same each time."""
    archive = packed(b"x", "clnrm")
    assert packed(b"x", "clnrm") == archive
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        (entry,) = tar.getmembers()
        assert (entry.name, entry.mode, entry.size, entry.uid) == ("clnrm", 0o755, 1, 0)


@needs_program
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_pause_ends_by_a_signal(path: Path, number: signal.Signals) -> None:
    """It waits until then, and ends as a shell tells of it."""
    with subprocess.Popen([path, *PAUSE]) as process:
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.1)
        process.send_signal(number)
        assert process.wait(10) == 128 + number


@needs_program
def test_pause_takes_orphans_in(path: Path) -> None:
    """As process 1 of a container it reaps what others left: here it is told to be the one that does."""
    code = (
        "import ctypes, os, sys\n"
        "ctypes.CDLL(None).prctl(36, 1)\n"  # PR_SET_CHILD_SUBREAPER, which an exec keeps
        "read, write = os.pipe()\n"
        "if os.fork() == 0:\n"
        "    child = os.fork()\n"
        "    if child == 0:\n"
        "        os.read(read, 1)\n"
        "        os._exit(0)\n"
        "    print(child, flush=True)\n"
        "    os._exit(0)\n"
        "os.wait()\n"
        "os.dup2(write, 9)\n"
        f"os.execv({str(path)!r}, ['clnrm', 'pause'])\n"
    )
    with subprocess.Popen([sys.executable, "-S", "-c", code], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        orphan = int(process.stdout.readline())
        with suppress(ProcessLookupError):
            os.kill(orphan, signal.SIGKILL)
        while Path(f"/proc/{orphan}").exists():
            pass
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 128 + signal.SIGTERM


@needs_program
@pytest.mark.parametrize("arguments", [(), ("relay",), ("pause", "x"), ("nonsense",)])
def test_wrong_arguments(path: Path, arguments: tuple[str, ...]) -> None:
    """It says how it is used."""
    done = subprocess.run([path, *arguments], capture_output=True, text=True, check=False, timeout=10)
    assert (done.returncode, done.stderr) == (1, "usage: clnrm pause | clnrm relay PORT\n")
