"""report.html as a file: one piece, small, always the same, and inert whatever a scenario says."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from clnrm_testing.report_data import (
    FLAKY,
    HOSTILE,
    SOURCE,
    hostile_run,
    many_spans,
    run_of,
    sample_run,
    sample_spans,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_clnrm.model.result import ContainerFacts, Result, StepResult
from pytest_clnrm.model.span import Span
from pytest_clnrm.report import html_report as html_module
from pytest_clnrm.report.html_report import MAX_SPANS, html_page, write_html
from pytest_clnrm.report.page_data import PASSED_TEXT_CHARS, page_data, script_json
from pytest_clnrm.report.span_trees import shown_spans
from pytest_clnrm.telemetry.merge.merged_trace import MergedSpan

MEGABYTE = 10**6


class Page(HTMLParser):
    """A page's elements and texts, as an HTML parser sees them."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.styles: list[str] = []
        self.texts: list[str] = []
        self._inside = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._inside = tag
        if tag in {"script", "style"}:
            (self.scripts if tag == "script" else self.styles).append("")

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside == "script":
            self.scripts[-1] += data
        elif self._inside == "style":
            self.styles[-1] += data
        else:
            self.texts.append(data)

    @property
    def data(self) -> dict[str, Any]:
        """Return what the page's script reads."""
        data: dict[str, Any] = json.loads(self.scripts[0])
        return data

    def meta(self, key: str, value: str) -> str:
        """Return the content of a meta element."""
        (found,) = (has["content"] for tag, has in self.elements if tag == "meta" and has.get(key) == value)
        return found or ""


def clean(text: str) -> str:
    """Return *text* as it is written: no lone surrogates."""
    return text.encode("utf-8", "surrogatepass").decode("utf-8", "replace")


def span(number: int, under: int = 0, *, start: int = 0, **changed: Any) -> MergedSpan:
    """Return a span whose name is its number."""
    values: dict[str, Any] = {
        "trace_id": "1" * 32, "span_id": f"{number:016x}", "name": str(number), "start_ns": start,
        "end_ns": start + 10, **changed,
    }  # fmt: skip
    return MergedSpan(
        span=Span(**values), worker="gw0", scenario="a::b", under=f"{under:016x}" if under else ""
    )


def test_one_file_without_anything_from_elsewhere() -> None:
    """No element loads anything, and the page's own policy would not let it."""
    document = sample_run()
    page = Page(html_page(document, sample_spans(document)))
    attributes = {(tag, name) for tag, has in page.elements for name in has}
    assert not {name for _, name in attributes} & {"src", "srcset", "action", "style", "onclick", "onerror"}
    assert [has["href"] for _, has in page.elements if "href" in has] == ["#list"]
    assert not {"link", "iframe", "object", "base", "img"} & {tag for tag, _ in page.elements}
    assert not re.search(r"url\(|@import|https?:", page.styles[0])
    assert not re.search(
        r"https?:|fetch\(|XMLHttpRequest|WebSocket|import\(|innerHTML|eval\(", page.scripts[1]
    )


def test_the_policy_allows_this_style_and_script_alone() -> None:
    """The hashes of the policy are those of the elements as they are in the file."""
    page = Page(html_page(sample_run()))

    def source(text: str) -> str:
        return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"

    policy = dict(
        part.split(" ", 1) for part in page.meta("http-equiv", "Content-Security-Policy").split("; ")
    )
    assert policy == {
        "default-src": "'none'",
        "script-src": source(page.scripts[1]),
        "style-src": source(page.styles[0]),
        "base-uri": "'none'",
        "form-action": "'none'",
    }


def test_hostile_texts_add_no_element() -> None:
    """A page of hostile texts has the elements of a page of harmless ones."""
    document, spans = hostile_run()
    page = Page(html_page(document, spans))
    # The same outcomes, so that the page has the same buttons.
    harmless = Page(
        html_page(
            run_of(
                *(
                    Result(nodeid=str(index), name="a", file="a", line=1, outcome="failed")
                    for index in range(len(HOSTILE))
                )
            )
        )
    )
    assert [tag for tag, _ in page.elements] == [tag for tag, _ in harmless.elements]
    assert len(page.scripts) == 2
    assert page.scripts[1] == harmless.scripts[1]
    assert any(HOSTILE[0] in text for text in page.texts), "the engine is shown as text"


def test_hostile_texts_arrive_unchanged() -> None:
    """What was said is what the page's data says, but for lone surrogates."""
    document, spans = hostile_run()
    data = Page(html_page(document, spans)).data
    assert {clean(text) for text in HOSTILE} <= set(data["texts"])
    values = data["spans"]["values"]
    for text in map(clean, HOSTILE):
        assert text in values
        assert [text, {text: text}] in values
    assert "nan" in values
    assert str(1 << 63) in values
    assert b"<\x00>".hex() in values


@settings(max_examples=300, deadline=None)
@given(text=st.text(st.characters(codec=None, categories=None), max_size=60))
def test_script_json_is_inert_in_any_text(text: str) -> None:
    """Whatever the text, its JSON has no character that HTML or old JavaScript gives a meaning to."""
    written = script_json({"text": clean(text)})
    assert not set(written) & set("<>&\u2028\u2029")
    assert not re.search(r"[\x00-\x1f\x7f]", written)
    assert json.loads(written) == {"text": clean(text)}


def test_ten_thousand_spans_stay_under_one_megabyte() -> None:
    """A run of 100 scenarios with as many spans as are shown fits; each span is there."""
    document, spans = many_spans(MAX_SPANS)
    text = html_page(document, spans)
    assert len(text.encode()) < MEGABYTE
    columns = Page(text).data["spans"]
    assert {len(columns[key]) for key in ("name", "start", "duration", "depth", "source", "details")} == {
        MAX_SPANS
    }
    kept = [details for details in columns["details"] if details]
    assert len(kept) > MAX_SPANS / 2


def test_details_are_left_out_where_there_is_no_room() -> None:
    """Attributes that would make the file large are left out; those of what failed are the last to go."""
    long = {f"key {number}": "x" * 900 for number in range(10)}
    spans = [span(number + 1, attributes={**long, "own": f"{number} {'y' * 900}"}) for number in range(2000)]
    failed = span(3000, attributes={"why": "disk full"}, status="error", status_message="no space")
    data = page_data(run_of(), [*spans, failed])
    assert len(script_json(data).encode()) < MEGABYTE
    details = data["spans"]["details"]
    assert None in details
    assert details[-1][4] == "no space"
    assert "disk full" in data["spans"]["values"]


def test_long_names_and_values_are_cut() -> None:
    """One span cannot fill the page: names, values and messages are shown by their beginning."""
    one = span(1, name="n" * 9000, attributes={"a": "v" * 9000, "b": ["w" * 9000]}, status_message="m" * 9000)
    data = page_data(run_of(), [one])
    assert "n" * 128 + "…" in data["texts"]
    assert "v" * 1024 + "…" in data["spans"]["values"]
    assert any(isinstance(value, str) and value.startswith('["www') for value in data["spans"]["values"])
    assert len(script_json(data)) < 6000


def test_the_same_run_gives_the_same_file() -> None:
    """Nothing but the arguments decides what is written."""
    document = sample_run()
    assert html_page(document, sample_spans(document)) == html_page(document, sample_spans(document))


def test_write_html_replaces_the_file_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An old report stays until the new one is complete; nothing else is left in the folder."""
    path = tmp_path / "report.html"
    path.write_text("old")

    def broken(*_: object) -> str:
        raise OSError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(html_module, "html_page", broken)
        with pytest.raises(OSError, match="disk full"):
            write_html(path, sample_run())
    assert path.read_text() == "old"
    write_html(path, sample_run())
    assert path.read_text(encoding="utf-8") == html_page(sample_run())
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("outcomes", "exit_status", "title", "verdict", "ended"),
    [
        (["passed", "passed"], 0, "2 passed", "passed", ""),
        (["passed", "failed", "error", "error", "crashed"], 1, "2 failed (1 crashed), 2 errors",
         "failed", ""),
        (["skipped"], 0, "nothing ran", "empty", ""),
        ([], 5, "nothing ran", "empty", ""),
        (["passed"], 2, "1 passed", "passed", "interrupted"),
        (["passed"], 3, "1 passed", "passed", "ended by an internal error"),
    ],
)  # fmt: skip
def test_the_headline(outcomes: list[Any], exit_status: int, title: str, verdict: str, ended: str) -> None:
    """Title, colour and how the run ended, from outcomes and exit status."""
    results = [
        Result(nodeid=str(index), name="a", file="a", line=1, outcome=outcome)
        for index, outcome in enumerate(outcomes)
    ]
    text = html_page(run_of(*results, exit_status=exit_status))
    assert f"<title>{title} - clnrm</title>" in text
    assert f'<span class="verdict {verdict}">{title}</span>' in text
    assert ('<strong class="ended">' in text) == bool(ended)
    assert ended in text


def test_counts_are_those_of_pytest() -> None:
    """A row that passed and whose teardown failed is found by both; the title has failed subtests too."""
    result = Result(nodeid="a", name="a", file="a", line=1, outcome="error", is_flaky=True)
    document = run_of(result, counts={"passed": 1, "error": 1, "failed": 3})
    document["scenarios"][0]["counted"] = ["passed", "error"]
    text = html_page(document)
    assert "<title>3 failed, 1 error - clnrm</title>" in text
    assert re.findall(r'data-outcome="(\w+)" aria-pressed="false"><b>(\d+)</b>', text) == [
        ("error", "1"), ("flaky", "1"), ("passed", "1"),
    ]  # fmt: skip
    assert re.findall(r'class="(\w+)" data-share="(\d+)"', text) == [("error", "1")]


def test_details_of_rows_are_in_the_data() -> None:
    """Lines of files, commands, earlier runs and attempts arrive, each text once."""
    document = sample_run()
    data = page_data(document, sample_spans(document))
    texts, rows = data["texts"], data["scenarios"]
    flaky = rows[FLAKY]
    assert [len(each) for each in flaky[16]] == [6], "one earlier attempt: start, duration and its four parts"
    assert texts[flaky[20]].startswith("pytest 'tests/shop/stock-is-reserved.clnrm.toml::")
    where, first, *lines = flaky[21][0]
    assert texts[where].endswith(":24")
    assert (first, [texts[line] for line in lines]) == (21, list(SOURCE))
    letters, *durations_ms = flaky[22]
    assert len(texts[letters]) == len(durations_ms) == 12
    assert len(texts) == len({json.dumps(text) for text in texts})
    assert data["sentence"].startswith("The run took ")
    kinds = [kind for kind, *_ in data["path"]]
    assert (kinds[0], kinds[-1]) == ("start-up", "end")
    assert any(images for _, _, _, images, _ in data["path"])


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0.04, "0.0 s"), (59.94, "59.9 s"), (60, "1 min 0 s"), (3599, "59 min 59 s"), (3660, "1 h 1 min")],
)
def test_the_duration_of_a_run(seconds: float, shown: str) -> None:
    """Seconds, minutes and hours, each with the next smaller unit."""
    assert f"in {shown}</span>" in html_page(run_of(duration_s=seconds))


def test_outputs_of_what_passed_are_cut_and_say_so() -> None:
    """A failure keeps its output whole; a scenario that passed keeps the end of it."""
    output = "begin " + "x" * PASSED_TEXT_CHARS + " end"
    for outcome, whole in (("failed", True), ("passed", False)):
        step = StepResult(name="a", service="s", outcome="passed", stdout=output)
        container = ContainerFacts(
            id="1", name="c", service="s", image="i", memory_bytes=1, cpus=1.0, logs=output
        )
        result = Result(
            nodeid="a", name="a", file="a", line=1, outcome=outcome, steps=(step,), containers=(container,)  # type: ignore[arg-type]
        )  # fmt: skip
        texts = page_data(run_of(result), ())["texts"]
        assert (output in texts) is whole
        assert any(text.startswith("[... 10 characters left out ...]") for text in texts) is not whole


def test_spans_are_a_forest_by_start() -> None:
    """Parents come before their children, siblings by start, whatever the order of arrival."""
    spans = [
        span(4, 2, start=50),
        span(3, 1, start=20),
        span(1, start=5),
        span(2, 1, start=30),
        span(5, start=1),
    ]
    assert [(each.span.name, each.depth) for each in shown_spans(spans)] == [
        ("5", 0), ("1", 0), ("3", 1), ("2", 1), ("4", 2),
    ]  # fmt: skip


def test_no_span_is_lost_to_its_parents() -> None:
    """Circles, spans under themselves, unknown parents and ids used twice: each span is shown once."""
    spans = [span(1, 2), span(2, 1), span(3, 3), span(4, 99), span(5), span(5, start=7), span(6, 5)]
    shown = shown_spans(spans)
    assert sorted(each.span.name for each in shown) == ["1", "2", "3", "4", "5", "5", "6"]
    assert {each.span.name: each.depth for each in shown}["6"] == 1


def test_times_beyond_all_measure_stay_exact_numbers() -> None:
    """A span with a clock of its own does not spoil the times of those after it."""
    spans = [span(1, start=0), span(2, start=(1 << 64) - 11), span(3, start=1_773_480_413 * 10**9 + 5000)]
    columns = page_data(run_of(), spans)["spans"]
    starts = [sum(columns["start"][: index + 1]) for index in range(3)]
    assert all(abs(number) < 1 << 53 for number in [*columns["start"], *starts])
    assert starts[1] == 5, "microseconds after the session's start"


def test_spans_of_what_has_no_result_keep_their_name() -> None:
    """A Python test's spans have no row among the scenarios: their node id stands for it."""
    data = page_data(run_of(), [span(1)])
    assert data["spans"]["sources"][0][:2] == ["a::b", "gw0"]
