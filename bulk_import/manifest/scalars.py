"""The texts and numbers that several fields of a manifest share, as pydantic sees them."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field
from pydantic_core import PydanticCustomError

from bulk_import.shown import holds_key


def whole(value: Any) -> Any:
    """Text of plain digits → int: pydantic alone would take 3_600 and 3600.0 too."""
    if isinstance(value, str):
        if not re.fullmatch(r"[0-9]{1,9}", value):
            raise PydanticCustomError("whole_number", "must be a whole number")
        return int(value)
    return value


def yes_or_no(value: Any) -> Any:
    """Text `true` or `false` → bool: YAML's other words for them are not taken."""
    if isinstance(value, str):
        if value not in ("true", "false"):
            raise PydanticCustomError("true_or_false", "must be true or false")
        return value == "true"
    return value


def policy(value: Any) -> Any:
    """`file:PATH`, or a mapping."""
    if value is None or isinstance(value, dict) or (isinstance(value, str) and re.match(r"file:[^/\s]", value)):
        return value
    raise PydanticCustomError("policy_form", "must be file:PATH or a mapping")


def no_key(value: str) -> str:
    """A name or a text for people: reports, logs and AWS keep it in clear."""
    if holds_key(value):
        raise PydanticCustomError("holds_key", "looks like key material")
    return value


NO_KEY = AfterValidator(no_key)


def number_too(**extra: Any) -> Any:
    """For the schema: text that, unquoted, an editor takes for a number. It is read as the text it was."""

    def widen(schema: dict[str, Any]) -> None:
        schema["type"] = ["string", "number"]
        schema.update(extra)

    return widen


Account = Annotated[
    str,
    Field(
        pattern=r"^[0-9]{12}$",
        description="AWS account ID, 12 digits. It may be unquoted: it is read as written.",
        examples=["111122223333"],
        json_schema_extra=number_too(minimum=0, maximum=999_999_999_999),
    ),
]
Region = Annotated[str, Field(min_length=1, description="Region code.", examples=["eu-central-1", "us-gov-west-1"])]
Role = Annotated[
    str,
    Field(
        min_length=1,
        max_length=1024,
        description="The role to assume in the account: its name, with a path if it has one, or an ARN template "
        "with the placeholders {partition} and {account}. null: the caller's own credentials. There is no default.",
        examples=["KmsMaterialImporter", "byok/Importer", "arn:{partition}:iam::{account}:role/byok/Importer"],
    ),
    NO_KEY,
]
ExternalId = Annotated[
    str,
    Field(
        pattern=r"^[A-Za-z0-9_+=,.@:/-]{2,1224}$",
        description="External ID for AssumeRole, 2 to 1224 characters.",
        examples=["org-7f3a"],
        json_schema_extra=number_too(),
    ),
]
SessionDuration = Annotated[
    int,
    Field(
        ge=900,
        le=3600,
        description="Seconds that a session of the assumed role lasts; role chaining allows one hour.",
        examples=[3600],
    ),
    BeforeValidator(whole),
]
