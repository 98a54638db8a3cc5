"""`run --render FORMAT=PATH`: checked before the first call (places.py), written after the report."""

from __future__ import annotations

from pathlib import Path

from bulk_import.errors import ReportNotWritten
from bulk_import.record import formats
from bulk_import.record.reread import Report
from bulk_import.settings import Settings


def write(report: Report, settings: Settings) -> None:
    """Writes each, also after one that failed. Raises ReportNotWritten, naming those that could not be."""
    failed = []
    for name, target in settings.render.items():
        try:
            formats.render(name, report.whole(), Path(target).absolute())
        except OSError as error:
            failed.append(f"The rendering {name} could not be written to {target} ({error.strerror or error}).")
    if failed:
        raise ReportNotWritten(
            " ".join(failed),
            advice="Make it from the report or the journal: bulk-import report REPORT --format FORMAT --output PATH.",
        )
