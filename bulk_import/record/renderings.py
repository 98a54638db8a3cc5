"""`run --render FORMAT=PATH`: checked before the first call (places.py), written after the report (deliver.py)."""

from __future__ import annotations

from pathlib import Path

from bulk_import.record import formats
from bulk_import.record.reread import Report


def write(name: str, report: Report, path: str) -> None:
    """Raises OSError."""
    formats.render(name, report.whole(), Path(path).absolute())
