"""The table on the page of sources, from their registry: `python -m tests.sources.page` writes it."""

from __future__ import annotations

import re
from pathlib import Path

import bulk_import
from bulk_import.material import sources

PAGE = Path(bulk_import.__file__).parent / "material/sources/README.md"
BLOCK = re.compile(r"(<!-- sources -->\n)(.*?)(<!-- /sources -->)", re.DOTALL)


def table() -> str:
    rows = sources.documentation()
    lines = ["", "| " + " | ".join(rows[0]) + " |", "|" + " --- |" * len(rows[0])]
    for row in rows:
        cells = [f"`{row['material']}`", *list(row.values())[1:]]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n\n"


def written(page: str) -> str:
    return BLOCK.sub(lambda block: block[1] + table() + block[3], page)


if __name__ == "__main__":
    PAGE.write_text(written(PAGE.read_text("utf-8")), "utf-8")
