"""`schema manifest|report|plan|status|bundle`: JSON Schema on stdout."""

from __future__ import annotations

from typing import Annotated, Any

import orjson
import typer

from bulk_import import api
from bulk_import.commands import output
from bulk_import.errors import ExitCode, UsageError
from bulk_import.settings import Settings


def _completed(incomplete: str) -> list[str]:
    return [document for document in api.SCHEMAS if document.startswith(incomplete)]


ARGUMENTS: dict[str, Any] = {
    "document": Annotated[
        str,
        typer.Argument(metavar="|".join(api.SCHEMAS), help="Which document's schema.", autocompletion=_completed),
    ]
}
GROUPS = ("common",)


def execute(settings: Settings, document: str) -> ExitCode:
    output.configure(settings)
    if document not in api.SCHEMAS:
        raise UsageError(f"There is no schema of {document}. Use one of {', '.join(api.SCHEMAS)}.")
    output.result(orjson.dumps(api.SCHEMAS[document](), option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))
    return ExitCode.OK
