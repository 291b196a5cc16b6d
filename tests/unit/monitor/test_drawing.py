"""Views as lines of text."""

from __future__ import annotations

import re
import shlex
import sys
from dataclasses import replace

import pytest

from pytest_clnrm.monitor.drawing import host_lines, run_lines, wait_lines, width_of
from pytest_clnrm.monitor.view import BudgetView, HostView, RunView
from pytest_clnrm.status.status_file import QueueStatus, WorkerStatus


def words(lines: list[str]) -> list[str]:
    """Return lines with single blanks: how wide columns are is the library's own choice."""
    return [" ".join(line.split()) for line in lines]


def test_a_run_on_a_wide_terminal(host: HostView) -> None:
    """Budget, queue and head stand above the workers, each with item, times, activity and containers."""
    assert words(run_lines(host, columns=150, rows=10, colour=False)) == [
        "clnrm: 3 of 10 containers, 1536 of 12000 MB; queue: 4 high, 12 normal",
        "next: z.clnrm.toml::z waits for its slot (20s)",
        "gw0 tests/shop/checkout.clnrm.toml::pays 12s step 'load' 8s 2 containers, 1024 MB",
        "gw1 tests/b.clnrm.toml::x 3s pulling postgres:16: 3 of 8 layers, 40 of 120 MB 3s",
        "gw2 tests/c.clnrm.toml::日本語 1m10s waits for db, cache to be ready 2s 1 container, 512 MB",
        "gw3 idle",
    ]


def test_a_narrow_terminal_shows_less(host: HostView) -> None:
    """Of an item its end is shown, and columns are left out."""
    first, second, third, fourth = words(run_lines(host, columns=50, rows=10, colour=False)[2:])
    assert re.fullmatch(r"gw0 ….*toml::pays step 'load' 8s", first)
    assert re.fullmatch(r"gw1 ….*clnrm.toml::x pulling .*… 3s", second)
    assert re.fullmatch(r"gw2 ….*toml::日本語 waits for .*… 2s", third)
    assert fourth == "gw3 idle"


@pytest.mark.parametrize("colour", [False, True])
@pytest.mark.parametrize("columns", [1, 2, 8, 20, 50, 61, 80, 91, 200])
def test_no_line_reaches_the_last_column(host: HostView, columns: int, colour: bool) -> None:  # noqa: FBT001
    """Whatever the width, lines are narrower than the terminal; colours are put back at a line's end."""
    for line in run_lines(host, columns=columns, rows=10, colour=colour):
        assert width_of(re.sub(r"\x1b\[[0-9;]*m", "", line)) <= max(1, columns - 1)
        assert line.rstrip().endswith("\x1b[0m") or "\x1b" not in line[line.rfind("\x1b[0m") + 4 :]


def test_colours_are_read_on_light_and_dark_terminals(host: HostView) -> None:
    """No white, black or bright colour: one of them is the background of somebody's terminal, or near it."""
    text = "\n".join(run_lines(host, columns=150, rows=10, colour=True))
    used = {int(code) for each in re.findall(r"\x1b\[([0-9;]*)m", text) for code in each.split(";") if code}
    assert {33, 36} <= used
    assert used.isdisjoint({30, 37, 38, 40, 47, 48, *range(90, 108)})


def test_without_room_the_busy_come_first(host: HostView) -> None:
    """What has no room is counted."""
    lines = run_lines(host, columns=80, rows=4, colour=False)
    assert len(lines) == 4
    assert lines[2].startswith("gw0")
    assert lines[3] == "… and 3 more workers"


def test_before_anything_is_known() -> None:
    """A run that has told nothing yet says so."""
    view = HostView(taken_s=1.0, runs=(RunView(session="a", pid=1),))
    assert run_lines(view, columns=80, rows=10, colour=False) == ["clnrm: no scenario has started"]


def test_waits_are_shown_once(host: HostView) -> None:
    """A line for each image that is being pulled, however many wait for it; for others once they last."""
    (run,) = host.runs
    twice = replace(host, runs=(replace(run, workers=(*run.workers, run.workers[1])),))
    pulling = "clnrm: pulling postgres:16: 3 of 8 layers, 40 of 120 MB"
    assert wait_lines(twice, columns=100, rows=10, colour=False, after_s=10.0) == [pulling]
    assert wait_lines(host, columns=100, rows=10, colour=False, after_s=2.0) == [
        pulling,
        "clnrm: tests/c.clnrm.toml::日本語 waits for db, cache to be ready (2s)",
    ]


def test_a_host(host: HostView) -> None:
    """All runs with their workers, and all ledgers with who waits, in lines of any length."""
    assert words(host_lines(host)) == [
        "run 1a2b3c4d, process 9 on unix:///d.sock",
        "queue: 4 high, 12 normal; next: z.clnrm.toml::z (20s)",
        "gw0 tests/shop/checkout.clnrm.toml::pays 12s step 'load' 8s 2 containers, 1024 MB",
        "gw1 tests/b.clnrm.toml::x 3s pulling postgres:16: 3 of 8 layers, 40 of 120 MB 3s",
        "gw2 tests/c.clnrm.toml::日本語 1m10s waits for db, cache to be ready 2s 1 container, 512 MB",
        "gw3 idle",
        "engine unix:///d.sock: 3 of 10 containers, 1536 of 12000 MB",
        "waits 1. high, run 1a2b3c4d, 2 containers, 20s: z.clnrm.toml::z",
    ]


def test_a_dead_run(host: HostView) -> None:
    """It says what to do about it."""
    (run,) = host.runs
    dead = replace(run, alive=False, engine="", workers=(), queue=QueueStatus(pid=9))
    sweep = f"{shlex.quote(sys.executable)} -m pytest_clnrm sweep"
    assert host_lines(replace(host, runs=(dead,), budgets=()))[:2] == [
        f"run 1a2b3c4d, process 9 has ended and left something (see: {sweep})",
        "  queue: empty",
    ]
    (line, *_) = host_lines(replace(host, runs=(replace(dead, engine="unix:///e"),)), ledger_dir="/a b")
    assert line.endswith(f"(see: {sweep} --ledger-dir '/a b' --engine unix:///e)")


def test_an_empty_host() -> None:
    """It says so."""
    assert host_lines(HostView(taken_s=1.0)) == ["no run of pytest-clnrm on this host, and nothing reserved"]


def test_budgets_without_a_run_and_others(host: HostView) -> None:
    """What is held without a living run, and by other ledgers, is told."""
    held = BudgetView(engine="e", containers=1, memory_bytes=1 << 20)
    shared = BudgetView(engine="f", containers=3, max_containers=4, foreign_containers=2)
    assert host_lines(HostView(taken_s=1.0, budgets=(held, shared))) == [
        "engine e: 1 container, 1 MB in use",
        "engine f: 3 of 4 containers, 0 of 0 MB, 2 of them other ledgers'",
    ]


def test_names_cannot_move_the_cursor() -> None:
    """Escapes and line feeds in names are shown as Python writes them."""
    worker = WorkerStatus(worker="gw0", pid=1, item="a\x1b[2J\n::b", phase="step", detail="x\r\x07")
    view = HostView(taken_s=1.0, runs=(RunView(session="a", pid=1, workers=(worker,)),))
    text = "\n".join(run_lines(view, columns=80, rows=5, colour=False))
    assert "a\\x1b[2J\\n::b" in text
    assert "\x1b" not in text
