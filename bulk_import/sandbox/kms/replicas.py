"""Multi-Region keys: replicas of a primary, and which key of the family is the primary.

https://docs.aws.amazon.com/kms/latest/APIReference/API_ReplicateKey.html
https://docs.aws.amazon.com/kms/latest/APIReference/API_UpdatePrimaryRegion.html
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from bulk_import.sandbox.answers import AwsError
from bulk_import.sandbox.kms import key_policies, states, tags
from bulk_import.sandbox.kms.backend import backend
from bulk_import.sandbox.kms.keys import SandboxKey, Snapshot
from bulk_import.sandbox.kms.naming import missing
from bulk_import.sandbox.kms.requests import Request
from bulk_import.sandbox.kms.rotation import settle_pending
from bulk_import.sandbox.kms.timeline import Timeline

DELAY = 0.5  # seconds that a new replica is Creating, and a family whose primary changes is Updating


class Replicas:
    """The operations on related multi-Region keys."""

    def do_replicate_key(self, request: Request) -> dict[str, Any]:
        key, params = request.key, request.params
        _must_be_primary(key)
        states.check("ReplicateKey", key.arn, key.now().state)
        region = params["ReplicaRegion"]
        target = backend(request.store.account_id, region)
        target.live()
        if key.id in target.keys:
            raise AwsError("AlreadyExistsException", f"Key {key.id} already exists in {region}")
        policy = params.get("Policy")
        if policy is not None:
            key_policies.accept(policy, request, bypass=params.get("BypassPolicyLockoutSafetyCheck", False))
        wanted = tags.checked(params.get("Tags", []))
        replica = new_replica(key, region, description=params.get("Description", ""), policy=policy)
        replica.tags = Timeline(wanted, replica.creation_date)
        answer = {"ReplicaKeyMetadata": replica.metadata(replica.now()), "ReplicaPolicy": replica.policy.now}
        return answer | ({"ReplicaTags": tags.listed(wanted)} if wanted else {})

    def do_update_primary_region(self, request: Request) -> None:
        key, region = request.key, request.params["PrimaryRegion"]
        _must_be_primary(key)
        states.check("UpdatePrimaryRegion", key.arn, key.now().state)
        chosen = next((replica for replica in key.replicas if replica.region == region), None)
        if chosen is None:
            raise missing(backend(request.store.account_id, region).key_arn(key.id))
        states.check("UpdatePrimaryRegion", chosen.arn, chosen.now().state)
        others = [key, *(replica for replica in key.replicas if replica is not chosen)]
        ready_at = key.clock.now() + DELAY
        for member in (chosen, *others):
            member.primary, member.replicas = chosen, []
            seen = member.now()
            if seen.state == "Enabled":
                member.change(replace(seen, state="Updating", becomes=(ready_at, "Enabled")))
        chosen.replicas, chosen.rotation_count = others, key.rotation_count


def _must_be_primary(key: SandboxKey) -> None:
    if not key.multi_region or key.primary is not key:
        raise AwsError("UnsupportedOperationException", f"{key.arn} is not a multi-region primary key.")


def new_replica(
    key: SandboxKey, region: str, *, description: str = "", policy: str | None = None, ready: bool = False
) -> SandboxKey:
    """A replica of the primary `key` in `region`; Creating for DELAY seconds, unless `ready`."""
    target = backend(key.account_id, region)
    replica = target.new_key(
        key.spec,
        key.key_usage,
        key.origin,
        description=description,
        policy=policy,
        multi_region=True,
        key_id=key.id,
    )
    replica.primary = key
    key.replicas.append(replica)
    state = "PendingImport" if key.external else "Enabled"
    # A replica of an imported key knows what it has to get: all that its primary has, or had.
    materials = tuple(replace(m, secret=None) if key.external else m for m in key.now().materials if not m.pending)
    becomes = None if ready else (key.clock.now() + DELAY, state)
    target.add(replica, Snapshot(0.0, state if ready else "Creating", materials, becomes=becomes))
    settle_pending(key)
    return replica
