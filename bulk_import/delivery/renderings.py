"""`run --render FORMAT=PATH`: checked before the first call (destinations.py), written by deliver.py."""

from __future__ import annotations

from pathlib import Path

from bulk_import.report import formats
from bulk_import.report.reread import Report


def write(name: str, report: Report, path: str) -> Path:
    """Returns the absolute path. Raises OSError."""
    place = Path(path).absolute()
    formats.render(name, report.whole(), place)
    return place
