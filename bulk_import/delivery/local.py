"""The report as a local file: written atomically, the older one kept under its run's ID."""

from __future__ import annotations

import shlex
import sys
import tempfile
from pathlib import Path

from bulk_import import open_files
from bulk_import.errors import ReportNotWritten
from bulk_import.files import keeps_its_place, real, write_into, write_stream
from bulk_import.kept import forget_earlier_part, replace
from bulk_import.model import STDOUT
from bulk_import.report.document import Document


def write_report(document: Document, destination: str) -> Path | None:
    """Writes the report to a path, which is returned, or to stdout for `-`.

    An older report at the path is kept under its run's ID, and `<report>.sha256` says the new one's sum, in
    sha256sum's format. Where the path cannot be written the report goes next to the journal, or else to the
    folder for temporary files, with exit code 6 in it, and ReportNotWritten says where.
    """
    try:
        return _write_to(document, destination)
    except OSError as error:
        reason, first = error.strerror or type(error).__name__, ""
        if open_files.is_shortage(error):
            reason += f": the limit is {open_files.limit()}"
            first = f"{open_files.RAISE}. "
    asked = "stdout" if destination == STDOUT else destination
    journal = document.folded.journal
    for folder in (journal.parent, Path(tempfile.gettempdir())):
        path = folder / f"report.{document.run_id}.json"
        try:
            replace(path, document.elsewhere().chunks(), document.run_id)
        except OSError:
            continue
        raise ReportNotWritten(f"The report could not be written to {asked} ({reason}). It is at {path}.")
    raise ReportNotWritten(
        f"The report could not be written to {asked} ({reason}), nor anywhere else. "
        f"The journal has everything: {journal}.",
        advice=first + from_journal(journal),
    )


def from_journal(journal: Path) -> str:
    """How to get the report later."""
    command = f"bulk-import report {shlex.quote(str(journal))} --format json --output PATH"
    return f"Keep the journal and make the report from it: {command}"


def _write_to(document: Document, destination: str) -> Path | None:
    if destination == STDOUT:
        sys.stdout.flush()
        for chunk in document.chunks():
            write_stream(sys.stdout.buffer, chunk)
        return None
    path = Path(destination).absolute()
    if keeps_its_place(path):
        write_into(path, document.chunks())
        return path
    path = real(path)  # a link stays a link, and what it points to is replaced
    replace(path, document.chunks(), document.run_id)
    forget_earlier_part(path, document.run_id)
    return path
