"""One complete read of a target's key: what DescribeKey shows, and what only other operations show."""

from __future__ import annotations

from bulk_import.model import KeyView
from bulk_import.ports import KeyService
from bulk_import.run.metadata import with_metadata
from bulk_import.run.several import with_materials
from bulk_import.run.target_run import TargetRun


async def read(run: TargetRun, kms: KeyService, key_id: str) -> KeyView:
    """With tags and policy, as far as `create` states them, and with the materials where there are several.

    Raises TargetError.
    """
    view = await with_metadata(run, kms, await kms.describe_key(key_id, run))
    return await with_materials(run, run.target, kms, view)
