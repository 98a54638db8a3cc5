"""CSV (RFC 4180): a row per target in manifest order, for people with a spreadsheet. Programs read the JSON report.

It begins with a byte order mark: without one, Excel reads UTF-8 as the machine's code page.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping
from typing import Any, TextIO

from bulk_import.report.formats import view

COLUMNS = (
    "run_id", "environment", "id", "account", "region", "status", "changed", "key_id", "key_arn", "key_spec",
    "key_state", "expiration_model", "valid_to", "key_material_id", "wrapping_algorithm", "wrapping_key_spec",
    "verified", "reads", "consecutive", "proof", "round_trip", "verification_detail", "attempts", "started_at",
    "finished_at", "duration_seconds", "error_code", "error_operation", "error_message", "retryable", "advice",
    "request_ids",
)  # fmt: skip
_VERIFICATION = {"verified": "verified", "reads": "reads", "consecutive": "consecutive", "proof": "proof",
                 "round_trip": "round_trip", "verification_detail": "detail"}  # fmt: skip
_ERROR = {"error_code": "code", "error_operation": "operation", "error_message": "message",
          "retryable": "retryable", "advice": "advice"}  # fmt: skip

# A cell that begins so is a formula to a spreadsheet, the full-width forms too in some locales; the apostrophe makes
# it text. https://owasp.org/www-community/attacks/CSV_Injection
_FORMULA = re.compile(r"\s*[=+\-@\uff1d\uff0b\uff0d\uff20]")


def write(report: Mapping[str, Any], out: TextIO) -> None:
    """Empty: null. A cell never holds a line end, so that a row is a line."""
    run = {"run_id": report["run"]["run_id"], "environment": report["run"]["environment"]}
    out.write("\N{BYTE ORDER MARK}")
    rows = csv.writer(out, lineterminator="\r\n")
    rows.writerow(COLUMNS)
    for result in report["results"]:
        values = {**result, **run, "duration_seconds": view.seconds(result), "request_ids": view.request_ids(result)}
        for columns, part in ((_VERIFICATION, result["verification"]), (_ERROR, result["error"])):
            values |= {column: (part or {}).get(name) for column, name in columns.items()}
        rows.writerow([_cell(values[column]) for column in COLUMNS])


def _cell(value: object) -> str | int | float:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return value
    text = " ".join(str(value).splitlines())
    return f"'{text}" if _FORMULA.match(text) else text
