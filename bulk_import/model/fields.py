"""Field types of the documents (report and plan): each is a Python type together with its JSON Schema.

`about` describes a field. The schemas are generated from these annotations, and reports are checked against them.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated, Any

from pydantic import AfterValidator, Field, WithJsonSchema

_INSTANT = "^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}([.][0-9]+)?Z$"
_LONGEST = 1e12  # seconds; also of rates: sums of them stay finite
_LARGEST = 2**53 - 1  # the largest integer that every JSON reader keeps exact


def about(description: str, **constraints: Any) -> Any:
    """The description of a field, for the schema; `constraints` are pydantic's."""
    return Field(description=description, **constraints)


def _readable(text: str) -> str:
    datetime.fromisoformat(text)
    return text


def _in_utc(moment: datetime) -> datetime:
    if moment.utcoffset() != timedelta(0):
        raise ValueError("an instant ends in Z")
    return moment


def _part_of_n(shard: str) -> str:
    number, _, of = shard.partition("/")
    if not 1 <= int(number) <= int(of):
        raise ValueError("I/N needs 1 <= I <= N")
    return f"{int(number)}/{int(of)}"


# RFC 3339 in UTC with `Z`: as text where it is passed on, as a datetime where it is calculated with.
Instant = Annotated[
    str, Field(pattern=_INSTANT), AfterValidator(_readable), WithJsonSchema({"type": "string", "format": "date-time",
                                                                            "pattern": _INSTANT})
]  # fmt: skip
Moment = Annotated[
    datetime, AfterValidator(_in_utc), WithJsonSchema({"type": "string", "format": "date-time", "pattern": _INSTANT})
]
AccountId = Annotated[str, Field(pattern="^[0-9]{12}$")]
TargetId = Annotated[str, Field(pattern="^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$")]
Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
# Compared in constant time, which Python does for ASCII only.
MaterialCheck = Annotated[str, Field(pattern="^[0-9a-f]{16}$")]
CheckText = Annotated[str, Field(pattern="^[0-9a-f]{16,64}$")]
Count = Annotated[int, Field(ge=0, le=_LARGEST)]
Seconds = Annotated[float, Field(ge=0, le=_LONGEST)]
Rate = Annotated[float, Field(gt=0, le=_LONGEST)]  # requests per second
ShardText = Annotated[str, Field(pattern="^[0-9]{1,4}/[0-9]{1,4}$"), AfterValidator(_part_of_n)]

# Descriptions that several documents share.
ACCOUNT = about("AWS account ID.")
REGION = about("AWS Region.")
