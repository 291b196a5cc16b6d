"""Makes the pictures of the report that the README shows: ``cd tests && python -m clnrm_testing.pictures``.

They are of the run that the tests of the report use; Playwright and a Chromium have to be there.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clnrm_testing.report_data import sample_run, sample_spans
from pytest_clnrm.report.html_report import write_html

if TYPE_CHECKING:
    from playwright.sync_api import Page

FOLDER = Path(__file__).parents[2] / "docs" / "pictures"
MAX_BYTES = 300_000
WIDTH, HEIGHT = 1280, 860
FAILURE_HEIGHT = 690
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def main() -> None:
    """Write report.png, the page as it opens, and failure.png, the cause of a failure."""
    from playwright.sync_api import sync_playwright

    program = next(filter(None, map(shutil.which, NAMES)), None)
    if program is None:
        sys.exit("no Chromium is on PATH")
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        path = Path(folder, "report.html")
        document = sample_run()
        write_html(path, document, sample_spans(document))
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT}, color_scheme="light")
        page.goto(path.as_uri())
        _save(page, "report.png")
        page.set_viewport_size({"width": WIDTH, "height": 2 * HEIGHT})
        box = page.locator("#details").bounding_box()
        assert box is not None
        _save(page, "failure.png", clip={**box, "height": FAILURE_HEIGHT})
        browser.close()


def _save(page: Page, name: str, **options: Any) -> None:
    # Fonts and canvases are drawn in the frames that follow.
    page.wait_for_timeout(300)
    path = FOLDER / name
    FOLDER.mkdir(exist_ok=True)
    page.screenshot(path=path, **options)
    if path.stat().st_size > MAX_BYTES:
        sys.exit(f"{path} has more than {MAX_BYTES} bytes")


if __name__ == "__main__":
    main()
