"""What DescribeKey does not show: the tags and the policy of a key, read as far as the manifest states them.

https://docs.aws.amazon.com/kms/latest/APIReference/API_ListResourceTags.html
https://docs.aws.amazon.com/kms/latest/APIReference/API_GetKeyPolicy.html
"""

from __future__ import annotations

from dataclasses import replace

from bulk_import.model import KeyView
from bulk_import.ports import KeyService
from bulk_import.run.target_run import TargetRun


async def with_metadata(run: TargetRun, kms: KeyService, view: KeyView) -> KeyView:
    """`view` with the key's tags that `create` names and with its policy, each if `create` states any.

    Raises TargetError.
    """
    create = run.target.create
    if create is None:
        return view
    if create.tags:
        tags = await kms.list_resource_tags(view.arn, run)
        view = replace(view, tags=tuple((name, tags[name]) for name, _ in create.tags if name in tags))
    if create.policy is not None:
        view = replace(view, policy=await kms.get_key_policy(view.arn, run))
    return view
