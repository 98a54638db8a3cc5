"""Where the tests find a Chromium, and what they say where there is none.

A pytest plugin (tests/conftest.py names it), because the line must come from the process that owns the terminal.
"""

from __future__ import annotations

import os
import shutil

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
NEEDED = "TESTS_NEED_CHROMIUM"  # CI sets it, so that the page's tests cannot silently stay away there
LEFT_OUT = (
    "Left out: tests/formats/test_page.py (the HTML report in a browser); no Chromium found. "
    "To run it: apt-get install chromium, or put chromium or google-chrome on PATH."
)
# --no-sandbox: root in a container has none. The others: the browser itself must not ask the network either.
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip


def find() -> str | None:
    """The browser's path."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


def pytest_configure() -> None:
    if os.environ.get(NEEDED) and not find():
        raise pytest.UsageError(f"{NEEDED} is set, but no Chromium is on PATH (looked for {', '.join(NAMES)}).")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if not find():
        terminalreporter.write_line(LEFT_OUT, yellow=True)
