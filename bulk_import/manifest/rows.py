"""JSON Lines and CSV: a key per line. Both are streamed; one line is in memory at a time."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from typing import Any

import orjson

from bulk_import.manifest.blemish import blemish
from bulk_import.manifest.json_nodes import compose, not_json
from bulk_import.manifest.meant import meant
from bulk_import.manifest.models import FIELDS_OF_ROWS
from bulk_import.manifest.problems import Findings, fail, joined, nearest, quotable
from bulk_import.manifest.read import Source

Row = tuple[int, dict[str, Any]]  # the line that it begins on, and its fields as text

_LISTS = frozenset(("accounts", "regions", "replicas"))
_NESTED = ("expect.kcv", "expect.spki_sha256", "create.description", "create.multi_region",
           "create.policy")  # fmt: skip
_COLUMNS = (*(name for name in FIELDS_OF_ROWS if name not in ("expect", "create", "materials")), *_NESTED)
_TAGS = "create.tags."  # and the tag's name


def read_jsonl(source: Source, findings: Findings) -> Iterator[Row]:
    """The objects of a JSON Lines file; blank lines are skipped. Raises ManifestError at the first that is not JSON."""
    loads = orjson.loads
    for line, raw in enumerate(source.lines(), 1):
        if raw.isspace():
            continue
        try:
            row = loads(raw)
        except orjson.JSONDecodeError as error:
            raise _bad_line(source.file, line, raw, error) from None
        if type(row) is not dict:
            findings.add(line, "", "is not a JSON object", "Write one key per line: {…}.")
            continue
        # A key stated twice leaves more quotes in the line than the parsed row accounts for.
        if _quotes(row) != raw.count(b'"') or b"\\" in raw:
            row = compose(raw.decode(), findings, line)
        yield line, row


def _quotes(row: dict[str, Any]) -> int:
    """How many quotes the JSON of `row` has, its integers made text on the way; -1 if only `compose` can find out."""
    quotes = 2 * len(row)
    for name, value in row.items():
        kind = type(value)
        if kind is str:
            quotes += 2
        elif kind is list and all(type(item) is str for item in value):
            quotes += 2 * len(value)
        elif kind is int:
            row[name] = str(value)
        elif value is not None:
            return -1
    return quotes


def _bad_line(file: str, line: int, raw: bytes, error: orjson.JSONDecodeError) -> Exception:
    try:
        raw.decode()
    except UnicodeDecodeError:
        return fail(file, line, "is not UTF-8", "Save it as UTF-8.")
    return not_json(file, line, error)


def read_csv(source: Source, findings: Findings) -> Iterator[Row]:
    """The rows below the header, cells as text. An empty cell is absent, `null` is null, lists split at `;`.

    Raises ManifestError where the header or the quoting leaves nothing to read.
    """
    reader = csv.reader(source.decoded_lines(), strict=True)
    try:
        header = next((row for row in reader if any(row)), [])
        names = _header(header, reader.line_num, source.file)
        start = reader.line_num + 1
        for cells in reader:
            line, start = start, reader.line_num + 1
            if len(cells) == len(names):
                if row := _row(names, cells):
                    yield line, row
            elif any(cells):
                message = f"has {len(cells)} cells, but the header has {len(names)} columns"
                findings.add(line, "", message, "Check commas and quotes; a cell with a comma needs quotes around it.")
    except csv.Error as error:
        reason = str(error)
        if "unexpected end" in reason:
            message, advice = "ends inside a quoted cell", "A quote is not closed, or the file is cut off."
        elif "new-line" in reason:
            message, advice = "has lines that end in CR alone", "Save it with LF or CRLF line ends."
        elif "field larger" in reason:
            most = csv.field_size_limit()
            message, advice = f"has a cell of more than {most} characters", "Shorten it, or close its quote."
        else:
            message, advice = f"is not CSV: {reason}", "Double a quote inside a quoted cell."
        raise fail(source.file, reader.line_num, message, advice) from None


def _row(names: Sequence[str], cells: Sequence[str]) -> dict[str, Any]:
    row: dict[str, Any] = {}
    for name, cell in zip(names, cells, strict=True):
        if not cell:
            continue
        if name.startswith(_TAGS):
            row.setdefault("create", {}).setdefault("tags", {})[name.removeprefix(_TAGS)] = cell
        elif name in _NESTED:
            field, _, part = name.partition(".")
            row.setdefault(field, {})[part] = cell
        elif cell == "null":
            row[name] = None
        elif name in _LISTS:
            row[name] = [item for part in cell.split(";") if (item := part.strip())]
        else:
            row[name] = cell
    return row


def _header(cells: Sequence[str], line: int, file: str) -> list[str]:
    """The columns' names. Raises ManifestError with every mistake of the header."""
    findings = Findings(file)
    names = [cell.strip() for cell in cells]
    if names and names[0].lower().startswith("sep="):
        raise fail(file, line, "begins with a sep= line, which only Excel understands", "Remove that line.")
    if len(names) == 1 and any(mark in names[0] for mark in ";\t|"):
        raise fail(file, line, "its columns are not separated by commas", "Export it as comma-separated CSV.")
    for column, name in enumerate(names, 1):
        if name in names[: column - 1]:
            findings.add(line, name, f"column {column} repeats a column", "Keep one of them.")
        elif not name:
            findings.add(line, "", f"column {column} has no name", "Name it, or remove the column.")
        elif name not in _COLUMNS and not (name.startswith(_TAGS) and name != _TAGS):
            spoilt, wanted = blemish(name), meant("", name)
            advice = f"Did you mean {wanted}?" if wanted in _COLUMNS else nearest(name, _COLUMNS)
            message = f"column {column} is unknown" if spoilt is None else f"the name of column {column} {spoilt[0]}"
            advice = spoilt[1] if spoilt else advice or f"Known: {joined(_COLUMNS)}."
            findings.add(line, quotable(name), message, advice)
    needed = (
        ("id",),
        ("key_id",),
        ("material", "encrypted_key_material"),
        ("account", "accounts"),
        ("region", "regions"),
    )
    for alternatives in needed if not findings.problems else ():
        if not set(alternatives) & set(names):
            findings.add(line, alternatives[0], "has no column", "The first line must name the columns.")
    findings.raise_if_any()
    return names
