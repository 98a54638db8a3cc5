"""GitHub-flavoured Markdown: failures first, never larger than a step summary may be.

https://docs.github.com/actions/reference/workflows-and-actions/workflow-commands#adding-a-job-summary
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

from bulk_import.files import keeps_its_place, write_into
from bulk_import.report.formats import view
from bulk_import.words import duration

STEP_SUMMARY_LIMIT = 1024 * 1024  # bytes of one step; above it GitHub shows none of the summary
_SPARE = 1024
_LEAST = 16 * 1024  # what is always enough for all but the bounded tables
_FAILURE_ROWS = 500  # more is not read on that page; the report has them all
_LANE_ROWS = 50
_CODE_ROWS = 40
_CELL = 240  # characters


def write(report: Mapping[str, Any], out: TextIO) -> None:
    """Below STEP_SUMMARY_LIMIT bytes for every report."""
    out.write(_document(report, STEP_SUMMARY_LIMIT - _SPARE))


def append_step_summary(report: Mapping[str, Any], env: Mapping[str, str]) -> bool:
    """Appends the rendering to the file that $GITHUB_STEP_SUMMARY names, within what is left of its limit.

    Returns whether anything was written: False outside GitHub Actions, or where earlier lines of the step left no
    package. Raises OSError where the file cannot be written.
    """
    if not (name := env.get("GITHUB_STEP_SUMMARY")):
        return False
    path = Path(name)
    room = STEP_SUMMARY_LIMIT - _SPARE - (path.stat().st_size if path.exists() else 0)
    if room < _LEAST:
        return False
    if keeps_its_place(path):
        write_into(path, [_document(report, room).encode("utf-8", "backslashreplace")])
        return True
    with path.open("a", encoding="utf-8", errors="backslashreplace", newline="") as file:
        file.write("\n" + _document(report, room))
    return True


def _document(report: Mapping[str, Any], limit: int) -> str:
    """At most `limit` bytes: the head and the foot are small, the tables fill what is left, failures first."""
    overview, failed = view.overview(report), view.failures(report)
    groups = view.by_code(failed)
    environment = overview.environment
    head = [*([f"**{cell(environment)}**", ""] if environment else []), *_head(report, overview)]
    foot = [*_foot(report, overview), *(["", f"**{cell(environment)}**"] if environment else [])]
    left = limit - _size(head) - _size(foot)
    failures = _failures(failed, groups, left * 3 // 4)
    lanes = _lanes(report, left - _size(failures))
    return "\n".join([*head, *failures, *lanes, *foot]) + "\n"


def _head(report: Mapping[str, Any], overview: view.Overview) -> list[str]:
    summary = report["summary"]
    lines = [f"## bulk-import {cell(overview.headline)}", ""]
    for text in overview.warnings:
        lines += [f"> {cell(text)}", ""]
    names = (*overview.counts, "unproved", "total")
    return [
        *lines,
        f"| {' | '.join(name.replace('_', ' ') for name in names)} |",
        f"| {' | '.join('---:' for _ in names)} |",
        f"| {' | '.join(f'{summary[name]:,}' for name in names)} |",
        "",
    ]


def _failures(failed: Sequence[view.Result], groups: Mapping[str, list[view.Result]], limit: int) -> list[str]:
    if not failed:
        return []
    codes = bounded_table(
        ("Code", "Targets", "What to do"),
        ([code, f"{len(group):,}", group[0]["error"]["advice"]] for code, group in groups.items()),
        rows=min(_CODE_ROWS, len(groups)), total=len(groups), limit=limit // 2, what="codes",
    )  # fmt: skip
    head = ["### Failures", "", *codes, ""]
    targets = bounded_table(
        ("Target", "Account", "Region", "Code", "Message", "Last request ID"),
        (
            [
                r["id"], r["account"], r["region"], r["error"]["code"], r["error"]["message"],
                r["request_ids"][-1]["request_id"] if r["request_ids"] else "",
            ]
            for r in failed
        ),
        rows=min(_FAILURE_ROWS, len(failed)), total=len(failed), limit=limit - _size(head), what="failures",
    )  # fmt: skip
    return [*head, *targets, ""]


def _lanes(report: Mapping[str, Any], limit: int) -> list[str]:
    lanes = sorted(report["lanes"], key=lambda lane: -(lane["duration_seconds"] or 0))
    if not lanes:
        return []
    head = ["### Lanes, the longest first", ""]
    operation = "GetParametersForImport"
    table = bounded_table(
        ("Account", "Region", "Targets", "Duration", f"{operation} calls", "Quota", "Throttled"),
        (
            [
                lane["account"], lane["region"], f"{lane['targets']:,}", duration(lane["duration_seconds"]),
                f"{lane['calls'].get(operation, 0):,}",
                f"{lane['quota'][operation]:g}/s" if operation in lane["quota"] else "",
                f"{sum(lane['throttled'].values()):,}",
            ]
            for lane in lanes
        ),
        rows=min(_LANE_ROWS, len(lanes)), total=len(lanes), limit=limit - _size(head) - 2, what="lanes",
    )  # fmt: skip
    return [*head, *table, ""]


def _foot(report: Mapping[str, Any], overview: view.Overview) -> list[str]:
    run, tool = report["run"], report["tool"]
    took = f"{duration(run['duration_seconds'])} from {run['started_at']}"
    facts = [
        f"Run {cell(run['run_id'])}, {cell(took)}, {overview.exit_code}.",
        f"Manifest {cell(run['manifest']['uri'])}, SHA-256 {cell(run['manifest']['sha256'])}.",
        f"{cell(tool['name'])} {cell(tool['version'])}.",
    ]
    steps = [f"- {step}: {cell('; '.join(facts))}" for step, facts in overview.ceremony]
    return [" ".join(facts), *(["", "### Ceremony", "", *steps] if steps else [])]


def bounded_table(
    columns: Iterable[str], cells: Iterable[Iterable[str]], *, rows: int, total: int, limit: int, what: str
) -> list[str]:
    """Up to `rows` rows and `limit` bytes; a line below says how many of `total` are left out."""
    names = list(columns)
    lines = [f"| {' | '.join(names)} |", f"|{' --- |' * len(names)}"]
    used = _size(lines) + 120  # the line below
    shown = 0
    for row in cells:
        line = f"| {' | '.join(map(cell, row))} |"
        used += len(line.encode(errors="backslashreplace")) + 1
        if shown == rows or used > limit:
            break
        lines.append(line)
        shown += 1
    if shown < total:
        lines += ["", f"And {total - shown:,} more {what}: see the report."]
    return lines


def _size(lines: Iterable[str]) -> int:
    return sum(len(line.encode(errors="backslashreplace")) + 1 for line in lines)


# What Markdown or HTML could read as more than text in the middle of a line. `@` and `://` become entities: GitHub
# makes links of them even behind a backslash.
_SPECIAL = re.compile(r"[\\`*_\[\]#|~$]")
_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;", "@": "&#64;", "://": "&#58;//", "www.": "www&#46;"}
_ENTITY = re.compile("|".join(map(re.escape, _ENTITIES)), re.IGNORECASE)


def cell(value: object) -> str:
    """One line of plain text, cut to a cell's length, that Markdown shows as it stands."""
    text = " ".join("".join(c if c.isprintable() else " " for c in str(value)).split())
    if len(text) > _CELL:
        text = text[: _CELL - 1] + "…"
    text = _SPECIAL.sub(r"\\\g<0>", text)  # first: entities hold a `#` that must stay
    return _ENTITY.sub(lambda match: _ENTITIES[match[0].lower()], text)
