"""The reports whose pages are tested, at each size."""

from __future__ import annotations

from typing import Any

import pytest

from bulk_import.report.formats import render
from tests.formats import chromium
from tests.formats.make_report import make_report

# Not collected, rather than skipped: tests/left_out.py says in one line what that leaves out.
collect_ignore_glob = [] if chromium.find() else ["test_page*.py"]

SIZES = (10, 1_000, 10_000)


@pytest.fixture(scope="session")
def reports(tmp_path_factory: pytest.TempPathFactory) -> dict[int, tuple[dict[str, Any], str]]:
    """Targets → (the report, the page's URL)"""
    folder = tmp_path_factory.mktemp("pages")
    made = {}
    for n in SIZES:
        report = make_report(n)
        page = folder / f"{n}.html"
        render("html", report, page)
        made[n] = (report, page.as_uri())
    return made
