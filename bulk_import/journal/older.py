"""What is already where a new journal or report goes: which run it is of, and the name under which it is kept."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from bulk_import.errors import JournalError, Problem
from bulk_import.files import fsync_directory
from bulk_import.journal.reader import JournalReader
from bulk_import.journal.writer import lock

_RUN_ID = re.compile(rb'"run_id"\s*:\s*"([A-Za-z0-9._-]{1,128})"')
_A_RUN = re.compile(r"\d{8}T\d{6}Z-[0-9a-f]{8}")  # as begin.py makes IDs: they sort by time
_BEGINNING = b'{"seq":1,'
HEAD = 1 << 16  # bytes; a report says its run's ID well within them


def run_id_in(head: bytes) -> str | None:
    """The run's ID that a report's or journal's first HEAD bytes state; None: it is none of ours."""
    found = _RUN_ID.search(head)
    return found[1].decode() if found else None


@dataclass(frozen=True, slots=True)
class SetAside:
    """An older journal under its new name. `finished`: its run ended."""

    path: Path
    finished: bool


def set_aside(journal: Path) -> SetAside | None:
    """Sets aside an older journal; None if there is none.

    Raises JournalError where a run is using it, or where the file is not a journal: such a one is left alone.
    """
    try:
        with journal.open("rb") as stream:
            lock(journal, stream.fileno())
            run_id, finished = _identify(journal)
            kept = named_after(journal, run_id)
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
    """The journal's run ID, and whether its run ended. Damage after the first line does not matter."""
    reader = JournalReader(journal)
    run_id, finished = changed_at(journal), False
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


def named_after(path: Path, run_id: str) -> Path:
    return path.with_name(name_of_older(path.name, run_id))


def name_of_older(name: str, run_id: str) -> str:
    """`report.json` → `report.<run's ID>.json`."""
    stem, suffix = os.path.splitext(name)  # noqa: PTH122 - also of an object's name
    return f"{stem}.{run_id}{suffix}"


def is_older_of(name: str, current: str) -> bool:
    """Whether `name` is what `name_of_older` makes of `current` for some run."""
    stem, suffix = os.path.splitext(current)  # noqa: PTH122 - as above
    run_id = name.removeprefix(f"{stem}.").removesuffix(suffix)
    return _A_RUN.fullmatch(run_id) is not None and name == name_of_older(current, run_id)


def changed_at(path: Path) -> str:
    return stamp(datetime.fromtimestamp(path.stat().st_mtime, UTC))


def stamp(at: datetime) -> str:
    """Stands for the run's ID of what states none."""
    return at.strftime("%Y%m%dT%H%M%S%fZ")
