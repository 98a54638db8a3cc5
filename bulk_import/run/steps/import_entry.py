"""One of several materials of a symmetric key: as new material, or existing material again by its ID.

https://docs.aws.amazon.com/kms/latest/APIReference/API_ImportKeyMaterial.html

KMS compares the bytes of existing material with those that it knows by that ID, so an accepted request proves them. New
material whose response was lost is therefore imported again by the ID that KMS shows for its name.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from bulk_import.errors import ServiceError, TargetError
from bulk_import.family import changed
from bulk_import.matching import pending, undo
from bulk_import.material import Held
from bulk_import.model import AmongSeveral, Entry, KeyRotation, KeyView
from bulk_import.plan import Step, Wanted
from bulk_import.ports import KeyService
from bulk_import.rotation import EXISTING, NEW
from bulk_import.run.policy import Policy
from bulk_import.run.several import read
from bulk_import.run.steps.import_material import ImportMaterial
from bulk_import.run.target_run import TargetRun

SHORTEST_WAIT = 0.05  # seconds between two reads
REFUSED = frozenset({"IncorrectKeyMaterialException", "KMSInvalidStateException"})


class ImportEntry(ImportMaterial):
    """The material of one entry of `materials`."""

    def __init__(self, run: TargetRun, kms: KeyService, policy: Policy, step: Step) -> None:
        super().__init__(run, kms, policy, step)
        if step.entry is None or step.import_type is None:
            raise RuntimeError("the step does not say which of the materials is imported, and how")
        self.at = step.entry
        self._type = step.import_type
        # Related keys share the IDs of their materials: a replica asks for those of its primary.
        shared = run.family.rendezvous.ids if run.family is not None and run.target.primary is not None else {}
        self._id = step.key_material_id or (shared.get(self.entry.name) if self._type == EXISTING else None)
        self._known_by: float | None = None  # when KMS must know the primary's material in this Region, too
        self._known = {each.key_material_id: each for each in (run.view.materials or () if run.view else ())}

    @property
    def entry(self) -> Entry:
        return self.run.target.materials[self.at]

    @property
    def wanted(self) -> Wanted:
        return self.run.wanted.parts[self.at]

    @property
    def held(self) -> Held:
        return self.run.several.held[self.at]

    def intent(self) -> Mapping[str, Any]:
        return {**super().intent(), "material": self.entry.name, "import_type": self._type}

    async def send(self) -> Mapping[str, Any]:
        name = self.entry.name
        try:
            found = await self.request(AmongSeveral(self._type, name, self._id))
        except ServiceError as error:
            if error.code in REFUSED and not error.outcome_unknown:
                raise await self._why(error) from None
            raise
        if not found:
            message = "The response names no key material."
            raise ServiceError(message, code="MalformedAnswer", operation=self.operation, outcome_unknown=True)
        several = self.run.several
        self._check_answered(found)
        several.ids[name], several.asked[name] = found, self.wanted.valid_to
        return {"key_material_id": found, "material": name}

    async def applied(self) -> bool:
        """Never enough: only an accepted request proves the bytes. What a read shows is noted for the report."""
        found = self._shown(await read(self.run, self.run.target, self.kms, self.arn))
        if found is not None:
            self.run.took_effect(self.operation)
            self._type, self._id = EXISTING, found.key_material_id
        return False

    def shown_by(self, view: KeyView) -> bool:  # noqa: ARG002 - see applied
        return False

    def check_stated_id(self) -> None:
        """What KMS calls the imported material, against the manifest. Raises TargetError (MaterialMismatch)."""
        stated, found = self.entry.key_material_id, self.run.several.ids.get(self.entry.name)
        if stated is None or found in (None, stated):
            return
        advice = (
            f"DeleteImportedKeyMaterial with KeyId {self.arn} and KeyMaterialId {found} removes it, if it is pending "
            "rotation. Then correct the entry."
        )
        raise TargetError(
            f"KMS calls the imported material of {self.entry.name} {found}; the manifest states another ID.",
            code="MaterialMismatch",
            operation=self.operation,
            advice=advice,
        )

    def _check_answered(self, found: str) -> None:
        """Raises ServiceError (WrongKey) where the response names another material of the key than the request."""
        others = {each for name, each in self.run.several.ids.items() if name != self.entry.name}
        if found in others or (self._type == NEW and found in self._known):
            wrong = "which is another material of the key"
        elif self._type == EXISTING and self._id not in (None, found):
            wrong = f"not {self._id}"
        else:
            return
        raise ServiceError(
            f"{self.operation} was sent for {self.entry.name} of {self.arn}, but the response names material {found}, "
            f"{wrong}.",
            code="WrongKey",
            operation=self.operation,
            outcome_unknown=True,
        )

    def _shown(self, view: KeyView) -> KeyRotation | None:
        """The material of this entry, if the read shows it other than it was before this step."""
        materials = view.materials or ()
        if self._type == EXISTING:
            found = next((each for each in materials if each.key_material_id == self._id), None)
        else:
            found = next((each for each in materials if each.description == self.entry.name), None)
        if found is None or _as_imported(found) == _as_imported(self._known.get(found.key_material_id)):
            return None
        return found if found.import_state == "IMPORTED" and found.description == self.entry.name else None

    async def _why(self, error: ServiceError) -> ServiceError:
        """Why KMS refused the material. One that is retryable: it is there already, and is imported again by its ID."""
        view, ours = await self._looked_for()
        name, materials = self.entry.name, view.materials or ()
        if (moved := changed(self.run.target, view)) is not None:
            return ServiceError(
                moved.message, code=moved.code, operation=self.operation, request_id=error.request_id,
                advice=moved.advice,
            )  # fmt: skip
        if self._type == NEW:
            if ours is not None:
                self._type, self._id = EXISTING, ours.key_material_id
                error.retryable = True
                return error
            imported = self.run.several.ids.values()
            other = next((each for each in materials if pending(each) and each.key_material_id not in imported), None)
            if other is not None:
                message = f"{view.arn} has material {other.key_material_id} pending rotation since this run decided."
                return self._conflict(error, message, undo(view, other))
            if error.code != "IncorrectKeyMaterialException":
                return error
            message = f"{view.arn} has the material of {name} already: KMS accepts it only once."
            return self._conflict(error, message, f"Check the source of {name}: two entries have the same bytes.")
        known = next((each for each in materials if each.key_material_id == self._id), None)
        if known is None and self.run.target.primary is not None and self._may_come():
            error.retryable = True  # what the primary has, this Region may not know yet
            return error
        if error.code != "IncorrectKeyMaterialException" or known is None:
            return error
        message = f"The source of {name} does not hold material {self._id} of {view.arn}: KMS refused it."
        if pending(known):
            return self._conflict(error, message, undo(view, known))
        if known.description is None:
            advice = "The first entry must be the material that the key was filled with. Correct its source."
            return self._conflict(error, message, advice)
        return error

    def _may_come(self) -> bool:
        now = asyncio.get_running_loop().time()
        if self._known_by is None:
            self._known_by = now + self.policy.consistency_timeout
        return now < self._known_by

    async def _looked_for(self) -> tuple[KeyView, KeyRotation | None]:
        """The last read, and the material of this entry. New material that KMS refused is there: it is waited for."""
        clock = asyncio.get_running_loop().time
        deadline = clock() + self.policy.consistency_timeout
        while True:
            view = await read(self.run, self.run.target, self.kms, self.arn)
            found = self._shown(view)
            if found is not None or self._type == EXISTING or clock() >= deadline:
                return view, found
            await asyncio.sleep(max(self.policy.read_interval, SHORTEST_WAIT))

    def _conflict(self, error: ServiceError, message: str, advice: str) -> ServiceError:
        return ServiceError(
            message, code="RotationConflict", operation=self.operation, request_id=error.request_id, advice=advice
        )


def _as_imported(material: KeyRotation | None) -> KeyRotation | None:
    """Without what rotations, and imports in other Regions, change."""
    return (
        None if material is None else replace(material, key_material_state="", rotation_date=None, rotation_type=None)
    )
