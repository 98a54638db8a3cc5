"""CSV (RFC 4180): a row per target in manifest order, for people with a spreadsheet."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import fields
from typing import Any, Final, TextIO

from bulk_import.report.formats.csv import cell
from bulk_import.report.formats.inspection import view
from bulk_import.run.inspected import InspectedTarget

_FIELDS: Final = tuple(field.name for field in fields(InspectedTarget) if field.name not in ("materials", "error"))
COLUMNS: Final = ("run_id", "environment", *_FIELDS, "error_code", "error_message", "advice")


def write(found: Mapping[str, Any], out: TextIO) -> None:
    """Empty: null. A cell never holds a line end, so that a row is a line."""
    run = (found["run"]["run_id"], found["run"]["environment"])
    out.write("\N{BYTE ORDER MARK}")
    rows = csv.writer(out, lineterminator="\r\n")
    rows.writerow(COLUMNS)
    for target in found["targets"]:
        own = {**target, "drift": "; ".join(map(view.difference, target["drift"]))}
        error = target["error"] or {}
        values = [*(own[name] for name in _FIELDS), error.get("code"), error.get("message"), view.advice(target)]
        rows.writerow([cell(value) for value in (*run, *values)])
