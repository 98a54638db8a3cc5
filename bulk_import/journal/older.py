"""The journal that is already where a new one goes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from bulk_import.errors import JournalError, Problem
from bulk_import.files import fsync_directory
from bulk_import.journal.reader import JournalReader
from bulk_import.journal.writer import lock
from bulk_import.kept import changed_at, is_run_id, named_after

_BEGINNING = b'{"seq":1,'


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
            found = event.get("run_id")
            if isinstance(found, str) and is_run_id(found):
                run_id = found
            finished = event.get("event") == "run_ended"
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
