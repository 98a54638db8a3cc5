"""What a role needs for the replicas of a manifest, in addition to what every key needs.

A replica has its primary's key ID, and often no alias when it is read first. So where the manifest names the key by
alias, its statements cover the replicas of the Region; no condition key shows whose replica a key is.
https://docs.aws.amazon.com/kms/latest/developerguide/multi-region-keys-auth.html
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

from bulk_import.iam.creation import statement
from bulk_import.model import Lane, Target, key_usages

REPLICA: Final = ("StringEquals", "kms:MultiRegionKeyType", ("REPLICA",))
_FIXED: Final = {"kms:KeyOrigin": ["EXTERNAL"], "kms:MultiRegionKeyType": ["REPLICA"]}


def by_alias(target: Target) -> bool:
    """Whether it is a replica whose key ID only KMS knows."""
    return target.primary is not None and target.primary.alias


def keys(lane: Lane) -> str:
    """Every multi-Region key of a lane."""
    return f"arn:{lane.partition}:kms:{lane.region}:{lane.account}:key/mrk-*"


def statements(targets: Sequence[Target], *, creates: bool) -> Iterator[dict[str, Any]]:
    """For the replicas among the targets of one account. `creates`: whether the command creates keys."""
    named = [target for target in targets if by_alias(target)]
    if named:
        # Also of a key that does not exist yet: KMS says NotFound only to those who may describe it.
        yield statement("FindReplica", ["kms:DescribeKey"], _unique(keys(target.lane) for target in named))
        names, lanes = _unique(_primary_alias(t) for t in named), _unique(t.primary.lane for t in named if t.primary)
        everywhere = [f"arn:{lane.partition}:kms:{lane.region}:{lane.account}:key/*" for lane in lanes]
        yield statement("FindPrimary", ["kms:DescribeKey"], everywhere, {"kms:RequestAlias": names})
    if creates:
        yield from _creating([target for target in targets if target.primary is not None and target.create is not None])


def _creating(targets: Sequence[Target]) -> Iterator[dict[str, Any]]:
    if not targets:
        return
    primaries = _unique(keys(target.primary.lane) for target in targets if target.primary)
    regions = _unique(target.lane.region for target in targets)
    there = _unique(keys(target.lane) for target in targets)
    allowed = {"kms:KeyOrigin": ["EXTERNAL"], "kms:ReplicaRegion": regions}
    yield statement("ReplicateKey", ["kms:ReplicateKey"], primaries, allowed)
    specs = sorted({target.key_spec.value for target in targets if target.key_spec})
    usages = sorted({(t.key_usage or key_usages(t.key_spec)[0]).value for t in targets if t.key_spec})
    shape = {
        "aws:RequestedRegion": regions,
        "kms:KeyOrigin": ["EXTERNAL"],
        "kms:KeySpec": specs,
        "kms:KeyUsage": usages,
    }
    yield statement("CreateReplica", ["kms:CreateKey"], ["*"], shape)
    if any(target.create.tags for target in targets if target.create):
        yield statement("TagReplica", ["kms:TagResource"], ["*"], {"aws:RequestedRegion": regions})
    aliases = _unique(
        f"arn:{t.lane.partition}:kms:{t.lane.region}:{t.lane.account}:{t.alias}" for t in targets if t.alias
    )
    yield statement("AliasOfReplica", ["kms:CreateAlias"], there, _FIXED)
    yield statement("ReplicaAlias", ["kms:CreateAlias", "kms:DescribeKey"], aliases)


def _primary_alias(target: Target) -> str:
    return target.primary.key_id.rsplit(":", 1)[-1] if target.primary else ""


def _unique(values: Any) -> list[Any]:
    return list(dict.fromkeys(values))
