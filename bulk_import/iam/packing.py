"""IAM's limits, and how statements are spread over policies that keep to them.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html: white space does not count.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

MANAGED_POLICY = 6144  # characters
MANAGED_POLICIES = 10  # attached to one role, by default
TRUST_POLICY = 2048  # characters, by default
VERSION = "2012-10-17"
_AT_ONCE = 10  # resources or aliases of one piece of a statement: the longest alias has 256 characters

Statement = dict[str, Any]
Document = dict[str, Any]


def size(document: Document) -> int:
    """Characters as IAM counts them."""
    return len(json.dumps(document, separators=(",", ":")))


def policy(statements: Iterable[Statement]) -> Document:
    """A policy document; statements of one name get a number each, as a Sid is unique in its policy."""
    seen: Counter[str] = Counter()
    numbered = []
    for statement in statements:
        sid = statement["Sid"]
        seen[sid] += 1
        numbered.append(statement | {"Sid": sid if seen[sid] == 1 else f"{sid}{seen[sid]}"})
    return {"Version": VERSION, "Statement": numbered}


def pack(statements: list[Statement], *, most: int = MANAGED_POLICIES) -> list[Document] | None:
    """One managed policy, or as many as it takes up to `most`; None where even those do not hold all."""
    whole = policy(statements)
    if size(whole) <= MANAGED_POLICY:
        return [whole]
    documents: list[list[Statement]] = [[]]
    for piece in (piece for statement in statements for piece in _pieces(statement)):
        if size(policy([*documents[-1], piece])) > MANAGED_POLICY:
            documents.append([])
        documents[-1].append(piece)
        if len(documents) > most or size(policy(documents[-1])) > MANAGED_POLICY:
            return None
    return [policy(document) for document in documents]


def _pieces(statement: Statement) -> Iterator[Statement]:
    """The same grant in smaller statements: fewer resources each, or fewer aliases."""
    aliases = statement.get("Condition", {}).get("ForAnyValue:StringEquals", {}).get("kms:ResourceAliases", [])
    if aliases:
        for start in range(0, len(aliases), _AT_ONCE):
            some = {"ForAnyValue:StringEquals": {"kms:ResourceAliases": aliases[start : start + _AT_ONCE]}}
            yield statement | {"Condition": statement["Condition"] | some}
        return
    resources = statement["Resource"]
    for start in range(0, len(resources), _AT_ONCE):
        yield statement | {"Resource": resources[start : start + _AT_ONCE]}
