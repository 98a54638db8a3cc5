"""The report as a local file: written atomically, the older one kept under its run's ID."""

from __future__ import annotations

import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from bulk_import.errors import ReportNotWritten
from bulk_import.files import keeps_its_place, write_into
from bulk_import.kept import forget_earlier_part, replace
from bulk_import.model import STDOUT
from bulk_import.report.document import chunks
from bulk_import.report.fold import Folded


@dataclass(frozen=True, slots=True)
class Written:
    """Where a report is. `path` None: stdout."""

    path: Path | None
    sha256: str | None


def write_report(folded: Folded, destination: str, *, report_elsewhere: bool = False) -> Written:
    """Writes the report to a path, or to stdout for `-`. `report_elsewhere`: it must say exit code 6.

    An older report at the path is kept under its run's ID, and `<report>.sha256` says the new one's sum, in
    sha256sum's format. Where the path cannot be written the report goes next to the journal, or else to the
    folder for temporary files, with exit code 6 in it, and ReportNotWritten says where.
    """
    try:
        return _write_to(folded, destination, report_elsewhere=report_elsewhere)
    except OSError as error:
        reason = error.strerror or type(error).__name__
    asked = "stdout" if destination == STDOUT else destination
    run_id = folded.started["run_id"]
    for folder in (folded.journal.parent, Path(tempfile.gettempdir())):
        path = folder / f"report.{run_id}.json"
        try:
            replace(path, chunks(folded, report_elsewhere=True), run_id)
        except OSError:
            continue
        raise ReportNotWritten(f"The report could not be written to {asked} ({reason}). It is at {path}.")
    raise ReportNotWritten(
        f"The report could not be written to {asked} ({reason}), nor anywhere else. "
        f"The journal has everything: {folded.journal}.",
        advice="Keep the journal: the report can be made from it.",
    )


def _write_to(folded: Folded, destination: str, *, report_elsewhere: bool) -> Written:
    if destination == STDOUT:
        sys.stdout.flush()
        # Past the buffer: what a broken pipe does not take must not be tried again when the process exits.
        _stream(folded, getattr(sys.stdout.buffer, "raw", sys.stdout.buffer))
        return Written(None, None)
    path = Path(destination).absolute()
    if keeps_its_place(path):
        write_into(path, chunks(folded))
        return Written(path, None)
    path = path.resolve()  # a link stays a link, and what it points to is replaced
    run_id = folded.started["run_id"]
    sha256 = replace(path, chunks(folded, report_elsewhere=report_elsewhere), run_id)
    forget_earlier_part(path, run_id)
    return Written(path, sha256)


def _stream(folded: Folded, stream: IO[bytes]) -> None:
    for chunk in chunks(folded):
        view = memoryview(chunk)
        while view:
            view = view[stream.write(view) :]
    stream.flush()
