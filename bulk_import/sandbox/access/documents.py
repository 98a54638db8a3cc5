"""Policy documents: which statements speak about a request.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements.html
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from bulk_import.sandbox.access.conditions import Context, as_list, holds, known, like
from bulk_import.sandbox.identity import Principal

Document = dict[str, Any]
ELEMENTS = frozenset(
    ["Sid", "Effect", "Principal", "NotPrincipal", "Action", "NotAction", "Resource", "NotResource", "Condition"]
)


@dataclass(frozen=True, slots=True)
class Asked:
    """One thing that a call needs: an action on a resource."""

    action: str
    resource: str
    context: Context = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Voice:
    """What a set of documents says to a request. `direct`: allowed by naming the principal itself."""

    denied: bool
    allowed: bool
    direct: bool = False


def parse(text: str) -> Document:
    """A document as dict. Raises ValueError that says what is wrong."""
    document = json.loads(text)
    faults(document)
    return dict(document)


def faults(document: Any) -> None:
    """Raises ValueError where `document` is none that this evaluator understands."""
    if not isinstance(document, dict) or not isinstance(document.get("Statement"), list | dict):
        raise ValueError("a policy is an object with a Statement")  # noqa: TRY004 - a text's fault, not a type's
    for statement in as_list(document["Statement"]):
        if not isinstance(statement, dict) or statement.get("Effect") not in ("Allow", "Deny"):
            raise ValueError("a statement is an object with an Effect of Allow or Deny")
        unknown = set(statement) - ELEMENTS
        if unknown:
            raise ValueError(f"unknown element {sorted(unknown)[0]}")
        for operator in statement.get("Condition", {}):
            if not known(operator):
                raise ValueError(f"unknown condition operator {operator}")


def listen(documents: Iterable[Document], asked: Asked, by: Principal | None = None) -> Voice:
    """What `documents` say. `by`: they are attached to a resource, and name principals."""
    denied = allowed = direct = False
    for document in documents:
        for statement in as_list(document["Statement"]):
            kind = _names(statement, by) if by is not None else "direct"
            if kind is None or not _speaks(statement, asked):
                continue
            if statement["Effect"] == "Deny":
                denied = True
            else:
                allowed, direct = True, direct or kind == "direct"
    return Voice(denied, allowed, direct)


def _speaks(statement: Document, asked: Asked) -> bool:
    return (
        _either(statement, "Action", asked.action.lower(), lower=True)
        and _either(statement, "Resource", asked.resource, lower=False)
        and holds(statement.get("Condition", {}), asked.context)
    )


def _either(statement: Document, name: str, value: str, *, lower: bool) -> bool:
    """Element and its Not form; a trust policy has no Resource, and means its role."""
    negative = f"Not{name}" in statement
    if not negative and name not in statement:
        return True
    patterns = as_list(statement[f"Not{name}" if negative else name])
    found = any(like(pattern.lower() if lower else pattern, value) for pattern in patterns)
    return found is not negative


def _names(statement: Document, by: Principal) -> str | None:
    """How a statement names the principal: directly, by its account, or not at all (None)."""
    if "NotPrincipal" in statement:
        return None if _match(statement["NotPrincipal"], by) else "direct"
    return _match(statement.get("Principal", {}), by)


def _match(principals: Any, by: Principal) -> str | None:
    if principals == "*":
        return "direct"
    if by.federated:
        return "direct" if by.federated in as_list(principals.get("Federated", [])) else None
    names = as_list(principals.get("AWS", []))
    if {"*", by.arn, *by.role_arns} & set(names):
        return "direct"
    partition = by.arn.split(":")[1]
    return "account" if {by.account, f"arn:{partition}:iam::{by.account}:root"} & set(names) else None
