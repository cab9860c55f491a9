"""A real browser that looks at pages: Debian's Chromium, driven by Playwright. Tests skip where either is missing."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = ["--no-sandbox", "--headless", "--disable-gpu", "--disable-background-networking"]


@contextmanager
def chromium(*flags: str) -> Iterator[Browser]:
    """The browser, started once for many pages.

    Args:
        flags: of its command line, besides those that it always has.
    """
    api = pytest.importorskip("playwright.sync_api", reason="playwright drives the browser")
    if CHROMIUM is None:
        pytest.skip("no Chromium is installed to open the page with")
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=[*FLAGS, *flags])
        yield browser
        browser.close()


@contextmanager
def opened(browser: Browser, file: Path, width: int = 1280) -> Iterator[Page]:
    """The file's page; afterwards it must have given no error and asked for nothing but itself."""
    page = browser.new_page(viewport={"width": width, "height": 800})
    complaints: list[str] = []
    asked: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(file.as_uri())
    yield page
    page.close()
    assert complaints == []
    assert [url for url in asked if not url.startswith("data:")] == [file.as_uri()]


def check_plots(page: Page, at_least: int) -> None:
    """Every plot is there to be seen, with something in it, and every text of it lies within it."""
    plots = page.locator("svg").all()
    assert len(plots) >= at_least
    for plot in plots:
        box = plot.bounding_box()
        assert box is not None
        assert box["width"] > 100
        assert box["height"] > 30
        assert plot.get_attribute("aria-label")
        assert plot.locator("rect, polyline, circle, polygon").count() > 0
    outside = page.evaluate(
        """() => [...document.querySelectorAll("svg text")].filter(text => {
            const box = text.getBoundingClientRect(), frame = text.closest("svg").getBoundingClientRect();
            return box.left < frame.left - 1 || box.right > frame.right + 1 ||
                   box.top < frame.top - 1 || box.bottom > frame.bottom + 1;
        }).map(text => text.textContent)"""
    )
    assert outside == []


def fits(page: Page) -> bool:
    """Whether the page needs no sideways scrolling; wide tables scroll by themselves."""
    return bool(page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"))
