"""What a saved plan binds: a run with it changes only what the plan shows, and only what is still as the plan saw it.

As in result.py, every field is defined here once; the JSON Schema of the plan is made from it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated, Literal

from bulk_import.model.fields import ACCOUNT, AccountId, CheckText, Count, Moment, Sha256, ShardText, about

CheckKind = Literal["material_check", "hmac_check", "spki_sha256", "sealed_sha256"]


@dataclass(frozen=True, slots=True)
class CheckValue:
    """What shows later that a source still holds the same material. `value` None: the source cannot show it."""

    kind: CheckKind
    value: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class BoundMaterial:
    """One material of a target, as its source held it."""

    name: Annotated[str | None, about("Name of the entry of `materials`. null: the key has one material.")]
    kind: Annotated[
        CheckKind,
        about(
            "material_check: symmetric keys, the first 8 bytes of AES-CMAC. hmac_check: HMAC keys, the first 8 bytes "
            "of HMAC-SHA-256. Both are keyed with the material, over `bulk-import:` and the key's ARN; the ARN of its "
            "alias, if the key is to be created. spki_sha256: SHA-256 of the public key, DER SubjectPublicKeyInfo. "
            "sealed_sha256: SHA-256 of the ready-made EncryptedKeyMaterial and ImportToken."
        ),
    ]
    value: Annotated[CheckText | None, about("In hex. null: the source cannot compute it.")]


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenMaterial:
    """One material that KMS listed for a key."""

    key_material_id: Annotated[str, about("KeyMaterialId.")]
    state: Annotated[str, about("KeyMaterialState.")]
    import_state: Annotated[str | None, about("ImportState.")]
    expiration_model: Annotated[str | None, about("ExpirationModel.")]
    valid_to: Annotated[Moment | None, about("ValidTo.")]
    name: Annotated[str | None, about("KeyMaterialDescription.")]
    rotation_date: Annotated[Moment | None, about("RotationDate.")]


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenKey:
    """A key as KMS showed it."""

    key_arn: Annotated[str, about("Its ARN.")]
    key_state: Annotated[str, about("KeyState.")]
    origin: Annotated[str, about("Origin.")]
    manager: Annotated[str, about("KeyManager.")]
    key_spec: Annotated[str, about("KeySpec.")]
    key_usage: Annotated[str, about("KeyUsage.")]
    expiration_model: Annotated[str | None, about("ExpirationModel.")]
    valid_to: Annotated[Moment | None, about("ValidTo.")]
    key_material_id: Annotated[str | None, about("CurrentKeyMaterialId.")]
    description: Annotated[str, about("Description.")]
    multi_region: Annotated[bool, about("MultiRegion.")]
    primary_region: Annotated[str | None, about("Region of the primary key. null: a single-Region key.")]
    replica_regions: Annotated[list[str], about("Regions of the replica keys.")]
    tags: Annotated[dict[str, str] | None, about("Those that `create` names. null: not read.")]
    policy_sha256: Annotated[Sha256 | None, about("Of the key policy, in a normal form. null: not read.")]
    materials: Annotated[list[SeenMaterial] | None, about("Of a target with `materials`. null: not read.")]


@dataclass(frozen=True, slots=True, kw_only=True)
class BoundStep:
    """One change that the plan allows."""

    kind: Annotated[str, about("create_key, import_material, …")]
    entry: Annotated[int | None, about("Position in `materials`. null: the step is not about one of several.")]


@dataclass(frozen=True, slots=True, kw_only=True)
class BoundTarget:
    """What one target is bound to."""

    index: Annotated[Count, about("Position among the selected targets, in manifest order.")]
    found: Annotated[SeenKey | None, about("The key as the plan saw it. null: there was none.")]
    steps: Annotated[list[BoundStep], about("The changes that the plan allows, in order.")]
    policy_sha256: Annotated[Sha256 | None, about("Of `create.policy`, as it would be sent. null: none is stated.")]
    materials: Annotated[list[BoundMaterial], about("Check values. Empty: the target is blocked.")]


@dataclass(frozen=True, slots=True, kw_only=True)
class BoundRole:
    """How an account is entered."""

    account: Annotated[AccountId, ACCOUNT]
    role_arn: Annotated[str | None, about("null: with the caller's own credentials.")]
    external_id: Annotated[str | None, about("As it is sent to STS.")]


@dataclass(frozen=True, slots=True, kw_only=True)
class BoundSettings:
    """Settings that affect what a run decides."""

    prove: Annotated[str, about("--prove")]
    correct: Annotated[list[str], about("--correct")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Binding:
    """What the run must find again."""

    created_at: Annotated[Moment, about("When the plan was made. `valid_for` counts from here.")]
    shard: Annotated[ShardText | None, about("--shard. null: of all targets; each shard may run it.")]
    roles: Annotated[list[BoundRole], about("One entry per account.")]
    settings: Annotated[BoundSettings, about("Settings that affect what a run decides.")]
    targets: Annotated[list[BoundTarget], about("One entry per target, in manifest order.")]


@dataclass(slots=True)
class Own:
    """What earlier runs of a plan did with one target. `imported`: a request was sent that KMS did not refuse, or it
    ended OK. `unsure`: a request for an import got no clear answer, and no later one was accepted.
    """

    arns: set[str] = field(default_factory=set)  # of keys that they created, or that ended OK
    ids: set[str] = field(default_factory=set)  # KeyMaterialIds that they imported, or that ended OK
    imported: bool = False
    unsure: bool = False


@dataclass(frozen=True, slots=True)
class PlanFacts:
    """Which saved plan a run was given. `sha256`: of the file's bytes."""

    sha256: str
    created_at: datetime
