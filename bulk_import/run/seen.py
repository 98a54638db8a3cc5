"""A key as it is written down in a saved plan, and how a later view of it differs. Pure."""

from __future__ import annotations

import hashlib
from dataclasses import fields

from bulk_import.drift import policy_digest
from bulk_import.model import KeyRotation, KeyView, Target
from bulk_import.model.approval import SeenKey, SeenMaterial

NOT_ALWAYS_READ = frozenset({"tags", "policy_sha256", "materials"})


def seen(view: KeyView) -> SeenKey:
    """What a plan notes of a view."""
    return SeenKey(
        key_arn=view.arn,
        key_state=view.state,
        origin=view.origin,
        manager=view.manager,
        key_spec=view.key_spec,
        key_usage=view.key_usage,
        expiration_model=view.expiration_model,
        valid_to=view.valid_to,
        key_material_id=view.current_key_material_id,
        description=view.description,
        multi_region=view.multi_region,
        primary_region=view.primary_region,
        replica_regions=sorted(view.replica_regions),
        tags=None if view.tags is None else dict(view.tags),
        policy_sha256=None if view.policy is None else policy_digest(view.policy),
        materials=None if view.materials is None else [_material(each) for each in view.materials],
    )


def differing(was: SeenKey, now: SeenKey) -> list[str]:
    """The fields that differ. What one of the two did not read is not compared."""
    names = []
    for field in fields(SeenKey):
        before, after = getattr(was, field.name), getattr(now, field.name)
        if field.name in NOT_ALWAYS_READ and None in (before, after):
            continue
        if before != after:
            names.append(field.name)
    return names


def policy_sha256(target: Target) -> str | None:
    """Of `create.policy` as it would be sent."""
    policy = target.create.policy if target.create else None
    return None if policy is None else hashlib.sha256(policy.encode()).hexdigest()


def _material(each: KeyRotation) -> SeenMaterial:
    return SeenMaterial(
        key_material_id=each.key_material_id,
        state=each.key_material_state,
        import_state=each.import_state,
        expiration_model=each.expiration_model,
        valid_to=each.valid_to,
        name=each.description,
        rotation_date=each.rotation_date,
    )
