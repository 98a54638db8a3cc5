"""Renderings of a report: one file each, all of them in FORMATS.

A rendering is made from the report (JSON, parsed) alone, so `run --render` and `report --format` afterwards give
the same bytes. To add one: a file here with `write(report, out)`, and its row below.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from bulk_import.errors import UsageError
from bulk_import.files import NewFile, fsync_directory, keeps_its_place, real, write_into
from bulk_import.report.formats import csv, github, html, junit, markdown


@dataclass(frozen=True, slots=True)
class Format:
    """`write(report, out)` writes text; `default_name`: the file's name where none is given; `content_type`: as HTTP
    says it."""

    write: Callable[[Mapping[str, Any], TextIO], None]
    default_name: str
    content_type: str
    description: str
    mark: re.Pattern[bytes]  # by which the first bytes of such a file are known


FORMATS: dict[str, Format] = {
    "html": Format(
        html.write,
        "report.html",
        "text/html; charset=utf-8",
        "one self-contained page: filter, search, lanes' pacing, expiry calendar",
        re.compile(rb"\s*<!doctype html>.{0,4000}<title>[^<]*\(run ", re.DOTALL),
    ),
    "junit": Format(
        junit.write,
        "junit.xml",
        "application/xml",
        "JUnit XML, a suite per lane, for a CI server's test view",
        re.compile(rb"\s*<\?xml[^>]*>\s*<testsuites name=\"bulk-import "),
    ),
    "markdown": Format(
        markdown.write,
        "report.md",
        "text/markdown; charset=utf-8",
        "failures first; fits $GITHUB_STEP_SUMMARY at any size",
        re.compile(rb"(\*\*Not AWS[^\n]*\n+)?## bulk-import "),
    ),
    "github": Format(
        github.write,
        "annotations.txt",
        "text/plain; charset=utf-8",
        "GitHub Actions workflow commands for the log, at most ten of a level",
        re.compile(rb"::(error|warning|notice) title="),
    ),
    "csv": Format(
        csv.write,
        "report.csv",
        "text/csv; charset=utf-8",
        "a row per target, for spreadsheets",
        re.compile(rb"(\xef\xbb\xbf)?run_id,environment,"),
    ),
}


# Of the summary for people, that `report` writes by default: its lines with the run and the manifest.
_TABLE = re.compile(rb"^Run {6}[A-Za-z0-9._-]{1,128}\nManifest ", re.MULTILINE)


def is_rendering(head: bytes) -> bool:
    """Whether a file that begins so is one of these. `head`: its first 64 KiB."""
    return any(form.mark.match(head) for form in FORMATS.values()) or _TABLE.search(head) is not None


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
    text = io.StringIO()
    write(report, text)
    write_text(out, text.getvalue())


def write_text(path: Path, text: str) -> None:
    """Atomically, as UTF-8; into what a link points to, and into a pipe or a device. Raises OSError."""
    # A path quoted in a message may hold bytes that are no UTF-8: shown as escapes, not a crash.
    data = text.encode("utf-8", "backslashreplace")
    if keeps_its_place(path):
        write_into(path, [data])
        return
    path = real(path)
    with NewFile(path) as new:
        new.fill([data])
        new.commit()
    fsync_directory(path.parent)
