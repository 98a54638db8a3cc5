"""IAM's judgement, as far as the printed policies need it, written from IAM's guide and knowing nothing of the product.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_condition.html
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_multi-key-or-value-conditions.html
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

Context = dict[str, Any]  # condition key → its value, or a list for a multivalued key


@dataclass(frozen=True)
class Request:
    action: str
    resource: str
    context: Context = field(default_factory=dict)
    principal: str = ""


def allowed(policies: Iterable[dict[str, Any]], request: Request) -> bool:
    """Whether some statement allows it; there are no Deny statements here, and one is an error."""
    return any(_allows(statement, request) for policy in policies for statement in policy["Statement"])


def _allows(statement: dict[str, Any], request: Request) -> bool:
    known = {"Sid", "Effect", "Principal", "Action", "Resource", "Condition"}
    assert statement.keys() <= known, statement
    assert statement["Effect"] == "Allow"
    if "Principal" in statement and request.principal not in _list(statement["Principal"]["AWS"]):
        return False
    return (
        any(_like(pattern.lower(), request.action.lower()) for pattern in _list(statement["Action"]))
        and ("Resource" not in statement or any(_like(p, request.resource) for p in _list(statement["Resource"])))
        and all(
            _holds(operator, _list(values), request.context.get(key))
            for operator, block in statement.get("Condition", {}).items()
            for key, values in block.items()
        )
    )


def _holds(operator: str, wanted: list[str], found: Any) -> bool:
    """A condition key that the request does not carry holds for two of the operators that are used here.

    https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-single-vs-multi-valued-context-keys.html
    """
    if operator == "ForAllValues:StringEquals":
        return set(found or ()) <= set(wanted)
    if operator == "BoolIfExists":
        return found is None or str(found).lower() in wanted
    if found is None:
        return False
    if operator == "ForAnyValue:StringEquals":
        assert isinstance(found, list)
        return any(value in wanted for value in found)
    assert not isinstance(found, list), "a multivalued key needs a set operator"
    if operator == "StringEquals":
        return found in wanted
    if operator == "NumericLessThanEquals":
        return any(float(found) <= float(limit) for limit in wanted)
    raise AssertionError(f"unknown operator {operator}")


def _like(pattern: str, text: str) -> bool:
    """`*` and `?` as IAM has them; `[` is an ordinary character."""
    parts = {"*": ".*", "?": "."}
    return re.fullmatch("".join(parts.get(c, re.escape(c)) for c in pattern), text, re.DOTALL) is not None


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
