"""A real browser for the tests of this folder."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def missing() -> str:
    """Return why there is no browser, "" if there is one."""
    if find_spec("playwright") is None:
        return "the package playwright is not installed (the extra 'browser')"
    if not any(map(shutil.which, NAMES)):
        return "no Chromium is on PATH (on Debian: apt-get install chromium)"
    return ""


@dataclass
class Opened:
    """A page, and what went wrong in it or left it."""

    page: Page
    problems: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)


Open = Callable[..., Opened]


@pytest.fixture(scope="session")
def chromium() -> str:
    """Return the browser's path; skip where there is none, but never in CI."""
    reason = missing()
    if reason and os.environ.get("CI"):
        pytest.fail(reason)
    if reason:
        pytest.skip(reason)
    return next(filter(None, map(shutil.which, NAMES)))


@pytest.fixture(scope="session")
def browser(chromium: str) -> Iterator[Browser]:
    """Return a browser with a new, empty profile."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=list(FLAGS))
        yield browser
        browser.close()


@pytest.fixture
def open_page(browser: Browser) -> Iterator[Open]:
    """Return a function that opens a file; what the browser complains of fails the test."""
    contexts: list[BrowserContext] = []
    opened: list[Opened] = []

    def open_file(path: Path, *, fragment: str = "", **options: Any) -> Opened:
        context = browser.new_context(**{"viewport": {"width": 1280, "height": 860}, **options})
        contexts.append(context)
        found = Opened(context.new_page())
        opened.append(found)
        found.page.on("console", lambda message: found.problems.append(message.text))
        found.page.on("pageerror", lambda error: found.problems.append(str(error)))
        context.on("request", lambda request: found.requests.append(request.url))
        found.page.goto(path.as_uri() + fragment)
        return found

    yield open_file
    for context in contexts:
        context.close()
    for each in opened:
        assert each.problems == []
