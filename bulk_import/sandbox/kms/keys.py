"""A KMS key of the sandbox: its state as a chain of frozen snapshots, so that a stale view is one looked up.

    PendingImport ──import──▶ Enabled ◀──enable/disable──▶ Disabled
         ▲                       │ expiry, DeleteImportedKeyMaterial (from Enabled and Disabled)
         └───────────────────────┘
    any but Creating ──ScheduleKeyDeletion──▶ PendingDeletion ──CancelKeyDeletion──▶ Disabled, or PendingImport
    a primary with replicas: PendingReplicaDeletion, and PendingDeletion once the last replica is gone
    Enabled ──UpdatePrimaryRegion──▶ Updating ──after a while──▶ Enabled
    Creating (a replica) ──after a while──▶ PendingImport, or Enabled where the origin is AWS_KMS

https://docs.aws.amazon.com/kms/latest/developerguide/key-state.html
"""

from __future__ import annotations

import hashlib
import json
import uuid
from collections import deque
from dataclasses import dataclass, field, replace
from typing import Any

from moto.utilities.utils import get_partition

from bulk_import.sandbox.clock import Clock
from bulk_import.sandbox.kms.grants import Grant
from bulk_import.sandbox.kms.private_key import PrivateKey
from bulk_import.sandbox.kms.specs import Spec
from bulk_import.sandbox.kms.states import DELETED_SOON
from bulk_import.sandbox.kms.timeline import Timeline

EXPIRES, NEVER_EXPIRES = "KEY_MATERIAL_EXPIRES", "KEY_MATERIAL_DOES_NOT_EXPIRE"
CURRENT, NON_CURRENT, PENDING = "CURRENT", "NON_CURRENT", "PENDING_ROTATION"
PENDING_EVERYWHERE = "PENDING_MULTI_REGION_IMPORT_AND_ROTATION"
HISTORY = 64  # snapshots kept for stale reads


@dataclass(frozen=True, slots=True)
class Material:
    """One key material that a key has or had. `secret` None: deleted or expired, and wanted back."""

    id: str
    state: str
    secret: bytes | None = field(repr=False)
    expiration_model: str = NEVER_EXPIRES
    valid_to: float | None = None
    description: str | None = None
    rotated_at: float | None = None

    @property
    def pending(self) -> bool:
        return self.state in (PENDING, PENDING_EVERYWHERE)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A key's state from one change to the next. `since`: when the change was made."""

    since: float
    state: str
    materials: tuple[Material, ...] = ()
    deletion_date: float | None = None
    deletion_days: int | None = None  # of a primary that waits for the deletion of its replicas
    becomes: tuple[float, str] | None = None  # of a new replica: from when on it is in which state

    def at(self, now: float) -> Snapshot:
        """This snapshot as time has made it: expired material is gone, a replica is there."""
        seen = self
        if seen.becomes and seen.becomes[0] <= now:
            seen = replace(seen, state=seen.becomes[1], becomes=None)
        if any(m.secret is not None and m.valid_to is not None and m.valid_to <= now for m in seen.materials):
            # Pending material was never in use: it goes for good. Any other stays known by its ID.
            expired = [m for m in seen.materials if m.valid_to is not None and m.valid_to <= now]
            kept = (m for m in seen.materials if not (m in expired and m.pending))
            seen = replace(seen, materials=tuple(replace(m, secret=None) if m in expired else m for m in kept))
            seen = replace(seen, state=seen.state_for_materials())
        return seen

    def state_for_materials(self) -> str:
        """PendingImport where a material that is in use is missing; PendingDeletion stays."""
        missing = not self.current or any(m.secret is None for m in self.materials if not m.pending)
        return "PendingImport" if missing and self.state not in (*DELETED_SOON, "Creating") else self.state

    @property
    def current(self) -> Material | None:
        return next((m for m in self.materials if m.state == CURRENT), None)

    @property
    def pending(self) -> Material | None:
        return next((m for m in self.materials if m.pending), None)

    @property
    def usable(self) -> tuple[Material, ...]:
        """What decrypts: the current material first."""
        found = [m for m in self.materials if m.secret is not None and not m.pending]
        return tuple(sorted(found, key=lambda m: m.state != CURRENT))


class SandboxKey:
    """A key with real states and key material."""

    def __init__(
        self,
        *,
        clock: Clock,
        account: str,
        region: str,
        spec: Spec,
        usage: str,
        origin: str,
        description: str = "",
        policy: str | None = None,
        multi_region: bool = False,
        key_id: str | None = None,
    ) -> None:
        self.clock = clock
        self.spec = spec
        # AWS's multi-Region IDs have no dashes inside; moto's ciphertext format needs that length too.
        self.id = key_id or (f"mrk-{uuid.uuid4().hex}" if multi_region else str(uuid.uuid4()))
        self.account_id = account
        self.region = region
        self.arn = f"arn:{get_partition(region)}:kms:{region}:{account}:key/{self.id}"
        self.creation_date = clock.now()
        self.key_usage = usage
        self.key_spec = spec.name
        self.origin = origin
        born = self.creation_date
        self.descriptions = Timeline(description, born)
        self.policy = Timeline(policy or default_policy(self.arn), born)
        self.tags: Timeline[dict[str, str]] = Timeline({}, born)
        self.grants: Timeline[tuple[Grant, ...]] = Timeline((), born)
        self.multi_region = multi_region
        self.primary: SandboxKey = self
        self.replicas: list[SandboxKey] = []
        self.key_manager = "CUSTOMER"
        self.rotation_period: int | None = None  # days; None: no automatic rotation
        self.rotation_enabled_at = 0.0
        self.rotation_count = 0
        self.filled = False  # material was imported into this very key, at any time
        self.last_use: tuple[str, float, str] | None = None  # operation, when, request ID
        self.history: deque[Snapshot] = deque(maxlen=HISTORY)
        self.changes = 0
        self._private: tuple[str, PrivateKey] | None = None

    @property
    def external(self) -> bool:
        return self.origin == "EXTERNAL"

    @property
    def family(self) -> list[SandboxKey]:
        """Primary and replicas, of which this is one."""
        return [self.primary, *self.primary.replicas]

    def now(self) -> Snapshot:
        """The true state at this moment."""
        return self.history[-1].at(self.clock.now())

    def as_of(self, moment: float) -> Snapshot | None:
        """The state as it was at `moment`; None before the key's birth."""
        for snapshot in reversed(self.history):
            if snapshot.since <= moment:
                return snapshot.at(moment)
        return None

    def before_last_change(self) -> Snapshot | None:
        """What a host sees that has not heard of the last change; None where that was the key's birth."""
        return self.history[-2].at(self.history[-1].since) if len(self.history) > 1 else None

    def become(self, state: str) -> None:
        """Any state, by order of a test."""
        deletion = self.clock.now() + 30 * 86400 if state == "PendingDeletion" else None
        self.change(replace(self.now(), state=state, becomes=None, deletion_date=deletion))

    def change(self, snapshot: Snapshot) -> None:
        self.history.append(replace(snapshot, since=self.clock.now()))
        self.changes += 1

    def material_id(self, material: bytes) -> str:
        """From key and material: related multi-Region keys share their key ID, and so this too."""
        return hashlib.sha256(b"KeyMaterialId\0" + self.id.encode() + b"\0" + material).hexdigest()

    def private(self, material: Material) -> PrivateKey:
        if self._private is None or self._private[0] != material.id:
            self._private = material.id, PrivateKey(material.secret or b"")
        return self._private[1]

    @property
    def description(self) -> str:
        return self.descriptions.now

    def metadata(self, seen: Snapshot, at: float | None = None) -> dict[str, Any]:
        """DescribeKey's KeyMetadata of `seen`. `at`: the moment that the answering host knows; None: now."""
        fields: dict[str, Any] = {
            "AWSAccountId": self.account_id,
            "KeyId": self.id,
            "Arn": self.arn,
            "CreationDate": self.creation_date,
            "Enabled": seen.state == "Enabled",
            "Description": self.descriptions.at(at),
            "KeyUsage": self.key_usage,
            "KeyState": seen.state,
            "Origin": self.origin,
            "KeyManager": self.key_manager,
            "CustomerMasterKeySpec": self.key_spec,
            "KeySpec": self.key_spec,
            "MultiRegion": self.multi_region,
        }
        fields |= self.algorithms()
        if seen.deletion_date is not None:
            fields["DeletionDate"] = seen.deletion_date
        if seen.state == "PendingReplicaDeletion":
            fields["PendingDeletionWindowInDays"] = seen.deletion_days or 30
        if self.multi_region:
            fields["MultiRegionConfiguration"] = {
                "MultiRegionKeyType": "PRIMARY" if self.primary is self else "REPLICA",
                "PrimaryKey": {"Arn": self.primary.arn, "Region": self.primary.region},
                "ReplicaKeys": [{"Arn": key.arn, "Region": key.region} for key in self.primary.replicas],
            }
        held = [m for m in seen.materials if m.secret is not None]
        if self.external and seen.state != "PendingImport" and held:
            expiring = [m.valid_to for m in held if m.valid_to is not None]
            fields["ExpirationModel"] = EXPIRES if expiring else NEVER_EXPIRES
            if expiring:
                fields["ValidTo"] = min(expiring)
        # Nobody has recorded what AWS shows of a replica that was never filled. Here it names no material, as a new
        # key of origin EXTERNAL names none.
        names_material = not self.external or self.primary is self or self.filled
        if self.spec.symmetric and seen.current and seen.state != "Creating" and names_material:
            fields["CurrentKeyMaterialId"] = seen.current.id
        return fields

    def algorithms(self) -> dict[str, list[str]]:
        """The algorithm fields of DescribeKey and GetPublicKey: those of the key's usage."""
        by_usage: dict[str, tuple[str, tuple[str, ...]]] = {
            "ENCRYPT_DECRYPT": ("EncryptionAlgorithms", self.spec.encryption),
            "SIGN_VERIFY": ("SigningAlgorithms", self.spec.signing),
            "GENERATE_VERIFY_MAC": ("MacAlgorithms", self.spec.mac),
            "KEY_AGREEMENT": ("KeyAgreementAlgorithms", ("ECDH",)),
        }
        name, values = by_usage[self.key_usage]
        return {name: list(values)}


def default_policy(arn: str) -> str:
    """The key policy that KMS gives a key created without one: everything to the account, which delegates it to IAM."""
    partition, account = arn.split(":")[1], arn.split(":")[4]
    statement = {
        "Sid": "Enable IAM User Permissions",
        "Effect": "Allow",
        "Principal": {"AWS": f"arn:{partition}:iam::{account}:root"},
        "Action": "kms:*",
        "Resource": "*",
    }
    return json.dumps({"Version": "2012-10-17", "Id": "key-default-1", "Statement": [statement]}, indent=2)
