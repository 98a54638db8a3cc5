"""KMS's responses as the program's own types."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from bulk_import.errors import ServiceError
from bulk_import.model import KeyView


def key_view(found: Mapping[str, Any]) -> KeyView:
    """KeyMetadata. https://docs.aws.amazon.com/kms/latest/APIReference/API_KeyMetadata.html"""
    family = found.get("MultiRegionConfiguration") or {}
    return KeyView(
        arn=found["Arn"],
        state=found.get("KeyState", ""),
        origin=found.get("Origin", ""),
        manager=found.get("KeyManager", ""),
        key_spec=found.get("KeySpec", ""),
        key_usage=found.get("KeyUsage", ""),
        expiration_model=found.get("ExpirationModel"),
        valid_to=found.get("ValidTo"),
        current_key_material_id=found.get("CurrentKeyMaterialId"),
        description=found.get("Description", ""),
        multi_region=bool(found.get("MultiRegion")),
        primary_region=(family.get("PrimaryKey") or {}).get("Region"),
        replica_regions=tuple(str(key.get("Region", "")) for key in family.get("ReplicaKeys") or ()),
    )


def whole(operation: str, answer: dict[str, Any], *needed: str) -> dict[str, Any]:
    """Raises ServiceError where a member is missing: whether KMS did what it was asked for is then unknown."""
    missing = [name for name in needed if name not in answer]
    if missing:
        raise ServiceError(
            f"The response lacks {missing[0]}.",
            code="MalformedAnswer",
            operation=operation,
            retryable=True,
            outcome_unknown=True,
        )
    return answer


def texts(operation: str, entry: Any, *names: str, outcome_unknown: bool = False) -> None:
    """Raises ServiceError where a member of an entry is there and is no text: nobody could compare it."""
    wrong = (
        next((name for name in names if not isinstance(entry.get(name), str | None)), None)
        if isinstance(entry, Mapping)
        else "entry"
    )
    if wrong is not None:
        raise ServiceError(
            f"The response's {wrong} is not what KMS sends.",
            code="MalformedAnswer",
            operation=operation,
            outcome_unknown=outcome_unknown,
        )


def made_key(operation: str, answer: dict[str, Any], member: str) -> KeyView:
    """The key that an operation created. Raises ServiceError where the response does not say which one."""
    found = whole(operation, answer, member)[member]
    if not found.get("Arn"):
        raise ServiceError(
            "The response names no key.", code="MalformedAnswer", operation=operation, outcome_unknown=True
        )
    return key_view(found)


def account_of_session(answer: Mapping[str, Any]) -> str:
    """The account that AssumeRole led into. Raises ServiceError for an answer without a session that can be used.

    https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html
    """
    keys, user = answer.get("Credentials") or {}, answer.get("AssumedRoleUser") or {}
    parts = str(user.get("Arn", "")).split(":")
    ends = keys.get("Expiration")
    missing = [name for name in ("AccessKeyId", "SecretAccessKey", "SessionToken") if not keys.get(name)]
    if len(parts) < 6 or missing or not isinstance(ends, datetime):
        raise ServiceError(
            "The response has no session that can be used.", code="MalformedAnswer", operation="AssumeRole",
            retryable=True,
        )  # fmt: skip
    return parts[4]


def endless(operation: str) -> ServiceError:
    """A list that does not end: something between here and AWS repeats its pages."""
    return ServiceError("The response's list does not end.", code="MalformedAnswer", operation=operation)
