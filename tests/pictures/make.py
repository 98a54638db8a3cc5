"""Makes the README's pictures anew: `python -m tests.pictures.make`. Needs Chromium (Debian's `chromium`).

The page is the html rendering of the demo's report, the terminal the last frames of a real run at a pseudo-terminal.
"""

from __future__ import annotations

import io
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright
from rich.console import Console
from rich.text import Text

from bulk_import.commands.terminal import ending
from bulk_import.record.formats import render
from tests.formats.chromium import find
from tests.formats.make_report import make_report

HERE = Path(__file__).resolve().parent


def page() -> None:
    """The upper part of the page at 1,000 targets, light."""
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        file = Path(folder) / "report.html"
        render("html", make_report(1000), file)
        browser = playwright.chromium.launch(executable_path=find(), args=["--no-sandbox"])
        view = browser.new_page(viewport={"width": 1200, "height": 900})
        view.goto(file.as_uri())
        view.screenshot(path=HERE / "page.png")
        browser.close()


def terminal() -> None:
    """The end of a run with failures, as a terminal of 100 columns shows it."""
    shown = io.StringIO()
    ending.show(make_report(1000), shown)
    console = Console(record=True, width=110, file=io.StringIO())
    console.print(Text("$ bulk-import report report.json"))
    console.print(Text.from_ansi(shown.getvalue()))
    (HERE / "terminal.svg").write_text(console.export_svg(title="bulk-import"))


if __name__ == "__main__":
    page()
    terminal()
    sys.exit(0)
