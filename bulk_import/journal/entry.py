"""An Outcome as the report's `results` entry, and instants as text."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from bulk_import.model import Failure, Outcome, Verification


def instant(moment: datetime) -> str:
    """RFC 3339 in UTC with `Z`, to the microsecond. Raises ValueError for a naive one, which is no instant."""
    return _in_utc(moment).isoformat(timespec="microseconds") + "Z"


def kms_instant(moment: datetime) -> str:
    """The same in whole seconds, which is what KMS keeps."""
    return _in_utc(moment).isoformat(timespec="seconds") + "Z"


def result_entry(outcome: Outcome) -> dict[str, Any]:
    """The entry of one target, in the report's order of fields."""
    return {
        "id": outcome.id,
        "account": outcome.account,
        "region": outcome.region,
        "key_id": outcome.key_id,
        "key_arn": outcome.key_arn,
        "status": outcome.status.value,
        "changed": outcome.changed,
        "key_spec": outcome.key_spec,
        "key_state": outcome.key_state,
        "expiration_model": outcome.expiration_model,
        "valid_to": kms_instant(outcome.valid_to) if outcome.valid_to else None,
        "key_material_id": outcome.key_material_id,
        "wrapping_algorithm": outcome.wrapping_algorithm,
        "wrapping_key_spec": outcome.wrapping_key_spec,
        "verification": _verification(outcome.verification) if outcome.verification else None,
        "attempts": outcome.attempts,
        "request_ids": [
            {"operation": operation, "request_id": request_id} for operation, request_id in outcome.request_ids
        ],
        "started_at": instant(outcome.started_at) if outcome.started_at else None,
        "finished_at": instant(outcome.finished_at) if outcome.finished_at else None,
        "error": _error(outcome.error) if outcome.error else None,
    }


def _verification(verification: Verification) -> dict[str, Any]:
    return {
        "verified": verification.verified,
        "reads": verification.reads,
        "consecutive": verification.consecutive,
        "duration_seconds": round(verification.duration_seconds, 3),
        "proof": verification.proof.value,
        "round_trip": verification.round_trip,
        "detail": verification.detail,
    }


def _error(failure: Failure) -> dict[str, Any]:
    return {
        "code": failure.code,
        "operation": failure.operation,
        "message": failure.message,
        "retryable": failure.retryable,
        "advice": failure.advice,
    }


def _in_utc(moment: datetime) -> datetime:
    if moment.tzinfo is None:
        raise ValueError("an instant needs an offset")
    return moment.astimezone(UTC).replace(tzinfo=None)
