"""GitHub-flavoured Markdown: what is wrong first, never larger than a step summary may be."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TextIO

from bulk_import.report.formats.inspection import view
from bulk_import.report.formats.markdown import STEP_SUMMARY_LIMIT, bounded_table, cell
from bulk_import.words import duration

_ROWS = 500  # more is not read on that page; the JSON document has them all
_ROOM = STEP_SUMMARY_LIMIT // 3  # bytes of a table


def write(found: Mapping[str, Any], out: TextIO) -> None:
    environment = view.environment_warning(found)
    notice = [f"**{cell(environment)}**"] if environment else []
    lines = [*notice, *([""] if notice else []), f"## bulk-import status: {cell(view.headline(found))}", ""]
    names = (*view.COUNTS, "total")
    lines += [
        f"| {' | '.join(name.replace('_', ' ') for name in names)} |",
        f"| {' | '.join('---:' for _ in names)} |",
        f"| {' | '.join(format(found['summary'][name], ',') for name in names)} |",
        "",
    ]
    out.write("\n".join([*lines, *_wrong(found), *_expiry(found), *_foot(found), *notice]) + "\n")


def _wrong(found: Mapping[str, Any]) -> list[str]:
    wrong = view.wrong(found)
    if not wrong:
        return []
    rows = ([one["state"], one["id"], view.place(one), view.why(one), view.advice(one)] for one in wrong)
    made = bounded_table(
        ("State", "Key", "Lane", "Why", "What to do"), rows, rows=_ROWS, total=len(wrong), limit=_ROOM, what="keys"
    )
    return ["### Not as wanted", "", *made, ""]


def _expiry(found: Mapping[str, Any]) -> list[str]:
    days = [(when, targets) for _, month in view.calendar(found) for when, targets in month]
    if not days:
        return []
    rows = ([when, view.left(targets[0]), str(len(targets)), ", ".join(one["id"] for one in targets)]
            for when, targets in days)  # fmt: skip
    made = bounded_table(
        ("Day (UTC)", "Left", "Keys", "Which"), rows, rows=_ROWS, total=len(days), limit=_ROOM, what="days"
    )
    return ["### Expiry calendar", "", *made, ""]


def _foot(found: Mapping[str, Any]) -> list[str]:
    run, tool = found["run"], found["tool"]
    facts = [
        f"Run {cell(run['run_id'])}, {cell(duration(run['duration_seconds']))} from {cell(run['started_at'])},",
        f"exit code {run['exit_code']}.",
        f"Manifest {cell(run['manifest']['uri'])}, SHA-256 {cell(run['manifest']['sha256'])}.",
        f"{cell(tool['name'])} {cell(tool['version'])}.",
    ]
    return [" ".join(facts), ""]
