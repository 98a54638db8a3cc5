"""What a role needs to create the keys of a manifest: statements in addition to those for keys that exist.

https://docs.aws.amazon.com/kms/latest/developerguide/create-keys.html#create-key-permissions
https://docs.aws.amazon.com/kms/latest/developerguide/alias-access.html
https://docs.aws.amazon.com/kms/latest/developerguide/multi-region-keys-auth.html
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from bulk_import.creation import ALIAS_TAG, new_key
from bulk_import.model import Target

_SERVICE = "mrk.kms.amazonaws.com"
_ROLE = f"aws-service-role/{_SERVICE}/AWSServiceRoleForKeyManagementServiceMultiRegionKeys"


def statements(targets: Sequence[Target], command: str = "run") -> Iterator[dict[str, Any]]:
    """For the targets with `create` that are no replicas (replicas.py). `command`: plan searches, status only reads."""
    creating = [target for target in targets if target.create is not None and target.primary is None]
    if not creating:
        return
    wanted = [new_key(target) for target in creating]
    names = list(dict.fromkeys(target.alias or "" for target in creating))
    lanes = list(dict.fromkeys(target.lane for target in creating))
    keys = [f"arn:{lane.partition}:kms:{lane.region}:{lane.account}:key/*" for lane in lanes]
    aliases = list(
        dict.fromkeys(
            f"arn:{target.lane.partition}:kms:{target.lane.region}:{target.lane.account}:{target.alias}"
            for target in creating
        )
    )
    asked = {f"aws:RequestTag/{ALIAS_TAG}": names}
    carried = {f"aws:ResourceTag/{ALIAS_TAG}": names, "kms:KeyOrigin": ["EXTERNAL"]}
    # A request for an alias that does not exist yet is answered with NotFound only where this allows it.
    yield statement("Find", ["kms:DescribeKey"], [*keys, *aliases], {"kms:RequestAlias": names})
    if command == "status":
        return
    yield statement("Search", ["kms:ListAliases", "tag:GetResources"], ["*"])
    compared = ["kms:GetKeyPolicy"] if any(one.policy is not None for one in wanted) else []
    compared += ["kms:ListResourceTags"] if any(len(one.tags) > 1 for one in wanted) else []  # one is ALIAS_TAG
    if command == "plan":
        yield statement("Unfinished", ["kms:DescribeKey", *compared], keys, carried)
        return
    compared = list(dict.fromkeys([*compared, "kms:ListResourceTags"]))  # before CreateAlias, to see whose key it is
    yield statement("Unfinished", ["kms:CreateAlias", "kms:DescribeKey", *compared], keys, carried)
    shape: dict[str, list[Any]] = {
        "aws:RequestedRegion": [lane.region for lane in lanes],
        "kms:KeyOrigin": ["EXTERNAL"],
        "kms:KeySpec": sorted({one.key_spec.value for one in wanted}),
        "kms:KeyUsage": sorted({one.key_usage.value for one in wanted}),
    }
    yield statement("CreateKey", ["kms:CreateKey"], ["*"], {**asked, **shape})
    yield statement("TagKey", ["kms:TagResource"], keys, asked)
    yield statement("CreateAlias", ["kms:CreateAlias"], aliases)
    if any(one.multi_region for one in wanted):
        lane = lanes[0]
        role = f"arn:{lane.partition}:iam::{lane.account}:role/{_ROLE}"
        conditions = {"iam:AWSServiceName": [_SERVICE]}
        yield statement("MultiRegion", ["iam:CreateServiceLinkedRole"], [role], conditions)


def statement(
    name: str, actions: list[str], resources: list[str], equal: dict[str, list[Any]] | None = None
) -> dict[str, Any]:
    made: dict[str, Any] = {"Sid": name, "Effect": "Allow", "Action": actions, "Resource": resources}
    return made | {"Condition": {"StringEquals": equal}} if equal else made
