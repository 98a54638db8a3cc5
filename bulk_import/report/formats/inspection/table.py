"""For people at a terminal: what is wrong comes first."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TextIO

from bulk_import.report.formats.inspection import view
from bulk_import.text import harmless


def write(found: Mapping[str, Any], out: TextIO) -> None:
    if found["targets"]:
        rows = [("STATE", "ID", "ACCOUNT", "REGION", "KEY STATE", "EXPIRES", "MATERIAL", "DETAIL")]
        rows += [
            (
                one["state"], one["id"], one["account"], one["region"], one["key_state"] or "-",
                " ".join(filter(None, (view.day(one["valid_to"]), view.left(one)))) if one["key_state"] else "-",
                view.proof(one), harmless(view.why(one)),
            )
            for one in view.urgent_first(found)
        ]  # fmt: skip
        widths = [max(len(row[column]) for row in rows) for column in range(7)]
        for row in rows:
            cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=False)]
            out.write("  ".join([*cells, row[7]]).rstrip() + "\n")
        out.write("\n")
    line = view.headline(found)
    out.write(f"{line[0].upper()}{line[1:]}.\n")
