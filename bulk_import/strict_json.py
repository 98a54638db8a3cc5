"""JSON from outside in which no name occurs twice in one object.

Readers do not agree which of two values counts (RFC 8259, section 4): a person's tool could show another report than
this program judges.
"""

from __future__ import annotations

import json
from typing import Any

import orjson


def loads(data: bytes) -> Any:
    """The value. Raises orjson.JSONDecodeError."""
    value = orjson.loads(data)
    try:
        if orjson.dumps(value) == data.rstrip(b"\n"):
            return value  # as this program writes it: a second value would be missing
        json.loads(data, object_pairs_hook=_once)
    except (TypeError, RecursionError):
        raise orjson.JSONDecodeError("it is nested too deep", "", 0) from None
    return value


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise orjson.JSONDecodeError("a name occurs twice in one object", "", 0)
    return found
