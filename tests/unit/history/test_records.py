"""Histories: merged whatever the order, bounded, written and read."""

from __future__ import annotations

import multiprocessing
import tracemalloc
from datetime import datetime, timezone
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_clnrm.history.estimates import NEVER_RUN, durations_s, failure_likelihoods
from pytest_clnrm.history.recorder import Recorder
from pytest_clnrm.history.records import RUNS, RUNS_OF_ITEM, Columns, History, Observed, merged, run_name
from pytest_clnrm.history.sizes import advice, fitting_bytes, sizes
from pytest_clnrm.history.store import HistoryError, add_to, bytes_of, read_history

NAMES = st.sampled_from([f"r{number:03}" for number in range(RUNS_OF_ITEM + 6)])
OBSERVED = st.builds(
    Observed,
    st.sampled_from(["skipped", "passed", "failed"]),
    st.none() | st.integers(0, 9).map(float),
    st.dictionaries(st.sampled_from("ab"), st.integers(0, 99), max_size=2),
)


def history_of(items: dict[str, dict[str, Observed]], needy: dict[str, str]) -> History:
    """Return a history that names all runs which its items had, and one that showed nothing."""
    return History.of(items, needy, runs=["r005"])


HISTORIES = st.builds(
    history_of,
    st.dictionaries(
        st.sampled_from("xyz"), st.dictionaries(NAMES, OBSERVED, min_size=1, max_size=20), max_size=3
    ),
    st.dictionaries(st.sampled_from("xyz"), NAMES, max_size=2),
)


@pytest.fixture(autouse=True)
def _few_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the bound of runs be one that the examples go beyond."""
    monkeypatch.setattr("pytest_clnrm.history.records.RUNS", 15)


@given(HISTORIES, HISTORIES, HISTORIES)
def test_merge(one: History, two: History, three: History) -> None:
    """Shards merge in any order, in any grouping and any number of times to the same, within the bounds."""
    whole = merged(one, two, three)
    assert merged(three, one, two) == whole
    assert merged(merged(one, two), three) == merged(one, merged(two, three)) == whole
    assert merged(whole, one, whole) == whole
    assert max((len(each.runs) for each in whole.items.values()), default=0) <= RUNS_OF_ITEM
    assert len(whole.runs) <= 15 < RUNS


@given(HISTORIES)
def test_text_and_back(tmp_path_factory: pytest.TempPathFactory, history: History) -> None:
    """What is written is read again, and written the same again."""
    path = tmp_path_factory.mktemp("history") / "h.json"
    history = merged(history)
    path.write_bytes(bytes_of(history))
    assert read_history(path) == history
    assert bytes_of(read_history(path)) == path.read_bytes()


def test_file_of_many_items_is_small(tmp_path: Path) -> None:
    """Twelve runs of an item are a line of about 200 characters, and the history as much again in memory."""
    names = [f"tests/test_some_{number}.py::test_module" for number in range(1000)]
    runs = [run_name(datetime(2026, 9, day, tzinfo=timezone.utc), "0123456789ab") for day in range(1, 13)]
    shown = {run: Observed("passed", 0.1234 + at) for at, run in enumerate(runs)}
    path = tmp_path / "h.json"
    path.write_bytes(bytes_of(History.of(dict.fromkeys(names, shown))))
    assert path.stat().st_size < 200 * len(names)
    tracemalloc.start()
    history = read_history(path)
    size, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert list(history.observed(names[0]).values()) == list(shown.values())
    assert size < 1500 * len(names)


def test_bounds() -> None:
    """Of an item the newest runs are kept; what only older runs than the newest have seen is forgotten."""
    passed = Observed("passed", 1.0)
    runs = [f"b{number:02}" for number in range(15)]
    failed = Observed("failed", 2.0, {"db": 3})
    old = History.of({"gone": {"a": passed}, "stays": {"a": failed, "b03": passed}}, {"gone": "a"})
    new = History.of({"here": dict.fromkeys(runs, passed)})
    whole = merged(old, new)
    assert list(whole.items) == ["stays", "here"]
    assert whole.observed("here") == dict.fromkeys(runs[-RUNS_OF_ITEM:], passed)
    assert whole.observed("stays") == {"b03": passed}
    assert whole.items["stays"].peaks == {}, "what nothing is known of any more is no column"
    assert (whole.runs, whole.needy) == (tuple(runs), {})
    many = Columns(tuple(range(15)), "p" * 15, (1.0,) * 15)
    assert merged(History(tuple(runs), {"here": many})).items["here"] == whole.items["here"]


def test_names_of_runs_sort_by_time() -> None:
    """A later run has a larger name."""
    first = run_name(datetime(2026, 9, 30, 23, 59, 59, 999_000, timezone.utc), "ffff")
    assert first == "20260930T235959.999000-ffff"
    assert first < run_name(datetime(2026, 10, 1, tzinfo=timezone.utc), "0000")


def test_recorder() -> None:
    """An item counts when it has been torn down, with all its phases; failed once is failed."""
    recorder = Recorder()
    assert recorder.history("r") == History()
    for outcome in ("failed", "passed"):
        recorder.phase("a", "setup", "passed", 0.5)
        recorder.peaks("a", {"db": 7})
        recorder.phase("a", "call", outcome, 1.0)
        recorder.phase("a", "teardown", "passed", 0.25)
    recorder.phase("b", "setup", "passed", 1.0)
    recorder.phase("c", "setup", "passed", 1.0)
    recorder.crashed("c")
    recorder.needs_all("a")
    assert recorder.history("r") == History.of(
        {"a": {"r": Observed("failed", 1.75, {"db": 7})}, "c": {"r": Observed("failed")}}, {"a": "r"}
    )


def test_estimates() -> None:
    """Durations follow what is new; what failed last is likelier to fail than what never ran."""
    runs = {f"r{number}": number for number in range(6)}
    failed, passed, skipped = Observed("failed", 1.0), Observed("passed", 2.0), Observed("skipped", 0.0)
    history = History.of(
        {
            "failed last": {**dict.fromkeys(runs, passed), "r5": failed},
            "failed before": {**dict.fromkeys(runs, failed), "r5": passed},
            "failed long ago": {**dict.fromkeys(runs, passed), "r0": failed},
            "skipped": {"r5": skipped},
            "crashed": {"r5": Observed("failed")},
        },
    )
    likely = failure_likelihoods(history)
    assert likely["crashed"] > likely["failed last"] > NEVER_RUN == likely["skipped"]
    assert NEVER_RUN > likely["failed before"] > likely["failed long ago"] > 0
    took_s = durations_s(history)
    assert took_s["failed last"] == pytest.approx(2.0 - 0.3)
    assert took_s["failed before"] == pytest.approx(1.0 + 0.3)
    assert "crashed" not in took_s


def one_item(columns: str, runs: str = "['r']") -> str:
    """Return the text of a history of one item."""
    return f"{{'format': 2, 'runs': {runs}, 'items': {{'a': {columns}}}}}".replace("'", '"')


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('{"format": 2,\n "runs": x}', "h.json:2:10: no history of pytest-clnrm: "),
        ('{"format": 1, "runs": [], "items": {}}', "no history of pytest-clnrm: Invalid enum value 1"),
        (one_item("[[0], 'p', [1]]", runs="[]"), "'a' names run 0, the last one is -1"),
        (one_item("[[0], 'p', [1]]", runs="['s', 'r']"), "its runs must be sorted, and each there once"),
        (one_item("[[-1], 'p', [1]]"), "$.items[...][0][0]"),
        (one_item("[[0], 'x', [1]]"), "outcomes are letters of 'pfs', not 'x'"),
        (one_item("[[0], 'p', [-1]]"), "$.items[...][2][0]"),
        (one_item("[[], '', []]"), "its runs must be one or more, each once, the oldest first"),
        (one_item("[[0, 0], 'pp', [1, 1]]"), "its runs must be one or more, each once, the oldest first"),
        (one_item("[[0], 'pp', [1]]"), "its columns must be as long as its list of runs"),
        (one_item("[[0], 'p', [1], {'db': []}]"), "its columns must be as long as its list of runs"),
        ('{"format": 2, "runs": [], "items": {}, "needy": {"a": 3}}', "'a' names run 3, the last one is -1"),
        (" ", "no history of pytest-clnrm: "),
        ("\udcff", "no history of pytest-clnrm: "),
    ],
)
def test_damaged(tmp_path: Path, text: str, told: str) -> None:
    """A file that is no history is told with its place, and stays as it is."""
    path = tmp_path / "h.json"
    path.write_text(text, encoding="utf-8", errors="surrogateescape")
    with pytest.raises(HistoryError) as caught:
        add_to(path, History.of({}, runs=["r"]))
    assert str(tmp_path) in str(caught.value)
    assert told in str(caught.value)
    assert path.read_text(encoding="utf-8", errors="surrogateescape") == text


def test_it_begins_with_an_empty_file(tmp_path: Path) -> None:
    """One that somebody has made for the first run is a history without runs."""
    path = tmp_path / "h.json"
    path.touch()
    assert read_history(path) == History()
    add_to(path, History.of({}, runs=["r"]))
    assert read_history(path).runs == ("r",)


def test_places_that_cannot_be_used(tmp_path: Path) -> None:
    """A folder in the file's place, and a file in a folder's place, are told."""
    with pytest.raises(HistoryError, match="is no file that could hold a history"):
        read_history(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(HistoryError, match=r"file/h.json cannot be written: "):
        add_to(tmp_path / "file" / "h.json", History())


def _add(path: Path, run: str) -> None:
    for number in range(5):
        name = f"{run}{number}"
        add_to(path, History.of({name: {name: Observed("passed", 1.0)}}))


def test_runs_at_the_same_time(tmp_path: Path) -> None:
    """What runs add that end at the same time is all there, and no other file beside it."""
    path = tmp_path / "new" / "h.json"
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=_add, args=(path, run)) for run in "abc"]
    for each in writers:
        each.start()
    for each in writers:
        each.join()
    assert [each.exitcode for each in writers] == [0, 0, 0]
    history = read_history(path)
    assert set(history.items) == set(history.runs) == {f"{run}{n}" for run in "abc" for n in range(5)}
    assert list(path.parent.iterdir()) == [path]


def test_sizes() -> None:
    """A limit is half as much again as the peak, as a power of two; it takes three measured runs."""
    runs = {f"r{number}": Observed("passed", 1.0, {"db": (30 + number) << 20}) for number in range(3)}
    items = {"a": runs, "needy": runs, "new": {"r0": runs["r0"]}}
    history = History.of(items, {"needy": "r1"})
    assert sizes(history) == {"a": {"db": 64 << 20}}
    assert [fitting_bytes(peak << 20) >> 20 for peak in (1, 10, 11, 42, 43)] == [16, 16, 32, 64, 128]


def test_advice() -> None:
    """Limits are named that are far above where memory holds the run back, and those near the peak."""
    runs = {f"r{number}": Observed("passed", 1.0, {"db": 31 << 20, "web": 60 << 20}) for number in range(3)}
    history = History.of({"a": runs})
    used = [("a", "db", 512 << 20), ("a", "web", 64 << 20), ("b", "db", 512 << 20)]
    near = "service 'web': limit 64 MB, peak 60 MB of 3 runs: near the limit, unless it is cache of files"
    assert advice(history, used, budget_bytes=2 << 30, max_containers=14) == [
        "service 'db': limit 512 MB, peak 31 MB of 3 runs: 64 MB would let 14 run at once instead of 4",
        near,
    ]
    assert advice(history, used, budget_bytes=2 << 30, max_containers=4) == [near]
