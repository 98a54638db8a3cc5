"""`schema manifest|report|plan`: JSON Schema on stdout."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

import orjson
import typer

from bulk_import import manifest
from bulk_import.commands import output
from bulk_import.errors import ExitCode
from bulk_import.record import schema
from bulk_import.settings import Settings


class Document(StrEnum):
    MANIFEST = "manifest"
    REPORT = "report"
    PLAN = "plan"


ARGUMENTS: dict[str, Any] = {
    "document": Annotated[Document, typer.Argument(metavar="manifest|report|plan", help="Which document's schema.")]
}
GROUPS = ("common",)


def execute(settings: Settings, document: Document) -> ExitCode:
    output.configure(settings)
    make = {
        Document.MANIFEST: manifest.json_schema,
        Document.REPORT: schema.report_schema,
        Document.PLAN: schema.plan_schema,
    }[document]
    output.result(orjson.dumps(make(), option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))
    return ExitCode.OK
