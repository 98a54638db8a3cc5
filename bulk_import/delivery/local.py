"""The report as a local file: written atomically, the older one kept under its run's ID."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from bulk_import.errors import ReportNotWritten
from bulk_import.files import NewFile, fsync_directory, keeps_its_place, write_into
from bulk_import.journal.older import HEAD, changed_at, named_after, run_id_in
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
    written = replace(path, chunks(folded, report_elsewhere=report_elsewhere), run_id)
    _forget_earlier_part(path, run_id)
    return written


def _forget_earlier_part(path: Path, run_id: str) -> None:
    """A resumed run's report says all that the report of its earlier part said. Raises OSError."""
    kept = named_after(path, run_id)
    if kept.is_file():
        kept.unlink()
        sha256_path(kept).unlink(missing_ok=True)


def _stream(folded: Folded, stream: IO[bytes]) -> None:
    for chunk in chunks(folded):
        view = memoryview(chunk)
        while view:
            view = view[stream.write(view) :]
    stream.flush()


def replace(path: Path, report: Iterable[bytes], run_id: str) -> Written:
    """Atomically: a reader finds the older report, kept under its run's ID, or the whole new one. Raises OSError."""
    with NewFile(path) as new:
        sha256 = new.fill(report)
        with NewFile(sha256_path(path)) as sums:
            sums.fill([f"{sha256}  {path.name}\n".encode()])
            keep_older(path, run_id)
            new.commit()
            sums.commit()
    fsync_directory(path.parent)
    return Written(path, sha256)


def keep_older(path: Path, run_id: str) -> None:
    """Gives a report at `path` that is not of this run the name `<stem>.<its run's ID><suffix>`, its sum with it.

    The name at `path` stays too, until the new report takes it: there is always one. Raises OSError.
    """
    try:
        with path.open("rb") as stream:
            found = run_id_in(stream.read(HEAD))
    except FileNotFoundError:
        return
    # Without a run's ID it is not one of our reports; it is kept.
    older = found or changed_at(path)
    if older == run_id:
        sha256_path(path).unlink(missing_ok=True)  # never next to a report that it does not fit
        return
    kept = named_after(path, older)
    kept.unlink(missing_ok=True)
    try:
        os.link(path, kept)
    except OSError:  # not every file system has hard links
        path.rename(kept)
    with contextlib.suppress(FileNotFoundError):
        digest = sha256_path(path).read_text(encoding="ascii", errors="replace").split(" ", 1)[0]
        sha256_path(kept).write_text(f"{digest}  {kept.name}\n", encoding="ascii", errors="replace")
        sha256_path(path).unlink()


def sha256_path(path: Path) -> Path:
    return path.with_name(f"{path.name}.sha256")
