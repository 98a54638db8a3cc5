"""Renderings of what `status` found: one file each, all of them in FORMATS. They are made from its JSON alone."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from typing import Any, TextIO

from bulk_import.errors import UsageError
from bulk_import.report.formats.inspection import csv, github, html, json, junit, markdown, table

FORMATS: dict[str, Callable[[Mapping[str, Any], TextIO], None]] = {
    "table": table.write,
    "json": json.write,
    "html": html.write,
    "junit": junit.write,
    "markdown": markdown.write,
    "github": github.write,
    "csv": csv.write,
}


def render(name: str, found: Mapping[str, Any]) -> str:
    """The document as text. Raises UsageError for an unknown name."""
    if name not in FORMATS:
        raise UsageError(f"No format is called {name!r}.", advice=f"Use one of: {', '.join(FORMATS)}.")
    text = io.StringIO()
    FORMATS[name](found, text)
    return text.getvalue()
