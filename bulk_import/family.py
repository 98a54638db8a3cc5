"""A multi-Region key: what its primary and its replicas must show, and when a replica needs its primary. Pure.

https://docs.aws.amazon.com/kms/latest/developerguide/multi-region-keys-overview.html
https://docs.aws.amazon.com/kms/latest/developerguide/multi-region-keys-import.html
"""

from __future__ import annotations

from collections.abc import Iterable

from bulk_import.errors import TargetError
from bulk_import.model import KeySpec, KeyState, KeyView, Lane, NewReplica, Target

EXISTING = "EXISTING_KEY_MATERIAL"
# Of CreateKey in the replica's Region, for one ReplicateKey in the primary's:
# https://docs.aws.amazon.com/kms/latest/developerguide/requests-per-second.html
PERMITS_OF_A_REPLICA = 2
_ELSEWHERE = (
    "Correct `region` and `replicas` in the manifest, or make the other key the primary (UpdatePrimaryRegion) if it "
    "should be."
)


def check(target: Target, view: KeyView) -> None:
    """Raises TargetError where the key's family is not the one that the manifest states."""
    primary = target.primary.lane.region if target.primary else target.lane.region
    if not target.related:
        return
    if not view.multi_region:
        message = f"{view.arn} is a single-Region key, but the manifest specifies replicas."
        raise TargetError(message, code="KeyContradiction")
    if view.primary_region not in (None, primary):
        message = f"The primary of {view.arn} is in {view.primary_region}; the manifest states {primary}."
        raise TargetError(message, code="KeyContradiction", advice=_ELSEWHERE)


def unlisted(target: Target, view: KeyView) -> list[str]:
    """Regions of replicas that the key has and the manifest does not list, of a primary with `replicas`."""
    if target.primary is not None or not target.replicas:
        return []
    return sorted({*view.replica_regions} - {*target.replicas})


def check_listed(target: Target, view: KeyView) -> None:
    """Raises TargetError (Drift) where the key has a replica that the manifest does not list."""
    if regions := unlisted(target, view):
        message = f"{view.arn} has a replica in {', '.join(regions)} that the manifest does not list."
        advice = "Find out who created it (CloudTrail). Add its Region to `replicas`, or delete that key."
        raise TargetError(message, code="Drift", advice=advice)


def changed(target: Target, view: KeyView) -> TargetError | None:
    """Why the key's family is not the one that the manifest states: somebody else can change it at any time."""
    try:
        check(target, view)
        check_listed(target, view)
    except TargetError as error:
        return error
    return None


def never_filled(view: KeyView) -> bool:
    """Whether KMS names no material of the key. Of HMAC and asymmetric keys it names none in any case."""
    return view.state == KeyState.PENDING_IMPORT and view.current_key_material_id is None


def import_type(target: Target, spec: KeySpec) -> str | None:
    """ImportType of the request. KMS refuses one for HMAC and asymmetric keys, and any other one for a replica."""
    return EXISTING if target.primary is not None and spec.symmetric else None


def new_replica(target: Target) -> NewReplica:
    """What ReplicateKey is asked for. KMS copies neither description nor tags nor policy of the primary."""
    if target.create is None or target.primary is None:
        raise RuntimeError("only a replica with `create` can be created")
    return NewReplica(
        region=target.lane.region,
        description=target.create.description,
        tags=dict(target.create.tags),
        policy=target.create.policy,
    )


def links(targets: Iterable[Target]) -> list[tuple[Lane, Lane]]:
    """The lanes that replicas connect: a shard keeps a key together with all its replicas."""
    pairs = ((target.primary.lane, target.lane) for target in targets if target.primary is not None)
    return list(dict.fromkeys(pairs))


def primary_lanes(targets: Iterable[Target]) -> list[Lane]:
    """The lanes of the replicas' primaries, whether these are selected or not."""
    return list(dict.fromkeys(target.primary.lane for target in targets if target.primary is not None))
