"""Containers in asynchronous code; tests/neighbours/test_async.py has the plugins that run such tests."""

from __future__ import annotations

from clnrm_testing.project import Project

ASYNCIO = """
import asyncio, functools
import pytest
from pytest_clnrm import AsyncContainer, ContainerError, Containers, NotReadyError, ScenarioFailedError

def runs(test):
    return functools.wraps(test)(lambda **given: asyncio.run(test(**given)))

async def cancelled_once(path, awaitable):
    task = asyncio.ensure_future(awaitable)
    for _ in range(6000):
        if path.exists():
            break
        await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert path.exists()

@runs
async def test_methods(clnrm: Containers, tmp_path):
    async with clnrm.container("service", env={"FAKE_AT_START": ".printed=one\\ntwo"}) as box:
        box: AsyncContainer
        assert (await box.run("echo a")).stdout == "a\\n"
        assert (await box.exec(["cat"], stdin=b"x", text=False)).stdout == b"x"
        await box.wait_for(log="ready")
        await box.copy_in("seed", "/seed")
        assert await box.read_file("/seed") == b"x"
        assert await box.copy_out("/seed", tmp_path) == tmp_path / "seed"
        found = []
        with pytest.raises(ContainerError, match="still runs after 1 s, and may print more"):
            async for line in box.logs(follow=True, timeout=1):
                found.append(line)
        assert found == ["ready", "one"]
        assert "logs of" in await box.logs()
        assert (box.exit_code, box.host, box.id) == (None, "127.0.0.1", box.container.id)
        with pytest.raises(ContainerError, match="port 80 of container .* is not published"):
            box.url(80)
        await box.pause()
        await box.unpause()
        await box.restart()
        await box.stop()
        assert box.exit_code == 143 == await box.wait()
        await box.start()
        assert await box.spans() == ()
        await box.kill()

@pytest.mark.clnrm_limits(containers=8)
@runs
async def test_side_by_side(clnrm):
    async def one(number):
        async with clnrm.container("a", name=f"box{number}") as box:
            return (await box.run(f"echo {number}")).stdout

    assert await asyncio.gather(*map(one, range(8))) == [f"{each}\\n" for each in range(8)]

@runs
async def test_cancelled_while_it_starts(clnrm, tmp_path):
    never = {"command": f"touch {tmp_path}/asked; echo no; exit 1", "timeout": 60}
    await cancelled_once(tmp_path / "asked", clnrm.container("service", ready=never).__aenter__())
    with pytest.raises(NotReadyError, match="was not ready after 0.1 s"):
        async with clnrm.container("service", ready={**never, "timeout": 0.1}):
            pass

@runs
async def test_cancelled_in_its_block(clnrm, tmp_path):
    async def body():
        async with clnrm.container("a"):
            (tmp_path / "inside").touch()
            await asyncio.sleep(60)

    await cancelled_once(tmp_path / "inside", body())
    async with clnrm.container("a") as box:
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(box.run("sleep 1"), 0.1)

@pytest.mark.clnrm_limits(containers=2)
@runs
async def test_scenarios(clnrm, tmp_path):
    both = [clnrm.scenario_async("it.toml", vars={"code": code}, check=False) for code in (0, 3)]
    assert [each.passed for each in await asyncio.gather(*both)] == [True, False]
    with pytest.raises(ScenarioFailedError, match="exit code 3, expected 0"):
        await clnrm.scenarios_async("it.toml", vars={"code": 3})
    slow = {"code": f"$(touch {tmp_path}/runs; sleep 1)"}
    await cancelled_once(tmp_path / "runs", clnrm.scenario_async("it.toml", vars=slow))

@runs
async def test_fails(clnrm):
    async with clnrm.container("service") as box:
        await box.copy_in("nothing", "/x")
"""


def test_asyncio(project: Project) -> None:
    """Every method is awaited; whoever is cancelled leaves no container; errors show the line of the test."""
    project.write("sub/seed", "x")
    project.write(
        "sub/it.toml", '[vars]\ncode = 0\n[service.app]\nimage = "a"\n[[step]]\nrun = "exit {{ code }}"\n'
    )
    project.write("sub/test_it.py", ASYNCIO)
    result = project.run()
    result.assert_outcomes(passed=5, failed=1)
    result.stdout.fnmatch_lines(
        [
            ">*await box.copy_in('nothing', '/x')*".replace("'", '"'),
            "E*ContainerError: cannot copy *sub/nothing into the container: No such file or directory",
        ]
    )
    assert "in_thread.py" not in result.stdout.str()
    assert len(project.events("create")) == len(project.events("remove")) == 18
