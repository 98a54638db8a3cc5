"""A tab of a real Chromium that shows a report's page.

playwright drives the system's browser (chromium.py finds it); it never fetches one of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from bulk_import.report.formats import render
from tests.formats import chromium

LONGEST = 90_000  # ms; it stops what hangs, however busy the machine is: 5 s are little for the page of 10,000 targets
expect.set_options(timeout=LONGEST)

AXE = (files("axe_playwright_python") / "axe.min.js").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as driver:
        running = driver.chromium.launch(executable_path=chromium.find(), args=chromium.FLAGS, timeout=LONGEST)
        yield running
        running.close()


def written(report: dict[str, Any], path: Path) -> str:
    render("html", report, path)
    return path.as_uri()


class Tab:
    """A page that remembers what it said and asked for."""

    def __init__(self, browser: Browser, url: str, *, width: int = 1280, scheme: str = "light") -> None:
        self.said: list[str] = []
        self.asked: list[str] = []
        self.page: Page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
        self.page.set_default_timeout(LONGEST)
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.url = url
        self.page.goto(url)
        expect(self.page.locator("#found")).not_to_be_empty()

    def __enter__(self) -> Page:
        return self.page

    def __exit__(self, *problem: object) -> None:
        resources = self.page.evaluate("performance.getEntriesByType('resource').map((entry) => entry.name)")
        self.page.close()
        if problem[0] is None:
            assert not self.said
            assert [url for url in self.asked if url.split("#")[0] != self.url.split("#")[0]] == []
            assert resources == []


def found(page: Page, count: int, total: int) -> None:
    noun = "target" if total == 1 else "targets"
    text = f"{total:,} {noun}" if count == total else f"{count:,} of {total:,} {noun}"
    expect(page.locator("#found")).to_have_text(text)
