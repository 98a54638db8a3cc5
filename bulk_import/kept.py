"""Reports and journals that replace older ones: which run an older one is of, and the name under which it is kept."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Final

from bulk_import.files import fsync_directory, sum_line, write_with_sum

HEAD: Final = 1 << 16  # bytes; a report says its run's ID well within them
_A_RUN = re.compile(r"\d{8}T\d{6}Z-[0-9a-f]{8}")  # as begin.py makes IDs: they sort by time
_SUM = re.compile(rb"[0-9a-f]{64} [ *][^\n]+\n?")
_NAME = "[A-Za-z0-9._-]{1,128}"  # a part of a file's name
_RUN_ID = re.compile(rb'"run_id"\s*:\s*"(%b)"' % _NAME.encode())


def is_run_id(text: str) -> bool:
    """Whether a file may be named after it: a journal or report from outside may state anything."""
    return re.fullmatch(_NAME, text) is not None


def run_id_in(head: bytes) -> str | None:
    """The run's ID that a report's or journal's first HEAD bytes state; None: it is none of ours."""
    found = _RUN_ID.search(head)
    return found[1].decode() if found else None


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


def is_sum(head: bytes) -> bool:
    """Whether a file that begins so is a SHA-256 as sha256sum writes it, or empty. `head`: more bytes than one has."""
    return not head or _SUM.fullmatch(head) is not None


def sha256_path(path: Path) -> Path:
    return path.with_name(f"{path.name}.sha256")


def replace(path: Path, report: Iterable[bytes], run_id: str) -> str:
    """Writes a report and its SHA-256, which it returns. The report of another run is kept under that run's ID.

    Atomically: a reader finds the older report or the complete new one. Raises OSError.
    """
    return write_with_sum(path, sha256_path(path), report, first=partial(_keep_older, path, run_id))


def set_aside(path: Path) -> None:
    """Gives a report at `path` the name that it keeps; another file stays where it is. Raises OSError."""
    if not path.is_file():
        return
    with path.open("rb") as stream:
        run_id = run_id_in(stream.read(HEAD))
    if run_id is None:
        return  # the new report will set it aside
    kept = named_after(path, run_id)
    path.replace(kept)
    _keep_sum(path, kept)
    fsync_directory(path.parent)


def _keep_older(path: Path, run_id: str) -> None:
    """Gives a report at `path` that is not of this run the name `<stem>.<its run's ID><suffix>`, its sum with it.

    The name at `path` stays too, until the new report takes it: where the file system has hard links, there is always
    one. Raises OSError.
    """
    try:
        with path.open("rb") as stream:
            found = run_id_in(stream.read(HEAD))
    except FileNotFoundError:
        return
    older = found or changed_at(path)  # without a run's ID it is not one of our reports; it is kept
    if older == run_id:
        sha256_path(path).unlink(missing_ok=True)  # never next to a report that it does not fit
        return
    kept = named_after(path, older)
    kept.unlink(missing_ok=True)
    try:
        os.link(path, kept)
    except OSError:  # not every file system has hard links
        path.rename(kept)
    _keep_sum(path, kept)


def _keep_sum(path: Path, kept: Path) -> None:
    with contextlib.suppress(FileNotFoundError):
        digest = sha256_path(path).read_text(encoding="ascii", errors="replace").split(" ", 1)[0]
        sha256_path(kept).write_bytes(sum_line(digest, kept))
        sha256_path(path).unlink()


def forget_earlier_part(path: Path, run_id: str) -> None:
    """A resumed run's report says all that the report of its earlier part said. Raises OSError."""
    if not is_run_id(run_id):
        return
    kept = named_after(path, run_id)
    if kept.is_file():
        kept.unlink()
        sha256_path(kept).unlink(missing_ok=True)
