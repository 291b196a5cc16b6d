"""Containers in asynchronous tests beside the plugins that run those: pytest-asyncio, and AnyIO with trio."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

PYTEST_ASYNCIO = """
import asyncio
import pytest
import pytest_asyncio

@pytest_asyncio.fixture
async def box(clnrm):
    async with clnrm.container("a") as box:
        yield box

@pytest.mark.asyncio
async def test_runs(box):
    assert (await box.run("echo a")).stdout == "a\\n"

@pytest.mark.asyncio
async def test_cancelled(clnrm):
    async def body():
        async with clnrm.container("a"):
            await asyncio.sleep(60)

    with pytest.raises(asyncio.TimeoutError):
        await asyncio.wait_for(body(), 0.5)
"""

ANYIO = """
import anyio
import pytest

pytestmark = pytest.mark.anyio

async def test_runs(clnrm):
    async with clnrm.container("a") as box:
        assert (await box.run("echo a")).stdout == "a\\n"

async def test_cancelled_while_it_starts(clnrm):
    never = {"command": "exit 1", "timeout": 1.5}
    with anyio.move_on_after(0.3) as scope:
        async with clnrm.container("service", ready={"command": "sleep 0.5"}):
            await anyio.sleep(60)
    assert scope.cancelled_caught

async def test_cancelled_in_its_block(clnrm):
    with anyio.move_on_after(0.3) as scope:
        async with clnrm.container("a") as box:
            await anyio.sleep(60)
    assert scope.cancelled_caught

async def test_cancelled_in_a_command(clnrm):
    with anyio.move_on_after(0.5) as scope:
        async with clnrm.container("a") as box:
            await box.run("sleep 2")
    assert scope.cancelled_caught
"""


@pytest.mark.parametrize(
    ("plugin", "text", "passed", "made"),
    [("asyncio", PYTEST_ASYNCIO, 2, 2), ("anyio", ANYIO, 8, 8)],
)
def test_asynchronous_tests(plugin: str, text: str, passed: int, made: int, tmp_path: Path) -> None:
    """They use containers, and who is cancelled leaves none."""
    (tmp_path / "test_it.py").write_text(text)
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    own = ("pytest_clnrm.plugin", "clnrm_testing.fake_engine", plugin)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *(word for each in own for word in ("-p", each)), "-q"],
        cwd=tmp_path,
        env={
            **os.environ,
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
            "PYTHONPATH": str(Path(__file__).parents[1]),
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert f"{passed} passed" in done.stdout, done.stdout + done.stderr
    events = (tmp_path / "engine.jsonl").read_text()
    assert events.count('"event": "create"') == events.count('"event": "remove"') == made
