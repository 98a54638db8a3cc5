"""Hostile text in the HTML report is shown and does nothing, in a real Chromium."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser

from tests.formats.tab import Tab, browser, written
from tests.formats.test_formats import CANARIES, with_canaries

__all__ = ["browser"]  # a fixture

# One worker starts one browser for all of them. The first start of a browser on a busy machine takes its time.
pytestmark = [pytest.mark.xdist_group("chromium"), pytest.mark.timeout(300)]


def test_hostile_text_is_shown_and_does_nothing(browser: Browser, tmp_path: Path) -> None:
    with Tab(browser, written(with_canaries(), tmp_path / "page.html")) as page:
        page.get_by_label("Targets per page").select_option("100")
        for control in page.locator("#rows .disclosure").all():
            control.click()
        assert page.evaluate("window.pwned") is None
        assert page.locator("img").count() == 0
        shown = page.locator("#rows").inner_text()
        for canary in CANARIES[:5]:
            assert canary in shown


SLIP = """async (port) => {
    const slip = document.createElement("div");
    slip.innerHTML = `<img src="http://127.0.0.1:${port}/x.png" onerror="window.pwned = 1">
                      <style>body { display: none }</style>`;
    const failed = new Promise((resolve) => slip.firstChild.addEventListener("error", resolve));
    const script = document.createElement("script");
    script.textContent = "window.pwned = 2";
    document.body.append(slip, script);
    await failed;
    await fetch(`http://127.0.0.1:${port}/`).catch(() => null);
}"""


def test_nothing_runs_or_loads_even_where_markup_slips_in(browser: Browser, reports: Any) -> None:
    page = browser.new_page()
    page.goto(reports[10][1])
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        page.evaluate(SLIP, server.getsockname()[1])
        with pytest.raises(BlockingIOError):  # no one is waiting: the policy stopped both before the wire
            server.accept()
    assert page.evaluate("window.pwned") is None
    assert page.evaluate("getComputedStyle(document.body).display") == "block"
    page.close()
