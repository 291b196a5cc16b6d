"""How one run bears many scenarios: collecting, handing out, controller, history, the report's page.

Alone: ``python benchmarks/scale.py [--files 1000,5000] [--items 20000] [--run 250,1000]
[--history 20000] [--scenarios 1000,20000] [--rounds 3] [--tree DIR]``; an empty list leaves that out.
With ``--tree`` collecting and the controller are measured beside the package in that work tree. Both stand
beside what pytest and xdist take alone, without this plugin: for as many files with one item each that does
nothing.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from rich.console import Console

from collection import write
from measuring.figures import Figure, Row, at_least, at_most, median_of, ratio_of
from measuring.pytest_runs import ROOT, run_pytest
from measuring.rounds import in_turns
from measuring.table import print_row

if TYPE_CHECKING:
    from pytest_clnrm.history.records import History

__all__ = ["measure"]

TITLE = "scale of one run"
WORKERS = 8
FILES, COLLECTED_S = 5000, 6.0
ITEMS, ITEMS_A_SECOND = 20_000, 500.0
HAND_OVERS = 1000
CONTROLLER_MB, AN_ITEM_MS = 500.0, 2.0
OPENED_S = 2.0
HISTORY_S, HISTORY_MB = 1.0, 50.0
ALONE = ("-p", "no:clnrm")
# What other plugins do at each node, and import in each process, is neither pytest's nor ours.
NO_OTHERS = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
XDIST = ("-p", "xdist")
OURS = ("-p", "clnrm")
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
# Tells when all workers have collected, and what they and the controller have used until then, and ends.
COLLECTED = """
import os, time
import pytest

seen = []

def facts(pid):
    with open(f"/proc/{pid}/stat") as file:
        return file.read().rpartition(")")[2].split()

@pytest.hookimpl(optionalhook=True)
def pytest_xdist_node_collection_finished(node, ids):
    seen.append(len(ids))
    if len(seen) < int(os.environ["WORKERS"]):
        return
    tick = os.sysconf("SC_CLK_TCK")
    own = facts("self")
    wall_s = time.clock_gettime(time.CLOCK_BOOTTIME) - int(own[19]) / tick
    cpu = int(own[11]) + int(own[12])
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            each = facts(pid)
        except OSError:
            continue
        if int(each[1]) == os.getpid():
            cpu += int(each[11]) + int(each[12])
    with open(os.environ["COLLECTED"], "w") as file:
        file.write(f"{wall_s} {cpu / tick} {sum(seen)}")
    os._exit(0)
"""
# One item a file that nobody has read: what no plugin that collects files can do without.
ITEMS_THAT_DO_NOTHING = """
import pytest

class Item(pytest.Item):
    def runtest(self):
        pass

class File(pytest.File):
    def collect(self):
        yield Item.from_parent(self, name=self.path.stem)

def pytest_collect_file(file_path, parent):
    return File.from_parent(parent, path=file_path) if file_path.suffix == ".toml" else None
"""
# What the controller has used at its end.
USED = """
import os, resource
import pytest

@pytest.hookimpl(trylast=True)
def pytest_unconfigure(config):
    if not hasattr(config, "workerinput"):
        used = resource.getrusage(resource.RUSAGE_SELF)
        with open(os.environ["USED"], "w") as file:
            file.write(f"{used.ru_utime + used.ru_stime} {used.ru_maxrss * 1024 / 1e6}")
"""


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """What is measured, smaller sizes first.

    :param files: to be collected.
    :param items: that are handed out.
    :param run: scenarios that are run on the fake engine: two sizes, of which what one more costs is told,
        or one.
    :param history: items that twelve runs have shown.
    :param scenarios: of a report.
    :param tree: of another version of the package, beside which collecting and the controller are measured;
        "" for none.
    """

    files: Sequence[int] = (1000, FILES)
    items: Sequence[int] = (ITEMS,)
    run: Sequence[int] = (250, 1000)
    history: Sequence[int] = (ITEMS,)
    scenarios: Sequence[int] = (1000, ITEMS)
    rounds: int = 3
    tree: str = ""


QUICK = Sizes(files=(10,), items=(100,), run=(4, 8), history=(20,), scenarios=(50,), rounds=1)


def measure(*, quick: bool) -> Row:
    """Return the row; without playwright and a Chromium it says nothing of opening the report."""
    return measured(QUICK if quick else Sizes())


def measured(sizes: Sizes) -> Row:
    """Return the row for *sizes*."""
    opened, notes = _opened(sizes)
    return Row(
        key="l",
        title=TITLE,
        sizes=f"{sizes.rounds} rounds",
        figures=(
            *_collected(sizes),
            *_handed_out(sizes),
            *_ledger(sizes),
            *_controller(sizes),
            *_remembered(sizes),
            *opened,
        ),
        notes=notes,
    )


def _collected(sizes: Sizes) -> list[Figure]:
    """Measure until all of 8 workers have collected, from the start of pytest."""
    figures: list[Figure] = []
    for size in sizes.files:
        # The watchdog of a run that was broken off once it had collected still opens the ledger there.
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as place:
            folder = Path(place, "files")
            write(folder, size)
            (folder / "conftest.py").write_text(COLLECTED, encoding="utf-8")
            alone = Path(place, "alone")
            write(alone, size)
            (alone / "conftest.py").write_text(COLLECTED + ITEMS_THAT_DO_NOTHING, encoding="utf-8")
            contenders = {
                "ours": partial(_collect, folder, size, "", *OURS),
                "alone": partial(_collect, alone, size, ""),
            }
            if sizes.tree:
                contenders["other"] = partial(_collect, folder, size, sizes.tree, *OURS)
            contenders["ours"]()
            runs = in_turns(contenders, sizes.rounds)
        for at, (what, unit) in enumerate((("", "s"), (", processor time", "s"))):
            each = {name: [run[at] for run in ran] for name, ran in runs.items()}
            target = at_most(COLLECTED_S) if size == FILES and at == 0 else None
            figures.append(
                median_of(f"{size} files collected by -n {WORKERS}{what}", each["ours"], unit, target)
            )
            figures.append(median_of(f"{size} files, pytest and xdist alone{what}", each["alone"], unit))
            if sizes.tree:
                figures += [
                    median_of(f"{size} files, the other version{what}", each["other"], unit),
                    ratio_of(f"{size} files, ours : the other version{what}", each, "ours", "other"),
                ]
    return figures


def _collect(folder: Path, files: int, tree: str, *arguments: str) -> tuple[float, float]:
    """Return the time and the processor time until all workers have collected, seconds."""
    told = folder.parent / "collected"
    environ = {"WORKERS": str(WORKERS), "COLLECTED": str(told), "XDG_RUNTIME_DIR": str(folder.parent)}
    environ |= _package_of(tree) | NO_OTHERS
    run_pytest(folder, [*XDIST, "-n", str(WORKERS), *arguments], environ)
    wall_s, cpu_s, collected = told.read_text(encoding="utf-8").split()
    assert int(collected) == files * WORKERS, collected
    return float(wall_s), float(cpu_s)


def _package_of(tree: str) -> dict[str, str]:
    """Return the variables with which the package of a work tree is loaded; "" for the installed one."""
    return {"PYTHONPATH": f"{tree}:{ROOT / 'tests'}"} if tree else {}


class _Gate:
    """Grants all at once."""

    def try_reserve(self, *_args: Any, **_given: Any) -> Any:
        from pytest_clnrm.scheduling.tickets import Ticket

        return Ticket(lease="lease")

    def serves(self, *_args: Any) -> bool:
        return False

    def why_stuck(self, _index: int) -> str:
        return ""

    def give_up(self, _index: int) -> None:
        return

    def release(self, _ticket: Any) -> None:
        return

    def settle(self) -> None:
        return


class _Node:
    """A worker that runs what it gets in no time."""

    def __init__(self, number: int) -> None:
        self.gateway = SimpleNamespace(id=f"gw{number}")
        self.shutting_down = False
        self.inbox: list[int] = []

    def send_runtest_some(self, indices: Sequence[int]) -> None:
        self.inbox += indices

    def sendcommand(self, _name: str, *, indices: Sequence[int], **_tickets: object) -> None:
        self.inbox += indices

    def shutdown(self) -> None:
        self.shutting_down = True


def _handed_out(sizes: Sizes) -> list[Figure]:
    return [
        median_of(
            f"{size} items with a demand handed out by the scheduling alone",
            [_hand_out(size) for _ in range(sizes.rounds)],
            "a second",
            at_least(ITEMS_A_SECOND),
        )
        for size in sizes.items
    ]


def _hand_out(count: int) -> float:
    """Return how many items a second are handed out to workers that take no time, if there is room."""
    from pytest_clnrm.scheduling.facts import ItemFacts
    from pytest_clnrm.scheduling.strict import StrictScheduling

    collection = [f"s{number}.clnrm.toml::scenario {number}" for number in range(count)]
    demand = {"containers": 1, "memory_bytes": 1 << 28, "cpus": 1.0, "gpus": 0}
    facts = [ItemFacts(demand=demand, specification="box")] * count
    scheduling = StrictScheduling(collection, facts, gate=_Gate(), workers=WORKERS, tell=lambda *_: None)
    nodes = [_Node(number) for number in range(WORKERS)]
    for node in nodes:
        scheduling.add_node(node)
        scheduling.add_node_collection(node, collection)
    began_s = time.perf_counter()
    scheduling.schedule()
    ended = 0
    while ended < count:
        before = ended
        for node in nodes:
            starts, node.inbox = [each for each in node.inbox if each >= 0], []
            for index in starts:
                scheduling.started(collection[index])
                scheduling.remove_pending_tests_from_node(node, [])
                scheduling.mark_test_complete(node, index, 0.001)
                ended += 1
        assert ended > before, "nobody got an item"
    return count / (time.perf_counter() - began_s)


def _ledger(sizes: Sizes) -> list[Figure]:
    """Measure what the ledger takes for each item of a run that reuses containers."""
    if not sizes.items:
        return []
    used_ms = [_hand_over_ms(min(sizes.items[-1], HAND_OVERS)) for _ in range(sizes.rounds)]
    return [median_of("the ledger gives back one lease and grants the next, processor time", used_ms, "ms")]


def _hand_over_ms(count: int) -> float:
    """Return the processor time of one of *count* hand-overs, in a ledger of a controller and its workers."""
    from pytest_clnrm.ledger.budget import Budget
    from pytest_clnrm.ledger.folder import open_folder
    from pytest_clnrm.ledger.ledger import Ledger
    from pytest_clnrm.model.demand import Demand

    budget = Budget(containers=WORKERS, memory_bytes=1 << 40)
    demand = Demand(containers=1, memory_bytes=1 << 28, cpus=1.0)
    with tempfile.TemporaryDirectory() as place, ExitStack() as stack:
        folder = open_folder(Path(place), {})
        owners = [stack.enter_context(Ledger(folder, "engine", budget)) for _ in range(WORKERS + 1)]
        for each in owners:
            each.open_run("run")
        ledger = owners[0]
        idle = ledger.reserve(demand, priority=0, index=0)
        began_s = time.process_time()
        for index in range(count):
            with ledger.putting_off():
                ledger.mark_idle(idle.id, ("container",))
            waiter = ledger.new_waiter(demand, priority=0, index=index, takes=(idle.id,))
            granted = ledger.claim(waiter)
            assert granted is not None
            idle = granted
        return (time.process_time() - began_s) / count * 1000


def _controller(sizes: Sizes) -> list[Figure]:
    """Measure what the controller needs of whole runs on the fake engine, with a report."""
    if not sizes.run:
        return []
    with tempfile.TemporaryDirectory() as place:
        contenders: dict[str, Callable[[], tuple[float, float]]] = {}
        for size in sizes.run:
            folder, alone = Path(place, str(size)), Path(place, f"{size}-alone")
            write(folder, size)
            alone.mkdir()
            for number in range(size):
                (alone / f"test_{number}.py").write_text("def test_one():\n    pass\n", encoding="utf-8")
            for each in (folder, alone):
                (each / "conftest.py").write_text(USED, encoding="utf-8")
            contenders[f"{size} ours"] = partial(_run, folder, "")
            contenders[f"{size} alone"] = partial(_run_alone, alone)
            if sizes.tree:
                contenders[f"{size} other"] = partial(_run, folder, sizes.tree)
        runs = in_turns(contenders, sizes.rounds)
    figures = [
        median_of(
            f"controller's peak memory, {size} scenarios",
            [mb for _, mb in runs[f"{size} ours"]],
            "MB",
            at_most(CONTROLLER_MB) if size == ITEMS else None,
        )
        for size in sizes.run
    ]
    small, large = sizes.run[0], sizes.run[-1]
    more = large - small
    names = [name for name in ("ours", "alone", "other") if f"{large} {name}" in runs]
    if not more:
        whole_ms = {name: [cpu_s / large * 1000 for cpu_s, _ in runs[f"{large} {name}"]] for name in names}
        return [*figures, *_item_figures("the whole run, for each scenario", whole_ms)]
    pairs = {name: list(zip(runs[f"{small} {name}"], runs[f"{large} {name}"], strict=True)) for name in names}
    each_kb = [(two[1] - one[1]) / more * 1000 for one, two in pairs["ours"]]
    at_20_000 = [
        two[1] + kb * (ITEMS - large) / 1000 for (_, two), kb in zip(pairs["ours"], each_kb, strict=True)
    ]
    each_ms = {name: [(two[0] - one[0]) / more * 1000 for one, two in each] for name, each in pairs.items()}
    return [
        *figures,
        median_of("controller's memory, one scenario more", each_kb, "kB"),
        median_of(
            f"controller's peak memory, {ITEMS} scenarios by these", at_20_000, "MB", at_most(CONTROLLER_MB)
        ),
        *_item_figures("one scenario more", each_ms),
    ]


def _item_figures(what: str, each_ms: dict[str, list[float]]) -> list[Figure]:
    """Return the controller's processor time for an item: ours, pytest and xdist alone, the other version."""
    figures = [
        median_of(f"controller's processor time, {what}", each_ms["ours"], "ms", at_most(AN_ITEM_MS)),
        median_of(f"pytest and xdist alone, {what}, a trivial Python test", each_ms["alone"], "ms"),
    ]
    if "other" in each_ms:
        figures += [
            median_of(f"the other version's processor time, {what}", each_ms["other"], "ms"),
            ratio_of(f"{what}, ours : the other version, processor time", each_ms, "ours", "other"),
        ]
    return figures


def _run(folder: Path, tree: str) -> tuple[float, float]:
    """Return the controller's processor time, seconds, and its peak memory, 1,000,000 bytes."""
    for each in folder.glob(".container-*"):
        shutil.rmtree(each)
    report = ("--clnrm-report", str(folder.parent / "report"))
    return _used(folder, ("-p", "clnrm_testing.fake_engine", *report), _package_of(tree))


def _run_alone(folder: Path) -> tuple[float, float]:
    """Return the same of pytest and xdist alone."""
    return _used(folder, ALONE, {})


def _used(folder: Path, arguments: Sequence[str], environ: dict[str, str]) -> tuple[float, float]:
    told = folder.parent / "used"
    run_pytest(
        folder,
        ["-n", "2", *arguments],
        {"USED": str(told), "XDG_RUNTIME_DIR": str(folder.parent), **environ},
    )
    cpu_s, peak_mb = told.read_text(encoding="utf-8").split()
    return float(cpu_s), float(peak_mb)


def _remembered(sizes: Sizes) -> list[Figure]:
    """Measure what the history of twelve runs costs at the end of a run: read, and added to."""
    from pytest_clnrm.history.records import RUNS_OF_ITEM
    from pytest_clnrm.history.store import add_to, read_history

    figures: list[Figure] = []
    for size in sizes.history:
        names = [f"tests/s{number}.clnrm.toml::scenario {number}" for number in range(size)]
        with tempfile.TemporaryDirectory() as place:
            path = Path(place, "history.json")
            for at in range(RUNS_OF_ITEM):
                add_to(path, _shown(names, at))
            read_s = [_used_s(partial(read_history, path)) for _ in range(sizes.rounds)]
            added_s = [
                _used_s(partial(add_to, path, _shown(names, RUNS_OF_ITEM + at))) for at in range(sizes.rounds)
            ]
            file_mb = path.stat().st_size / 1e6
            tracemalloc.start()
            whole: History = read_history(path)
            held_mb = tracemalloc.get_traced_memory()[0] / 1e6
            tracemalloc.stop()
            assert len(whole.items) == size
        what = f"history of {size} items"
        figures += [
            median_of(f"{what}, read, processor time", read_s, "s", at_most(HISTORY_S)),
            median_of(f"{what}, added to, processor time", added_s, "s", at_most(HISTORY_S)),
            median_of(f"{what}, in memory", [held_mb], "MB", at_most(HISTORY_MB)),
            median_of(f"{what}, file", [file_mb], "MB"),
        ]
    return figures


def _shown(names: Sequence[str], at: int) -> History:
    """Return what one run has shown of scenarios, with a measured container each."""
    from pytest_clnrm.history.records import History, Observed, run_name

    run = run_name(datetime(2026, 1, 1 + at, tzinfo=timezone.utc), "0123456789ab")
    shown = (
        Observed("passed", 0.5 + number % 100 / 64, {"box": (1 << 20) + (number % 512 << 12)})
        for number in range(len(names))
    )
    return History.of({name: {run: each} for name, each in zip(names, shown, strict=True)})


def _used_s(work: Callable[[], object]) -> float:
    began_s = time.process_time()
    work()
    return time.process_time() - began_s


def _opened(sizes: Sizes) -> tuple[list[Figure], tuple[str, ...]]:
    """Measure how long a browser takes from opening a report until its rows are there."""
    if not sizes.scenarios:
        return [], ()
    program = next(filter(None, map(shutil.which, BROWSERS)), None)
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        program = None
    if program is None:
        return [], ("the report was not opened: there is no playwright, or no Chromium",)
    sys.path.insert(0, str(ROOT / "tests"))
    from clnrm_testing.report_data import sample_run

    from pytest_clnrm.report.html_report import write_html

    with tempfile.TemporaryDirectory() as place, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-gpu"])
        pages = {str(size): Path(place, f"{size}.html") for size in sizes.scenarios}
        for size, path in pages.items():
            write_html(path, sample_run(int(size), WORKERS))

        used_s: dict[str, list[float]] = {}

        def opens(size: str) -> float:
            context = browser.new_context(viewport={"width": 1280, "height": 860})
            page = context.new_page()
            devtools = context.new_cdp_session(page)
            devtools.send("Performance.enable", {"timeDomain": "threadTicks"})
            began_s = time.perf_counter()
            page.goto(pages[size].as_uri())
            page.wait_for_selector("[role=option]")
            taken_s = time.perf_counter() - began_s
            metrics = devtools.send("Performance.getMetrics")["metrics"]
            used_s.setdefault(size, []).extend(
                each["value"] for each in metrics if each["name"] == "ThreadTime"
            )
            context.close()
            return taken_s

        contenders = {size: partial(opens, size) for size in pages}
        in_turns(contenders, 1)
        taken = in_turns(contenders, max(sizes.rounds, 1))
        browser.close()
    return [
        median_of(
            f"a report of {size} scenarios opens",
            taken_s,
            "s",
            at_most(OPENED_S) if int(size) == ITEMS else None,
        )
        for size, taken_s in taken.items()
    ] + [
        median_of(f"processor time of its thread, {size} scenarios", each, "s")
        for size, each in used_s.items()
    ], ()


def _sizes(text: str) -> tuple[int, ...]:
    return tuple(sorted(map(int, text.split(",")))) if text else ()


def main() -> None:
    """Measure and print the row."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=_sizes, default=Sizes.files)
    parser.add_argument("--items", type=_sizes, default=Sizes.items)
    parser.add_argument("--run", type=_sizes, default=Sizes.run)
    parser.add_argument("--history", type=_sizes, default=Sizes.history)
    parser.add_argument("--scenarios", type=_sizes, default=Sizes.scenarios)
    parser.add_argument("--rounds", type=int, default=Sizes.rounds)
    parser.add_argument("--tree", default=Sizes.tree, help="of another version, beside which is measured")
    console = Console(width=None if sys.stdout.isatty() else 120)
    print_row(console, measured(Sizes(**vars(parser.parse_args()))))
    console.print(f"load of the machine: {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
