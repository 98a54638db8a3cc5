"""The report: what a journal says, in the form that people and pipelines rely on. schema.py describes every field."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path
from typing import IO, Any, Final

import orjson

from bulk_import.errors import ADVICE, DEFAULT_ADVICE, ReportNotWritten
from bulk_import.record.files import NewFile, fsync_directory, keeps_its_place
from bulk_import.record.fold import Folded, fold
from bulk_import.record.older import keep_older, sha256_path
from bulk_import.record.reread import Lazily, Report
from bulk_import.record.summary import outcome_of

SCHEMA_VERSION: Final = 1
STDOUT: Final = "-"

_CHUNK: Final = 1 << 18  # bytes; a write for each entry would be a system call for each


@dataclass(frozen=True, slots=True)
class Written:
    """Where a report is. `path` None: stdout."""

    path: Path | None
    sha256: str | None


def build(journal: Path, destination: str) -> tuple[Folded, Written]:
    """Folds the journal and writes the report. Raises JournalError, ReportNotWritten."""
    folded = fold(journal)
    return folded, write_report(folded, destination)


def write_report(folded: Folded, destination: str, *, report_elsewhere: bool = False) -> Written:
    """Writes the report to a path, or to stdout for `-`. `report_elsewhere`: it shall say exit code 6.

    An older report at the path is kept under its run's ID, and `<report>.sha256` says the new one's sum, in
    sha256sum's format. Where the path cannot be written the report goes beside the journal, or else to the
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
        f"All that it would say is in the journal, {folded.journal}.",
        advice="Keep the journal: the report can be made from it.",
    )


def chunks(folded: Folded, *, report_elsewhere: bool = False) -> Iterator[bytes]:
    """The report's bytes, a few hundred kilobytes at a time: one member a line, one lane a line, one result a line."""
    return gathered_chunks(head(folded, report_elsewhere=report_elsewhere), folded.entries())


def as_report(folded: Folded, *, report_elsewhere: bool = False) -> Report:
    """The same as values, for renderings."""
    entries = Lazily(lambda: map(orjson.loads, folded.entries()))
    return Report(head(folded, report_elsewhere=report_elsewhere), entries)


def gathered_chunks(head: Mapping[str, Any], results: Iterable[bytes]) -> Iterator[bytes]:
    """A report's bytes from its members; `results` are JSON already."""
    gathered, size = [], 0
    for piece in _pieces(head, results):
        gathered.append(piece)
        size += len(piece)
        if size >= _CHUNK:
            yield b"".join(gathered)
            gathered, size = [], 0
    yield b"".join(gathered)


def head(folded: Folded, *, report_elsewhere: bool = False) -> dict[str, Any]:
    """Every member of the report but `results`."""
    return {
        "schema_version": SCHEMA_VERSION,
        "tool": folded.started["tool"],
        "run": _run(folded, report_elsewhere=report_elsewhere),
        "summary": asdict(folded.summary),
        "lanes": list(_lanes(folded)),
    }


def _pieces(head: Mapping[str, Any], results: Iterable[bytes]) -> Iterator[bytes]:
    yield b"{\n"
    for name, value in head.items():
        if name != "lanes":
            yield b'"%b":%b,\n' % (name.encode(), orjson.dumps(value))
    lanes = (orjson.dumps(lane) for lane in head["lanes"])
    yield from chain([b'"lanes":['], _lines(lanes), [b'],\n"results":['], _lines(results), [b"]\n}\n"])


def _lines(items: Iterable[bytes]) -> Iterator[bytes]:
    separator = b"\n"
    for item in items:
        yield separator + item
        separator = b",\n"
    if separator != b"\n":
        yield b"\n"


def _run(folded: Folded, *, report_elsewhere: bool) -> dict[str, Any]:
    started, caller, failure = folded.started, folded.caller, folded.failure
    return {
        "run_id": started["run_id"],
        "started_at": started["started_at"],
        "finished_at": folded.finished_at,
        "duration_seconds": folded.duration_seconds,
        "outcome": outcome_of(folded.summary, folded.ending),
        "exit_code": folded.exit_code(report_elsewhere=report_elsewhere),
        "manifest": started["manifest"],
        "selection": started["selection"],
        "caller": caller.get("caller"),
        "partition": started["partition"],
        "environment": caller.get("environment"),
        "endpoints": caller.get("endpoints", {}),
        "labels": started["labels"],
        "journal_sha256": folded.sha256,
        "shard": started["shard"],
        "resumes": folded.resumes,
        "stopped_by": list(folded.ending.stopped_by),
        "error": failure
        and {
            "code": failure["code"],
            "message": failure["message"],
            "advice": ADVICE.get(failure["code"], DEFAULT_ADVICE),
        },
    }


def _lanes(folded: Folded) -> Iterator[dict[str, Any]]:
    for (account, region), lane in folded.lanes.items():
        yield {
            "account": account,
            "region": region,
            "targets": lane.targets,
            "duration_seconds": lane.duration_seconds,
            "calls": lane.calls,
            "throttled": lane.throttled,
            "quota": lane.quota,
            "effective_rate": lane.effective_rate,
        }


def _write_to(folded: Folded, destination: str, *, report_elsewhere: bool) -> Written:
    if destination == STDOUT:
        sys.stdout.flush()
        # Past the buffer: what a broken pipe does not take must not be tried again when the process exits.
        _stream(folded, getattr(sys.stdout.buffer, "raw", sys.stdout.buffer))
        return Written(None, None)
    path = Path(destination).absolute()
    if keeps_its_place(path):
        with path.open("wb") as stream:
            _stream(folded, stream)
        return Written(path, None)
    path = path.resolve()  # a link stays a link, and what it points to is replaced
    return replace(path, chunks(folded, report_elsewhere=report_elsewhere), folded.started["run_id"])


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
