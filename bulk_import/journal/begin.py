"""How a run begins: with a new journal, or with that of a run that did not end."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import structlog

from bulk_import.files import real
from bulk_import.journal import narrate
from bulk_import.journal.leftovers import wrapping_keys
from bulk_import.journal.older import set_aside
from bulk_import.journal.resume import Unfinished, read_unfinished
from bulk_import.journal.writer import Journal
from bulk_import.model import STDOUT, Manifest, Target, in_s3
from bulk_import.model.run import Command
from bulk_import.plan import Wanted, wanted_of
from bulk_import.settings import Settings

log = structlog.get_logger()

_NO_FILES: Final = (("/", "dev"), ("/", "proc"))  # of /dev/stdout and /dev/fd/3 no journal can be next to the report


def new_run_id() -> str:
    """Sorts by time, is unique, and fits into a role session's name."""
    return f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(4)}"


def begin(manifest: Manifest, settings: Settings, *, labels: Mapping[str, str], command: Command = "run") -> Begun:
    """With --resume, reads the journal there is; else sets it aside. Raises JournalError."""
    path = journal_path(settings)
    left = wrapping_keys(path)
    if settings.resume:
        bound = narrate.bound_to(manifest, settings, command)
        past = read_unfinished(path, bound, manifest.targets, report=settings.report)
        return Begun(past.run_id, past.started_at, path, manifest, settings, labels, past, left=left, command=command)
    older = set_aside(path)
    if older is not None and not older.finished:
        log.warning("an unfinished journal was set aside; this run reads every key first", kept=str(older.path))
    return Begun(new_run_id(), datetime.now(UTC), path, manifest, settings, labels, left=left, command=command)


@dataclass(frozen=True, slots=True)
class Begun:
    """A run that begins, or begins again: what it needs to know before its first call."""

    run_id: str
    started: datetime
    path: Path
    manifest: Manifest
    settings: Settings
    labels: Mapping[str, str]
    past: Unfinished | None = None
    command: Command = "run"
    left: Sequence[Mapping[str, str]] = ()  # wrapping keys that an earlier run made at a source and did not remove

    @property
    def finished(self) -> Sequence[int]:
        """By index, whether an earlier part of the run is done with a target."""
        return self.past.finished if self.past else ()

    def open(self) -> Journal:
        """Raises JournalError."""
        return Journal.resume(self.path, known=self.past.seq) if self.past else Journal.create(self.path)

    def write(self, journal: Journal) -> None:
        """The journal's first lines, or those of the resume."""
        if self.past is None:
            narrate.begin(
                journal,
                self.manifest,
                self.settings,
                run_id=self.run_id,
                started=self.started,
                labels=self.labels,
                command=self.command,
            )
            for key in self.left:  # known until they are removed: the journal that named them was set aside
                journal.write("wrapping_key", action="made", **key)
            return
        journal.write("resumed", from_seq=journal.seq, reads_again=True)
        narrate.name_targets(journal, self.manifest, self.started, after=self.past.listed)

    def wanted(self, target: Target) -> Wanted:
        """ValidTo was frozen when the run began, also for what a resume continues."""
        if self.past is not None and target.index < self.past.listed:
            frozen = self.past.wanted_valid_to(target.index)
            return wanted_of(target, self.manifest.counts_from(self.started), valid_to=frozen)
        return wanted_of(target, self.manifest.counts_from(self.started))


def journal_path(settings: Settings) -> Path:
    """Next to the report, if not elsewhere; of a report that is not a file, in the current folder.

    A link stays a link: the journal is where it points to.
    """
    report = Path(settings.report).absolute()
    if settings.journal:
        path = Path(settings.journal).absolute()
    elif settings.report == STDOUT or in_s3(settings.report) or report.parts[:2] in _NO_FILES:
        path = Path("bulk-import.journal.jsonl").absolute()
    else:
        path = report.with_suffix(".journal.jsonl")
    return real(path) if path.is_symlink() else path
