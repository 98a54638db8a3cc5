"""Renderings of a report: one file each, all of them in FORMATS.

A rendering is made from the report (JSON, parsed) alone, so `run --render` and `report --format` afterwards give
the same bytes. To add one: a file here with `write(report, out)`, and its row below.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from bulk_import.errors import UsageError
from bulk_import.record.formats import csv, github, html, junit, markdown


@dataclass(frozen=True, slots=True)
class Format:
    """`write(report, out)` writes text; `default_name`: the file's name where none is given."""

    write: Callable[[Mapping[str, Any], TextIO], None]
    default_name: str
    description: str


FORMATS: dict[str, Format] = {
    "html": Format(html.write, "report.html", "one self-contained page: filter, search, lanes' pacing, expiry calendar"),
    "junit": Format(junit.write, "junit.xml", "JUnit XML, a suite per lane, for a CI server's test view"),
    "markdown": Format(markdown.write, "report.md", "failures first; fits $GITHUB_STEP_SUMMARY whatever the size"),
    "github": Format(github.write, "annotations.txt", "GitHub Actions workflow commands for the log, at most ten of a level"),
    "csv": Format(csv.write, "report.csv", "a row per target, for spreadsheets"),
}


def render(name: str, report: Mapping[str, Any], out: TextIO | Path) -> None:
    """Writes the rendering `name` of `report` to a stream, or atomically to a path (UTF-8).

    Raises UsageError for an unknown name, OSError where the path cannot be written.
    """
    if name not in FORMATS:
        raise UsageError(f"No report format is called {name!r}.", advice=f"Use one of: {', '.join(FORMATS)}.")
    write = FORMATS[name].write
    if not isinstance(out, Path):
        write(report, out)
        return
    # Beside the goal, so that the last step is a rename: a reader sees the old file or the whole new one. mkstemp
    # makes it 0600; a rendering holds no secret and is read by others (a CI agent), so it gets the umask's mode.
    handle, temporary = tempfile.mkstemp(dir=out.parent, prefix=f".{out.name}.")
    try:
        # newline="": each format states its line ends itself. A path in a message may hold undecodable bytes.
        with open(handle, "w", encoding="utf-8", errors="backslashreplace", newline="") as file:
            write(report, file)
            os.fchmod(file.fileno(), 0o666 & ~_umask())
        Path(temporary).replace(out)
    except BaseException:
        with contextlib.suppress(OSError):
            Path(temporary).unlink()
        raise


def _umask() -> int:
    """The process's umask, which can be read only by setting it."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
