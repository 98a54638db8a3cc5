"""Where the tests find a Chromium; tests/left_out.py prints the line if there is none."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
NEEDED = "TESTS_NEED_CHROMIUM"
LEFT_OUT = (
    "Left out: tests/formats/test_page*.py (the HTML report in a browser); no Chromium found. "
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


def left_out() -> Iterator[str]:
    if not find():
        yield LEFT_OUT
