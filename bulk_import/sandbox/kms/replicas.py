"""Multi-Region keys: a replica of a primary in another Region.

https://docs.aws.amazon.com/kms/latest/APIReference/API_ReplicateKey.html
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from bulk_import.sandbox.answers import AwsError
from bulk_import.sandbox.kms.backend import SandboxKmsBackend, backend, invalid_state
from bulk_import.sandbox.kms.keys import SandboxKey, Snapshot


def replicate(store: SandboxKmsBackend, params: dict[str, Any], *, ready_at: float) -> dict[str, Any]:
    """ReplicateKey. The replica is Creating until `ready_at`, in seconds since 1970."""
    key: SandboxKey = params["Key"]
    seen = key.now()
    if not key.multi_region or key.primary is not key:
        raise AwsError("UnsupportedOperationException", f"{key.arn} is not a multi-region primary key.")
    if seen.state == "Disabled":
        raise AwsError("DisabledException", f"{key.arn} is disabled.")
    if seen.state != "Enabled":
        raise invalid_state(key.arn, seen.state)
    region = params["ReplicaRegion"]
    target = backend(store.account_id, region)
    if key.id in target.keys:
        raise AwsError("AlreadyExistsException", f"Key {key.id} already exists in {region}")
    replica = target.new_key(
        key.spec,
        key.key_usage,
        key.origin,
        description=params.get("Description", ""),
        policy=params.get("Policy"),
        multi_region=True,
        key_id=key.id,
    )
    replica.primary = key
    key.replicas.append(replica)
    first = Snapshot(0.0, "Creating", becomes=(ready_at, "PendingImport"))
    if not key.external:
        first = replace(first, materials=seen.materials, becomes=(ready_at, "Enabled"))
    target.add(replica, first)
    tags = params.get("Tags", [])
    if tags:
        target.tagger.tag_resource(replica.id, tags)
    metadata = replica.metadata(first)
    return {"ReplicaKeyMetadata": metadata, "ReplicaPolicy": replica.policy, "ReplicaTags": tags}
