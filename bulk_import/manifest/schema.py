"""The JSON Schema of a manifest, for editors and for `bulk-import schema manifest`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import Field, TypeAdapter, with_config

from bulk_import.manifest.models import STRICT, Head, KeyFields


@with_config(STRICT)
class Document(Head):
    """A manifest of bulk-import: which key material belongs into which KMS keys."""

    keys: Annotated[
        list[KeyFields],
        Field(
            min_length=1,
            description="The keys, in the order of the report.",
            examples=[
                [
                    {
                        "id": "payments",
                        "account": "111122223333",
                        "region": "eu-central-1",
                        "key_id": "alias/payments",
                        "material": "file:payments.key",
                    }
                ]
            ],
        ),
    ]


def json_schema(sources: Sequence[str] = ()) -> dict[str, Any]:
    """JSON Schema (2020-12) of a manifest in YAML or JSON, with descriptions and examples for editors.

    `sources`: one line per source of key material, for the description of `material`.
    """
    schema = TypeAdapter(Document).json_schema(mode="validation")
    for model in (schema, *schema["$defs"].values()):
        for field in model.get("properties", {}).values():
            _lift(field)
        if "material" in model.get("properties", {}):
            model["properties"]["material"]["description"] += " ".join(["", *sources])
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **schema,
        "title": "bulk-import manifest, version 1",
    }


def _lift(field: dict[str, Any]) -> None:
    """Moves what an editor shows from inside `X or null` to the field itself."""
    for option in field.get("anyOf", ()):
        for name in ("description", "examples"):
            if name in option:
                field.setdefault(name, option.pop(name))
    field.pop("title", None)
