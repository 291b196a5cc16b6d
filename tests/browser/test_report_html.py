"""report.html in a real browser: what it shows, how it is used, and that it is smooth, safe and silent."""

from __future__ import annotations

import socket
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest
from clnrm_testing.report_data import HOSTILE, hostile_run, many_spans, run_of, sample_run, sample_spans

from pytest_clnrm.model.kept import KeptFile
from pytest_clnrm.model.result import Failure, Result
from pytest_clnrm.report.html_report import write_html
from pytest_clnrm.report.json_report import write_json

if TYPE_CHECKING:
    from playwright.sync_api import Page

Open = Callable[..., Any]
FAILED = "tests/shop/login.clnrm.toml::login"
SECOND_FAILED = "tests/shop/rate-limit.clnrm.toml::rate limit"
MATRIX = "tests/shop/orders.clnrm.toml::orders[database=16]"
SANE_FRAME_MS = 200
"""Far more than a frame takes (17 ms); a machine that is busy otherwise must not fail a test."""

LUMINANCE = """
(colour) => {
  const [r, g, b] = colour.match(/[\\d.]+/g).map((part) => part / 255)
    .map((part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4));
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}
"""
CONTRASTS = f"""
() => {{
  const luminance = {LUMINANCE};
  const background = (element) => {{
    const colour = getComputedStyle(element).backgroundColor;
    return colour === "rgba(0, 0, 0, 0)" ? background(element.parentElement) : colour;
  }};
  const found = [];
  for (const element of document.querySelectorAll("body *")) {{
    const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
    if (!own || !element.checkVisibility() || element.matches("script, .skip, .sr, option")) continue;
    const [one, two] = [getComputedStyle(element).color, background(element)].map(luminance);
    const contrast = (Math.max(one, two) + 0.05) / (Math.min(one, two) + 0.05);
    if (contrast < 4.5) found.push(`${{element.className || element.tagName}} ${{contrast.toFixed(2)}}`);
  }}
  return found;
}}
"""
INTRUDE = """
async (url) => {
  window.blocked = new Set();
  addEventListener("securitypolicyviolation", (event) => window.blocked.add(event.effectiveDirective));
  await fetch(url).catch(() => null);
  const image = document.body.appendChild(new Image());
  await new Promise((resolve) => { image.onerror = resolve; image.src = url; });
  const script = document.createElement("script");
  script.textContent = "window.hacked = 1";
  document.body.append(script);
  document.body.insertAdjacentHTML("beforeend", "<b style='color: red' onclick='window.hacked = 1'>x</b>");
  document.body.lastElementChild.click();
}
"""
PIXEL = """
() => {
  const copy = new OffscreenCanvas(8, 8).getContext("2d", {willReadFrequently: true});
  copy.drawImage(document.getElementById("canvas"), 0, 0);
  return copy.getImageData(4, 4, 1, 1).data[0];
}
"""
DROP = """
(text) => {
  const dataTransfer = new DataTransfer();
  dataTransfer.items.add(new File([text], "report.json"));
  document.body.dispatchEvent(new DragEvent("drop", {dataTransfer, bubbles: true, cancelable: true}));
}
"""
FRAMES = """
async (act) => {
  const lanes = document.getElementById("lanes");
  const box = lanes.getBoundingClientRect();
  const times = [];
  const frame = () => new Promise(requestAnimationFrame);
  const zoom = (deltaY) => lanes.dispatchEvent(new WheelEvent("wheel", {
    deltaY, ctrlKey: true, clientX: box.left + 400, clientY: box.top + 60, cancelable: true,
  }));
  await frame();
  let last = await frame();
  for (let index = 0; index < 80; index += 1) {
    if (act === "zoom") zoom(index < 40 ? -40 : 40);
    else if (act === "lanes") lanes.scrollBy(90, index % 20 < 10 ? 30 : -30);
    else document.querySelector(act).scrollBy(0, 60);
    const now = await frame();
    times.push(now - last);
    last = now;
  }
  return times.sort((a, b) => a - b);
}
"""


def write(folder: Path, document: dict[str, Any], spans: Any = ()) -> Path:
    """Write a report and return its path."""
    path = folder / "report.html"
    write_html(path, document, spans)
    return path


@pytest.fixture
def report(tmp_path: Path) -> Path:
    """Return the report of a run with all outcomes and spans."""
    document = sample_run()
    return write(tmp_path, document, sample_spans(document))


def names(page: Page) -> list[str]:
    """Return the names in the list of scenarios."""
    return page.locator("#list .row > .name").all_inner_texts()


def heading(page: Page) -> str:
    """Return the name of the scenario that is shown."""
    return page.locator("#details h2 .name").inner_text()


@pytest.mark.parametrize("with_spans", [True, False])
def test_it_opens_on_the_first_failure(open_page: Open, tmp_path: Path, *, with_spans: bool) -> None:
    """The cause with its difference stands first, the step's output is open; nothing else is loaded."""
    document = sample_run()
    opened = open_page(write(tmp_path, document, sample_spans(document) if with_spans else ()))
    page = opened.page
    assert page.title() == "3 failed (1 crashed), 1 error - clnrm"
    assert heading(page) == "login"
    details = page.locator("#details")
    assert (
        details.locator(".cause .message").inner_text()
        == "step 'ask for the total': stdout is not what was expected"
    )
    difference = details.locator(".cause .difference")
    assert difference.locator("th").all_inner_texts() == ["expected", "got"]
    assert difference.locator("tr:has(.minus) td").all_inner_texts() == ["total 41.00 EUR", "total 42.00 EUR"]
    assert difference.locator("mark").all_inner_texts() == ["1", "2"]
    assert details.locator(".source .at").inner_text() == (
        '> 31 │ expect = { stdout = { file = "total.txt" } }'
    )
    assert details.locator("details[open] summary .name").all_inner_texts() == [
        "ask for the total",
        "db",
        "app",
    ]
    assert details.get_by_role("button", name="step ask for the total").count() == with_spans
    assert "prices are cached" in details.inner_text()
    assert "received fast shutdown request" in details.inner_text()
    assert "determinism.seed" in details.inner_text()
    assert (page.get_by_role("tree").count() == 1) is with_spans
    assert opened.requests == [page.url]


def test_no_request_is_possible(open_page: Open, report: Path) -> None:
    """The page's policy stops requests, images, styles and scripts that something would bring in."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(30)
        url = f"http://127.0.0.1:{server.getsockname()[1]}/"
        opened = open_page(report)
        opened.page.evaluate(INTRUDE, url)
        for directive in ("connect-src", "img-src", "script-src-attr", "script-src-elem", "style-src-attr"):
            opened.page.wait_for_function("(name) => window.blocked.has(name)", arg=directive)
        assert opened.page.evaluate("window.hacked") is None
        assert any("Content Security Policy" in problem for problem in opened.problems)
        opened.problems.clear()
        # The first to ask is a page without the policy: nobody did before.
        open_ = report.with_name("open.html")
        text = report.read_text(encoding="utf-8")
        open_.write_text(text.replace("Content-Security-Policy", "x-none"), encoding="utf-8")
        other = open_page(open_)
        other.page.evaluate("(url) => { fetch(`${url}first`).catch(() => null); }", url)
        connection, _ = server.accept()
        with connection:
            assert connection.recv(100).startswith(b"GET /first ")
            connection.sendall(b"HTTP/1.1 204 No Content\r\naccess-control-allow-origin: *\r\n\r\n")


def test_filters(open_page: Open, report: Path) -> None:
    """Outcome, priority, tag and text narrow the list, together; clearing brings everything back."""
    page = open_page(report).page
    shown = page.locator("#shown")
    assert shown.inner_text() == "24"
    page.get_by_role("button", name="3 failed").click()
    assert (names(page), shown.inner_text()) == (["login", "rate limit", "webhook is retried"], "3 of 24")
    page.get_by_role("button", name="1 error").click()
    assert names(page) == ["login", "rate limit", "invoice as PDF", "webhook is retried"]
    page.get_by_label("Priority").select_option("normal")
    assert names(page) == ["rate limit", "invoice as PDF", "webhook is retried"]
    page.locator("#tag").select_option("slow")
    assert names(page) == ["rate limit", "invoice as PDF"]
    page.get_by_label("Text to search for").fill('MEMORY "is limited"')
    assert names(page) == ["invoice as PDF"]
    page.get_by_label("Text to search for").fill("no such thing")
    assert (names(page), shown.inner_text()) == ([], "0 of 24")
    assert "No scenario matches." in page.locator("#list").inner_text()
    page.get_by_role("button", name="Clear").click()
    assert shown.inner_text() == "24"
    assert page.get_by_role("button", name="3 failed").get_attribute("aria-pressed") == "false"


def test_shards(open_page: Open, report: Path, tmp_path: Path) -> None:
    """A merged report has a filter for shards, and what is wrong with the whole at its top."""
    assert not open_page(report).page.locator("#shard").is_visible()
    document = sample_run()
    for index, row in enumerate(document["scenarios"]):
        row["shard"] = 1 + index % 2
    missing = "shard 3/3 is missing: what would have run there is not in this report"
    document["session"].update(shards=[{"number": 1}, {"number": 2}], problems=[missing])
    write_html(tmp_path / "merged.html", document)
    page = open_page(tmp_path / "merged.html").page
    assert page.locator(".problem").inner_text() == missing
    assert page.locator("h1").inner_text().startswith("incomplete: 3 failed")
    assert "4 workers of 2 shards" in page.locator(".facts").first.inner_text()
    assert page.evaluate(CONTRASTS) == []
    page.get_by_label("Shard").select_option("2")
    assert page.locator("#shown").inner_text() == "12 of 24"
    assert "refund" in names(page)
    assert "checkout" not in names(page)
    page.get_by_role("button", name="Clear").click()
    assert page.locator("#shown").inner_text() == "24"


def test_text_is_found_in_outputs_and_logs(open_page: Open, report: Path) -> None:
    """The filter looks at what programs said, too."""
    page = open_page(report).page
    page.get_by_label("Text to search for").fill("prices are cached")
    assert names(page) == ["login", "rate limit"]
    page.get_by_label("Text to search for").fill("shutdown -x charge")
    assert names(page) == []


def test_attributes_of_spans_are_found(open_page: Open, report: Path) -> None:
    """A word with "=" is an attribute and its whole value, also beside other words; its spans are marked."""
    page = open_page(report).page
    text = page.get_by_label("Text to search for")
    text.fill("http.response.status_code=200")
    found = names(page)
    assert 0 < len(found) < 24
    page.locator("#list .row").first.click()
    assert page.locator(".span.hit").count() > 0
    text.fill(f'http.response.status_code=200 "{found[0]}"')
    assert found[0] in names(page)
    text.fill("http.response.status_code=20")
    assert names(page) == []


def test_attempts_and_earlier_runs(open_page: Open, report: Path) -> None:
    """A flaky scenario opens on the attempt that failed; the other one is a click away."""
    page = open_page(report).page
    page.get_by_role("button", name="1 flaky").click()
    assert names(page) == ["stock is reserved"]
    page.locator("#list .row").click()
    details = page.locator("#details")
    buttons = details.get_by_role("group", name="Attempts").get_by_role("button")
    assert [each.split(" · ")[0] for each in buttons.all_inner_texts()] == [
        "✗ Attempt 1 failed", "✓ Attempt 2 passed",
    ]  # fmt: skip
    assert details.locator(".cause .message").inner_text() == "exit code 7, expected 0"
    assert details.locator(".source .at").inner_text().startswith("> 24 │ expect")
    assert details.locator("summary .name").all_inner_texts() == ["place an order"]
    buttons.last.click()
    assert details.locator(".cause").count() == 0
    assert details.locator("summary .name").all_inner_texts()[:2] == ["create the schema", "place an order"]
    past = details.get_by_role("region", name="Earlier runs")
    assert past.locator(".spark i").count() == 13
    assert " of the 12 runs before · median " in past.inner_text()
    assert page.locator("#list .spark i").count() == 13


def test_the_command_is_copied(open_page: Open, report: Path) -> None:
    """One click takes the command that runs the scenario again."""
    opened = open_page(report, permissions=["clipboard-read", "clipboard-write"])
    opened.page.get_by_role("button", name="Copy").click()
    opened.page.get_by_role("button", name="Copied").wait_for()
    assert opened.page.evaluate("navigator.clipboard.readText()") == f"pytest '{FAILED}'"


def test_what_made_the_run_long(open_page: Open, report: Path) -> None:
    """A sentence and a bar tell it; a part of the bar opens its scenario, and start-up is folded."""
    page = open_page(report).page
    path = page.locator("#path")
    assert path.locator("p").inner_text().startswith("The run took ")
    path.get_by_role("button").last.click()
    last = max(sample_run()["scenarios"], key=lambda row: (row["started"] and at(row)) or 0.0)
    assert heading(page) == last["name"]
    assert not page.locator("#fold").is_visible(), "a second of half a minute is simply shown"
    document = sample_run()
    start = datetime.fromisoformat(document["session"]["started"]) - timedelta(seconds=20)
    document["session"].update(started=start.isoformat(), duration_s=document["session"]["duration_s"] + 20)
    page = open_page(write(report.parent, document, sample_spans(document))).page
    fold = page.get_by_role("button", name="Start-up 20.")
    assert fold.get_attribute("aria-pressed") == "false"
    page.locator("#canvas").hover(position={"x": 100, "y": 34})
    assert "checkout" in page.locator("#tip").inner_text()
    fold.click()
    page.locator("#canvas").hover(position={"x": 101, "y": 35})
    assert not page.locator("#tip").is_visible()


def at(row: dict[str, Any]) -> float:
    """Return when a row ended, in seconds since 1970."""
    return datetime.fromisoformat(row["started"]).timestamp() + float(row["duration_s"])


def test_a_cause_leads_to_its_span_and_the_waterfall_zooms(open_page: Open, report: Path) -> None:
    """The link picks the span in the tree; keys, buttons and the small picture choose what is seen."""
    page = open_page(report).page
    page.get_by_role("button", name="step ask for the total").click()
    assert page.locator(".picked h4").inner_text() == "clnrm.step"
    seen = page.locator(".minimap [role=status]")
    whole = seen.inner_text()
    page.get_by_role("button", name="Spans: the selected span").click()
    part = seen.inner_text()
    assert part != whole
    bar = page.locator('.span[aria-selected="true"] .track i').bounding_box()
    track = page.locator('.span[aria-selected="true"] .track').bounding_box()
    assert bar is not None
    assert track is not None
    assert bar["width"] / track["width"] == pytest.approx(1 / 1.1, abs=0.02)
    page.get_by_role("tree").focus()
    page.keyboard.press("0")
    assert seen.inner_text() == whole
    page.keyboard.press("+")
    assert seen.inner_text() not in {whole, part}
    page.keyboard.press("-")
    assert seen.inner_text() == whole
    box = page.locator(".minimap canvas").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] * 0.25, box["y"] + 10)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.5, box["y"] + 20)
    page.mouse.up()
    assert seen.inner_text().startswith("67"), "a quarter of 2.7 s"
    page.mouse.dblclick(box["x"] + 20, box["y"] + 10)
    assert seen.inner_text() == whole


def test_an_earlier_report_is_compared(open_page: Open, report: Path, tmp_path: Path) -> None:
    """What fails now, what was fixed, is new, gone or slower; a file that is no report is said to be none."""
    page = open_page(report).page
    document = sample_run()
    rows = {row["name"]: row for row in document["scenarios"]}
    rows["login"]["outcome"] = "passed"
    rows["checkout"]["outcome"] = "failed"
    rows["refund"]["duration_s"] -= 1.0
    rows["refund"]["duration_s"] /= 2
    rows["mail is sent"]["nodeid"] = "tests/<b>gone</b>.toml::old"
    earlier = tmp_path / "report.json"
    write_json(earlier, document)
    chooser = page.locator("#earlier")
    page.evaluate(DROP, earlier.read_text("utf-8"))
    compared = page.locator("#compared")
    compared.get_by_text("Compared with run 3d48c823 of 2026-03-14 09:26:53").wait_for()
    assert compared.get_by_role("button").all_inner_texts() == [
        "Close", "1 newly failing", "1 fixed", "1 slower", "1 new",
    ]  # fmt: skip
    compared.get_by_text("1 gone").click()
    assert "tests/<b>gone</b>.toml::old" in compared.inner_text()
    compared.get_by_role("button", name="1 newly failing").click()
    assert names(page) == ["login"]
    assert page.evaluate(CONTRASTS) == []
    assert "earlier report" in page.locator("#details").inner_text()
    page.keyboard.press("Escape")
    assert page.locator("#shown").inner_text() == "24"
    (tmp_path / "other.json").write_text('{"format": "another"}')
    chooser.set_input_files(tmp_path / "other.json")
    assert compared.get_by_role("alert").inner_text() == (
        "other.json cannot be compared: it is no report of the form clnrm-report/1."
    )
    assert page.locator("#list .pill.broken").count() == 0


def test_sorting(open_page: Open, report: Path) -> None:
    """The list is in the order that is asked for."""
    page = open_page(report).page
    assert names(page)[:4] == ["login", "rate limit", "invoice as PDF", "webhook is retried"]
    page.get_by_label("Sort").select_option("name")
    assert names(page)[:3] == ["cache is warmed", "checkout", "checkout 2"]
    page.get_by_label("Sort").select_option("duration")
    page.locator("#list .row").first.click()
    longest = max(sample_run()["scenarios"], key=lambda result: result["duration_s"])
    assert heading(page) == longest["name"]


@pytest.mark.parametrize("fragment", [quote(MATRIX, safe=""), MATRIX, quote(MATRIX)])
def test_an_item_is_linked_by_its_node_id(open_page: Open, report: Path, fragment: str) -> None:
    """The address opens the item, encoded or as a person writes it, and follows when it changes."""
    page = open_page(report, fragment=f"#{fragment}").page
    assert heading(page) == "orders[database=16]"
    assert page.locator('#list [aria-selected="true"] .name').first.inner_text() == "orders[database=16]"
    page.evaluate("(id) => { location.hash = encodeURIComponent(id); }", FAILED)
    page.get_by_role("heading", name="login").wait_for()
    page.get_by_label("Text to search for").fill("login")
    page.evaluate("(id) => { location.hash = encodeURIComponent(id); }", SECOND_FAILED)
    page.get_by_role("heading", name="rate limit").wait_for()
    assert page.locator("#shown").inner_text() == "24", "a filter that hides the item is cleared"
    page.locator("#list").get_by_text("refund", exact=True).click()
    assert (
        page.evaluate("decodeURIComponent(location.hash.slice(1))") == "tests/shop/refund.clnrm.toml::refund"
    )


def test_a_link_to_nothing_says_so(open_page: Open, report: Path) -> None:
    """A node id that is not in the report is named, instead of showing another item."""
    page = open_page(report, fragment="#tests/gone.toml::100%").page
    assert page.get_by_role("alert").inner_text() == "This report has no scenario tests/gone.toml::100%."


def test_the_keyboard_does_it_all(open_page: Open, report: Path) -> None:
    """Filter, list, failures, tree and zoom without a mouse."""
    page = open_page(report).page
    page.keyboard.press("/")
    page.keyboard.type("checkout")
    assert names(page) == ["checkout", "checkout 2"]
    page.keyboard.press("Enter")
    assert heading(page) == "checkout"
    page.keyboard.press("ArrowDown")
    assert heading(page) == "checkout 2"
    assert page.locator("#list").get_attribute("aria-activedescendant") == page.locator(
        '#list [aria-selected="true"]'
    ).get_attribute("id")
    page.keyboard.press("Escape")
    assert page.locator("#shown").inner_text() == "24"
    assert heading(page) == "checkout 2"
    page.keyboard.press("n")
    assert heading(page) == "login"
    page.keyboard.press("n")
    assert heading(page) == "rate limit"
    page.keyboard.press("p")
    assert heading(page) == "login"
    page.keyboard.press("End")
    assert page.locator("#list .row").last.get_attribute("aria-selected") == "true"
    page.keyboard.press("Home")
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "details"


def test_the_tree_of_spans(open_page: Open, report: Path) -> None:
    """Arrows walk, open and close; the selected span shows its attributes, events and resource."""
    page = open_page(report).page
    tree = page.get_by_role("tree")
    tree.focus()
    page.keyboard.press("ArrowDown")
    picked = page.locator(".picked")
    assert picked.locator("h4").inner_text() == "clnrm.scenario"
    assert FAILED in picked.inner_text()
    before = tree.get_by_role("treeitem").count()
    page.keyboard.press("ArrowLeft")
    assert tree.get_by_role("treeitem").count() == 1
    page.keyboard.press("ArrowRight")
    assert tree.get_by_role("treeitem").count() == before
    page.keyboard.press("ArrowRight")
    assert tree.locator('[aria-selected="true"]').get_attribute("aria-level") == "2"
    page.keyboard.press("ArrowLeft")
    assert tree.locator('[aria-selected="true"]').get_attribute("aria-level") == "1"
    page.keyboard.press("End")
    assert picked.locator("h4").inner_text() == "clnrm.container.stop"


def test_the_timeline_zooms_and_picks(open_page: Open, report: Path) -> None:
    """Keys and buttons zoom, a click on a bar opens its scenario, pointing at one says what it is."""
    page = open_page(report).page
    lanes = page.locator("#lanes")
    width = "() => document.getElementById('extent').offsetWidth"
    whole = page.evaluate(width)
    lanes.focus()
    page.keyboard.press("+")
    assert page.evaluate(width) > whole * 1.4
    page.keyboard.press("-")
    assert page.evaluate(width) == whole
    page.keyboard.press(".")
    assert page.evaluate(width) > whole * 3
    page.get_by_role("button", name="Whole run").click()
    assert page.evaluate(width) == whole
    box = lanes.bounding_box()
    assert box is not None
    # The first lane's first bar begins at half a second.
    x = box["x"] + 58 + (whole - 68) * 1.0 / sample_run()["session"]["duration_s"]
    page.mouse.move(x, box["y"] + 34)
    assert "checkout" in page.locator("#tip").inner_text()
    page.mouse.click(x, box["y"] + 34)
    assert heading(page) == "checkout"


def test_dark_mode(open_page: Open, report: Path, tmp_path: Path) -> None:
    """With a dark scheme the page is dark and its canvas too; light stays light."""
    body = "() => getComputedStyle(document.body).backgroundColor"
    light = open_page(report, color_scheme="light").page
    dark = open_page(report, color_scheme="dark").page
    assert light.evaluate(f"({LUMINANCE})(({body})())") > 0.8
    assert dark.evaluate(f"({LUMINANCE})(({body})())") < 0.05
    assert light.evaluate(PIXEL) > 240
    assert dark.evaluate(PIXEL) < 40
    # Also while it is open.
    light.emulate_media(color_scheme="dark")
    light.wait_for_function(f"() => ({PIXEL})() < 40")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_texts_stand_out_from_their_ground(open_page: Open, report: Path, scheme: str) -> None:
    """Each text has the contrast that WCAG's level AA asks for: 4.5 to 1."""
    page = open_page(report, color_scheme=scheme).page
    page.get_by_role("button", name="3 failed").click()
    page.get_by_role("tree").focus()
    page.keyboard.press("End")
    page.evaluate("document.getAnimations().forEach((each) => each.finish())")
    assert page.evaluate(CONTRASTS) == []


def test_landmarks_and_names(open_page: Open, report: Path) -> None:
    """The page has its landmarks, and all that can be focused has a name."""
    page = open_page(report).page
    for role in ("banner", "main", "search", "contentinfo"):
        assert page.get_by_role(role).count() == 1, role
    for name in ("Timeline", "Scenarios"):
        assert page.get_by_role("region", name=name, exact=True).count() == 1
    unnamed = page.evaluate(
        """() => [...document.querySelectorAll("button, input, select, [tabindex='0']:not(pre)")]
          .filter((each) => !each.getAttribute("aria-label") && !each.getAttribute("aria-labelledby")
            && !each.textContent.trim() && !(each.labels && each.labels.length)).map((each) => each.id)"""
    )
    assert unnamed == []


def test_narrow_screens(open_page: Open, report: Path) -> None:
    """On a telephone nothing sticks out, and choosing an item brings its details into sight."""
    page = open_page(report, viewport={"width": 360, "height": 740}).page
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    assert page.locator(".difference td.plus").evaluate("(cell) => cell.offsetWidth > 200"), "one column"
    page.locator("#list .row").nth(1).click()
    box = page.locator("#details h2").bounding_box()
    assert box is not None
    assert 0 <= box["y"] < 740


def test_paper(open_page: Open, report: Path) -> None:
    """In print every failure is there in full, and each scenario has a line."""
    page = open_page(report).page
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    page.emulate_media(media="print")
    paper = page.locator("#print")
    assert paper.locator("article h2 .name").all_inner_texts() == [
        "login", "rate limit", "invoice as PDF", "webhook is retried",
    ]  # fmt: skip
    assert paper.locator("article details:not([open])").count() == 0
    assert paper.locator(":scope > table tr").count() == 24
    assert not page.locator("main").is_visible()
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert paper.locator("*").count() == 0


@pytest.mark.parametrize("index", range(len(HOSTILE)))
def test_hostile_texts_stay_texts(open_page: Open, tmp_path: Path, index: int) -> None:
    """Whatever a scenario says is shown as text: no element of its own, no script of its own."""
    document, spans = hostile_run()
    nodeid = document["scenarios"][index]["nodeid"]
    opened = open_page(write(tmp_path, document, spans), fragment=f"#{quote(nodeid, safe='')}")
    page = opened.page
    assert page.locator("#details img, #details script, #details b, #list img, #list script").count() == 0
    assert page.locator("#path img, #path script, .attempts img, .command script, .difference b").count() == 0
    page.get_by_role("button", name="Attempt 1").click()
    page.get_by_role("tree").focus()
    page.keyboard.press("Home")
    first = HOSTILE[index][:4] if index != 7 else "\\u202e"
    assert heading(page).startswith(first)
    assert page.locator(".picked h4").inner_text().startswith(first)
    assert page.locator(".picked td").first.inner_text().startswith(first)
    page.mouse.move(200, 250)
    assert page.evaluate("window.hacked") is None
    assert opened.requests == [page.url.split("#")[0]] or opened.requests == [page.url]


def test_artifacts_are_linked(open_page: Open, tmp_path: Path) -> None:
    """A link leads to the file beside the page, whatever its name, and says how large it is."""
    (tmp_path / "artifacts").mkdir()
    name = "artifacts/100% <b>#?.txt"
    (tmp_path / name).write_text("what the program wrote")
    result = Result(
        nodeid="a.clnrm.toml::a",
        name="a",
        file="a.clnrm.toml",
        line=1,
        artifacts=(
            KeptFile(service="app", path="/logs/<b>100%", file=name, size_bytes=22),
            KeptFile(
                service="db",
                path="/dump",
                file="artifacts/javascript:hack()",
                size_bytes=5 << 20,
                is_cut=True,
            ),
        ),
    )
    opened = open_page(write(tmp_path, run_of(result)), fragment="#a.clnrm.toml%3A%3Aa")
    section = opened.page.get_by_role("region", name="Artifacts")
    assert section.get_by_role("listitem").all_inner_texts() == [
        "/logs/<b>100% app · 22 bytes",
        "/dump db · 5 MB · cut",
    ]
    links = section.get_by_role("link")
    assert links.nth(1).get_attribute("href") == "./artifacts/javascript%3Ahack()"
    with opened.page.expect_popup() as popup:
        links.first.click()
    assert popup.value.locator("body").inner_text() == "what the program wrote"


def test_why_a_test_was_skipped(open_page: Open, tmp_path: Path) -> None:
    """It is a row as others: its reason is shown as one, and nothing is to be run again."""
    why = Failure(message="needs a licence", where="a.py:3")
    result = Result(nodeid="a.py::a", name="a", file="a.py", line=3, outcome="skipped", failures=(why,))
    details = open_page(write(tmp_path, run_of(result)), fragment="#a.py::a").page.locator("#details")
    assert details.get_by_role("region", name="Reason").locator(".message").inner_text() == "needs a licence"
    assert details.get_by_role("button").count() == 0


def test_nothing_ran(open_page: Open, tmp_path: Path) -> None:
    """An empty run is a page that says so."""
    page = open_page(write(tmp_path, run_of(exit_status=5))).page
    assert page.get_by_role("heading", level=1).inner_text() == "nothing ran"
    assert page.locator("#details").inner_text() == "No scenario ran."


def test_ten_thousand_spans_stay_smooth(
    open_page: Open, tmp_path: Path, record_testsuite_property: Any
) -> None:
    """Scrolling and zooming keep drawing; the times of the frames go into --junitxml."""
    page = open_page(write(tmp_path, *many_spans())).page
    for _ in range(3):
        page.get_by_role("button", name="Zoom in", exact=True).click()
    for act in ("lanes", "#list", ".tree", "zoom"):
        times = page.evaluate(FRAMES, act)
        median, late = times[len(times) // 2], times[int(len(times) * 0.95)]
        record_testsuite_property(
            f"frame_ms_{act}", f"median {median:.1f}, 95 % {late:.1f}, longest {times[-1]:.1f}"
        )
        assert median < SANE_FRAME_MS, (act, times)


def test_few_rows_exist_at_a_time(open_page: Open, tmp_path: Path) -> None:
    """However many scenarios and spans there are, only those in sight are elements."""
    page = open_page(write(tmp_path, *many_spans())).page
    assert page.locator("#shown").inner_text() == "100"
    assert page.locator("#list .row").count() < 40
    assert page.locator(".tree .span").count() < 40
