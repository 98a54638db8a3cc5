"""Writes golden/ again: `python -m tests.formats.golden_files`."""

from __future__ import annotations

from pathlib import Path

from bulk_import.report.formats import render
from tests.formats.make_report import make_report

FOLDER = Path(__file__).parent / "golden"
REPORTS = {
    "aws": lambda: make_report(10),
    "sandbox": lambda: make_report(10, environment="sandbox", interrupted=True),
}
FORMATS = {"junit": "xml", "markdown": "md", "github": "txt", "csv": "csv"}  # html's look is test_page.py's matter


def path(report: str, name: str) -> Path:
    return FOLDER / f"{report}.{name}.{FORMATS[name]}"


if __name__ == "__main__":
    for report, make in REPORTS.items():
        for name in FORMATS:
            render(name, make(), path(report, name))
