"""DeleteImportedKeyMaterial. A second request finds nothing to delete, so that a repeat does no harm.

https://docs.aws.amazon.com/kms/latest/APIReference/API_DeleteImportedKeyMaterial.html
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bulk_import.codes import UNSUPPORTED
from bulk_import.deletion import material_to_delete
from bulk_import.errors import ServiceError
from bulk_import.model import KeyRotation, KeyView
from bulk_import.plan import needs_rotations
from bulk_import.ports import KeyService
from bulk_import.run.change import Kind
from bulk_import.run.target_run import TargetRun

NOT_FOUND = "NotFoundException"


class DeleteMaterial(Kind):
    """One material of one key: its only one, or the one that --material-name names."""

    operation = "DeleteImportedKeyMaterial"
    repeatable = True

    async def prepare(self) -> None:
        """Needs nothing."""

    async def send(self) -> Mapping[str, Any]:
        decision = self.run.decision
        material = decision.material_id if decision else None
        try:
            await self.kms.delete_imported_key_material(self.run.arn, self.run, key_material_id=material or None)
        except ServiceError as error:
            # KMS deletes material that is pending rotation from the replicas together with the primary.
            gone = error.code == NOT_FOUND and self.run.target.primary is not None
            if not gone or not await self.applied():
                raise
        self.run.material_id = material or None
        return {"key_material_id": self.run.material_id}

    async def applied(self) -> bool:
        view = await self.kms.describe_key(self.run.arn, self.run)
        rotations = await materials_of(self.run, self.kms, view)
        return material_to_delete(view, rotations, self.policy.deletion.name, sent=True) is None


async def materials_of(run: TargetRun, kms: KeyService, view: KeyView) -> Sequence[KeyRotation]:
    """The key's materials, held or not; empty for a key whose material has no ID. Raises TargetError."""
    if not needs_rotations(view):
        return ()
    try:
        return await kms.list_key_rotations(view.arn, run)
    except ServiceError as error:
        if error.code not in UNSUPPORTED:
            raise
        return ()  # a KMS without on-demand rotation: the key has one material
