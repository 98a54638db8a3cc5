"""Rotation on demand: the pending material becomes current, in every Region of the key; the list of rotations.

https://docs.aws.amazon.com/kms/latest/developerguide/rotating-keys-on-demand.html
"""

from __future__ import annotations

import secrets
from dataclasses import replace
from typing import Any

from bulk_import.sandbox.answers import AwsError
from bulk_import.sandbox.kms import states
from bulk_import.sandbox.kms.keys import (
    CURRENT,
    NON_CURRENT,
    PENDING,
    PENDING_EVERYWHERE,
    Material,
    SandboxKey,
    Snapshot,
)
from bulk_import.sandbox.kms.pages import page
from bulk_import.sandbox.kms.requests import Request

MOST_ROTATIONS = 25  # on demand, in the life of a key
DEFAULT_PERIOD = 365  # days


class Rotation:
    """The operations that rotate a key's material."""

    def do_rotate_key_on_demand(self, request: Request) -> dict[str, Any]:
        """Of origin AWS_KMS: new random material. EXTERNAL: the material that is pending rotation."""
        key = request.key
        _must_be_symmetric(key)
        if key.primary is not key:
            raise AwsError("UnsupportedOperationException", f"{key.arn} is not a multi-region primary key.")
        settle_pending(key)
        seen = key.now()
        states.check("RotateKeyOnDemand", key.arn, seen.state)
        if key.rotation_count >= MOST_ROTATIONS:
            raise AwsError(
                "LimitExceededException",
                "The on-demand rotations limit has been reached for the given keyId. "
                f"No more on-demand rotations can be performed for this key: {key.arn}",
            )
        pending = seen.pending
        if not key.external:
            fresh = secrets.token_bytes(32)
            pending = Material(key.material_id(fresh), PENDING, fresh)
        if pending is None or pending.state != PENDING or pending.secret is None:
            raise AwsError(
                "KMSInvalidStateException", f"No available key material pending rotation for the key: {key.arn}."
            )
        for member in key.family:
            _promote(member, pending, key.clock.now())
        key.rotation_count += 1
        return {"KeyId": key.arn}

    # --- automatic, of origin AWS_KMS only
    def do_enable_key_rotation(self, request: Request) -> None:
        key = request.key
        _must_rotate_by_itself(key)
        states.check("EnableKeyRotation", key.arn, key.now().state)
        key.rotation_period = request.params.get("RotationPeriodInDays", DEFAULT_PERIOD)
        key.rotation_enabled_at = key.clock.now()

    def do_disable_key_rotation(self, request: Request) -> None:
        key = request.key
        _must_rotate_by_itself(key)
        states.check("DisableKeyRotation", key.arn, key.now().state)
        key.rotation_period = None

    def do_get_key_rotation_status(self, request: Request) -> dict[str, Any]:
        """Off while the key is pending deletion."""
        key = request.key
        _must_rotate_by_itself(key, replica_too=True)
        period = key.primary.rotation_period
        if period is None or key.now().state in states.DELETED_SOON:
            return {"KeyId": key.arn, "KeyRotationEnabled": False}
        return {
            "KeyId": key.arn,
            "KeyRotationEnabled": True,
            "RotationPeriodInDays": period,
            "NextRotationDate": key.primary.rotation_enabled_at + period * 86400,
        }


def _must_be_symmetric(key: SandboxKey) -> None:
    if not key.spec.symmetric:
        raise AwsError("UnsupportedOperationException")


def _must_rotate_by_itself(key: SandboxKey, *, replica_too: bool = False) -> None:
    _must_be_symmetric(key)
    if key.external:
        raise AwsError(
            "UnsupportedOperationException", f"{key.arn} origin is EXTERNAL which is not valid for this operation."
        )
    if key.primary is not key and not replica_too:
        raise AwsError("UnsupportedOperationException", f"{key.arn} is not a multi-region primary key.")


def settle_pending(key: SandboxKey) -> None:
    """A multi-Region rotation is ready while every replica has the new material too."""
    primary = key.primary
    pending = primary.now().pending
    if pending is None:
        return
    has = (any(m.id == pending.id and m.secret for m in replica.now().materials) for replica in primary.replicas)
    state = PENDING if all(has) else PENDING_EVERYWHERE
    for member in primary.family:
        now = member.now()
        materials = tuple(replace(m, state=state) if m.id == pending.id else m for m in now.materials)
        if materials != now.materials:
            member.change(replace(now, materials=materials))


def _promote(key: SandboxKey, pending: Material, now: float) -> None:
    """Makes `pending` current and the current one non-current."""
    seen = key.now()
    materials = [
        replace(m, state=NON_CURRENT) if m.state == CURRENT else m for m in seen.materials if m.id != pending.id
    ]
    mine = next((m for m in seen.materials if m.id == pending.id), pending)
    materials.append(replace(mine, state=CURRENT, rotated_at=now))
    key.change(replace(seen, materials=tuple(materials)))


def list_rotations(key: SandboxKey, seen: Snapshot, params: dict[str, Any]) -> dict[str, Any]:
    """ListKeyRotations of what a host sees. The first material and a pending one only with ALL_KEY_MATERIAL."""
    _must_be_symmetric(key)
    everything = params.get("IncludeKeyMaterial") == "ALL_KEY_MATERIAL"
    entries = [_entry(key, m) for m in seen.materials if everything or m.rotated_at is not None]
    return page("Rotations", entries, params)


def _entry(key: SandboxKey, material: Material) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "KeyId": key.id,
        "KeyMaterialId": material.id,
        "KeyMaterialState": material.state,
    }
    if key.external:
        held = material.secret is not None
        entry["ImportState"] = "IMPORTED" if held else "PENDING_IMPORT"
        if held:
            entry["ExpirationModel"] = material.expiration_model
        if held and material.valid_to is not None:
            entry["ValidTo"] = material.valid_to
        if material.description is not None:
            entry["KeyMaterialDescription"] = material.description
    if material.rotated_at is not None:
        entry |= {"RotationDate": material.rotated_at, "RotationType": "ON_DEMAND"}
    return entry
