"""The JSON Schema of each document that the program reads or writes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from bulk_import import manifest
from bulk_import.ceremony import bundle
from bulk_import.material import sources
from bulk_import.report import schema

# Document → what makes its schema (JSON Schema 2020-12).
SCHEMAS: Final[dict[str, Callable[[], dict[str, Any]]]] = {
    "manifest": lambda: manifest.json_schema(sources.lines()),
    "report": schema.report_schema,
    "plan": schema.plan_schema,
    "status": schema.status_schema,
    "bundle": bundle.json_schema,
}
