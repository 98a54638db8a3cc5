"""JSON Schema (2020-12) of report, plan and status, generated from the model: the reference of every field.

Later versions may add fields, so further ones are allowed everywhere; those named here keep their meaning.
"""

from __future__ import annotations

from typing import Any, Final

from pydantic import TypeAdapter

from bulk_import.model.run import ReportDocument
from bulk_import.run.inspected import StatusDocument
from bulk_import.run.planned import PlanDocument

Schema = dict[str, Any]

_DRAFT: Final = "https://json-schema.org/draft/2020-12/schema"
_SOMETIMES: Final = ("runs", "failed_in")  # fields that some reports do not have


def report_schema() -> Schema:
    """What `run` and `report` write."""
    return _schema("report", ReportDocument)


def plan_schema() -> Schema:
    """What `plan --format json` and `run --dry-run --format json` print, and what `plan --out` saves."""
    return _schema("plan", PlanDocument)


def status_schema() -> Schema:
    """What `status --format json` prints."""
    return _schema("status", StatusDocument)


def _schema(name: str, document: type) -> Schema:
    made = TypeAdapter(document).json_schema(mode="serialization")
    return {"$schema": _DRAFT, "title": f"bulk-import {name}, version 1", **_plain(made, made.get("$defs", {}))}


def _plain(part: Any, definitions: Schema) -> Any:
    """In one piece: references filled in, no titles or defaults, and null as one more type instead of a union."""
    if isinstance(part, list):
        return [_plain(item, definitions) for item in part]
    if not isinstance(part, dict):
        return part
    if "$ref" in part:
        found = definitions[part["$ref"].rpartition("/")[2]]
        part = {**found, **{name: value for name, value in part.items() if name != "$ref"}}
    made = {
        name: {field: _plain(value, definitions) for field, value in content.items()}
        if name == "properties"
        else _plain(content, definitions)
        for name, content in part.items()
        if name not in ("title", "default", "$defs")
    }
    if "properties" in made:
        made["required"] = [name for name in made["properties"] if name not in _SOMETIMES]
    return _nullable(made)


def _nullable(part: Schema) -> Schema:
    """`anyOf` a type and null as one: the description stays where a reader looks for it."""
    one, *others = part.get("anyOf", [None])
    if others != [{"type": "null"}]:
        return part
    rest = {name: value for name, value in part.items() if name != "anyOf"}
    made = {**one, **rest, "type": [one["type"], "null"]}
    if "enum" in one:
        made["enum"] = [*one["enum"], None]
    return made
