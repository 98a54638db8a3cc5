"""CSV (RFC 4180): a row per target in manifest order, for people with a spreadsheet. Programs read the JSON report.

It begins with a byte order mark: without one, Excel reads UTF-8 as the machine's code page.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final, TextIO

from bulk_import.model.result import FIELDS, PARTS
from bulk_import.report.formats import view

# Where a field of an object in the result has another name as a column. None: no column.
_NAMES: Final[dict[tuple[str, str], str | None]] = {
    ("verification", "duration_seconds"): None,  # the target's stands for it
    ("verification", "detail"): "verification_detail",
    ("error", "code"): "error_code",
    ("error", "operation"): "error_operation",
    ("error", "message"): "error_message",
}
_FIRST: Final = ("index", "id", "account", "region", "status", "changed")
_LAST: Final = ("request_ids",)


def _columns() -> Iterator[tuple[str, str | None, str]]:
    """Every field of the model: its column, the object that it is in (None: the result itself), its name there."""
    for name in (*_FIRST, *(field for field in FIELDS if field not in (*_FIRST, *_LAST))):
        for field in PARTS.get(name, ()):
            column = _NAMES.get((name, field), field)
            if column is not None:
                yield column, name, field
        if name not in PARTS:
            yield name, None, name
        if name == "finished_at":
            yield "duration_seconds", None, "duration_seconds"
    yield from ((name, None, name) for name in _LAST)


_FIELDS: Final = tuple(_columns())
COLUMNS: Final = ("run_id", "environment", *(column for column, _, _ in _FIELDS))

# A cell that begins so is a formula to a spreadsheet, the full-width forms too in some locales; the apostrophe makes
# it text. https://owasp.org/www-community/attacks/CSV_Injection
# Where a list separator is ; (most of Europe), the spreadsheet begins a new cell at each of them, and at each tab.
_FORMULA = re.compile(r"(^|[;\t|])(?=[\s\"']*[=+\-@\uff1d\uff0b\uff0d\uff20])")


def write(report: Mapping[str, Any], out: TextIO) -> None:
    """Empty: null. A cell never holds a line end, so that a row is a line."""
    run = (report["run"]["run_id"], report["run"]["environment"])
    out.write("\N{BYTE ORDER MARK}")
    rows = csv.writer(out, lineterminator="\r\n")
    rows.writerow(COLUMNS)
    for result in report["results"]:
        own = {
            **result,
            "duration_seconds": view.seconds(result),
            "request_ids": view.request_ids(result),
            "materials": view.materials(result),
        }
        values = ((own if part is None else own[part] or {}).get(name) for _, part, name in _FIELDS)
        rows.writerow([cell(value) for value in (*run, *values)])


def cell(value: object) -> str | int | float:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return value
    text = " ".join((", ".join(map(str, value)) if isinstance(value, list) else str(value)).splitlines())
    return _FORMULA.sub(r"\1'", text)
