"""`schema manifest|report|plan`: JSON Schema on stdout."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import orjson
import typer

from bulk_import import manifest
from bulk_import.ceremony import bundle
from bulk_import.commands import output
from bulk_import.errors import ExitCode, UsageError
from bulk_import.material import sources
from bulk_import.report import schema
from bulk_import.settings import Settings

DOCUMENTS: dict[str, Callable[[], dict[str, Any]]] = {
    "manifest": lambda: manifest.json_schema(sources.lines()),
    "report": schema.report_schema,
    "plan": schema.plan_schema,
    "bundle": bundle.json_schema,
}


def _completed(incomplete: str) -> list[str]:
    return [document for document in DOCUMENTS if document.startswith(incomplete)]


ARGUMENTS: dict[str, Any] = {
    "document": Annotated[
        str,
        typer.Argument(metavar="|".join(DOCUMENTS), help="Which document's schema.", autocompletion=_completed),
    ]
}
GROUPS = ("common",)


def execute(settings: Settings, document: str) -> ExitCode:
    output.configure(settings)
    if document not in DOCUMENTS:
        raise UsageError(f"There is no schema of {document}. Use one of {', '.join(DOCUMENTS)}.")
    output.result(orjson.dumps(DOCUMENTS[document](), option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))
    return ExitCode.OK
