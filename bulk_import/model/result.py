"""One target's result: the single definition of its fields.

The journal's `ended` event and the report's `results` entry are this dataclass as JSON, in this order. The JSON Schema,
the reader of reports, the CSV columns and the page's fields are made from it too. To add a field: add it here, with a
default (older reports lack it), and add its row to the report's documentation.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Annotated, Any, Final

from bulk_import.model.fields import ACCOUNT, REGION, AccountId, Count, MaterialCheck, Moment, Seconds, TargetId, about
from bulk_import.model.kms import KeySpec, KeyState, WrappingAlgorithm, WrappingKeySpec


class Status(StrEnum):
    """How a target ended."""

    IMPORTED = "imported"
    REIMPORTED = "reimported"
    UNCHANGED = "unchanged"
    CORRECTED = "corrected"
    DELETED = "deleted"
    FAILED = "failed"
    NOT_ATTEMPTED = "not_attempted"

    @property
    def well(self) -> bool:
        return self not in (Status.FAILED, Status.NOT_ATTEMPTED)

    @property
    def meaning(self) -> str:
        return _MEANINGS[self]


_MEANINGS: Final = {
    Status.IMPORTED: "The key was PendingImport, and now is as wanted.",
    Status.REIMPORTED: "The key was in any other state, and now is as wanted.",
    Status.UNCHANGED: "The key was as wanted; no import call was made.",
    Status.CORRECTED: "Its material was as wanted; alias, policy, tags or description were set.",
    Status.DELETED: "Its imported material was deleted (command `delete`).",
    Status.FAILED: "`error` says why.",
    Status.NOT_ATTEMPTED: "Nothing was sent for it that changes a key; `error` says why.",
}


NO_MATERIAL: Final = "no_material"  # a verification's detail: the key is to hold none, so there is nothing to prove


class Proof(StrEnum):
    """How it was shown that KMS holds the very bytes of the source."""

    HMAC = "hmac"
    PUBLIC_KEY = "public_key"
    MATERIAL_ID = "material_id"
    NONE = "none"


class Change(StrEnum):
    """One change that took effect."""

    CREATED = "created"
    ALIAS = "alias"
    IMPORTED = "imported"
    REPLICATED = "replicated"
    POLICY = "policy"
    TAGS = "tags"
    DESCRIPTION = "description"
    ROTATED = "rotated"
    DELETED = "deleted"

    @classmethod
    def made_by(cls, operations: Iterable[str]) -> tuple[Change, ...]:
        """What these KMS operations, in this order, changed."""
        return tuple(_MADE_BY[operation] for operation in operations if operation in _MADE_BY)


_MADE_BY: Final = {
    "CreateKey": Change.CREATED,
    "CreateAlias": Change.ALIAS,
    "ReplicateKey": Change.REPLICATED,
    "ImportKeyMaterial": Change.IMPORTED,
    "PutKeyPolicy": Change.POLICY,
    "TagResource": Change.TAGS,
    "UpdateKeyDescription": Change.DESCRIPTION,
    "RotateKeyOnDemand": Change.ROTATED,
    "DeleteImportedKeyMaterial": Change.DELETED,
}


@dataclass(frozen=True, slots=True)
class Verification:
    """What was seen after an import, or of a key found as wanted."""

    verified: Annotated[bool, about("State, expiration model and ValidTo were as wanted.")]
    reads: Annotated[Count, about("DescribeKey responses that were read.")]
    consecutive: Annotated[Count, about("How many of the last ones in a row were as wanted.")]
    duration_seconds: Annotated[Seconds, about("Time spent on it.")]
    proof: Annotated[
        Proof, about("What showed that KMS holds exactly the bytes of the source. none: `detail` says why.")
    ]
    round_trip: Annotated[bool | None, about("Encrypt and Decrypt worked. null: not requested.")]
    detail: Annotated[str, about("A remark, such as material_not_compared. Often empty.")] = ""


def unproved(status: Status, verification: Mapping[str, Any] | None) -> bool:
    """Whether a target that is OK lacks a proof. `verification`: a Verification as a report has it."""
    if not status.well or (verification is not None and verification["detail"] == NO_MATERIAL):
        return False
    return verification is None or verification["proof"] == Proof.NONE.value


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a target is not OK: a TargetError as the report shows it."""

    code: Annotated[str, about("AWS's error code, or one of bulk-import's.")]
    operation: Annotated[str | None, about("The KMS or STS operation. null: none was called.")]
    message: Annotated[str, about("What happened, to which key.")]
    retryable: Annotated[bool, about("Whether the same run may succeed later without any change.")]
    advice: Annotated[str, about("What to do.")]


@dataclass(frozen=True, slots=True)
class Request:
    """One request that was answered."""

    operation: Annotated[str, about("KMS's name of the operation.")]
    request_id: Annotated[str, about("AWS's ID.")]


@dataclass(frozen=True, slots=True)
class HeldMaterial:
    """One of several key materials of a key, as ListKeyRotations showed it last."""

    name: Annotated[str, about("The manifest's; KMS's KeyMaterialDescription.")]
    key_material_id: Annotated[
        str | None, about("KMS's name of the material. null: KMS does not have it, or not known.")
    ]
    state: Annotated[
        str | None,
        about("CURRENT, NON_CURRENT, PENDING_ROTATION or PENDING_MULTI_REGION_IMPORT_AND_ROTATION. null: not known."),
    ]
    import_state: Annotated[str | None, about("IMPORTED, or PENDING_IMPORT: expired or deleted. null: not known.")]
    expiration_model: Annotated[str | None, about("As for the key.")]
    valid_to: Annotated[Moment | None, about("When this material expires. null: never, or not known.")]
    material_check: Annotated[MaterialCheck | None, about("As for the key, of this material. null: not computed.")]
    proof: Annotated[Proof, about("material_id, or none.")]


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedTarget:
    """How every document names a target."""

    index: Annotated[Count, about("Position among the targets that were selected before sharding, from 0.")]
    id: Annotated[TargetId, about("The manifest's.")]
    account: Annotated[AccountId, ACCOUNT]
    region: Annotated[str, REGION]
    key_id: Annotated[str, about("As the manifest names the key: ID, ARN or alias.")]
    key_arn: Annotated[str | None, about("The KMS key itself. null: not known.")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome(NamedTarget):
    """One target: a KMS key that must hold one key material."""

    status: Annotated[Status, about(" ".join(f"{status}: {status.meaning}" for status in Status))]
    changed: Annotated[bool | None, about("Whether a change took effect. null: it is not known.")]
    changes: Annotated[
        tuple[Change, ...],
        about(
            "What took effect, in order. created: the key; alias: its alias; imported: its material; rotated: a newer "
            "material became the current one; policy, tags, description: those that `create` states; deleted: its "
            "material."
        ),
    ] = ()
    # No enums: a key spec or state that KMS gets later is reported as it is.
    key_spec: Annotated[str | None, about(f"{', '.join(KeySpec)} can be imported into.")]
    key_state: Annotated[str | None, about(f"As KMS showed it last: {', '.join(KeyState)}. null: not known.")]
    expiration_model: Annotated[
        str | None,
        about("KEY_MATERIAL_EXPIRES or KEY_MATERIAL_DOES_NOT_EXPIRE, as KMS showed it last. null: not known."),
    ]
    valid_to: Annotated[
        Moment | None, about("When the material expires, as KMS showed it last. null: never, or not known.")
    ]
    key_material_id: Annotated[str | None, about("KMS's name of the material (symmetric keys only).")]
    materials: Annotated[
        tuple[HeldMaterial, ...],
        about("Of a target with `materials`: all of them, oldest first. Empty: the manifest lists one material."),
    ] = ()
    wrapping_algorithm: Annotated[WrappingAlgorithm | None, about("The algorithm that sealed the material.")]
    wrapping_key_spec: Annotated[WrappingKeySpec | None, about("The spec of KMS's wrapping key.")]
    material_check: Annotated[
        MaterialCheck | None,
        about("Shows whether a source still holds what was imported (symmetric keys only). null: not computed."),
    ] = None
    verification: Annotated[
        Verification | None, about("What was seen of the key afterwards. null: the target did not get that far.")
    ]
    attempts: Annotated[Count, about("ImportKeyMaterial requests sent.")]
    request_ids: Annotated[
        tuple[Request, ...], about("AWS's IDs of the target's requests, in order: CloudTrail's requestID.")
    ]
    started_at: Annotated[Moment | None, about("First read. null: the target was not started.")]
    finished_at: Annotated[Moment | None, about("null: the target did not end.")]
    error: Annotated[Failure | None, about("Why the target is not OK. null: it is OK.")]


# What a flat table shows of a result: each field's name, or the names of the fields of an object in it.
PARTS: Final = {"verification": tuple(f.name for f in fields(Verification)),
                "error": tuple(f.name for f in fields(Failure))}  # fmt: skip
FIELDS: Final = tuple(field.name for field in fields(Outcome))
