"""What stands already where a new report or journal shall go: kept under its run's ID."""

from __future__ import annotations

import contextlib
import os
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from bulk_import.errors import JournalError, Problem
from bulk_import.record.files import fsync_directory
from bulk_import.record.journal import lock
from bulk_import.record.reading import JournalReader

_RUN_ID = re.compile(rb'"run_id"\s*:\s*"([A-Za-z0-9._-]{1,128})"')
_BEGINNING = b'{"seq":1,'
HEAD = 1 << 16  # bytes; a report says its run's ID well within them


def keep_older(path: Path, run_id: str) -> None:
    """Gives a report at `path` that is not of this run the name `<stem>.<its run's ID><suffix>`, its sum with it.

    The name at `path` stays too, until the new report takes it: there is always one. Raises OSError.
    """
    try:
        with path.open("rb") as stream:
            found = run_id_in(stream.read(HEAD))
    except FileNotFoundError:
        return
    # Without a run's ID it is no report of ours; it is not thrown away either.
    older = found or _changed_at(path)
    if older == run_id:
        sha256_path(path).unlink(missing_ok=True)  # never beside a report that it does not fit
        return
    kept = _named_after(path, older)
    kept.unlink(missing_ok=True)
    try:
        os.link(path, kept)
    except OSError:  # not every file system has hard links
        path.rename(kept)
    with contextlib.suppress(FileNotFoundError):
        digest = sha256_path(path).read_text(encoding="ascii", errors="replace").split(" ", 1)[0]
        sha256_path(kept).write_text(f"{digest}  {kept.name}\n", encoding="ascii", errors="replace")
        sha256_path(path).unlink()


def run_id_in(head: bytes) -> str | None:
    """The run's ID that a report's or journal's first HEAD bytes state; None: it is none of ours."""
    found = _RUN_ID.search(head)
    return found[1].decode() if found else None


@dataclass(frozen=True, slots=True)
class SetAside:
    """An older journal under its new name. `finished`: its run came to its end."""

    path: Path
    finished: bool


def set_aside(journal: Path) -> SetAside | None:
    """Makes room for a new journal; None where none is in the way.

    Raises JournalError where a run is using it, or where the file is not a journal: such a one is left alone.
    """
    try:
        with journal.open("rb") as stream:
            lock(journal, stream.fileno())
            run_id, finished = _identify(journal)
            kept = _named_after(journal, run_id)
            journal.rename(kept)
            fsync_directory(journal.parent)
    except FileNotFoundError:
        return None
    except OSError as error:
        advice = "Make its folder writable, or name another --journal."
        problem = Problem(str(journal), 0, "", f"the older journal cannot be set aside: {error.strerror}.", advice)
        raise JournalError([problem]) from None
    return SetAside(kept, finished)


def _identify(journal: Path) -> tuple[str, bool]:
    """The journal's run ID, and whether its run came to its end. Damage after the first line does not matter."""
    reader = JournalReader(journal)
    run_id, finished = _changed_at(journal), False
    try:
        for _, event in reader:
            run_id = event.get("run_id", run_id)
            finished = event["event"] == "run_ended"
    except JournalError:
        if not reader.last_seq:
            raise
        finished = False
    if not reader.last_seq and not _may_have_begun(journal):
        raise reader.problem("this is not a journal of bulk-import.", "Name another --journal, or move this file away.")
    return run_id, finished


def _may_have_begun(journal: Path) -> bool:
    """Whether a file without one whole line may be a journal: killed in its first, or emptied by a power cut."""
    with journal.open("rb") as stream:
        head = stream.read(len(_BEGINNING))
    return _BEGINNING.startswith(head) or not head.strip(b"\0")


def sha256_path(path: Path) -> Path:
    return path.with_name(f"{path.name}.sha256")


def _named_after(path: Path, run_id: str) -> Path:
    return path.with_name(name_of_older(path.name, run_id))


def name_of_older(name: str, run_id: str) -> str:
    """`report.json` → `report.<run's ID>.json`."""
    stem, suffix = os.path.splitext(name)  # noqa: PTH122 - also of an object's name
    return f"{stem}.{run_id}{suffix}"


def _changed_at(path: Path) -> str:
    return stamp(datetime.fromtimestamp(path.stat().st_mtime, UTC))


def stamp(at: datetime) -> str:
    """Stands for the run's ID of what states none."""
    return at.strftime("%Y%m%dT%H%M%S%fZ")
