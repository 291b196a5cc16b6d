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
    inside = asyncio.Event()

    async def body():
        async with clnrm.container("a"):
            inside.set()
            await asyncio.sleep(60)

    task = asyncio.ensure_future(body())
    await asyncio.wait_for(inside.wait(), 60)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
"""

ANYIO = """
from contextlib import asynccontextmanager
import anyio
import pytest

pytestmark = pytest.mark.anyio

@asynccontextmanager
async def cancelled_once(path):
    async def cancel(scope):
        while not path.exists():
            await anyio.sleep(0.01)
        scope.cancel()

    async with anyio.create_task_group() as group:
        with anyio.fail_after(60), anyio.CancelScope() as scope:
            group.start_soon(cancel, scope)
            yield
        assert scope.cancelled_caught

async def test_runs(clnrm):
    async with clnrm.container("a") as box:
        assert (await box.run("echo a")).stdout == "a\\n"

async def test_cancelled_while_it_starts(clnrm, tmp_path):
    async with cancelled_once(tmp_path / "asked"):
        async with clnrm.container("service", ready={"command": f"touch {tmp_path}/asked; sleep 1"}):
            await anyio.sleep(60)

async def test_cancelled_in_its_block(clnrm, tmp_path):
    async with cancelled_once(tmp_path / "inside"):
        async with clnrm.container("a"):
            (tmp_path / "inside").touch()
            await anyio.sleep(60)

async def test_cancelled_in_a_command(clnrm, tmp_path):
    async with cancelled_once(tmp_path / "runs"):
        async with clnrm.container("a") as box:
            await box.run(f"touch {tmp_path}/runs; sleep 1")
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
